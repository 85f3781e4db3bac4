"""Error texts of SQS.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html
"""

NO_QUEUE = "The specified queue does not exist."
EMPTY_BATCH = "There should be at least one SendMessageBatchRequestEntry in the request."
DUPLICATE_IDS = "Id repeated."
BAD_FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
    "must end with .fifo suffix and be 1 to 80 in length."
)
NO_GROUP = "The request must contain the parameter MessageGroupId."
NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
BAD_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
NOT_IN_FLIGHT = "The specified message isn't in flight."
EMPTY_BODY = "The request must contain the parameter MessageBody."


def exists_otherwise(name: str) -> str:
    return f"A queue already exists with the same name and a different value for attribute {name}"


def bad_value(name: str) -> str:
    return f"Invalid value for the parameter {name}."


def bad_handle(handle: str) -> str:
    return f'The input receipt handle "{handle}" is not a valid receipt handle.'


def too_long(size_max: int) -> str:
    return f"One or more parameters are invalid. Reason: Message must be shorter than {size_max} bytes."


def unknown_attribute(name: str) -> str:
    return f"Unknown Attribute {name}."


def out_of_range(name: str, value: int, low: int, high: int) -> str:
    return f"Value {value} for parameter {name} is invalid. Reason: Must be between {low} and {high}, if provided."


def batch_too_large(count: int) -> str:
    return f"Maximum number of entries per request are 10. You have sent {count}."


def delay_of_fifo(seconds: int) -> str:
    return (
        f"Value {seconds} for parameter DelaySeconds is invalid. "
        "Reason: The request include parameter that is not valid for this queue type."
    )
