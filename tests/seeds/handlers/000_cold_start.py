import pandas as pd  # ‚Üê Loaded during cold start (slow)
import boto3

s3 = boto3.client('s3')  # ‚Üê Initialized during cold start

def lambda_handler(event, context):
    # This runs on EVERY invocation (cold or warm)
    df = pd.read_csv('data.csv')
    return {'status': 'done'}
