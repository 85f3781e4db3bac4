import json
from datetime import datetime


def lambda_handler(event, context):
    """Process DynamoDB stream records for CDC."""
    for record in event['Records']:
        event_name = record['eventName'] # INSERT, MODIFY, REMOVE
        if event_name == 'INSERT':
            handle_insert(record)
        elif event_name == 'MODIFY':
            handle_modify(record)
        elif event_name == 'REMOVE':
            handle_remove(record)
    return {'statusCode': 200}


def handle_insert(record):
    """Handle new record insertion."""
    new_image = record['dynamodb']['NewImage']
    # Convert DynamoDB format to Python dict
    item = deserialize_dynamodb(new_image)
    print(f"New item inserted: {item['id']}")
    # Trigger downstream processing
    # e.g., send to Kinesis, update search index, etc.


def handle_modify(record):
    """Handle record modification."""
    old_image = record['dynamodb'].get('OldImage', {})
    new_image = record['dynamodb']['NewImage']
    old_item = deserialize_dynamodb(old_image) if old_image else {}
    new_item = deserialize_dynamodb(new_image)
    # Detect specific field changes
    changed_fields = detect_changes(old_item, new_item)
    print(f"Item {new_item['id']} modified: {changed_fields}")


def handle_remove(record):
    """Handle record deletion."""
    old_image = record['dynamodb']['OldImage']
    item = deserialize_dynamodb(old_image)
    print(f"Item deleted: {item['id']}")


def deserialize_dynamodb(image):
    """Convert DynamoDB format to Python dict."""
    result = {}
    for key, value in image.items():
        if 'S' in value:
            result[key] = value['S']
        elif 'N' in value:
            result[key] = float(value['N'])
        elif 'BOOL' in value:
            result[key] = value['BOOL']
        elif 'NULL' in value:
            result[key] = None
    return result


def detect_changes(old, new):
    """Detect which fields changed."""
    changes = []
    for key in set(list(old.keys()) + list(new.keys())):
        if old.get(key) != new.get(key):
            changes.append(key)
    return changes
