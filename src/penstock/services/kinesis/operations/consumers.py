"""Consumers: readers with a subscription of their own."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.scope import Scope
from penstock.services.kinesis import limits, messages, rules, state
from penstock.services.kinesis.operations.access import consumer_of, located, located_resource, secret_of
from penstock.services.kinesis.operations.arrivals import arrivals_of
from penstock.services.kinesis.operations.streams import PAGE_DEFAULT, check_tags
from penstock.services.kinesis.state import Consumer
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def register_stream_consumer(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises ResourceInUseException for a name that is taken, LimitExceededException beyond twenty."""
    (scope, stream), now_ms = located(ctx, req), ctx.clock.now_ms()
    name = req["ConsumerName"]
    consumer = Consumer(name, now_ms, tags=check_tags(name, scope.account_id, {}, req.get("Tags") or {}))

    def register(tx: Transaction) -> None:
        state.get_stream(tx, scope, stream)
        if state.find_consumer(tx, scope, stream, consumer.name) is not None:
            raise messages.consumer_exists(consumer.name)
        if len(state.consumers(tx, scope, stream)) >= limits.CONSUMERS_MAX.value:
            raise messages.too_many_consumers(stream)
        state.put_consumer(tx, scope, stream, consumer)

    await ctx.store.transact(register)
    return {"Consumer": {**_shown(scope, stream, consumer), "ConsumerStatus": "CREATING"}}


@operation
async def deregister_stream_consumer(ctx: Context, req: dict[str, Any]) -> None:
    scope, stream, name = located_consumer(ctx, req)

    def deregister(tx: Transaction) -> None:
        state.delete_consumer(tx, scope, stream, get_consumer(tx, scope, stream, name))

    await ctx.store.transact(deregister)
    arrivals_of(ctx.platform).signal((scope, stream))


@operation
async def describe_stream_consumer(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    scope, stream, name = located_consumer(ctx, req)
    consumer = await ctx.store.read(lambda tx: get_consumer(tx, scope, stream, name))
    described = {**_shown(scope, stream, consumer), "StreamARN": state.stream_arn(scope, stream)}
    return {"ConsumerDescription": described}


@operation
async def list_stream_consumers(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Raises InvalidArgumentException, ExpiredNextTokenException."""
    (scope, stream), now_ms, secret = located(ctx, req), ctx.clock.now_ms(), await secret_of(ctx)
    after, count = "", req.get("MaxResults") or PAGE_DEFAULT
    if req.get("NextToken"):
        values = rules.unseal(secret, "consumers", req["NextToken"])
        if values is None or values[:3] != [scope.account_id, scope.region, stream]:
            raise messages.bad_token()
        if now_ms - values[4] > limits.NEXT_TOKEN_MS.value:
            raise messages.expired_token()
        after = values[3]

    def read(tx: ReadTransaction) -> list[Consumer]:
        state.get_stream(tx, scope, stream)
        return [consumer for consumer in state.consumers(tx, scope, stream) if consumer.name > after]

    found = await ctx.store.read(read)
    shown = [_shown(scope, stream, consumer) for consumer in found[:count]]
    if len(found) <= count:
        return {"Consumers": shown}
    values = [scope.account_id, scope.region, stream, found[count - 1].name, now_ms]
    return {"Consumers": shown, "NextToken": rules.seal(secret, "consumers", values)}


def located_consumer(ctx: Context, req: dict[str, Any]) -> tuple[Scope, str, str]:
    """(scope, stream, consumer) of ConsumerARN, or of StreamARN and ConsumerName.

    The consumer bears its time where an ARN names it: NAME:TIME. Raises InvalidArgumentException.
    """
    if req.get("ConsumerARN"):
        scope, resource = located_resource(ctx, req["ConsumerARN"])
        stream, name = consumer_of(resource)
        return scope, stream, name
    if not req.get("StreamARN") or not req.get("ConsumerName"):
        raise messages.missing_consumer()
    scope, stream = located(ctx, req)
    return scope, stream, str(req["ConsumerName"])


def get_consumer(tx: ReadTransaction, scope: Scope, stream: str, name: str) -> Consumer:
    """By NAME, or by NAME:TIME, which must be its own. Raises ResourceNotFoundException."""
    state.get_stream(tx, scope, stream)
    plain, _, time_s = name.partition(":")
    consumer = state.find_consumer(tx, scope, stream, plain)
    if consumer is None or (time_s and consumer.arn(scope, stream).rpartition(":")[2] != time_s):
        raise messages.no_consumer(plain, state.stream_arn(scope, stream), scope.account_id)
    return consumer


def _shown(scope: Scope, stream: str, consumer: Consumer) -> dict[str, Any]:
    return {
        "ConsumerName": consumer.name,
        "ConsumerARN": consumer.arn(scope, stream),
        "ConsumerStatus": consumer.status,
        "ConsumerCreationTimestamp": rules.when(consumer.created_ms),
    }
