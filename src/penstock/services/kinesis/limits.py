"""Quotas of Kinesis."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import HOUR_MS, MIB, MINUTE_MS

_SIZES = "https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html"
_GET = "https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html"

BATCH_BYTES_MAX = Limit(10 * MIB, _SIZES)
RECORD_BYTES_MAX = Limit(10 * MIB, _SIZES)
GET_RECORDS_MAX = Limit(10_000, _GET)
GET_BYTES_MAX = Limit(10 * MIB, _GET)
ITERATOR_MS = Limit(5 * MINUTE_MS, _GET)
RETENTION_HOURS_MIN, RETENTION_HOURS_MAX = Limit(24, _SIZES), Limit(8760, _SIZES)
SHARDS_OF_ON_DEMAND = 4
SHARDS_MAX = Limit(500, _SIZES)
TRIM_EVERY_S = HOUR_MS / 1000
TRIM_AT_ONCE = 5_000
