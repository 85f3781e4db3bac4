"""Error texts of CloudWatch Logs.

Source: https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/CommonErrors.html and the pages of
the operations.
"""

GROUP_NOT_FOUND = "The specified log group does not exist."
GROUP_EXISTS = "The specified log group already exists"
STREAM_NOT_FOUND = "The specified log stream does not exist."
STREAM_EXISTS = "The specified log stream already exists"
OUT_OF_ORDER = "Log events in a single PutLogEvents request must be in chronological order."
SPAN_TOO_LONG = "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
BAD_TOKEN = "The specified nextToken is invalid."
BAD_PATTERN = "Invalid filter pattern"
PREFIX_WITH_TIME_ORDER = "Cannot order by LastEventTime with a logStreamNamePrefix."
NAMES_AND_PREFIX = "LogStreamNamePrefix and LogStreamNames cannot be specified together"
GROUP_NAME_OR_IDENTIFIER = "LogGroup name and identifier cannot both be null"
RETENTION = "1 validation error detected: Value at 'retentionInDays' failed to satisfy constraint: Invalid value"
PREFIX_AND_PATTERN = "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters."
TOO_MANY_TAGS = "The maximum number of tags per log group is 50"


def upload_too_large(size: int, size_max: int) -> str:
    return f"Upload too large: {size} bytes exceeds limit of {size_max}"


def event_time_range() -> str:
    return "startTime must be less than or equal to endTime"
