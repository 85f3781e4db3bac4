"""DynamoDB and its streams."""

from penstock.framework.service import Service
from penstock.services.dynamodb import background
from penstock.services.dynamodb.operations import (
    batches,
    destinations,
    items,
    partiql,
    queries,
    streams,
    table_updates,
    tables,
    transactions,
)

SERVICE = Service(
    "dynamodb",
    "dynamodbstreams",
    operations=[tables, table_updates, items, batches, queries, transactions, streams, partiql, destinations],
    background=background,
)
