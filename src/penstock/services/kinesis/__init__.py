"""Kinesis Data Streams."""

from penstock.framework.service import Service
from penstock.services.kinesis import background
from penstock.services.kinesis.operations import (
    consumers,
    policies,
    records,
    settings,
    shards,
    streams,
    subscriptions,
    tags,
)
from penstock.services.kinesis.operations.access import ACCESS

SERVICE = Service(
    "kinesis",
    operations=[streams, settings, shards, records, consumers, subscriptions, policies, tags],
    background=background,
    access=ACCESS,
)
