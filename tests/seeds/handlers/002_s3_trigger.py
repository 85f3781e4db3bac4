import json
import boto3
import pandas as pd
from io import BytesIO
from datetime import datetime
s3 = boto3.client('s3')


def lambda_handler(event, context):
    """Process files uploaded to S3 landing zone."""
    # Process each record from S3 event
    for record in event['Records']:
        bucket = record['s3']['bucket']['name']
        key = record['s3']['object']['key']
        size = record['s3']['object']['size']
        print(f"Processing s3://{bucket}/{key} ({size} bytes)")
        # Download file from S3
        response = s3.get_object(Bucket=bucket, Key=key)
        file_content = response['Body'].read()
        # Process based on file type
        if key.endswith('.csv'):
            df = pd.read_csv(BytesIO(file_content))
        elif key.endswith('.json'):
            df = pd.read_json(BytesIO(file_content))
        elif key.endswith('.parquet'):
            df = pd.read_parquet(BytesIO(file_content))
        else:
            raise ValueError(f"Unsupported file type: {key}")
        # Transform data
        df = transform_data(df)
        # Write to processed zone
        processed_key = key.replace('landing/', 'processed/')
        output_buffer = BytesIO()
        df.to_parquet(output_buffer, index=False, compression='snappy')
        s3.put_object(
            Bucket=bucket,
            Key=processed_key,
            Body=output_buffer.getvalue(),
            Metadata={
                'source': key,
                'processed_at': datetime.now().isoformat(),
                'row_count': str(len(df))
            }
        )
        print(f"Processed {len(df)} rows β s3://{bucket}/{processed_key}")
    return {
        'statusCode': 200,
        'body': json.dumps(f'Processed {len(event["Records"])} files')
    }


def transform_data(df):
    """Apply data transformations."""
    # Clean column names
    df.columns = [col.lower().replace(' ', '_') for col in df.columns]
    # Remove duplicates
    df = df.drop_duplicates()
    # Handle null values
    df = df.fillna({
        'amount': 0,
        'status': 'unknown',
        'created_at': datetime.now().isoformat()
    })
    # Add metadata columns
    df['processed_at'] = datetime.now()
    df['batch_id'] = f"batch_{datetime.now().strftime('%Y%m%d_%H%M%S')}"
    return df
