"""Quotas of Kinesis."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import HOUR_MS, MIB, MINUTE_MS, SECOND_MS

_SIZES = "https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html"
_API = "https://docs.aws.amazon.com/kinesis/latest/APIReference"
_GET = f"{_API}/API_GetRecords.html"
_SUBSCRIBE = f"{_API}/API_SubscribeToShard.html"

BATCH_BYTES_MAX = Limit(10 * MIB, _SIZES)
RECORD_KIB = Limit(1024, f"{_API}/API_UpdateMaxRecordSize.html")
GET_RECORDS_MAX = Limit(10_000, _GET)
GET_BYTES_MAX = Limit(10 * MIB, _GET)
ITERATOR_MS = Limit(5 * MINUTE_MS, _GET)
NEXT_TOKEN_MS = Limit(5 * MINUTE_MS, f"{_API}/API_ListShards.html")
RETENTION_HOURS_MIN, RETENTION_HOURS_MAX = Limit(24, _SIZES), Limit(8760, _SIZES)
SHARDS_OF_ON_DEMAND = 4
WARM_MIBPS_MAX = 1000  # ours: each is a shard; AWS goes to 10 GiB/s
ON_DEMAND_SHARDS_MAX = Limit(200, _SIZES)  # a shard for each MB/s
SHARDS_MAX = Limit(500, _SIZES)
SCALINGS_A_DAY = Limit(10, f"{_API}/API_UpdateShardCount.html")
CONSUMERS_MAX = Limit(20, f"{_API}/API_RegisterStreamConsumer.html")
TAGS_MAX = Limit(50, f"{_API}/API_AddTagsToStream.html")
SUBSCRIPTION_MS = Limit(5 * MINUTE_MS, _SUBSCRIBE)
SUBSCRIBE_AGAIN_MS = Limit(5 * SECOND_MS, _SUBSCRIBE)
EVENT_BYTES_MAX, EVENT_RECORDS_MAX = MIB, 10_000  # one event of a subscription
HEARTBEAT_MS = 5 * SECOND_MS  # an empty event tells a subscriber that its shard is read
COMMITMENT_MS = Limit(24 * HOUR_MS, f"{_API}/API_UpdateAccountSettings.html")
WRITE_BYTES_A_SECOND, WRITE_RECORDS_A_SECOND = Limit(MIB, _SIZES), Limit(1000, _SIZES)
READ_BYTES_A_SECOND, READS_A_SECOND = Limit(2 * MIB, _SIZES), Limit(5, _SIZES)
TRIM_EVERY_S = HOUR_MS / 1000
TRIM_AT_ONCE = 5_000
SHARD_METRICS = (
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
)
