"""What the room stores.

secret   ("secretsmanager", account, region, "secret", NAME)
value    ("secretsmanager", account, region, "value", NAME, VERSION ID)
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import orjson

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.secretsmanager import messages
from penstock.storage.transactions import Key, ReadTransaction, Transaction


@dataclass
class Version:
    created_ms: int
    stages: list[str] = field(default_factory=list)


@dataclass
class Secret:
    """`deletion_ms` is when it will be gone, None while it lives; `versions` by id, oldest first."""

    name: str
    arn: str
    created_ms: int
    changed_ms: int
    description: str | None = None
    kms_key_id: str | None = None
    accessed_ms: int | None = None
    deleted_ms: int | None = None
    deletion_ms: int | None = None
    policy: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    versions: dict[str, Version] = field(default_factory=dict)

    def find_by_stage(self, stage: str) -> str | None:
        return next((id for id, version in self.versions.items() if stage in version.stages), None)


@dataclass(frozen=True)
class Value:
    """Text, or binary as base64."""

    text: str | None = None
    binary: str | None = None


def room(scope: Scope, *rest: str) -> Key:
    return ("secretsmanager", scope.account_id, scope.region, *rest)


def find(tx: ReadTransaction, scope: Scope, secret_id: str) -> Secret | None:
    """By name, ARN, or ARN without its random suffix."""
    if not secret_id.startswith("arn:"):
        return _load(tx, scope, secret_id)
    parts = secret_id.split(":", 6)
    name = parts[6] if len(parts) == 7 else ""
    for candidate in (name, name[:-7]):
        secret = _load(tx, scope, candidate) if candidate else None
        if secret is not None and (secret.arn == secret_id or secret.arn[:-7] == secret_id):
            return secret
    return None


def _load(tx: ReadTransaction, scope: Scope, name: str) -> Secret | None:
    value = tx.get(room(scope, "secret", name))
    return None if value is None else _decode(value)


def _decode(value: bytes) -> Secret:
    stored = orjson.loads(value)
    stored["versions"] = {id: Version(**version) for id, version in stored["versions"].items()}
    return Secret(**stored)


def get(tx: ReadTransaction, scope: Scope, secret_id: str, *, is_deleted_allowed: bool = False) -> Secret:
    secret = find(tx, scope, secret_id)
    if secret is None:
        raise ServiceError("ResourceNotFoundException", messages.SECRET_NOT_FOUND)
    if secret.deletion_ms is not None and not is_deleted_allowed:
        raise ServiceError("InvalidRequestException", messages.IS_DELETED)
    return secret


def put(tx: Transaction, scope: Scope, secret: Secret) -> None:
    tx.put(room(scope, "secret", secret.name), orjson.dumps(asdict(secret)))


def delete(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "secret", name))
    tx.clear(room(scope, "value", name))


def every(tx: ReadTransaction, scope: Scope) -> Iterator[Secret]:
    for _, value in tx.range(room(scope, "secret")):
        yield _decode(value)


def put_value(tx: Transaction, scope: Scope, name: str, version_id: str, value: Value) -> None:
    tx.put(room(scope, "value", name, version_id), orjson.dumps([value.text, value.binary]))


def find_value(tx: ReadTransaction, scope: Scope, name: str, version_id: str) -> Value | None:
    stored = tx.get(room(scope, "value", name, version_id))
    return None if stored is None else Value(*orjson.loads(stored))


def drop_value(tx: Transaction, scope: Scope, name: str, version_id: str) -> None:
    tx.delete(room(scope, "value", name, version_id))
