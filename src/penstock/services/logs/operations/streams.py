"""Log streams."""

from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.kernel.errors import ServiceError
from penstock.services.logs import limits, messages, rules, state
from penstock.storage.transactions import ReadTransaction, Transaction


@operation
async def create_log_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    now_ms = ctx.clock.now_ms()
    group, name = req["logGroupName"], req["logStreamName"]

    def create(tx: Transaction) -> None:
        state.get_group(tx, ctx.scope, group)
        if state.find_stream(tx, ctx.scope, group, name) is not None:
            raise ServiceError("ResourceAlreadyExistsException", messages.STREAM_EXISTS)
        state.put_stream(tx, ctx.scope, group, state.Stream(name, now_ms))

    await ctx.store.transact(create)
    return {}


@operation
async def delete_log_stream(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    def delete(tx: Transaction) -> None:
        state.get_stream(tx, ctx.scope, req["logGroupName"], req["logStreamName"])
        state.delete_stream(tx, ctx.scope, req["logGroupName"], req["logStreamName"])

    await ctx.store.transact(delete)
    return {}


@operation
async def describe_log_streams(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    name = rules.group_name(req)
    prefix = req.get("logStreamNamePrefix") or ""
    is_by_time = req.get("orderBy") == "LastEventTime"
    if prefix and is_by_time:
        raise rules.invalid(messages.PREFIX_WITH_TIME_ORDER)

    def read(tx: ReadTransaction) -> tuple[state.Group, list[state.Stream]]:
        return state.get_group(tx, ctx.scope, name), list(state.streams(tx, ctx.scope, name))

    group, found = await ctx.store.read(read)
    streams = [stream for stream in found if stream.name.startswith(prefix)]
    streams.sort(
        key=lambda stream: ((stream.last_ms or 0) if is_by_time else 0, stream.name),
        reverse=bool(req.get("descending")),
    )
    described = [_describe(group.arn(ctx.scope), stream) for stream in streams]
    return rules.page(described, "logStreams", req, req.get("limit") or limits.DESCRIBE_PAGE.value)


def _describe(group_arn: str, stream: state.Stream) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.created_ms,
        "arn": f"{group_arn}:log-stream:{stream.name}",
        "storedBytes": 0,  # AWS has answered 0 since June 2019
    }
    if stream.first_ms is not None:
        answer["firstEventTimestamp"] = stream.first_ms
        answer["lastEventTimestamp"] = stream.last_ms
        answer["lastIngestionTime"] = stream.ingested_ms
        answer["uploadSequenceToken"] = f"{stream.sequence:056d}"
    return answer
