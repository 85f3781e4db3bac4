"""Queues and their attributes."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.sqs import limits, messages, rules, state
from penstock.services.sqs.operations.arrivals import arrivals_of
from penstock.storage.queue import Counts
from penstock.storage.transactions import ReadTransaction, Transaction


def located(ctx: Context, req: dict[str, Any]) -> tuple[Scope, str]:
    """The scope and the name of the queue that a request's URL names."""
    account_id, name = rules.queue_of(req["QueueUrl"], ctx.scope.account_id)
    return Scope(account_id, ctx.scope.region, ctx.scope.partition), name


def url_of(ctx: Context, account_id: str, name: str) -> str:
    return f"{ctx.endpoint}/{account_id}/{name}"


@operation
async def create_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """One that is there already with the same attributes is answered as if it were new."""
    now_ms, scope = ctx.clock.now_ms(), ctx.scope
    name, asked = req["QueueName"], dict(req.get("Attributes") or {})
    is_fifo = asked.get("FifoQueue") == "true"
    rules.check_name(name, is_fifo=is_fifo)
    rules.check_attributes(asked, is_fifo=is_fifo)
    asked = rules.normal_attributes(asked)
    if len(req.get("tags") or {}) > limits.TAGS_MAX.value:
        raise rules.invalid(messages.TOO_MANY_TAGS.format(name))

    def create(tx: Transaction) -> None:
        found = state.find_queue(tx, scope, name)
        if found is not None:
            for key, value in asked.items():
                if found.attributes.get(key, "") != value:
                    raise ServiceError("QueueNameExists", messages.exists_otherwise(key))
            return
        deleted_ms = state.deleted_ms(tx, scope, name)
        if deleted_ms is not None and now_ms < deleted_ms + limits.DELETED_MS.value:
            raise ServiceError("QueueDeletedRecently", messages.DELETED_RECENTLY)
        attributes = {**limits.DEFAULTS, **(limits.FIFO_DEFAULTS if is_fifo else {}), **asked}
        queue = state.Queue(name, now_ms, now_ms, _without_empty(attributes), dict(req.get("tags") or {}))
        _check_redrive(tx, scope, queue)
        state.forget_deletion(tx, scope, name)
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(create)
    return {"QueueUrl": url_of(ctx, scope.account_id, name)}


def _without_empty(attributes: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in attributes.items() if value != ""}


def _check_redrive(tx: ReadTransaction, scope: Scope, queue: state.Queue) -> None:
    """The dead-letter queue must be there, of the same kind and owner, and willing.

    Source: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    """
    policy, name = queue.attributes.get("RedrivePolicy"), "RedrivePolicy"
    if not policy:
        return
    target = arn.parse(rules.redrive(policy)[0])
    if (target.account_id, target.region) != (scope.account_id, scope.region):
        raise rules.invalid_value(policy, name, "Dead-letter target owner should be same as the source.")
    found = state.find_queue(tx, scope, target.resource)
    if found is None:
        raise rules.invalid_value(policy, name, "Dead letter target does not exist.")
    if found.is_fifo != queue.is_fifo:
        raise rules.invalid_value(policy, name, "Dead-letter queue must be same type of queue as the source.")
    source = queue.arn(scope)
    if not rules.is_source_allowed(found.attributes.get("RedriveAllowPolicy"), source):
        raise rules.invalid_value(policy, name, messages.not_permitted(str(target), source))


@operation
async def get_queue_url(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    account_id = req.get("QueueOwnerAWSAccountId") or ctx.scope.account_id
    scope = Scope(account_id, ctx.scope.region, ctx.scope.partition)
    await ctx.store.read(lambda tx: state.get_queue(tx, scope, req["QueueName"]))
    return {"QueueUrl": url_of(ctx, account_id, req["QueueName"])}


@operation
async def list_queues(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    prefix = req.get("QueueNamePrefix") or ""
    found = await ctx.store.read(lambda tx: [queue.name for queue in state.queues(tx, ctx.scope)])
    names, token = page_of([name for name in found if name.startswith(prefix)], req)
    urls = [url_of(ctx, ctx.scope.account_id, name) for name in names]
    return ({"QueueUrls": urls} if urls else {}) | token


def page_of(names: list[str], req: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """The names after NextToken, MaxResults of them. There is a token only for those who ask for pages."""
    size = req.get("MaxResults")
    if size is not None:
        rules.check_range("MaxResults", size, limits.LIST_PAGE.value, low=1)
    after = req.get("NextToken") or ""
    left = [name for name in names if name > after]
    page = left[: size or limits.LIST_PAGE.value]
    return page, ({"NextToken": page[-1]} if size and len(left) > size else {})


@operation
async def list_dead_letter_source_queues(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """The queues whose redrive policy names this one."""
    scope, name = located(ctx, req)

    def look(tx: ReadTransaction) -> list[str]:
        state.get_queue(tx, scope, name)
        return [queue.name for queue in sources_of(tx, scope, name)]

    names, token = page_of(await ctx.store.read(look), req)
    return {"queueUrls": [url_of(ctx, scope.account_id, source) for source in names], **token}


def sources_of(tx: ReadTransaction, scope: Scope, name: str) -> list[state.Queue]:
    target = state.arn_of(scope, name)
    found = []
    for queue in state.queues(tx, scope):
        policy = queue.attributes.get("RedrivePolicy")
        if policy and rules.redrive(policy)[0] == target:
            found.append(queue)
    return found


@operation
async def get_queue_attributes(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms, wanted = ctx.clock.now_ms(), set(req.get("AttributeNames") or ())
    for unknown in sorted(wanted - limits.SETTABLE - limits.COUNTED - {"All"}):
        raise rules.invalid(messages.unknown_attribute(unknown), "InvalidAttributeName")
    scope, name = located(ctx, req)
    await _expire(ctx, scope, name, now_ms)

    def read(tx: ReadTransaction) -> tuple[state.Queue, Counts]:
        return state.get_queue(tx, scope, name), state.messages_of(scope, name).counts(tx, now_ms=now_ms)

    queue, counts = await ctx.store.read(read)
    attributes = {
        **queue.attributes,
        "QueueArn": queue.arn(scope),
        "CreatedTimestamp": str(queue.created_ms // 1000),
        "LastModifiedTimestamp": str(queue.modified_ms // 1000),
        "ApproximateNumberOfMessages": str(counts.visible),
        "ApproximateNumberOfMessagesNotVisible": str(counts.in_flight),
        "ApproximateNumberOfMessagesDelayed": str(counts.delayed),
    }
    shown = {key: value for key, value in attributes.items() if "All" in wanted or key in wanted}
    return {"Attributes": shown} if shown else {}


async def _expire(ctx: Context, scope: Scope, name: str, now_ms: int) -> None:
    """What is beyond the retention period isn't counted."""

    def has_old(tx: ReadTransaction) -> bool:
        queue = state.get_queue(tx, scope, name)
        oldest_ms = state.messages_of(scope, name).oldest_sent_ms(tx)
        return oldest_ms is not None and oldest_ms < now_ms - queue.seconds("MessageRetentionPeriod") * 1000

    while await ctx.store.read(has_old):
        await ctx.store.transact(lambda tx: expire(tx, scope, state.get_queue(tx, scope, name), now_ms))


def expire(tx: Transaction, scope: Scope, queue: state.Queue, now_ms: int) -> None:
    """Remove messages beyond the retention period, some at a time: when they are counted, and when others are sent."""
    before_ms = now_ms - queue.seconds("MessageRetentionPeriod") * 1000
    state.messages_of(scope, queue.name).expire(tx, sent_before_ms=before_ms, limit=limits.EXPIRE_AT_ONCE)


@operation
async def set_queue_attributes(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def change(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        rules.check_attributes(req["Attributes"], is_fifo=queue.is_fifo, known=queue.attributes)
        queue.attributes = _without_empty({**queue.attributes, **rules.normal_attributes(req["Attributes"])})
        if req["Attributes"].get("SqsManagedSseEnabled") == "true":
            queue.attributes.pop("KmsMasterKeyId", None)
        if "RedrivePolicy" in req["Attributes"]:
            _check_redrive(tx, scope, queue)
        queue.modified_ms = now_ms
        state.put_queue(tx, scope, queue)

    await ctx.store.transact(change)
    return {}


@operation
async def delete_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """Its name can't be taken again for a minute; a receive that waits hears of it at once."""
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def delete(tx: Transaction) -> None:
        state.get_queue(tx, scope, name)
        state.delete_queue(tx, scope, name, now_ms)

    await ctx.store.transact(delete)
    arrivals_of(ctx.platform).signal((scope, name))
    return {}


@operation
async def purge_queue(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    scope, name = located(ctx, req)

    def purge(tx: Transaction) -> None:
        queue = state.get_queue(tx, scope, name)
        if queue.purged_ms and now_ms < queue.purged_ms + limits.PURGE_MS.value:
            raise ServiceError("PurgeQueueInProgress", messages.purge_in_progress(name))
        queue.purged_ms = now_ms
        state.put_queue(tx, scope, queue)
        state.messages_of(scope, name).purge(tx)

    await ctx.store.transact(purge)
    return {}
