"""What the room stores, below ("lambda", account, region).

function   ("function", NAME): what all versions share
version    ("version", NAME, N): configuration and package; N is 0 for $LATEST
previous   ("previous", NAME): $LATEST as it runs while an update is in progress
alias      ("alias", NAME, ALIAS)
policy     ("policy", NAME, QUALIFIER): statements of AddPermission; "" for the function itself
async      ("async", NAME, QUALIFIER): event invoke configuration
layer      ("layer", LAYER, N), ("layer-next", LAYER), ("layer-policy", LAYER, N): operations/layer_records.py
signing    ("code-signing", ID): code signing configurations (operations/code_signing.py)
usage      ("usage", DAY, NAME, ARCHITECTURE): what was run
events     ("lambda-events", account, region, NAME, ...): a storage.queue.Queue of asynchronous events
url        ("url", NAME, QUALIFIER), ("lambda-urls", ID): function URLs and whose they are
sources    ("lambda-sources", ...), ("lambda-progress", ...): event source mappings (operations/mappings.py)
provisioned  ("lambda-provisioned", account, region, NAME, QUALIFIER): operations/provisioned.py
known      ("lambda-known", account, region, NAME): the functions that have had such events
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from penstock.kernel.scope import Scope
from penstock.storage.queue import Queue
from penstock.storage.records import Record
from penstock.storage.transactions import Key, ReadTransaction, Transaction

LATEST = "$LATEST"
PROVISIONED = ("lambda-provisioned",)
ACTIVATE = "lambda.activate"
DELETE_BLOB = "lambda.delete_blob"
DELETE_CODE = "lambda.delete_code"
DELIVER = "lambda.deliver"


@dataclass
class Package:
    """A deployment package: the zip as it was uploaded. `sha256` in base64.

    reference   S3Bucket, S3Key and S3ObjectVersion of one that stays the user's own; the blob is a cache then
    """

    blob_id: str
    size: int
    sha256: str
    unzipped_bytes: int
    reference: dict[str, str] = field(default_factory=dict)

    @property
    def stored_bytes(self) -> int:
        """What counts against the account's code storage."""
        return 0 if self.reference else self.size


@dataclass
class LayerUse:
    """A layer version as a function holds it: it outlives the version's deletion. No package: managed by AWS."""

    arn: str
    size: int
    package: Package | None = None


@dataclass
class Function:
    """`version_last` is the highest number given out; it never falls. `recursion` is Terminate or Allow.

    runtime_updates   what PutRuntimeManagementConfig gave, by version
    """

    name: str
    created_ms: int
    version_last: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    reserved_concurrency: int | None = None
    recursion: str = "Terminate"
    code_signing_arn: str = ""
    runtime_updates: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Version:
    """One version's configuration. `config_id` changes with code or configuration, `revision_id` with every write.

    `kept` holds members that are stored and given back as they came: VpcConfig, KMSKeyArn and the like.
    """

    name: str
    version: str
    config_id: str
    revision_id: str
    modified_ms: int
    package: Package
    role: str
    runtime: str
    handler: str
    description: str = ""
    timeout_s: int = 3
    memory_mb: int = 128
    ephemeral_mb: int = 512
    environment: dict[str, str] | None = None
    layers: list[LayerUse] = field(default_factory=list)
    architecture: str = "x86_64"
    dead_letter_arn: str = ""
    tracing: str = "PassThrough"
    logging: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    state: str = "Pending"
    state_reason: str = ""
    state_code: str = ""
    update_status: str = "Successful"
    update_reason: str = ""
    update_code: str = ""

    @property
    def number(self) -> int:
        return 0 if self.version == LATEST else int(self.version)

    @property
    def has_snap_start(self) -> bool:
        """Whether its environments are restored from a snapshot: of published versions only."""
        wanted = (self.kept.get("SnapStart") or {}).get("ApplyOn")
        return self.version != LATEST and wanted == "PublishedVersions"

    @property
    def durable(self) -> dict[str, Any] | None:
        """DurableConfig, of a function whose invocations are durable executions."""
        return self.kept.get("DurableConfig") or None

    @property
    def durable_timeout_s(self) -> int:
        return int((self.durable or {}).get("ExecutionTimeout") or 0)

    @property
    def durable_retention_days(self) -> int:
        return int((self.durable or {}).get("RetentionPeriodInDays") or 0)

    @property
    def is_tenant_isolated(self) -> bool:
        """Whether each tenant has environments of its own."""
        return (self.kept.get("TenancyConfig") or {}).get("TenantIsolationMode") == "PER_TENANT"

    @property
    def log_group(self) -> str:
        return self.logging.get("LogGroup") or f"/aws/lambda/{self.name}"


@dataclass
class Alias:
    """`weights` by version number: the share of invocations that go there instead."""

    name: str
    function: str
    version: str
    revision_id: str
    description: str = ""
    weights: dict[str, float] = field(default_factory=dict)


_FUNCTION = Record(Function)
_VERSION = Record(Version)
_ALIAS = Record(Alias)


def room(scope: Scope, *rest: str | int) -> Key:
    return ("lambda", scope.account_id, scope.region, *rest)


def arn_of(scope: Scope, name: str, qualifier: str = "") -> str:
    tail = f":{qualifier}" if qualifier else ""
    return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account_id}:function:{name}{tail}"


def find_function(tx: ReadTransaction, scope: Scope, name: str) -> Function | None:
    return _FUNCTION.find(tx.get(room(scope, "function", name)))


def put_function(tx: Transaction, scope: Scope, function: Function) -> None:
    tx.put(room(scope, "function", function.name), _FUNCTION.dump(function))


def functions(tx: ReadTransaction, scope: Scope, *, after: str = "") -> Iterator[Function]:
    """In order of name, beginning behind `after`."""
    begin = room(scope, "function", after + "\0") if after else None
    for _, value in tx.range(room(scope, "function"), begin=begin):
        yield _FUNCTION.load(value)


def find_version(tx: ReadTransaction, scope: Scope, name: str, version: str) -> Version | None:
    number = 0 if version == LATEST else int(version)
    return _VERSION.find(tx.get(room(scope, "version", name, number)))


def put_version(tx: Transaction, scope: Scope, version: Version) -> None:
    tx.put(room(scope, "version", version.name, version.number), _VERSION.dump(version))


def versions(tx: ReadTransaction, scope: Scope, name: str, *, begin: int = 0) -> Iterator[Version]:
    """$LATEST first, then by number."""
    for _, value in tx.range(room(scope, "version", name), begin=room(scope, "version", name, begin)):
        yield _VERSION.load(value)


def delete_version(tx: Transaction, scope: Scope, name: str, number: int) -> None:
    tx.delete(room(scope, "version", name, number))
    tx.delete((*PROVISIONED, scope.account_id, scope.region, name, str(number)))


def delete_function(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "function", name))
    tx.delete(room(scope, "previous", name))
    for part in ("version", "alias", "policy", "async"):
        tx.clear(room(scope, part, name))
    tx.clear((*PROVISIONED, scope.account_id, scope.region, name))
    forget_events(tx, scope, name)


def find_previous(tx: ReadTransaction, scope: Scope, name: str) -> Version | None:
    return _VERSION.find(tx.get(room(scope, "previous", name)))


def put_previous(tx: Transaction, scope: Scope, version: Version) -> None:
    tx.put(room(scope, "previous", version.name), _VERSION.dump(version))


def drop_previous(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(room(scope, "previous", name))


def find_alias(tx: ReadTransaction, scope: Scope, name: str, alias: str) -> Alias | None:
    return _ALIAS.find(tx.get(room(scope, "alias", name, alias)))


def put_alias(tx: Transaction, scope: Scope, alias: Alias) -> None:
    tx.put(room(scope, "alias", alias.function, alias.name), _ALIAS.dump(alias))


def delete_alias(tx: Transaction, scope: Scope, name: str, alias: str) -> None:
    tx.delete(room(scope, "alias", name, alias))
    tx.delete((*PROVISIONED, scope.account_id, scope.region, name, alias))
    tx.delete(room(scope, "policy", name, alias))
    tx.delete(room(scope, "async", name, alias))


def aliases(tx: ReadTransaction, scope: Scope, name: str, *, after: str = "") -> Iterator[Alias]:
    begin = room(scope, "alias", name, after + "\0") if after else None
    for _, value in tx.range(room(scope, "alias", name), begin=begin):
        yield _ALIAS.load(value)


def events_of(scope: Scope, name: str) -> Queue:
    """The function's asynchronous events."""
    return Queue(events_prefix(scope, name))


def events_prefix(scope: Scope, name: str) -> Key:
    return ("lambda-events", scope.account_id, scope.region, name)


def note_events(tx: Transaction, scope: Scope, name: str) -> None:
    """Remember that the function has a queue."""
    key = ("lambda-known", scope.account_id, scope.region, name)
    if tx.get(key) is None:
        tx.put(key, b"")


def known_queues(tx: ReadTransaction) -> Iterator[tuple[Scope, str]]:
    for key, _ in tx.range(("lambda-known",)):
        yield Scope(str(key[1]), str(key[2])), str(key[3])


def forget_events(tx: Transaction, scope: Scope, name: str) -> None:
    tx.delete(("lambda-known", scope.account_id, scope.region, name))
    events_of(scope, name).drop(tx)


def is_package_used(tx: ReadTransaction, scope: Scope, name: str, blob_id: str) -> bool:
    """By a version, or by what runs until an update has ended."""
    previous = find_previous(tx, scope, name)
    if previous is not None and previous.package.blob_id == blob_id:
        return True
    return any(version.package.blob_id == blob_id for version in versions(tx, scope, name))


def copy_version(latest: Version, number: str, *, config_id: str, revision_id: str) -> Version:
    return replace(_VERSION.load(_VERSION.dump(latest)), version=number, config_id=config_id, revision_id=revision_id)


@dataclass
class EventConfig:
    """How asynchronous events of one qualifier are treated; None where AWS's default holds. Destinations are ARNs."""

    qualifier: str
    modified_ms: int
    age_s_max: int | None = None
    retries_max: int | None = None
    on_success: str = ""
    on_failure: str = ""


@dataclass
class FunctionUrl:
    """A function URL. `qualifier` is an alias or empty; `cors` as the request gave it."""

    id: str
    qualifier: str
    auth_type: str
    cors: dict[str, Any]
    invoke_mode: str
    created_ms: int
    modified_ms: int


@dataclass(frozen=True)
class Event:
    """An asynchronous event on its way. `failures` and `throttles` count what its tries came to so far.

    last_status   of the last try: 200 where the function failed, 429 throttled, 500 the node couldn't; 0: none yet
    """

    request_id: str
    qualifier: str
    invoked_arn: str
    sent_ms: int
    trace_id: str
    payload: bytes
    failures: int = 0
    throttles: int = 0
    last_status: int = 0
    tenant_id: str = ""

    def encode(self) -> bytes:
        head = [self.request_id, self.qualifier, self.invoked_arn, self.sent_ms, self.trace_id]
        return (
            orjson.dumps([*head, self.failures, self.throttles, self.last_status, self.tenant_id])
            + b"\n"
            + self.payload
        )

    @classmethod
    def decode(cls, stored: bytes) -> "Event":
        head, _, payload = stored.partition(b"\n")
        request_id, qualifier, invoked_arn, sent_ms, trace_id, *counts = orjson.loads(head)
        return cls(request_id, qualifier, invoked_arn, sent_ms, trace_id, payload, *counts)


@dataclass
class Usage:
    """What one function ran on one day (UTC) on one architecture. `mb_ms` is memory times billed time.

    provisioned_mb_ms  of that, in provisioned concurrency; held_mb_ms: what was held as such, busy or not
    ephemeral_mb_ms    /tmp above 512 MB times billed time
    cached_mb_ms       memory of SnapStart's snapshots times how long they were kept
    restored_mb        memory of environments restored from SnapStart's snapshots
    tenant_mb          memory of environments made for tenants
    streamed_bytes     of streamed answers, above the first 6 MB of each
    durable_operations, durable_bytes: of durable executions: what was done and what was written
    """

    requests: int = 0
    errors: int = 0
    throttles: int = 0
    cold_starts: int = 0
    billed_ms: int = 0
    mb_ms: int = 0
    provisioned_mb_ms: int = 0
    held_mb_ms: int = 0
    ephemeral_mb_ms: int = 0
    restored_mb: int = 0
    cached_mb_ms: int = 0
    tenant_mb: int = 0
    streamed_bytes: int = 0
    durable_operations: int = 0
    durable_bytes: int = 0


_EVENT_CONFIG = Record(EventConfig)
_USAGE = Record(Usage)


def find_event_config(tx: ReadTransaction, scope: Scope, name: str, qualifier: str) -> EventConfig | None:
    return _EVENT_CONFIG.find(tx.get(room(scope, "async", name, qualifier or LATEST)))


def put_event_config(tx: Transaction, scope: Scope, name: str, config: EventConfig) -> None:
    tx.put(room(scope, "async", name, config.qualifier), _EVENT_CONFIG.dump(config))


def delete_event_config(tx: Transaction, scope: Scope, name: str, qualifier: str) -> None:
    tx.delete(room(scope, "async", name, qualifier or LATEST))


def event_configs(tx: ReadTransaction, scope: Scope, name: str, *, after: str = "") -> Iterator[EventConfig]:
    begin = room(scope, "async", name, after + "\0") if after else None
    for _, value in tx.range(room(scope, "async", name), begin=begin):
        yield _EVENT_CONFIG.load(value)


_URL = Record(FunctionUrl)


def find_url(tx: ReadTransaction, scope: Scope, name: str, qualifier: str) -> FunctionUrl | None:
    return _URL.find(tx.get(room(scope, "url", name, qualifier)))


def put_url(tx: Transaction, scope: Scope, name: str, url: FunctionUrl) -> None:
    tx.put(room(scope, "url", name, url.qualifier), _URL.dump(url))
    tx.put(("lambda-urls", url.id), orjson.dumps([scope.account_id, scope.region, name, url.qualifier]))


def delete_url(tx: Transaction, scope: Scope, name: str, url: FunctionUrl) -> None:
    tx.delete(room(scope, "url", name, url.qualifier))
    tx.delete(("lambda-urls", url.id))


def urls(tx: ReadTransaction, scope: Scope, name: str) -> Iterator[FunctionUrl]:
    for _, value in tx.range(room(scope, "url", name)):
        yield _URL.load(value)


def find_url_owner(tx: ReadTransaction, id: str) -> tuple[Scope, str, str] | None:
    """The scope, the function and the qualifier of a URL."""
    value = tx.get(("lambda-urls", id))
    if value is None:
        return None
    account_id, region, name, qualifier = orjson.loads(value)
    return Scope(account_id, region), name, qualifier


def add_usage(tx: Transaction, scope: Scope, day: str, name: str, architecture: str, more: Usage) -> None:
    key = room(scope, "usage", day, name, architecture)
    known = _USAGE.find(tx.get(key)) or Usage()
    for member in Usage.__dataclass_fields__:
        setattr(known, member, getattr(known, member) + getattr(more, member))
    tx.put(key, _USAGE.dump(known))


def usage(
    tx: ReadTransaction, scope: Scope, *, day_first: str = "", day_last: str = "9"
) -> Iterator[tuple[str, str, str, Usage]]:
    """(day, function, architecture, what was run), by day; days are YYYY-MM-DD, both bounds included."""
    prefix = room(scope, "usage")
    for key, value in tx.range(prefix, begin=(*prefix, day_first), end=(*prefix, day_last + "\0")):
        yield str(key[-3]), str(key[-2]), str(key[-1]), _USAGE.load(value)


@dataclass
class Policy:
    """A resource policy; the statements as AWS shows them, `head` what a whole document said beside them."""

    revision_id: str
    statements: list[dict[str, Any]] = field(default_factory=list)
    head: dict[str, Any] = field(default_factory=lambda: {"Version": "2012-10-17", "Id": "default"})

    def document(self) -> str:
        return orjson.dumps({**self.head, "Statement": self.statements}).decode()


POLICY = Record(Policy)


def is_used(tx: ReadTransaction, package: str) -> bool:
    """Whether any function of any account holds the package of that blob id or SHA-256, as its code or as a layer."""
    wanted = package.encode()
    return any(wanted in value for key, value in tx.range(("lambda",)) if key[3] in ("version", "previous"))


def find_policy(tx: ReadTransaction, scope: Scope, name: str, qualifier: str) -> Policy | None:
    return POLICY.find(tx.get(room(scope, "policy", name, qualifier)))


def put_policy(tx: Transaction, scope: Scope, name: str, qualifier: str, policy: Policy) -> None:
    """One without statements is none."""
    key = room(scope, "policy", name, qualifier)
    if policy.statements:
        tx.put(key, POLICY.dump(policy))
    else:
        tx.delete(key)
