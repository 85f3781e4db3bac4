"""Error texts of SQS.

Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and the Errors of each
operation there.
"""

NO_QUEUE = "The specified queue does not exist."
BAD_NAME = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
BAD_FIFO_NAME = (
    "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
    "must end with .fifo suffix and be 1 to 80 in length."
)
DELETED_RECENTLY = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
DUPLICATE_IDS = "Id {} repeated."
BAD_ENTRY_ID = (
    "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
    "It can be at most 80 letters long."
)
NO_GROUP = "The request must contain the parameter MessageGroupId."
NO_DEDUPLICATION = (
    "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
)
EMPTY_BODY = "The request must contain the parameter MessageBody."
BAD_CHARACTERS = (
    "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] "
    "| [#x10000 to #x10FFFF]"
)
NOT_IN_FLIGHT = "The specified message isn't in flight."
THROTTLED = "Request is throttled."
OVER_LIMIT = "Too many messages in flight."
NOT_FOR_THIS_TYPE = "The request include parameter that is not valid for this queue type."
VISIBILITY_BEYOND = "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]"
GONE = "Message does not exist or is not available for visibility timeout change."
HANDLE_EXPIRED = "The receipt handle has expired."
RESERVED_NAME = (
    "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. "
    "These strings are reserved for internal use."
)
THROUGHPUT_NEEDS_SCOPE = (
    "The perMessageGroupId value for FifoThroughputLimit is allowed only when the value for DeduplicationScope is "
    "messageGroup."
)
ONE_ENCRYPTION = (
    "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE."
)
BAD_REDRIVE_ALLOW = "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format."
NO_DLQ_SOURCE = "Source queue must be configured as a Dead Letter Queue."
MOVE_RUNS = "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
MOVE_ENDED = "Only active tasks can be cancelled."
NO_MOVE_TASK = "Task does not exist."
NO_TAGS = "The request must contain the parameter Tags."
BAD_TAG_KEYS = "Tag keys must be between 1 and 128 characters in length."
TOO_MANY_TAGS = "Too many tags added for queue {}."


def exists_otherwise(name: str) -> str:
    return f"A queue already exists with the same name and a different value for attribute {name}"


def bad_value(name: str) -> str:
    return f"Invalid value for the parameter {name}."


def invalid_because(value: object, name: str, reason: str) -> str:
    return f"Value {value} for parameter {name} is invalid. Reason: {reason}"


def out_of_range(name: str, value: int, low: int, high: int) -> str:
    if name == "DelaySeconds":
        return invalid_because(value, name, f"DelaySeconds must be >= {low} and <= {high}.")
    if name in ("WaitTimeSeconds", "VisibilityTimeout"):
        return invalid_because(value, name, f"Must be >= {low} and <= {high}, if provided.")
    return invalid_because(value, name, f"Must be between {low} and {high}, if provided.")


def bad_handle(handle: str) -> str:
    return f'The input receipt handle "{handle}" is not a valid receipt handle.'


def too_long(size_max: int) -> str:
    return f"One or more parameters are invalid. Reason: Message must be shorter than {size_max} bytes."


def unknown_attribute(name: str) -> str:
    return f"Unknown Attribute {name}."


def empty_batch(entry: str) -> str:
    return f"There should be at least one {entry} in the request."


def batch_too_large(count: int) -> str:
    return f"Maximum number of entries per request are 10. You have sent {count}."


def batch_too_long(size_max: int, size: int) -> str:
    return f"Batch requests cannot be longer than {size_max} bytes. You have sent {size} bytes."


def purge_in_progress(name: str) -> str:
    return f"Only one PurgeQueue operation on {name} is allowed every 60 seconds."


def bad_id(name: str) -> str:
    return f"{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."


def too_many_attributes(count: int) -> str:
    return f"Number of message attributes [{count}] exceeds the allowed maximum [10]."


def bad_attribute_name(name: str) -> str:
    return (
        f"The message attribute name '{name}' is invalid. Attribute name can contain A-Z, a-z, 0-9, underscore (_), "
        "hyphen (-), and period (.) characters."
    )


def no_attribute_type(name: str) -> str:
    return f"The message attribute '{name}' must contain non-empty message attribute type."


def bad_attribute_type(name: str) -> str:
    return (
        f"The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is "
        "Binary, Number, and String."
    )


def empty_attribute(name: str, kind: str) -> str:
    return (
        f"The message attribute '{name}' must contain non-empty message attribute value for message attribute type "
        f"'{kind}'."
    )


def not_a_number(name: str) -> str:
    return f"Can't cast the value of message (user) attribute '{name}' to a number."


def bad_system_attribute(name: str) -> str:
    return f"Message system attribute name '{name}' is invalid."


def label_exists(label: str) -> str:
    return invalid_because(label, "Label", "Already exists.")


def no_label(label: str) -> str:
    return invalid_because(label, "Label", "can't find label on existing policy.")


def not_shared(action: str) -> str:
    return invalid_because(f"SQS:{action}", "ActionName", "Only the queue owner is allowed to invoke this action.")


def no_resource(member: str) -> str:
    return f"The resource that you specified for the {member} parameter doesn't exist."


def not_permitted(target: str, source: str) -> str:
    return f"The dead-letter queue {target} doesn't allow {source} as its source queue."
