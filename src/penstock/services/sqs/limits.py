"""Quotas of SQS."""

from penstock.kernel.limits import Limit
from penstock.kernel.units import MIB, MINUTE_MS, SECOND_MS

_GUIDE = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide"
_API = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference"
_MESSAGES = f"{_GUIDE}/quotas-messages.html"
_QUEUES = f"{_GUIDE}/quotas-queues.html"

BATCH_MAX = Limit(10, _MESSAGES)
MESSAGE_BYTES_MAX = Limit(MIB, _MESSAGES)
BATCH_BYTES_MAX = Limit(MIB, _MESSAGES)
ATTRIBUTES_MAX = Limit(10, _MESSAGES)
ATTRIBUTE_NAME_MAX = Limit(256, f"{_GUIDE}/sqs-message-metadata.html")
ID_MAX = Limit(128, f"{_API}/API_SendMessage.html")
VISIBILITY_S_MAX = Limit(43_200, _MESSAGES)
DELAY_S_MAX = Limit(900, _MESSAGES)
WAIT_S_MAX = Limit(20, _MESSAGES)
IN_FLIGHT_MAX = Limit(120_000, _QUEUES)
FIFO_CALLS_A_SECOND = Limit(300, f"{_GUIDE}/quotas-fifo.html")
TAGS_MAX = Limit(50, _QUEUES)
LIST_PAGE = Limit(1000, f"{_API}/API_ListQueues.html")
DEDUPLICATION_MS = Limit(5 * MINUTE_MS, f"{_GUIDE}/using-messagededuplicationid-property.html")
ATTEMPT_MS = Limit(5 * MINUTE_MS, f"{_GUIDE}/using-receiverequestattemptid-request-parameter.html")
DELETED_MS = Limit(60 * SECOND_MS, f"{_API}/API_DeleteQueue.html")
PURGE_MS = Limit(60 * SECOND_MS, f"{_API}/API_PurgeQueue.html")
RECEIVES_MAX = Limit(1000, f"{_GUIDE}/sqs-dead-letter-queues.html")
SOURCE_QUEUES_MAX = Limit(10, f"{_API}/API_SetQueueAttributes.html")
MOVES_PER_S_MAX = Limit(500, f"{_API}/API_StartMessageMoveTask.html")
MOVE_TASKS_PAGE = Limit(10, f"{_API}/API_ListMessageMoveTasks.html")
HELD_BACK_MS = 100  # when a receive looks again that found only what it may not take
IN_FLIGHT_LOOK_MS = 1000  # how long it is believed that a queue has too many in flight
MOVE_AT_ONCE = 100  # messages of one step of a move that isn't slowed down
EXPIRE_AT_ONCE, EXPIRE_EVERY_MESSAGES = 1000, 64
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
    "KmsDataKeyReusePeriodSeconds": (60, 86_400),
}
FIFO_DEFAULTS = {
    "ContentBasedDeduplication": "false",
    "DeduplicationScope": "queue",
    "FifoThroughputLimit": "perQueue",
}
VALUES = {
    "SqsManagedSseEnabled": ("true", "false"),
    "FifoQueue": ("true",),
    "ContentBasedDeduplication": ("true", "false"),
    "DeduplicationScope": ("queue", "messageGroup"),
    "FifoThroughputLimit": ("perQueue", "perMessageGroupId"),
}
OF_FIFO = ("FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit")
SETTABLE = {*RANGES, *VALUES, "Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId"}
COUNTED = {
    "QueueArn",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
}
SYSTEM_ATTRIBUTES = {
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
}
# What an owner may let others do. Source: the list of actions in API_AddPermission.html
SHARED_ACTIONS = {
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
}
