"""Layer versions and their policies, as they are stored."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from penstock.kernel.scope import Scope
from penstock.services.lambda_ import state
from penstock.services.lambda_.state import POLICY, Package, Policy
from penstock.storage.records import Record
from penstock.storage.transactions import ReadTransaction, Transaction


@dataclass
class LayerVersion:
    name: str
    number: int
    package: Package
    created_ms: int
    description: str = ""
    runtimes: list[str] = field(default_factory=list)
    architectures: list[str] = field(default_factory=list)
    license: str = ""


_LAYER = Record(LayerVersion)


def layer_arn(scope: Scope, name: str, number: int | None = None) -> str:
    tail = "" if number is None else f":{number}"
    return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account_id}:layer:{name}{tail}"


def next_layer_number(tx: Transaction, scope: Scope, name: str) -> int:
    """Numbers are never given out twice, not even after a deletion."""
    key = state.room(scope, "layer-next", name)
    number = int(tx.get(key) or b"0") + 1
    tx.put(key, str(number).encode())
    return number


def find_layer(tx: ReadTransaction, scope: Scope, name: str, number: int) -> LayerVersion | None:
    return _LAYER.find(tx.get(state.room(scope, "layer", name, number)))


def put_layer(tx: Transaction, scope: Scope, layer: LayerVersion) -> None:
    tx.put(state.room(scope, "layer", layer.name, layer.number), _LAYER.dump(layer))


def delete_layer(tx: Transaction, scope: Scope, name: str, number: int) -> None:
    tx.delete(state.room(scope, "layer", name, number))
    tx.delete(state.room(scope, "layer-policy", name, number))


def find_layer_policy(tx: ReadTransaction, scope: Scope, name: str, number: int) -> Policy | None:
    return POLICY.find(tx.get(state.room(scope, "layer-policy", name, number)))


def put_layer_policy(tx: Transaction, scope: Scope, name: str, number: int, policy: Policy) -> None:
    """One without statements is none."""
    key = state.room(scope, "layer-policy", name, number)
    if policy.statements:
        tx.put(key, POLICY.dump(policy))
    else:
        tx.delete(key)


def layers(tx: ReadTransaction, scope: Scope) -> Iterator[LayerVersion]:
    """By name, then number."""
    for _, value in tx.range(state.room(scope, "layer")):
        yield _LAYER.load(value)


def layer_versions_backward(tx: ReadTransaction, scope: Scope, name: str, *, before: int) -> Iterator[LayerVersion]:
    prefix = state.room(scope, "layer", name)
    for _, value in tx.range(prefix, end=(*prefix, before), reverse=True):
        yield _LAYER.load(value)
