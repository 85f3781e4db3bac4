"""Key schemas and indexes as requests state them, checked."""

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.framework.context import Context
from penstock.kernel.errors import ServiceError
from penstock.services.dynamodb import limits, messages
from penstock.services.dynamodb.state import Index, Schema

Members = Mapping[str, Any]
_KEY_BYTES = 8
HASHES_MAX = RANGES_MAX = 4


def new_key(ctx: Context) -> str:
    """What names a table's items, or an index's entries, in the store."""
    return ctx.entropy.token_hex(_KEY_BYTES)


def types_of(definitions: Sequence[Members]) -> dict[str, str]:
    names = [one["AttributeName"] for one in definitions]
    for name in names:
        if names.count(name) > 1:
            raise messages.wrong(f"Duplicate AttributeName in AttributeDefinitions: {name}")
    return {one["AttributeName"]: one["AttributeType"] for one in definitions}


def schema_of(elements: Sequence[Members], *, parts_max: int = 1) -> Schema:
    """Partition keys, then sort keys. Raises ValidationException."""
    kinds = [one["KeyType"] for one in elements]
    names = [one["AttributeName"] for one in elements]
    if kinds[0] != "HASH":
        raise messages.invalid("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    hashes = [name for name, kind in zip(names, kinds, strict=True) if kind == "HASH"]
    ranges = [name for name, kind in zip(names, kinds, strict=True) if kind == "RANGE"]
    if parts_max == 1:
        if len(kinds) > 2:
            raise messages.too_many_key_elements(elements)
        if len(kinds) == 2 and kinds[1] != "RANGE":
            raise messages.invalid("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")
        if len(kinds) == 2 and names[0] == names[1]:
            raise messages.invalid("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    if len(hashes) > parts_max or len(ranges) > parts_max or hashes + ranges != names:
        raise messages.wrong(f"At most {parts_max} HASH then {parts_max} RANGE key attributes are allowed")
    if len(set(names)) != len(names):
        raise messages.wrong("Duplicate attribute names in KeySchema")
    return Schema(hashes, ranges)


def check_definitions(table: Schema, indexes: Sequence[Index], types: Mapping[str, str]) -> None:
    """Every key attribute is defined, and nothing else is. Raises ValidationException."""
    used = dict.fromkeys([*table.names, *(name for index in indexes for name in index.schema.names)])
    missing = [name for name in used if name not in types]
    if missing:
        raise messages.undefined_keys(missing, types)
    if len(used) != len(types):
        if indexes:
            raise messages.wrong(
                f"Some AttributeDefinitions are not used. AttributeDefinitions: [{', '.join(types)}], keys used: "
                f"[{', '.join(used)}]"
            )
        raise messages.wrong(
            "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )


def units_of(req: Members, what: str) -> tuple[int, int]:
    """Read and write units where they must be given."""
    given = req.get("ProvisionedThroughput")
    if given is None:
        if what == "table":
            raise messages.wrong(
                "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
            )
        raise messages.wrong(f"ProvisionedThroughput is not specified for index: {what}")
    return given["ReadCapacityUnits"], given["WriteCapacityUnits"]


def check_on_demand(req: Members) -> None:
    if req.get("ProvisionedThroughput"):
        raise messages.wrong(
            "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is PAY_PER_REQUEST"
        )


def local_indexes(ctx: Context, table: Schema, given: Sequence[Members]) -> list[Index]:
    if not table.range and given:
        raise messages.wrong(
            "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex"
        )
    if len(given) > limits.INDEXES_LOCAL_MAX.value:
        raise messages.wrong("Number of LocalSecondaryIndexes exceeds per-table limit of 5")
    found = []
    for one in given:
        schema = schema_of(one["KeySchema"])
        name = one["IndexName"]
        if not schema.range:
            raise messages.wrong(f"Index KeySchema does not have a range key for index: {name}")
        if schema.hash != table.hash:
            raise messages.wrong(
                f"Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. index "
                f"hash key: {schema.hash[0]}, table hash key: {table.hash[0]}"
            )
        found.append(_index(ctx, one, schema, is_local=True))
    return found


def global_indexes(ctx: Context, given: Sequence[Members], *, is_on_demand: bool) -> list[Index]:
    if len(given) > limits.INDEXES_GLOBAL_MAX.value:
        raise messages.wrong("GlobalSecondaryIndex count exceeds the per-table limit of 20")
    return [global_index(ctx, one, is_on_demand=is_on_demand) for one in given]


def global_index(ctx: Context, given: Members, *, is_on_demand: bool) -> Index:
    index = _index(ctx, given, schema_of(given["KeySchema"], parts_max=HASHES_MAX), is_local=False)
    if is_on_demand:
        check_on_demand(given)
        index.throughput = dict(given.get("OnDemandThroughput") or {})
    else:
        index.read_units, index.write_units = units_of(given, index.name)
    return index


def _index(ctx: Context, given: Members, schema: Schema, *, is_local: bool) -> Index:
    projection = given["Projection"]
    kind, included = projection.get("ProjectionType"), projection.get("NonKeyAttributes")
    if kind is None:
        raise messages.wrong("Unknown ProjectionType: null")
    if kind == "INCLUDE" and not included:
        raise messages.wrong("ProjectionType is INCLUDE, but NonKeyAttributes is not specified")
    if kind != "INCLUDE" and included is not None:
        raise messages.wrong(f"ProjectionType is {kind}, but NonKeyAttributes is specified")
    return Index(given["IndexName"], new_key(ctx), schema, kind, list(included or []), is_local)


def check_names(indexes: Sequence[Index]) -> None:
    names = [index.name for index in indexes]
    for name in names:
        if names.count(name) > 1:
            raise messages.wrong(f"Duplicate index name: {name}")
    included = sum(len(index.included) for index in indexes)
    if included > limits.PROJECTED_MAX.value:
        raise too_many_projected(included)


def too_many_projected(count: int) -> ServiceError:
    return messages.wrong(
        f"Number of NonKeyAttributes across all indexes of the table is {count}, which exceeds the limit of "
        f"{limits.PROJECTED_MAX.value}"
    )
