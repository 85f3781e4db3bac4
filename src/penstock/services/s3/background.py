"""What follows from a change: notifications sent, blobs collected."""

from dataclasses import replace
from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.framework.service import on_intent
from penstock.kernel import arn
from penstock.kernel.scope import Scope, service_principal
from penstock.services.s3 import events, state
from penstock.storage.outbox import Intent


@on_intent(state.DELETE_BLOB)
async def delete_blob(ctx: Context, intent: Intent) -> None:
    await ctx.blobs.delete(str(intent.payload["blob"]))


@on_intent(events.NOTIFY)
async def notify(ctx: Context, intent: Intent) -> None:
    """Send one record to one destination, as S3 itself on behalf of the bucket."""
    request = replace(ctx.request, trace_id=str(intent.payload.get("trace_id") or ""))
    await send(replace(ctx, request=request), dict(intent.payload))


async def send(ctx: Context, payload: dict[str, Any]) -> None:
    """Raises what the destination answers."""
    bucket_arn = f"arn:aws:s3:::{payload['bucket']}"
    principal = service_principal("s3.amazonaws.com", account_id=payload["account"], source_arn=bucket_arn)
    service, record = payload["service"], payload["record"]
    if service == "events":
        entry = {"Source": "aws.s3", "DetailType": payload["type"], "Resources": [bucket_arn]}
        entry["Detail"] = orjson.dumps(record).decode()
        scope = Scope(payload["account"], payload["region"])
        await ctx.call("events", "PutEvents", {"Entries": [entry]}, as_=principal, scope=scope)
        return
    target = arn.parse(payload["arn"])
    body = orjson.dumps(record if payload.get("is_test") else {"Records": [record]})
    scope = Scope(target.account_id, target.region)
    params: dict[str, Any]
    if service == "lambda":
        operation = "Invoke"
        params = {"FunctionName": payload["arn"], "InvocationType": "Event", "Payload": body}
    elif service == "sqs":
        operation = "SendMessage"
        url = f"{ctx.endpoint}/{target.account_id}/{target.resource}"
        params = {"QueueUrl": url, "MessageBody": body.decode()}
    else:
        operation = "Publish"
        params = {"TopicArn": payload["arn"], "Subject": "Amazon S3 Notification", "Message": body.decode()}
    await ctx.call(service, operation, params, as_=principal, scope=scope)
