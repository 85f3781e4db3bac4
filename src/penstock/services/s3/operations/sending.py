"""A notification's way to its destination."""

from typing import Any

import orjson

from penstock.framework.context import Context
from penstock.kernel import arn
from penstock.kernel.scope import Scope, service_principal


async def send(ctx: Context, payload: dict[str, Any]) -> None:
    """As S3 itself on behalf of the bucket. Raises what the destination answers."""
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
