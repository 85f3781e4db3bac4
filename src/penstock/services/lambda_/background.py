"""What follows from a change and what runs by itself: functions become active, asynchronous events are invoked,
their endings delivered, usage written."""

import logging
from dataclasses import replace
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import background, on_intent
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Scope
from penstock.services.lambda_ import limits, messages, state
from penstock.services.lambda_.operations import metrics, packages, snapshot_cache, specs
from penstock.services.lambda_.operations.durable_runs import forget, run_durable_executions, tell_status, wake
from penstock.services.lambda_.operations.event_runner import EventRunner
from penstock.services.lambda_.operations.kafka_source import send_to_topic
from penstock.services.lambda_.operations.log_shipper import LogShipper
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.operations.provisioned import keep_provisioned, unreserved
from penstock.services.lambda_.operations.role_credentials import RoleCredentials, role_principal
from penstock.services.lambda_.operations.source_supervision import Supervision
from penstock.services.lambda_.state import LATEST, Version
from penstock.storage.outbox import Intent
from penstock.storage.transactions import ReadTransaction, Transaction

__all__ = [
    "LogShipper",
    "RoleCredentials",
    "activate",
    "deliver",
    "forget",
    "keep_provisioned",
    "run_asynchronous_events",
    "run_durable_executions",
    "tell_status",
    "wake",
    "write_usage",
]

log = logging.getLogger("penstock.lambda")


@on_intent(state.DELETE_BLOB)
async def delete_blob(ctx: Context, intent: Intent) -> None:
    await ctx.blobs.delete(str(intent.payload["blob"]))


@on_intent(state.DELETE_CODE)
async def delete_code(ctx: Context, intent: Intent) -> None:
    await packages.remove_unpacked(ctx, str(intent.payload["sha256"]))


@on_intent(state.ACTIVATE)
async def activate(ctx: Context, intent: Intent) -> None:
    """Unpack a new configuration, let it be invoked, and end the environments that run the old one."""
    told = intent.payload
    name, number, config_id = str(told["name"]), str(told["version"]), told["config_id"]

    def find(tx: ReadTransaction) -> Version | None:
        version = state.find_version(tx, ctx.scope, name, number)
        return version if version is not None and version.config_id == config_id else None

    version = await ctx.store.read(find)
    if version is None:
        return
    spec = await specs.prepare(ctx, ctx.scope, version, reserved=None)
    pool = ctx.platform.functions
    failure = await pool.snapshot(spec) if pool is not None and spec.snap_start else ""
    now_ms, revision_id = ctx.clock.now_ms(), ctx.entropy.uuid()

    def finish(tx: Transaction) -> None:
        current = find(tx)
        if current is not None:
            current.revision_id = revision_id
            _finish(tx, ctx.scope, current, failure, now_ms=now_ms)

    await ctx.store.transact(finish)
    if pool is not None and not failure and (number == LATEST or spec.snap_start):
        if number == LATEST:
            await pool.retire(spec.arn, keep=spec.id)
        await pool.warm(spec)


def _finish(tx: Transaction, scope: Scope, version: Version, failure: str, *, now_ms: int) -> None:
    """`failure` is AWS's reason code where a SnapStart version couldn't be initialised."""
    version.state, version.state_reason, version.state_code = "Active", "", ""
    if failure:
        version.state, version.state_reason, version.state_code = "Failed", messages.INIT_FAILED, failure
    version.update_status, version.update_reason, version.update_code = "Successful", "", ""
    state.put_version(tx, scope, version)
    if version.has_snap_start and not failure:
        snapshot_cache.begin(tx, scope, version, now_ms=now_ms)
    previous = state.find_previous(tx, scope, version.name) if version.version == LATEST else None
    if previous is not None:
        state.drop_previous(tx, scope, version.name)
        if not state.is_package_used(tx, scope, version.name, previous.package.blob_id):
            packages.drop(tx, previous.package, now_ms=now_ms)


@background
async def write_usage(ctx: Context) -> None:
    """Keep the daily counters up to date, a second late at most while the node runs."""
    meter = meter_of(ctx.platform)
    meter.allocated = lambda tx, scope: limits.CONCURRENCY.value - unreserved(tx, scope)
    try:
        while True:
            changed = meter.wakeup.changed
            if meter.is_empty:
                await changed.wait()
            await ctx.platform.wall.sleep(limits.METER_LINGER_S)
            await meter.flush()
    finally:
        await meter.flush()


@background
async def run_asynchronous_events(ctx: Context) -> None:
    await EventRunner(ctx).run()


@background
async def poll_event_sources(ctx: Context) -> None:
    """Run a poller for every enabled mapping; one that changes gets a new poller."""
    await Supervision(ctx).run()


@on_intent(state.DELIVER)
async def deliver(ctx: Context, intent: Intent) -> None:
    """Send one document to a queue, topic, bus, bucket or function, as the function's role.

    A target that refuses for good is given up, as on AWS, which counts DestinationDeliveryFailures.
    """
    told: dict[str, Any] = dict(intent.payload)
    if told["target"].startswith("kafka://"):
        await send_to_topic(ctx, told)
        return
    target = arn.parse(told["target"])
    service, operation, params = delivery_call(ctx, target, told)
    scope = Scope(target.account_id or ctx.scope.account_id, target.region or ctx.scope.region, target.partition)
    ctx = replace(ctx, request=replace(ctx.request, trace_id=told.get("trace_id") or ""))
    try:
        await ctx.call(service, operation, params, as_=role_principal(told["role"], told["function"]), scope=scope)
    except ServiceError as error:
        metric = "DeadLetterErrors" if told.get("attributes") else "DestinationDeliveryFailures"
        subject = metrics.subject_of(ctx.scope, told["function"], told.get("qualifier") or "")
        meter_of(ctx.platform).metrics.count(subject, metric)
        is_passing = error.status >= 500 or error.status == 429 or "Throttl" in error.code
        if is_passing and error.status != 501 and intent.attempt < limits.DELIVERY_ATTEMPTS_MAX:
            raise
        log.warning("delivery given up function=%s target=%s reason=%s", told["function"], told["target"], error)


def delivery_call(ctx: Context, target: arn.Arn, told: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """The call that hands a document to its target."""
    body, attributes = told["body"], told.get("attributes")
    extra = {"MessageAttributes": attributes} if attributes else {}
    if target.service == "sqs":
        url = f"{ctx.endpoint}/{target.account_id}/{target.resource}"
        return "sqs", "SendMessage", {"QueueUrl": url, "MessageBody": body, **extra}
    if target.service == "sns":
        return "sns", "Publish", {"TopicArn": str(target), "Message": body, **extra}
    if target.service == "lambda":
        params = {"FunctionName": str(target), "InvocationType": "Event", "Payload": body.encode()}
        return "lambda", "Invoke", params
    if target.service == "s3":
        return "s3", "PutObject", {"Bucket": target.resource, "Key": told["key"], "Body": body.encode()}
    word = "Success" if told["is_success"] else "Failure"
    entry = {
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {word}",
        "Resources": [str(target), told["resource"]],
        "Detail": body,
        "EventBusName": str(target),
    }
    return "events", "PutEvents", {"Entries": [entry]}
