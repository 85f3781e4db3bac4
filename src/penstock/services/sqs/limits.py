"""Quotas of SQS."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import MIB, MINUTE_MS

_MESSAGES = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"

BATCH_MAX = Limit(10, _MESSAGES)
MESSAGE_BYTES_MAX = Limit(MIB, _MESSAGES)
VISIBILITY_S_MAX = Limit(43_200, _MESSAGES)
DELAY_S_MAX = Limit(900, _MESSAGES)
WAIT_S_MAX = Limit(20, _MESSAGES)
LIST_PAGE = Limit(1000, "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html")
DEDUPLICATION_MS = Limit(
    5 * MINUTE_MS,
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/using-messagededuplicationid-property.html",
)
HELD_BACK_MS = 100  # when a receive looks again that found only what it may not take
DEFAULTS = {
    "VisibilityTimeout": "30",
    "MaximumMessageSize": str(MESSAGE_BYTES_MAX.value),
    "MessageRetentionPeriod": "345600",
    "DelaySeconds": "0",
    "ReceiveMessageWaitTimeSeconds": "0",
    "SqsManagedSseEnabled": "true",
}
RANGES = {
    "VisibilityTimeout": (0, VISIBILITY_S_MAX.value),
    "MaximumMessageSize": (1024, MESSAGE_BYTES_MAX.value),
    "MessageRetentionPeriod": (60, 1_209_600),
    "DelaySeconds": (0, DELAY_S_MAX.value),
    "ReceiveMessageWaitTimeSeconds": (0, WAIT_S_MAX.value),
}
SETTABLE = {*RANGES, "Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "SqsManagedSseEnabled"}
FIFO_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
FIFO_VALUES = {
    "FifoQueue": ("true",),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
