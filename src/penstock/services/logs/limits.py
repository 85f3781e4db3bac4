"""Quotas of CloudWatch Logs."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import DAY_MS, HOUR_MS, MIB

_QUOTAS = "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html"
_PUT = "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html"
_GET = "https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetLogEvents.html"

BATCH_BYTES_MAX = Limit(1_048_576, _PUT)
EVENT_BYTES_OVERHEAD = Limit(26, _PUT)
BATCH_SPAN_MS_MAX = Limit(DAY_MS, _PUT)
FUTURE_MS_MAX = Limit(2 * HOUR_MS, _PUT)
PAST_MS_MAX = Limit(14 * DAY_MS, _PUT)
PAGE_EVENTS_MAX = Limit(10_000, _GET)
PAGE_BYTES_MAX = Limit(MIB, _GET)
DESCRIBE_PAGE = Limit(50, _QUOTAS)
TAGS_MAX = Limit(50, _QUOTAS)
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
