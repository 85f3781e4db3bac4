"""Decisions about functions that need no store and no clock."""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

import orjson

from penstock.engines.functions.runtimes import runtime_version
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages
from penstock.services.lambda_.state import LATEST, Alias, Version, arn_of

_NAME = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*):lambda:)?(?:(?P<region>(?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d):)?"
    r"(?:(?P<account>\d{12}):)?(?:function:)?(?P<name>[a-zA-Z0-9-_]+)(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?"
)
KEPT_MEMBERS = ("VpcConfig", "KMSKeyArn", "SnapStart", "FileSystemConfigs", "TenancyConfig")
_LINEAGE = re.compile(r";?\s*Lineage=([^;]*)")
UNBUILT_MEMBERS = (
    "ImageConfig",
    "CapacityProviderConfig",
    "PublishTo",
)
_JSON_WORDS = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
# Alexa's principals are of amazon.com. Source: https://developer.amazon.com/docs/custom-skills/host-a-custom-skill-as-an-aws-lambda-function.html
_SERVICE = re.compile(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?|alexa-[a-z]+\.amazon\.com")
_WORD = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Named:
    """The function that a request names; `qualifier` is empty where it names none."""

    scope: Scope
    name: str
    qualifier: str = ""

    @property
    def arn(self) -> str:
        return arn_of(self.scope, self.name, self.qualifier)


def named(scope: Scope, text: str, qualifier: str | None = None) -> Named:
    """Read a name, a partial or a whole ARN, with or without a qualifier.

    Source: https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
    """
    match = _NAME.fullmatch(text)
    if match is None:
        raise messages.bad_name(text)
    name, own = match["name"], match["qualifier"] or ""
    if match["region"] and match["region"] != scope.region:
        raise messages.unreachable_region(match["region"], scope.region)
    if own and qualifier and own != qualifier:
        raise messages.qualifier_mismatch()
    return Named(
        Scope(match["account"] or scope.account_id, scope.region, scope.partition), name, own or qualifier or ""
    )


def named_function(scope: Scope, text: str) -> Named:
    """Read a name as `named` does; one of a version or alias is refused."""
    found = named(scope, text)
    if found.qualifier:
        raise messages.functions_only()
    return found


def check_configuration(req: Mapping[str, Any]) -> None:
    """What the model doesn't say of the members of Create and UpdateFunctionConfiguration."""
    for member in UNBUILT_MEMBERS:
        if req.get(member):
            raise messages.unbuilt(member)
    _check_bound(req, "Timeout", limits.TIMEOUT_S_MAX.value)
    _check_bound(req, "MemorySize", limits.MEMORY_MB_MAX.value)
    _check_bound(req.get("EphemeralStorage") or {}, "Size", limits.EPHEMERAL_MB_MAX.value)
    if req.get("Runtime"):
        check_runtime(req["Runtime"])
    network = req.get("VpcConfig") or {}
    if bool(network.get("SubnetIds")) != bool(network.get("SecurityGroupIds")):
        raise messages.half_a_network()
    check_environment((req.get("Environment") or {}).get("Variables") or {})
    _check_dead_letter((req.get("DeadLetterConfig") or {}).get("TargetArn") or "")
    check_layer_list(req.get("Layers") or ())


def check_publication(req: Mapping[str, Any]) -> None:
    if req.get("PublishTo"):
        raise messages.unbuilt("PublishTo")


def keep_source_key(version: Version, code: Mapping[str, Any]) -> None:
    """The key by which a package is encrypted is kept and given back."""
    if code.get("SourceKMSKeyArn"):
        version.kept["SourceKMSKeyArn"] = code["SourceKMSKeyArn"]


def check_runtime(runtime: str) -> None:
    if runtime in limits.RETIRED_RUNTIMES:
        raise messages.retired_runtime(runtime, limits.RETIRED_RUNTIMES[runtime])
    if runtime not in limits.RUNTIMES:
        raise messages.unknown_runtime(runtime, limits.RUNTIMES)


def check_new(named: Named, req: Mapping[str, Any]) -> None:
    """What CreateFunction refuses before it looks at anything stored."""
    if len(named.name) > limits.NAME_LETTERS_MAX.value:
        raise messages.name_too_long(named.name, limits.NAME_LETTERS_MAX.value)
    check_tag_count(req.get("Tags") or {})
    if req.get("PackageType") == "Image" or (req.get("Code") or {}).get("ImageUri"):
        raise messages.image_packages()
    if not req.get("Runtime") or not req.get("Handler"):
        raise messages.handler_and_runtime()
    check_configuration(req)


def _check_bound(req: Mapping[str, Any], member: str, bound: int) -> None:
    value = req.get(member)
    if value is not None and value > bound:
        raise messages.bad_constraint("EphemeralStorage" if member == "Size" else member, bound)


def check_environment(variables: Mapping[str, str]) -> None:
    reserved = sorted(set(variables) & limits.RESERVED_VARIABLES)
    if reserved:
        raise messages.reserved_variables(reserved)
    measured = orjson.dumps(dict(variables))
    if len(measured) > limits.ENVIRONMENT_BYTES_MAX.value:
        raise messages.environment_too_large(measured.decode())


def _check_dead_letter(target: str) -> None:
    if target and (not arn.is_arn(target) or arn.parse(target).service not in ("sqs", "sns")):
        raise messages.bad_dead_letter(target)


def check_layer_list(layers: Sequence[str]) -> None:
    if len(layers) > limits.LAYERS_MAX.value:
        raise messages.too_many_layers(limits.LAYERS_MAX.value)
    seen: dict[str, str] = {}
    for layer in layers:
        name = layer.rpartition(":")[0]
        if name in seen:
            raise messages.two_versions_of_layer(seen[name], layer)
        seen[name] = layer


def configure(version: Version, req: Mapping[str, Any]) -> None:
    """Put the members that are in the request into `version`; what isn't there stays."""
    for member, attribute in (
        ("Runtime", "runtime"),
        ("Handler", "handler"),
        ("Role", "role"),
        ("Description", "description"),
        ("Timeout", "timeout_s"),
        ("MemorySize", "memory_mb"),
    ):
        if req.get(member) is not None:
            setattr(version, attribute, req[member])
    if req.get("EphemeralStorage") is not None:
        version.ephemeral_mb = req["EphemeralStorage"]["Size"]
    if req.get("Environment") is not None:
        given = req["Environment"].get("Variables")
        if given is not None or version.environment is not None:
            version.environment = dict(given or {})
    if req.get("DeadLetterConfig") is not None:
        version.dead_letter_arn = req["DeadLetterConfig"].get("TargetArn") or ""
    if req.get("TracingConfig") is not None:
        version.tracing = req["TracingConfig"].get("Mode") or "PassThrough"
    if req.get("LoggingConfig") is not None:
        version.logging = _logging(version.logging, req["LoggingConfig"])
    for member in KEPT_MEMBERS:
        if req.get(member) is not None:
            version.kept[member] = req[member]
    _configure_durable(version, req.get("DurableConfig"))
    _check_snap_start(version)


def _logging(known: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Levels are of JSON alone. Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html"""
    wanted = {**known, **{name: value for name, value in given.items() if value}}
    if wanted.get("LogFormat", "Text") == "JSON":
        return {"ApplicationLogLevel": "INFO", "SystemLogLevel": "INFO", **wanted}
    if given.get("ApplicationLogLevel") or given.get("SystemLogLevel"):
        raise messages.log_level_of_text()
    return {name: value for name, value in wanted.items() if not name.endswith("LogLevel")}


def _configure_durable(version: Version, given: Mapping[str, Any] | None) -> None:
    """What isn't given stays, or is AWS's default."""
    if given is None:
        return
    defaults = {
        "RetentionPeriodInDays": limits.DURABLE_RETENTION_DAYS_DEFAULT.value,
        "ExecutionTimeout": limits.DURABLE_TIMEOUT_S_DEFAULT.value,
    }
    version.kept["DurableConfig"] = {**defaults, **(version.durable or {}), **given}


def check_durable_change(version: Version, req: Mapping[str, Any]) -> None:
    """A function is durable from its creation on, or never.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-configuration.html
    """
    if req.get("DurableConfig") is not None and version.durable is None:
        raise messages.durable_at_creation_only()


def _check_snap_start(version: Version) -> None:
    """Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html#snapstart-runtimes"""
    if (version.kept.get("SnapStart") or {}).get("ApplyOn") != "PublishedVersions":
        return
    if not limits.SNAP_START_RUNTIMES.fullmatch(version.runtime):
        raise messages.no_snap_start(version.runtime)
    if version.ephemeral_mb > limits.EPHEMERAL_MB_DEFAULT.value:
        raise messages.invalid("SnapStart does not support ephemeral storage greater than 512 MB.")
    if version.kept.get("FileSystemConfigs"):
        raise messages.invalid("SnapStart does not support file systems.")
    if version.is_tenant_isolated:
        raise messages.invalid("SnapStart does not support tenant isolation.")


def lambda_time(time_ms: int) -> str:
    """2026-11-20T01:02:03.456+0000"""
    return when(time_ms).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def when(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def configuration(scope: Scope, version: Version, qualifier: str = "", *, is_listed: bool = False) -> dict[str, Any]:
    """A version as AWS describes it; `qualifier` ends the ARN. Listings leave states and runtime version out."""
    answer: dict[str, Any] = {
        "FunctionName": version.name,
        "FunctionArn": arn_of(scope, version.name, qualifier),
        "Runtime": version.runtime,
        "Role": version.role,
        "Handler": version.handler,
        "CodeSize": version.package.size,
        "Description": version.description,
        "Timeout": version.timeout_s,
        "MemorySize": version.memory_mb,
        "LastModified": lambda_time(version.modified_ms),
        "CodeSha256": version.package.sha256,
        "Version": version.version,
        "TracingConfig": {"Mode": version.tracing},
        "RevisionId": version.revision_id,
        "PackageType": "Zip",
        "Architectures": [version.architecture],
        "EphemeralStorage": {"Size": version.ephemeral_mb},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": version.log_group, **version.logging},
    }
    if version.environment is not None:
        answer["Environment"] = {"Variables": version.environment}
    if version.dead_letter_arn:
        answer["DeadLetterConfig"] = {"TargetArn": version.dead_letter_arn}
    if version.layers:
        answer["Layers"] = [{"Arn": layer.arn, "CodeSize": layer.size} for layer in version.layers]
    if version.kept.get("KMSKeyArn"):
        answer["KMSKeyArn"] = version.kept["KMSKeyArn"]
    if version.kept.get("VpcConfig") is not None:
        answer["VpcConfig"] = _vpc(scope, version.kept["VpcConfig"])
    if version.durable is not None:
        answer["DurableConfig"] = version.durable
    for member in ("FileSystemConfigs", "TenancyConfig"):
        if version.kept.get(member):
            answer[member] = version.kept[member]
    snap = version.kept.get("SnapStart")
    if snap:
        status = "On" if version.has_snap_start else "Off"
        answer["SnapStart"] = {"ApplyOn": snap.get("ApplyOn") or "None", "OptimizationStatus": status}
    if is_listed:
        return answer
    _, runtime_arn = runtime_version(version.runtime, scope.region)
    return answer | {"RuntimeVersionConfig": {"RuntimeVersionArn": runtime_arn}} | _states(version)


def _vpc(scope: Scope, given: Mapping[str, Any]) -> dict[str, Any]:
    """Networks aren't built: every subnet is taken to be of one that the account has."""
    subnets = list(given.get("SubnetIds") or [])
    id = hashlib.sha256(f"{scope.account_id}{scope.region}".encode()).hexdigest()[:17]
    return {
        "SubnetIds": subnets,
        "SecurityGroupIds": list(given.get("SecurityGroupIds") or []),
        "VpcId": f"vpc-{id}" if subnets else "",
        "Ipv6AllowedForDualStack": bool(given.get("Ipv6AllowedForDualStack")),
    }


def _states(version: Version) -> dict[str, Any]:
    answer = {
        "State": version.state,
        "StateReason": version.state_reason,
        "StateReasonCode": version.state_code,
        "LastUpdateStatus": version.update_status if version.state != "Pending" else "",
        "LastUpdateStatusReason": version.update_reason,
        "LastUpdateStatusReasonCode": version.update_code,
    }
    return {name: value for name, value in answer.items() if value}


def routed(alias: Alias, chance: float) -> str:
    """The version that an invocation of the alias goes to; `chance` is drawn from [0, 1).

    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html
    """
    for version, weight in alias.weights.items():
        if chance < weight:
            return version
        chance -= weight
    return alias.version


def check_json(payload: bytes) -> None:
    """Raises InvalidRequestContentException, worded as Jackson words it."""
    if not payload:
        return
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise messages.bad_json(_json_problem(payload, error)) from None


def _json_problem(payload: bytes, error: orjson.JSONDecodeError) -> str:
    text = payload.decode("utf-8", "replace")
    place = f'\n at [Source: (byte[])"{text[:500]}"; line: {error.lineno}, column: {error.colno}]'
    rest = text[error.pos :] if error.pos < len(text) else ""
    if not rest:
        return f"Unexpected end-of-input: expected close marker{place}"
    word = _WORD.match(text, max(error.pos, 0))
    if word is not None:
        return f"Unrecognized token '{word[0]}': was expecting {_JSON_WORDS}{place}"
    return f"Unexpected character ('{rest[0]}' (code {ord(rest[0])})): expected a valid value {_JSON_WORDS}{place}"


def check_client_context(text: str) -> None:
    """Base64 of a JSON object of at most 3,583 bytes."""
    if not text:
        return
    try:
        is_object = isinstance(orjson.loads(base64.b64decode(text, validate=True)), dict)
    except ValueError:
        is_object = False
    if not is_object or len(text) > limits.CLIENT_CONTEXT_BYTES_MAX.value:
        raise messages.bad_client_context()


def policy_text(document: Any) -> str:
    """A policy as IAM answers it: URL-encoded JSON, or parsed."""
    return unquote(document) if isinstance(document, str) else orjson.dumps(document).decode()


def format_marker(name: str, number: int = 0) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([name, number])).decode()


def parse_marker(marker: str | None) -> tuple[str, int]:
    """Where a page begins; ("", 0) for the first. Raises InvalidParameterValueException."""
    if not marker:
        return "", 0
    try:
        name, number = orjson.loads(base64.urlsafe_b64decode(marker))
        return str(name), int(number)
    except (ValueError, TypeError):
        raise messages.bad_marker() from None


def is_same(published: Version, latest: Version) -> bool:
    """Whether publishing `latest` again would make nothing new."""
    return _substance(published) == _substance(latest)


def _substance(version: Version) -> tuple[Any, ...]:
    return (
        version.package.sha256,
        version.role,
        version.runtime,
        version.handler,
        version.timeout_s,
        version.memory_mb,
        version.ephemeral_mb,
        version.environment or {},
        [layer.arn for layer in version.layers],
        version.architecture,
        version.dead_letter_arn,
        version.tracing,
        version.logging,
        version.kept,
    )


def statement_of(named: Named, req: Mapping[str, Any]) -> dict[str, Any]:
    """The policy statement that AddPermission's members mean."""
    principal: str | dict[str, str] = req["Principal"]
    if re.fullmatch(r"\d{12}", req["Principal"]):
        principal = {"AWS": f"arn:{named.scope.partition}:iam::{req['Principal']}:root"}
    elif arn.is_arn(req["Principal"]):
        principal = {"AWS": req["Principal"]}
    elif _SERVICE.fullmatch(req["Principal"]):
        principal = {"Service": req["Principal"]}
    elif req["Principal"] != "*":
        raise messages.bad_principal()
    if req["Action"] != "lambda:InvokeFunctionUrl" and req.get("FunctionUrlAuthType"):
        raise messages.url_condition_of_other_action("FunctionUrlAuthType")
    statement: dict[str, Any] = {
        "Sid": req["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": req["Action"],
        "Resource": named.arn,
    }
    equals = {
        "AWS:SourceAccount": req.get("SourceAccount"),
        "lambda:EventSourceToken": req.get("EventSourceToken"),
        "lambda:FunctionUrlAuthType": req.get("FunctionUrlAuthType"),
        "aws:PrincipalOrgID": req.get("PrincipalOrgID"),
    }
    condition: dict[str, dict[str, str]] = {}
    if any(equals.values()):
        condition["StringEquals"] = {key: value for key, value in equals.items() if value}
    if req.get("SourceArn"):
        condition["ArnLike"] = {"AWS:SourceArn": req["SourceArn"]}
    if req.get("InvokedViaFunctionUrl") is not None:
        condition["Bool"] = {"lambda:InvokedViaFunctionUrl": "true" if req["InvokedViaFunctionUrl"] else "false"}
    return statement | ({"Condition": condition} if condition else {})


def layer_statement_of(layer_version_arn: str, req: Mapping[str, Any]) -> dict[str, Any]:
    """The policy statement that AddLayerVersionPermission's members mean."""
    principal: str | dict[str, str] = req["Principal"]
    if re.fullmatch(r"\d{12}", req["Principal"]):
        partition = arn.parse(layer_version_arn).partition
        principal = {"AWS": f"arn:{partition}:iam::{req['Principal']}:root"}
    elif arn.is_arn(req["Principal"]):
        principal = {"AWS": req["Principal"]}
    statement: dict[str, Any] = {
        "Sid": req["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": req["Action"],
        "Resource": layer_version_arn,
    }
    if req.get("OrganizationId"):
        statement["Condition"] = {"StringEquals": {"aws:PrincipalOrgID": req["OrganizationId"]}}
    return statement


def parse_policy(text: str) -> dict[str, Any]:
    """A policy document with a list of statements. Raises InvalidParameterValueException."""
    try:
        document = orjson.loads(text)
    except ValueError:
        raise messages.bad_policy("it is not JSON.") from None
    if not isinstance(document, dict):
        raise messages.bad_policy("it is not an object.")
    statements = document.get("Statement")
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        raise messages.bad_policy("it has no Statement.")
    for statement in statements:
        lacking = [name for name in ("Effect", "Principal", "Action") if not _has(statement, name)]
        if lacking:
            raise messages.bad_policy(f"a statement has no {lacking[0]}.")
        if statement["Effect"] not in ("Allow", "Deny"):
            raise messages.bad_policy("Effect is Allow or Deny.")
    return {**document, "Statement": statements}


def _has(statement: Any, name: str) -> bool:
    return isinstance(statement, dict) and (name in statement or (name != "Effect" and f"Not{name}" in statement))


def check_tag_count(tags: Mapping[str, str]) -> None:
    if len(tags) > limits.TAGS_MAX.value:
        raise messages.too_many_tags()


def is_alias(qualifier: str) -> bool:
    return bool(qualifier) and qualifier != LATEST and not qualifier.isdigit()


def page_size(req: Mapping[str, Any]) -> int:
    return min(req.get("MaxItems") or limits.PAGE_MAX.value, limits.PAGE_MAX.value)


def hops(trace_id: str, function_arn: str) -> int:
    """How often the chain of events behind a trace header has gone through the function.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """
    return _lineage(trace_id).get(_lineage_key(function_arn), 0)


def with_hop(trace_id: str, function_arn: str) -> str:
    """The trace header of an invocation of the function: one hop more. SDKs send it along with what they call."""
    lineage, key = _lineage(trace_id), _lineage_key(function_arn)
    count = min(lineage.pop(key, 0) + 1, limits.RECURSION_HOPS_COUNTED)
    kept = [*lineage.items()][1 - limits.LINEAGE_FUNCTIONS_MAX :]
    text = "|".join(f"{known}:{hops}" for known, hops in [*kept, (key, count)])
    rest = _LINEAGE.sub("", trace_id) if "Lineage" in trace_id else trace_id
    return f"{rest};Lineage={text}"


def _lineage(trace_id: str) -> dict[str, int]:
    match = _LINEAGE.search(trace_id) if "Lineage" in trace_id else None
    if match is None:
        return {}
    pairs = [part.partition(":") for part in unquote(match[1]).split("|")]
    return {key: int(count) for key, _, count in pairs if key and count.isdecimal()}


@lru_cache(maxsize=4096)
def _lineage_key(function_arn: str) -> str:
    return hashlib.sha256(function_arn.encode()).hexdigest()[:8]
