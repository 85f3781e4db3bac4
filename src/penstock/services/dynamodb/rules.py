"""Pure decisions about items: keys, sizes, capacity, what an index holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.engines.expressions import numbers, values
from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.values import Item
from penstock.services.dynamodb import limits, messages
from penstock.services.dynamodb.state import Index, Schema, Table


def normal_item(item: Mapping[str, Any]) -> Item:
    """Raises ValidationException."""
    for name in item:
        if not 0 < len(name) <= limits.NAME_LENGTH_MAX.value:
            raise messages.bad_attribute_name(name)
    try:
        return values.normal_item(item)
    except BadExpression as error:
        raise messages.invalid(str(error)) from None


def measured_item(item: Mapping[str, Any]) -> tuple[Item, int]:
    """`normal_item` with its size. Raises ValidationException."""
    for name in item:
        if not 0 < len(name) <= limits.NAME_LENGTH_MAX.value:
            raise messages.bad_attribute_name(name)
    try:
        return values.measured(item)
    except BadExpression as error:
        raise messages.invalid(str(error)) from None


def check_item(table: Table, item: Item) -> None:
    """Whether a normal item may be put. Raises ValidationException."""
    types = table.types
    for name in table.schema.names:
        value = item.get(name)
        if value is None:
            raise messages.missing_key(name)
        if types[name] not in value:
            raise messages.wrong_key_type(name, types[name], values.kind_of(value))
    check_key_values(table.schema, item)
    if table.indexes:
        check_index_keys(table, item)


def check_key_values(schema: Schema, item: Mapping[str, Any]) -> None:
    """Empty and overlong keys."""
    for name in schema.names:
        [(kind, content)] = item[name].items()
        if kind == "N":
            continue
        if not content:
            raise messages.empty_key(name, kind)
        size = len(content.encode() if kind == "S" else content)
        if name in schema.hash and size > limits.HASH_KEY_BYTES_MAX.value:
            raise messages.hash_key_too_long()
        if name in schema.range and size > limits.RANGE_KEY_BYTES_MAX.value:
            raise messages.range_key_too_long()


def named_in_order(table: Table) -> list[Index]:
    """The indexes by name: of several that refuse a value, the first is told."""
    return sorted(table.indexes, key=lambda index: index.name) if len(table.indexes) > 1 else table.indexes


def check_index_keys(table: Table, item: Mapping[str, Any]) -> None:
    own = table.schema.names
    for index in named_in_order(table):
        for name in index.schema.names:
            value = item.get(name)
            if value is None or name in own:
                continue
            kind = table.types[name]
            if kind not in value:
                raise messages.wrong_index_key_type(name, kind, values.kind_of(value), index.name)
            if kind != "N" and not value[kind]:
                raise messages.empty_index_key(name, kind, index.name)
            _check_index_key_length(index, name, value[kind], kind)


def _check_index_key_length(index: Index, name: str, content: Any, kind: str) -> None:
    if kind == "N":
        return
    size = len(content.encode() if kind == "S" else content)
    if name in index.schema.hash and size > limits.HASH_KEY_BYTES_MAX.value:
        raise messages.hash_key_too_long()
    if name in index.schema.range and size > limits.RANGE_KEY_BYTES_MAX.value:
        raise messages.range_key_too_long()


def checked_key(table: Table, key: Mapping[str, Any]) -> Item:
    """The normal key of one item. Raises ValidationException."""
    names, types = table.schema.names, table.types
    if len(key) != len(names):
        raise messages.key_mismatch()
    found = {}
    for name in names:
        value = key.get(name)
        if value is None or types[name] not in value or len(value) != 1:
            raise messages.key_mismatch()
        found[name] = {"N": numbers.normal(value["N"])} if types[name] == "N" else value
    check_key_values(table.schema, found)
    return found


def key_of(schema: Schema, item: Mapping[str, Any]) -> Item:
    return {name: item[name] for name in schema.names}


def projected(table: Table, index: Index, item: Item) -> Item:
    """What an index holds of an item."""
    if index.projection == "ALL":
        return item
    names = dict.fromkeys([*table.schema.names, *index.schema.names, *index.included])
    return {name: item[name] for name in names if name in item}


def projects(table: Table, index: Index, name: str) -> bool:
    return index.projection == "ALL" or name in (*table.schema.names, *index.schema.names, *index.included)


def read_units(size: int, *, is_consistent: bool) -> float:
    """Of a read of so many bytes: half where it need not be consistent."""
    units = max(1, -(-size // limits.READ_UNIT_BYTES.value))
    return float(units) if is_consistent else units / 2


def write_units(size: int) -> float:
    return float(max(1, -(-size // limits.WRITE_UNIT_BYTES.value)))


@dataclass(slots=True)
class Cost:
    """Capacity units that a table and its indexes gave."""

    table: float = 0.0
    indexes: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        return self.table + sum(self.indexes.values())

    def add(self, other: "Cost", factor: float = 1.0) -> None:
        self.table += other.table * factor
        for name, units in other.indexes.items():
            self.indexes[name] = self.indexes.get(name, 0.0) + units * factor


def shown_cost(table: Table, name: str, cost: Cost, how: str | None, *, kind: str = "") -> dict[str, Any] | None:
    """ConsumedCapacity, or None where nobody asked. kind: Read or Write, which transactions tell apart.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_ConsumedCapacity.html
    """
    if how not in ("TOTAL", "INDEXES"):
        return None

    def units(amount: float) -> dict[str, float]:
        return {"CapacityUnits": amount} | ({f"{kind}CapacityUnits": amount} if kind else {})

    shown: dict[str, Any] = {"TableName": name, **units(cost.total)}
    if how == "INDEXES":
        shown["Table"] = units(cost.table)
        for member, is_local in (("LocalSecondaryIndexes", True), ("GlobalSecondaryIndexes", False)):
            found = {
                index.name: units(cost.indexes[index.name])
                for index in table.indexes
                if index.is_local is is_local and index.name in cost.indexes
            }
            if found:
                shown[member] = found
    return shown
