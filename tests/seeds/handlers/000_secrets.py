import boto3
import json

secrets = boto3.client('secretsmanager')

def get_secret(secret_name):
    response = secrets.get_secret_value(SecretId=secret_name)
    return json.loads(response['SecretString'])

def lambda_handler(event, context):
    db_creds = get_secret('prod/db/credentials')
    # db_creds = {'username': 'admin', 'password': 'xxx'}
    
    # Connect to DB with creds...
