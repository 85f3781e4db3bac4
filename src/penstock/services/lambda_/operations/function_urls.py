"""Function URLs: an HTTPS address of a function's own, and who may call it.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html
"""

from dataclasses import replace
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from penstock.engines.policy.evaluate import Policies, Request, evaluate
from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, FunctionUrl
from penstock.storage.transactions import ReadTransaction, Transaction

ID_LETTERS, ID_LENGTH = "abcdefghijklmnopqrstuvwxyz234567", 32


@operation
async def create_function_url_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    url = FunctionUrl(
        id=ctx.entropy.text(ID_LETTERS, ID_LENGTH),
        qualifier=named.qualifier,
        auth_type=req["AuthType"],
        cors=req.get("Cors") or {},
        invoke_mode=req.get("InvokeMode") or "BUFFERED",
        created_ms=ctx.clock.now_ms(),
        modified_ms=ctx.clock.now_ms(),
    )

    def create(tx: Transaction) -> None:
        _check_function(tx, named)
        if functions.get_version(tx, named).is_tenant_isolated:
            raise messages.not_with_tenants("A function URL")
        if state.find_url(tx, named.scope, named.name, named.qualifier) is not None:
            raise messages.url_exists(named.arn)
        state.put_url(tx, named.scope, named.name, url)

    await ctx.store.transact(create)
    described = _described(ctx, named, url)
    del described["LastModifiedTime"]
    return described


@operation
async def get_function_url_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    return _described(ctx, named, await ctx.store.read(lambda tx: _get(tx, named)))


@operation
async def update_function_url_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named, now_ms = _named(ctx, req), ctx.clock.now_ms()

    def update(tx: Transaction) -> FunctionUrl:
        _check_function(tx, named)
        url = _get(tx, named)
        url.auth_type = req.get("AuthType") or url.auth_type
        url.cors = url.cors if req.get("Cors") is None else req["Cors"]
        url.invoke_mode = req.get("InvokeMode") or url.invoke_mode
        url.modified_ms = now_ms
        state.put_url(tx, named.scope, named.name, url)
        return url

    return _described(ctx, named, await ctx.store.transact(update))


@operation
async def delete_function_url_config(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)

    def delete(tx: Transaction) -> None:
        state.delete_url(tx, named.scope, named.name, _get(tx, named))

    await ctx.store.transact(delete)


@operation
async def list_function_url_configs(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    size, after = rules.page_size(req), rules.parse_marker(req.get("Marker"))[0]

    def read(tx: ReadTransaction) -> list[FunctionUrl]:
        if state.find_function(tx, named.scope, named.name) is None:
            raise messages.no_function_for_url()
        found = state.urls(tx, named.scope, named.name)
        return list(islice((url for url in found if not after or (url.qualifier or LATEST) > after), size + 1))

    page = await ctx.store.read(read)
    described = [_described(ctx, replace(named, qualifier=url.qualifier), url) for url in page[:size]]
    answer: dict[str, Any] = {"FunctionUrlConfigs": described}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].qualifier or LATEST)
    return answer


async def find_called(ctx: Context, id: str) -> tuple[Named, FunctionUrl] | None:
    """The function behind a URL, for the HTTP face."""

    def read(tx: ReadTransaction) -> tuple[Named, FunctionUrl] | None:
        where = state.find_url_owner(tx, id)
        if where is None:
            return None
        scope, name, qualifier = where
        url = state.find_url(tx, scope, name, qualifier)
        return None if url is None else (Named(scope, name, qualifier), url)

    return await ctx.store.read(read)


async def may_anyone_call(ctx: Context, named: Named) -> bool:
    """Whether the function's policy lets in callers who show no credentials, as AuthType NONE needs."""
    policy = await ctx.store.read(lambda tx: state.find_policy(tx, named.scope, named.name, named.qualifier))
    request = Request(
        Principal("anonymous", "", "*"),
        "lambda:InvokeFunctionUrl",
        named.arn,
        named.scope.account_id,
        {"lambda:functionurlauthtype": ["NONE"]},
    )
    return policy is not None and evaluate(request, Policies(resource=policy.document())).allowed


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    if named.qualifier == LATEST or named.qualifier.isdigit():
        raise messages.bad_url_qualifier(named.qualifier)
    return named


def _check_function(tx: ReadTransaction, named: Named) -> None:
    try:
        functions.get_version(tx, named)
    except ServiceError:
        raise messages.no_function_for_url() from None


def _get(tx: ReadTransaction, named: Named) -> FunctionUrl:
    url = state.find_url(tx, named.scope, named.name, named.qualifier)
    if url is None:
        raise messages.no_url()
    return url


def _described(ctx: Context, named: Named, url: FunctionUrl) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "FunctionUrl": _address(ctx, url.id),
        "FunctionArn": named.arn,
        "AuthType": url.auth_type,
        "CreationTime": _time(url.created_ms),
        "LastModifiedTime": _time(url.modified_ms),
        "InvokeMode": url.invoke_mode,
    }
    return answer | ({"Cors": url.cors} if url.cors else {})


def _address(ctx: Context, id: str) -> str:
    """A host of this node's own: names below localhost are this machine, addresses have none below them."""
    at = urlsplit(ctx.endpoint)
    base = "localhost.localstack.cloud" if (at.hostname or "").endswith("localstack.cloud") else "localhost"
    return f"{at.scheme}://{id}.lambda-url.{ctx.scope.region}.{base}{f':{at.port}' if at.port else ''}/"


def _time(time_ms: int) -> str:
    return rules.when(time_ms).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def error_of(error: ServiceError) -> tuple[int, str]:
    """The status and text that a URL answers for what an invocation answered."""
    if error.status == 429:
        return 429, "Rate Exceeded."
    if error.code in ("RequestTooLargeException", "RequestEntityTooLargeException"):
        return 413, "Request Too Long"
    return (403, "Forbidden") if error.status in (403, 404) else (502, "Internal Server Error")
