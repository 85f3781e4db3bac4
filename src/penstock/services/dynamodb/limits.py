"""Quotas of DynamoDB."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import DAY_MS, HOUR_MS, KIB, MIB, MINUTE_MS

_QUOTAS = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html"
_BATCH = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html"
_TRANSACTIONS = "https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html"
_STREAMS = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html"
_CAPACITY = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html"

ITEM_BYTES_MAX = Limit(400 * KIB, _QUOTAS)
NAME_LENGTH_MAX = Limit(65_535, _QUOTAS)
HASH_KEY_BYTES_MAX = Limit(2048, _QUOTAS)
RANGE_KEY_BYTES_MAX = Limit(1024, _QUOTAS)
INDEXES_GLOBAL_MAX = Limit(20, _QUOTAS)
INDEXES_LOCAL_MAX = Limit(5, _QUOTAS)
PROJECTED_MAX = Limit(100, _QUOTAS)
COLLECTION_BYTES_MAX = Limit(10 * 1024 * MIB, _QUOTAS)
PAGE_BYTES_MAX = Limit(MIB, _QUOTAS)
TABLES_PAGE_MAX = Limit(100, _QUOTAS)
GET_BATCH_MAX = Limit(100, _BATCH)
GET_BATCH_BYTES_MAX = Limit(16 * MIB, _BATCH)
WRITE_BATCH_MAX = Limit(25, _QUOTAS)
WRITE_BATCH_BYTES_MAX = Limit(16 * MIB, _QUOTAS)
TRANSACTION_MAX = Limit(100, _TRANSACTIONS)
TRANSACTION_BYTES_MAX = Limit(4 * MIB, _TRANSACTIONS)
TOKEN_MS = Limit(10 * MINUTE_MS, _TRANSACTIONS)
READ_UNIT_BYTES = Limit(4 * KIB, _CAPACITY)
WRITE_UNIT_BYTES = Limit(KIB, _CAPACITY)
POLICY_BYTES_MAX = Limit(20 * KIB, _QUOTAS)
TAGS_MAX = Limit(50, _QUOTAS)

STREAM_MS = Limit(DAY_MS, _STREAMS)
SHARD_MS = Limit(4 * HOUR_MS, _STREAMS)
ITERATOR_MS = Limit(15 * MINUTE_MS, _STREAMS)
STREAM_RECORDS_MAX = Limit(1000, _STREAMS)
STREAM_BYTES_MAX = Limit(MIB, _STREAMS)
TRIM_EVERY_S = HOUR_MS / 1000
TRIM_AT_ONCE = 5_000

CLEARED_AT_ONCE = 1000
TOLD_AT_ONCE = 100
EXPIRED_AT_ONCE = 200
EXPIRY_AGE_S_MAX = Limit(
    5 * 365 * 24 * 3600, "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/howitworks-ttl.html"
)
BACKUP_BYTES_MAX = 1 << 40
SYSTEM_BACKUP_MS = Limit(
    35 * DAY_MS, "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html"
)
EXPORT_FILE_ITEMS = 20_000
IMPORT_FILE_BYTES_MAX = 1 << 30
WORKED_AT_ONCE = 500
"""Items that one transaction of a backfill, a restore or a clean-up takes."""
