"""How asynchronous events are retried and where their endings are told.

Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html
"""

from itertools import islice
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import messages, rules, state
from penstock.services.lambda_.operations import functions
from penstock.services.lambda_.rules import Named
from penstock.services.lambda_.state import LATEST, EventConfig
from penstock.storage.transactions import ReadTransaction, Transaction

_SETTINGS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")
_DESTINATIONS = {"OnSuccess": ("sqs", "sns", "lambda", "events"), "OnFailure": ("sqs", "sns", "lambda", "events", "s3")}


@operation
async def put_function_event_invoke_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Replace the whole configuration."""
    named = _named(ctx, req)
    _check_given(req)
    config = EventConfig(named.qualifier, ctx.clock.now_ms())
    return await _write(ctx, named, config, req)


@operation
async def update_function_event_invoke_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Change what is given, keep the rest."""
    named = _named(ctx, req)
    _check_given(req)
    config = await ctx.store.read(lambda tx: _get(tx, named))
    config.modified_ms = ctx.clock.now_ms()
    return await _write(ctx, named, config, req)


async def _write(ctx: Context, named: Named, config: EventConfig, req: dict[str, Any]) -> dict[str, Any]:
    if req.get("MaximumRetryAttempts") is not None:
        config.retries_max = req["MaximumRetryAttempts"]
    if req.get("MaximumEventAgeInSeconds") is not None:
        config.age_s_max = req["MaximumEventAgeInSeconds"]
    destinations = req.get("DestinationConfig")
    if destinations is not None:
        config.on_success, config.on_failure = _checked_destinations(named, destinations)

    def write(tx: Transaction) -> None:
        _check_function(tx, named)
        for target in (config.on_success, config.on_failure) if destinations else ():
            _check_target(tx, named, target)
        state.put_event_config(tx, named.scope, named.name, config)

    await ctx.store.transact(write)
    return _described(named, config)


@operation
async def get_function_event_invoke_config(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = _named(ctx, req)
    return _described(named, await ctx.store.read(lambda tx: _get(tx, named)))


@operation
async def delete_function_event_invoke_config(ctx: Context, req: dict[str, Any]) -> None:
    named = _named(ctx, req)

    def delete(tx: Transaction) -> None:
        _get(tx, named)
        state.delete_event_config(tx, named.scope, named.name, named.qualifier)

    await ctx.store.transact(delete)


@operation
async def list_function_event_invoke_configs(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    named = rules.named(ctx.scope, req["FunctionName"])
    size = rules.page_size(req)
    after = rules.parse_marker(req.get("Marker"))[0]

    def read(tx: ReadTransaction) -> list[EventConfig]:
        if state.find_function(tx, named.scope, named.name) is None:
            raise messages.no_function_for_events()
        return list(islice(state.event_configs(tx, named.scope, named.name, after=after), size + 1))

    page = await ctx.store.read(read)
    answer: dict[str, Any] = {"FunctionEventInvokeConfigs": [_described(named, config) for config in page[:size]]}
    if len(page) > size:
        answer["NextMarker"] = rules.format_marker(page[size - 1].qualifier)
    return answer


def _named(ctx: Context, req: dict[str, Any]) -> Named:
    named = rules.named(ctx.scope, req["FunctionName"], req.get("Qualifier"))
    return Named(named.scope, named.name, named.qualifier or LATEST)


def _check_given(req: dict[str, Any]) -> None:
    if all(req.get(member) is None for member in _SETTINGS):
        raise messages.no_event_settings()


def _check_function(tx: ReadTransaction, named: Named) -> None:
    try:
        functions.get_version(tx, named)
    except ServiceError:
        raise messages.no_function_for_events() from None


def _get(tx: ReadTransaction, named: Named) -> EventConfig:
    config = state.find_event_config(tx, named.scope, named.name, named.qualifier)
    if config is None:
        raise messages.no_event_config(named.arn)
    return config


def _checked_destinations(named: Named, destinations: dict[str, Any]) -> tuple[str, str]:
    """What the two are, empty where there is none. Raises InvalidParameterValueException."""
    success, failure = (
        str((destinations.get(condition) or {}).get("Destination") or "") for condition in ("OnSuccess", "OnFailure")
    )
    for condition, target in (("OnSuccess", success), ("OnFailure", failure)):
        if target and (not arn.is_arn(target) or arn.parse(target).service not in _DESTINATIONS[condition]):
            raise messages.bad_destinations(success, failure)
    return success, failure


def _check_target(tx: ReadTransaction, named: Named, target: str) -> None:
    """A function must be there, and another one; for other targets that is found out at the delivery."""
    if not target or arn.parse(target).service != "lambda":
        return
    at = arn.parse(target)
    other = rules.named(Scope(at.account_id, at.region, at.partition), target)
    if state.find_function(tx, other.scope, other.name) is None:
        raise messages.no_destination(target)
    if (other.scope, other.name) == (named.scope, named.name):
        raise messages.destination_is_itself()


def _described(named: Named, config: EventConfig) -> dict[str, Any]:
    destinations = {"OnSuccess": config.on_success, "OnFailure": config.on_failure}
    answer: dict[str, Any] = {
        "LastModified": rules.when(config.modified_ms),
        "FunctionArn": state.arn_of(named.scope, named.name, config.qualifier),
        "DestinationConfig": {name: {"Destination": to} if to else {} for name, to in destinations.items()},
    }
    if config.retries_max is not None:
        answer["MaximumRetryAttempts"] = config.retries_max
    if config.age_s_max is not None:
        answer["MaximumEventAgeInSeconds"] = config.age_s_max
    return answer
