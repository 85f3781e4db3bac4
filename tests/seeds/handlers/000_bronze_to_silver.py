import boto3
import pandas as pd
from datetime import datetime

s3 = boto3.client('s3')

def lambda_handler(event, context):
    # Parse S3 event
    bucket = event['Records'][0]['s3']['bucket']['name']
    key = event['Records'][0]['s3']['object']['key']
    # key example: bronze/orders/2024-01-15/orders.csv
    
    print(f"üì• Processing: s3://{bucket}/{key}")
    
    # Idempotency check
    output_key = key.replace('bronze/', 'silver/').replace('.csv', '.parquet')
    try:
        s3.head_object(Bucket=bucket, Key=output_key)
        print(f"‚ö†Ô∏è Already processed, skipping")
        return {'statusCode': 200, 'body': 'Duplicate'}
    except:
        pass  # Proceed
    
    try:
        # Read CSV
        obj = s3.get_object(Bucket=bucket, Key=key)
        df = pd.read_csv(obj['Body'])
        print(f"üìÑ Loaded {len(df)} rows")
        
        # Validate schema
        required = ['order_id', 'customer_id', 'amount', 'order_date']
        missing = set(required) - set(df.columns)
        if missing:
            raise ValueError(f"Missing columns: {missing}")
        
        # Clean data
        initial_count = len(df)
        df = df.dropna(subset=['order_id', 'customer_id'])  # Remove critical nulls
        df = df.drop_duplicates(subset=['order_id'])  # Deduplicate
        df['amount'] = pd.to_numeric(df['amount'], errors='coerce')  # Cast to float
        df['order_date'] = pd.to_datetime(df['order_date'])  # Cast to datetime
        
        cleaned_count = len(df)
        removed = initial_count - cleaned_count
        print(f"üßπ Removed {removed} invalid rows ({removed/initial_count*100:.1f}%)")
        
        # Write Parquet
        df.to_parquet(f's3://{bucket}/{output_key}', index=False)
        print(f"‚úÖ Success: {cleaned_count} rows ‚Üí s3://{bucket}/{output_key}")
        
        return {
            'statusCode': 200,
            'body': {
                'input': key,
                'output': output_key,
                'rows_processed': cleaned_count,
                'rows_removed': removed
            }
        }
        
    except Exception as e:
        print(f"‚ùå Error: {str(e)}")
        raise  # Re-raise to trigger retry/DLQ
