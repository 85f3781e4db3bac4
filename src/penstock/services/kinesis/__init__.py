"""Kinesis Data Streams."""

from penstock.framework.service import Service
from penstock.services.kinesis import background
from penstock.services.kinesis.operations import records, shards, streams, tags
from penstock.services.kinesis.operations.access import ACCESS

SERVICE = Service("kinesis", operations=[streams, shards, records, tags], background=background, access=ACCESS)
