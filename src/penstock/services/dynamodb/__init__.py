"""DynamoDB and its streams."""

from penstock.framework.service import Service
from penstock.services.dynamodb import background
from penstock.services.dynamodb.operations import (
    backups,
    batches,
    destinations,
    exports,
    imports,
    items,
    partiql,
    policies,
    queries,
    streams,
    table_updates,
    tables,
    transactions,
)
from penstock.services.dynamodb.operations.access import ACCESS

SERVICE = Service(
    "dynamodb",
    "dynamodbstreams",
    operations=[
        tables,
        table_updates,
        items,
        batches,
        queries,
        transactions,
        streams,
        partiql,
        destinations,
        policies,
        backups,
        exports,
        imports,
    ],
    background=background,
    access=ACCESS,
)
