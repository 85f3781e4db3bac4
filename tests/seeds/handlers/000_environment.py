import os

# ‚úÖ Good: Configurable via environment variables
BUCKET_NAME = os.environ.get('BUCKET_NAME', 'default-bucket')
DB_HOST = os.environ['DB_HOST']  # Required, will fail if missing
LOG_LEVEL = os.environ.get('LOG_LEVEL', 'INFO')

def lambda_handler(event, context):
    print(f"Using bucket: {BUCKET_NAME}")
    # Connect to DB_HOST...
