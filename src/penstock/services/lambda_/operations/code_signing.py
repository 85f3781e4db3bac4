"""Code signing configurations: whose signatures a function's code must bear.

Nothing is signed here, because there is no AWS Signer. So a package deployed under a configuration fails its check, as
an unsigned one does on AWS: `Enforce` refuses it, `Warn` lets it in and counts SignatureValidationErrors.
Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-codesigning.html
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import layer_messages
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import Function
from penstock.storage.records import Record
from penstock.storage.transactions import ReadTransaction, Transaction

_ID_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_ID_LENGTH = 17


@dataclass
class CodeSigningConfig:
    """`publishers` are ARNs of signing profile versions; `policy` is Warn or Enforce."""

    id: str
    publishers: list[str]
    modified_ms: int
    description: str = ""
    policy: str = "Warn"
    tags: dict[str, str] = field(default_factory=dict)


_CONFIG = Record(CodeSigningConfig)


@operation
async def create_code_signing_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    tags = dict(req.get("Tags") or {})
    rules.check_tag_count(tags)
    config = CodeSigningConfig(
        id=f"csc-{ctx.entropy.text(_ID_LETTERS, _ID_LENGTH)}",
        publishers=list(req["AllowedPublishers"]["SigningProfileVersionArns"]),
        modified_ms=ctx.clock.now_ms(),
        description=req.get("Description") or "",
        policy=(req.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment") or "Warn",
        tags=tags,
    )
    await ctx.store.transact(lambda tx: _put(tx, ctx.scope, config))
    return {"CodeSigningConfig": _described(ctx.scope, config)}


@operation
async def get_code_signing_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, id = _named(ctx, req)
    return {"CodeSigningConfig": _described(scope, await ctx.store.read(lambda tx: _get(tx, scope, id)))}


@operation
async def update_code_signing_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Change what is given, keep the rest."""
    (scope, id), now_ms = _named(ctx, req), ctx.clock.now_ms()

    def update(tx: Transaction) -> CodeSigningConfig:
        config = _get(tx, scope, id)
        if req.get("AllowedPublishers") is not None:
            config.publishers = list(req["AllowedPublishers"]["SigningProfileVersionArns"])
        if req.get("Description") is not None:
            config.description = req["Description"]
        config.policy = (req.get("CodeSigningPolicies") or {}).get("UntrustedArtifactOnDeployment") or config.policy
        config.modified_ms = now_ms
        _put(tx, scope, config)
        return config

    return {"CodeSigningConfig": _described(scope, await ctx.store.transact(update))}


@operation
async def delete_code_signing_config(ctx: Context, req: dict[str, Any]) -> None:
    scope, id = _named(ctx, req)

    def delete(tx: Transaction) -> None:
        _get(tx, scope, id)
        if any(function.code_signing_arn == arn_of(scope, id) for function in state.functions(tx, scope)):
            raise layer_messages.code_signing_config_in_use(arn_of(scope, id))
        tx.delete(state.room(scope, "code-signing", id))

    await ctx.store.transact(delete)


@operation
async def list_code_signing_configs(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    size = rules.page_size(req)
    after = rules.parse_marker(req.get("Marker"))[0]
    page = await ctx.store.read(lambda tx: list(islice(_configs(tx, ctx.scope, after), size + 1)))
    answer: dict[str, Any] = {"CodeSigningConfigs": [_described(ctx.scope, config) for config in page[:size]]}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].id)
    return answer


@operation
async def list_functions_by_code_signing_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, id = _named(ctx, req)
    size, after = rules.page_size(req), rules.parse_marker(req.get("Marker"))[0]

    def read(tx: ReadTransaction) -> list[str]:
        _get(tx, scope, id)
        found = state.functions(tx, scope, after=after)
        return list(islice((f.name for f in found if f.code_signing_arn == arn_of(scope, id)), size + 1))

    page = await ctx.store.read(read)
    answer: dict[str, Any] = {"FunctionArns": [state.arn_of(scope, name) for name in page[:size]]}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1])
    return answer


@operation
async def put_function_code_signing_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """What the function runs already stays, signed or not."""
    named = rules.named(ctx.scope, req["FunctionName"])
    config_arn = str(req["CodeSigningConfigArn"])

    def put(tx: Transaction) -> None:
        if find(tx, config_arn) is None:
            raise layer_messages.no_code_signing_config(config_arn)
        function = _get_function(tx, named)
        function.code_signing_arn = config_arn
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(put)
    return {"CodeSigningConfigArn": config_arn, "FunctionName": named.name}


@operation
async def get_function_code_signing_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Nothing where the function has none."""
    named = rules.named(ctx.scope, req["FunctionName"])
    function = await ctx.store.read(lambda tx: _get_function(tx, named))
    if not function.code_signing_arn:
        return {}
    return {"CodeSigningConfigArn": function.code_signing_arn, "FunctionName": function.name}


@operation
async def delete_function_code_signing_config(ctx: Context, req: dict[str, Any]) -> None:
    named = rules.named(ctx.scope, req["FunctionName"])

    def delete(tx: Transaction) -> None:
        function = _get_function(tx, named)
        function.code_signing_arn = ""
        state.put_function(tx, named.scope, function)

    await ctx.store.transact(delete)


def arn_of(scope: Scope, id: str) -> str:
    return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account_id}:code-signing-config:{id}"


def find(tx: ReadTransaction, config_arn: str) -> CodeSigningConfig | None:
    at = arn.parse(config_arn)
    scope = Scope(at.account_id, at.region, at.partition)
    return _CONFIG.find(tx.get(state.room(scope, "code-signing", at.resource.rpartition(":")[2])))


def check(tx: ReadTransaction, name: str, config_arn: str) -> None:
    """Raises CodeVerificationFailedException where a package that is deployed now must be signed."""
    config = find(tx, config_arn) if config_arn else None
    if config is not None and config.policy == "Enforce":
        raise layer_messages.code_not_signed(name)


def _get_function(tx: ReadTransaction, named: Named) -> Function:
    function = state.find_function(tx, named.scope, named.name)
    if function is None:
        raise messages.function_not_found(state.arn_of(named.scope, named.name))
    return function


def _named(ctx: Context, req: dict[str, Any]) -> tuple[Scope, str]:
    at = arn.parse(req["CodeSigningConfigArn"])
    return Scope(at.account_id, at.region, at.partition), at.resource.rpartition(":")[2]


def _get(tx: ReadTransaction, scope: Scope, id: str) -> CodeSigningConfig:
    config = _CONFIG.find(tx.get(state.room(scope, "code-signing", id)))
    if config is None:
        raise layer_messages.code_signing_config_not_found(arn_of(scope, id))
    return config


def _put(tx: Transaction, scope: Scope, config: CodeSigningConfig) -> None:
    tx.put(state.room(scope, "code-signing", config.id), _CONFIG.dump(config))


def _configs(tx: ReadTransaction, scope: Scope, after: str) -> Iterator[CodeSigningConfig]:
    begin = state.room(scope, "code-signing", after + "\0") if after else None
    for _, value in tx.range(state.room(scope, "code-signing"), begin=begin):
        yield _CONFIG.load(value)


def tags_of(tx: ReadTransaction, scope: Scope, id: str) -> dict[str, str]:
    return _get(tx, scope, id).tags


def put_tags(tx: Transaction, scope: Scope, id: str, tags: dict[str, str]) -> None:
    config = _get(tx, scope, id)
    config.tags = tags
    _put(tx, scope, config)


def _described(scope: Scope, config: CodeSigningConfig) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "CodeSigningConfigId": config.id,
        "CodeSigningConfigArn": arn_of(scope, config.id),
        "AllowedPublishers": {"SigningProfileVersionArns": config.publishers},
        "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": config.policy},
        "LastModified": rules.lambda_time(config.modified_ms),
    }
    return answer | ({"Description": config.description} if config.description else {})
