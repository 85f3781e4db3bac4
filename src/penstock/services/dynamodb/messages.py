"""What DynamoDB answers when it refuses.

Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/ and the error messages of its developer guide
"""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import limits

WRONG_VALUES = "One or more parameter values were invalid: "


def invalid(text: str) -> ServiceError:
    return ServiceError("ValidationException", text)


def wrong(text: str) -> ServiceError:
    return invalid(WRONG_VALUES + text)


def no_resource() -> ServiceError:
    return ServiceError("ResourceNotFoundException", "Requested resource not found")


def no_resource_of(arn: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Requested resource not found: ResourceArn: {arn} not found")


def no_access(arn: str) -> ServiceError:
    return ServiceError("AccessDeniedException", f"Access to the resource {arn} is denied")


def no_table(name: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Requested resource not found: Table: {name} not found")


def no_table_for(name: str) -> ServiceError:
    return ServiceError("TableNotFoundException", f"Table not found: {name}")


def table_exists(name: str) -> ServiceError:
    return ServiceError("ResourceInUseException", f"Table already exists: {name}")


def no_index(name: str) -> ServiceError:
    return invalid(f"The table does not have the specified index: {name}")


def missing_key(name: str) -> ServiceError:
    return wrong(f"Missing the key {name} in the item")


def key_mismatch() -> ServiceError:
    return invalid("The provided key element does not match the schema")


def wrong_key_type(name: str, expected: str, actual: str) -> ServiceError:
    return wrong(f"Type mismatch for key {name} expected: {expected} actual: {actual}")


def wrong_index_key_type(name: str, expected: str, actual: str, index: str) -> ServiceError:
    return wrong(f"Type mismatch for Index Key {name} Expected: {expected} Actual: {actual} IndexName: {index}")


class EmptyKey(ServiceError):
    """A key without content: refused before anything else is looked at, in transactions too."""

    def __init__(self, text: str) -> None:
        super().__init__("ValidationException", text)


def empty_key(name: str, kind: str) -> ServiceError:
    value = "string" if kind == "S" else "binary"
    return EmptyKey(
        "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty "
        f"{value} value. Key: {name}"
    )


def empty_index_key(name: str, kind: str, index: str, *, is_update: bool = False) -> ServiceError:
    value = "string" if kind == "S" else "binary"
    told = "A value specified for a secondary index key is not supported."
    if is_update:
        told = "The update expression attempted to update a secondary index key to a value that is not supported."
    return EmptyKey(
        f"One or more parameter values are not valid. {told} The "
        f"AttributeValue for a key attribute cannot contain an empty {value} value. IndexName: {index}, "
        f"IndexKey: {name}"
    )


def bad_attribute_name(name: str) -> ServiceError:
    if not name:
        return wrong("Attribute name must not be empty")
    return wrong(f"Attribute name is too large, must be less than {limits.NAME_LENGTH_MAX.value} characters")


def hash_key_too_long() -> ServiceError:
    return wrong("Size of hashkey has exceeded the maximum size limit of2048 bytes")


def range_key_too_long() -> ServiceError:
    return wrong("Aggregated size of all range keys has exceeded the size limit of 1024 bytes")


def item_too_large(*, is_update: bool = False) -> ServiceError:
    return invalid(f"Item size {'to update ' if is_update else ''}has exceeded the maximum allowed size")


def key_update(name: str) -> ServiceError:
    return wrong(f"Cannot update attribute {name}. This attribute is part of the key")


def condition_failed(item: Mapping[str, Any] | None) -> ServiceError:
    fields = {"Item": item} if item else {}
    return ServiceError("ConditionalCheckFailedException", "The conditional request failed", fields=fields)


def canceled(reasons: Sequence[Mapping[str, Any]]) -> ServiceError:
    codes = ", ".join(reason["Code"] for reason in reasons)
    return ServiceError(
        "TransactionCanceledException",
        f"Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]",
        fields={"CancellationReasons": list(reasons)},
    )


def duplicate_item() -> ServiceError:
    return ServiceError("DuplicateItemException", "Duplicate primary key exists in table")


def token_mismatch() -> ServiceError:
    return ServiceError(
        "IdempotentParameterMismatchException",
        "DynamoDB rejected the request because you retried a request with a different payload but with an idempotent "
        "token that was already used.",
    )


def throttled() -> ServiceError:
    return ServiceError(
        "ProvisionedThroughputExceededException",
        "The level of configured provisioned throughput for the table was exceeded. Consider increasing your "
        "provisioning level with the UpdateTable API.",
    )


def throttled_on_demand() -> ServiceError:
    return ServiceError(
        "ThrottlingException", "Throughput exceeds the maximum OnDemandThroughput configured on table or index."
    )


def mixed(expressions: Sequence[str], others: Sequence[str]) -> ServiceError:
    return invalid(
        "Can not use both expression and non-expression parameters in the same request: Non-expression parameters: "
        f"{{{', '.join(others)}}} Expression parameters: {{{', '.join(expressions)}}}"
    )


def in_use(name: str) -> ServiceError:
    return ServiceError(
        "ResourceInUseException",
        f"Attempt to change a resource which is still in use: Table is being updated: {name}",
    )


def protected(name: str) -> ServiceError:
    return invalid(
        "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection first."
    )


def invalid_arn() -> ServiceError:
    return invalid("Invalid TableArn: the ARN names no table")


def too_many_tags() -> ServiceError:
    return wrong(f"Too many tags: a resource has {limits.TAGS_MAX.value} at most")


def above(member: str, value: int, most: int) -> ServiceError:
    """What the model doesn't declare, said as if it did."""
    return invalid(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must "
        f"have value less than or equal to {most}"
    )


def too_many_keys(table: str) -> ServiceError:
    return invalid(
        f"1 validation error detected: Value at 'RequestItems.{table}.member.Keys' failed to satisfy constraint: "
        f"Member must have length less than or equal to {limits.GET_BATCH_MAX.value}"
    )


def too_many_key_elements(elements: Sequence[Mapping[str, Any]]) -> ServiceError:
    shown = ", ".join(
        f"KeySchemaElement(attributeName={one['AttributeName']}, keyType={one['KeyType']})" for one in elements
    )
    return invalid(
        f"1 validation error detected: Value '[{shown}]' at 'keySchema' failed to satisfy constraint: Member must have "
        "length less than or equal to 2"
    )


def undefined_keys(missing: Sequence[str], types: Mapping[str, str]) -> ServiceError:
    return wrong(
        "Some index key attributes are not defined in AttributeDefinitions. "
        f"Keys: [{', '.join(missing)}], AttributeDefinitions: [{', '.join(types)}]"
    )


def too_deep() -> ServiceError:
    return invalid(
        "Nesting Levels have exceeded supported limits: Attributes in the item have nested levels beyond supported "
        "limit"
    )


def no_backup(arn: str) -> ServiceError:
    return ServiceError("BackupNotFoundException", f"Backup not found: {arn}")


def no_recovery(name: str) -> ServiceError:
    told = f"Point in time recovery is not enabled for table '{name}'"
    return ServiceError("PointInTimeRecoveryUnavailableException", told)


def table_there(name: str) -> ServiceError:
    return ServiceError("TableAlreadyExistsException", f"Table already exists: {name}")


def no_stream(arn: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")


def no_shard(shard_id: str, arn: str) -> ServiceError:
    return ServiceError(
        "ResourceNotFoundException", f"Requested resource not found: Shard does not exist: {shard_id} in {arn}"
    )


def trimmed() -> ServiceError:
    return ServiceError(
        "TrimmedDataAccessException",
        "The operation attempted to read past the oldest stream record in a shard.",
    )


def expired_iterator() -> ServiceError:
    return ServiceError(
        "ExpiredIteratorException", "Iterator expired. The iterator was created more than 15 minutes ago."
    )
