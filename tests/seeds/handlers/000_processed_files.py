import boto3

s3 = boto3.client('s3')
dynamodb = boto3.resource('dynamodb')
table = dynamodb.Table('processed-files')

def lambda_handler(event, context):
    # Extract S3 file info
    bucket = event['Records'][0]['s3']['bucket']['name']
    key = event['Records'][0]['s3']['object']['key']
    file_id = f"{bucket}/{key}"
    
    # Check if already processed
    response = table.get_item(Key={'file_id': file_id})
    if 'Item' in response:
        print(f"‚ö†Ô∏è File {file_id} already processed, skipping")
        return {'status': 'duplicate'}
    
    # Process file
    process_csv(bucket, key)
    
    # Mark as processed
    table.put_item(Item={
        'file_id': file_id,
        'processed_at': datetime.now().isoformat(),
        'status': 'success'
    })
    
    return {'status': 'processed'}
