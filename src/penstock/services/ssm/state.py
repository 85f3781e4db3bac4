"""What the room stores: one row per parameter, ("ssm", account, region, "parameter", NAME), newest version last."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.ssm import messages
from penstock.storage.transactions import Key, ReadTransaction, Transaction


@dataclass
class Version:
    number: int
    value: str
    modified_ms: int
    user: str
    description: str | None = None
    key_id: str | None = None
    allowed_pattern: str | None = None
    tier: str = "Standard"
    data_type: str = "text"
    labels: list[str] = field(default_factory=list)


@dataclass
class Parameter:
    name: str
    type: str
    versions: list[Version] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def latest(self) -> Version:
        return self.versions[-1]

    def arn(self, scope: Scope) -> str:
        name = self.name.removeprefix("/")
        return f"arn:{scope.partition}:ssm:{scope.region}:{scope.account_id}:parameter/{name}"


def _key(scope: Scope, *rest: str) -> Key:
    return ("ssm", scope.account_id, scope.region, "parameter", *rest)


def _decode(value: bytes) -> Parameter:
    stored = orjson.loads(value)
    stored["versions"] = [Version(**version) for version in stored["versions"]]
    return Parameter(**stored)


def find(tx: ReadTransaction, scope: Scope, name: str) -> Parameter | None:
    value = tx.get(_key(scope, name))
    return None if value is None else _decode(value)


def get(tx: ReadTransaction, scope: Scope, name: str) -> Parameter:
    found = find(tx, scope, name)
    if found is None:
        raise ServiceError("ParameterNotFound", messages.not_found(name))
    return found


def put(tx: Transaction, scope: Scope, parameter: Parameter) -> None:
    tx.put(_key(scope, parameter.name), orjson.dumps(asdict(parameter)))


def delete(tx: Transaction, scope: Scope, name: str) -> bool:
    """Whether there was one."""
    if tx.get(_key(scope, name)) is None:
        return False
    tx.delete(_key(scope, name))
    return True


def every(tx: ReadTransaction, scope: Scope) -> Iterator[Parameter]:
    for _, value in tx.range(_key(scope)):
        yield _decode(value)
