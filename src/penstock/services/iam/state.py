"""What IAM stores.

("iam", account, "user"|"role", NAME)   Entity
("iam", account, "policy", ARN)         Policy
("iam-key", ACCESS KEY ID)              AccessKey
"""

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime

import orjson

from penstock.engines.policy.aws_managed import DOCUMENTS, PARTITION_HEAD
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services.iam import messages, rules
from penstock.storage.transactions import ReadTransaction, Transaction


@dataclass
class Entity:
    """A user or a role. `inline` by name; `attached` holds ARNs; times in ms."""

    kind: str
    name: str
    path: str
    id: str
    arn: str
    created_ms: int
    trust: str = ""
    description: str = ""
    session_s_max: int = 3600
    boundary: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    inline: dict[str, str] = field(default_factory=dict)
    attached: list[str] = field(default_factory=list)


@dataclass
class Policy:
    """A managed policy. `versions` by id: (document, created_ms)."""

    name: str
    path: str
    id: str
    arn: str
    created_ms: int
    updated_ms: int
    description: str = ""
    default: str = "v1"
    next_version: int = 2
    versions: dict[str, tuple[str, int]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


@dataclass
class AccessKey:
    id: str
    secret: str
    account_id: str
    user: str
    created_ms: int
    status: str = "Active"


def find_entity(tx: ReadTransaction, account_id: str, kind: str, name: str) -> Entity | None:
    value = tx.get(("iam", account_id, kind, name))
    return Entity(**orjson.loads(value)) if value is not None else None


def get_entity(tx: ReadTransaction, account_id: str, kind: str, name: str) -> Entity:
    entity = find_entity(tx, account_id, kind, name)
    if entity is None:
        raise rules.no_entity(kind, name)
    return entity


def put_entity(tx: Transaction, account_id: str, entity: Entity) -> None:
    tx.put(("iam", account_id, entity.kind, entity.name), orjson.dumps(asdict(entity)))


def delete_entity(tx: Transaction, account_id: str, entity: Entity) -> None:
    tx.delete(("iam", account_id, entity.kind, entity.name))


def entities(tx: ReadTransaction, account_id: str, kind: str, path: str = "/") -> list[Entity]:
    pairs = tx.range(("iam", account_id, kind))
    found = [Entity(**orjson.loads(value)) for _, value in pairs]
    return [entity for entity in found if entity.path.startswith(path)]


def find_policy(tx: ReadTransaction, account_id: str, arn: str) -> Policy | None:
    """A customer's policy or one of AWS's."""
    if arn.startswith(PARTITION_HEAD):
        return _aws_policy(arn)
    value = tx.get(("iam", account_id, "policy", arn))
    return Policy(**orjson.loads(value)) if value is not None else None


def get_policy(tx: ReadTransaction, account_id: str, arn: str) -> Policy:
    policy = find_policy(tx, account_id, arn)
    if policy is None:
        raise ServiceError("NoSuchEntity", messages.no_policy(arn), status=404)
    return policy


def put_policy(tx: Transaction, account_id: str, policy: Policy) -> None:
    tx.put(("iam", account_id, "policy", policy.arn), orjson.dumps(asdict(policy)))


def policies(tx: ReadTransaction, account_id: str) -> list[Policy]:
    return [Policy(**orjson.loads(value)) for _, value in tx.range(("iam", account_id, "policy"))]


def attached_to(tx: ReadTransaction, account_id: str, arn: str) -> list[Entity]:
    both = entities(tx, account_id, "user") + entities(tx, account_id, "role")
    return [entity for entity in both if arn in entity.attached]


def put_key(tx: Transaction, key: AccessKey) -> None:
    tx.put(("iam-key", key.id), orjson.dumps(asdict(key)))


def find_key(tx: ReadTransaction, key_id: str) -> AccessKey | None:
    value = tx.get(("iam-key", key_id))
    return AccessKey(**orjson.loads(value)) if value is not None else None


def keys_of(tx: ReadTransaction, account_id: str, user: str) -> list[AccessKey]:
    found = [AccessKey(**orjson.loads(value)) for _, value in tx.range(("iam-key",))]
    return [key for key in found if (key.account_id, key.user) == (account_id, user)]


def time_of(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _aws_policy(arn: str) -> Policy | None:
    document = DOCUMENTS.get(arn.removeprefix(PARTITION_HEAD))
    if document is None:
        return None
    path, _, name = arn.removeprefix(PARTITION_HEAD).rpartition("/")
    return Policy(name, f"/{path}/" if path else "/", f"ANPA{name.upper()}", arn, 0, 0, versions={"v1": (document, 0)})


class PolicySource:
    """What the framework asks of IAM: the policies of a principal, and the holder of a key."""

    def find_access_key(self, tx: ReadTransaction, access_key_id: str) -> tuple[str, Principal] | None:
        key = find_key(tx, access_key_id)
        user = find_entity(tx, key.account_id, "user", key.user) if key else None
        if key is None or user is None or key.status != "Active":
            return None
        return key.secret, Principal("user", key.account_id, user.arn, user.id, access_key_id=key.id)

    def policies_of(self, tx: ReadTransaction, principal: Principal) -> tuple[list[str], str | None]:
        """The identity policies' documents and the permissions boundary's; empty for who isn't known."""
        kind = "user" if principal.kind == "user" else "role"
        parts = principal.arn.split("/")
        name = parts[1] if ":assumed-role/" in principal.arn else parts[-1]
        entity = find_entity(tx, principal.account_id, kind, name)
        if entity is None:
            return [], None
        found = [find_policy(tx, principal.account_id, arn) for arn in entity.attached]
        documents = [*entity.inline.values(), *(p.versions[p.default][0] for p in found if p)]
        boundary = find_policy(tx, principal.account_id, entity.boundary) if entity.boundary else None
        return documents, boundary.versions[boundary.default][0] if boundary else None
