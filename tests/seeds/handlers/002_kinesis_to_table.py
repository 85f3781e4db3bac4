import json
import base64
import boto3
from datetime import datetime
dynamodb = boto3.resource('dynamodb')
table = dynamodb.Table('stream-processor-state')


def lambda_handler(event, context):
    """Process Kinesis stream records."""
    processed_count = 0
    failed_count = 0
    for record in event['Records']:
        try:
            # Decode Kinesis data
            payload = base64.b64decode(record['kinesis']['data'])
            data = json.loads(payload)
            # Process the record
            result = process_record(data)
            # Store result in DynamoDB
            table.put_item(Item={
                'event_id': data['event_id'],
                'processed_at': datetime.now().isoformat(),
                'result': result,
                'ttl': int((datetime.now().timestamp()) + 86400 * 7) # 7 days
            })
            processed_count += 1
        except Exception as e:
            print(f"Error processing record: {str(e)}")
            failed_count += 1
            raise # Re-raise for retry
    return {
        'processed': processed_count,
        'failed': failed_count
    }


def process_record(data):
    """Process individual stream record."""
    # Example: Validate and enrich data
    return {
        'event_type': data.get('event_type'),
        'user_id': data.get('user_id'),
        'amount': float(data.get('amount', 0)),
        'status': 'processed',
        'validation_score': calculate_validation_score(data)
    }


def calculate_validation_score(data):
    """Calculate data quality score."""
    score = 0
    required_fields = ['event_id', 'event_type', 'user_id', 'amount']
    for field in required_fields:
        if field in data and data[field]:
            score += 25
    return score
