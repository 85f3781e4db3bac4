"""DynamoDB and its streams."""

from penstock.framework.service import Service
from penstock.services.dynamodb import background
from penstock.services.dynamodb.operations import destinations, items, table_updates, tables

SERVICE = Service(
    "dynamodb",
    "dynamodbstreams",
    operations=[tables, table_updates, items, destinations],
    background=background,
)
