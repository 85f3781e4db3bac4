import os

BUCKET = os.environ['TARGET_BUCKET']
JOB_NAME = os.environ['GLUE_JOB']

def lambda_handler(event, context):
    print("Writing to bucket:", BUCKET)
