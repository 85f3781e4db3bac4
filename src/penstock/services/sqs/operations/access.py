"""What IAM is asked for each operation, and the policy of the queue that a request names.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsqs.html
"""

from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel import arn
from penstock.kernel.scope import Scope
from penstock.services.sqs import rules, state
from penstock.services.sqs.operations.queues import located
from penstock.storage.transactions import ReadTransaction

# The batches need what their single operations need.
_ACTIONS = {
    "SendMessage": "SendMessage",
    "SendMessageBatch": "SendMessage",
    "ReceiveMessage": "ReceiveMessage",
    "DeleteMessage": "DeleteMessage",
    "DeleteMessageBatch": "DeleteMessage",
    "ChangeMessageVisibility": "ChangeMessageVisibility",
    "CreateQueue": "CreateQueue",
    "GetQueueUrl": "GetQueueUrl",
    "GetQueueAttributes": "GetQueueAttributes",
    "SetQueueAttributes": "SetQueueAttributes",
    "DeleteQueue": "DeleteQueue",
    "PurgeQueue": "PurgeQueue",
    "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
    "ListDeadLetterSourceQueues": "ListDeadLetterSourceQueues",
    "TagQueue": "TagQueue",
    "UntagQueue": "UntagQueue",
    "ListQueueTags": "ListQueueTags",
    "AddPermission": "AddPermission",
    "RemovePermission": "RemovePermission",
    "StartMessageMoveTask": "StartMessageMoveTask",
    "ListMessageMoveTasks": "ListMessageMoveTasks",
    "CancelMessageMoveTask": "CancelMessageMoveTask",
}


def _named(ctx: Context, req: Members) -> tuple[Scope, str]:
    """By URL, by the ARN of a task's source, or by name."""
    if req.get("QueueUrl"):
        return located(ctx, req)
    text = req.get("SourceArn") or (rules.read_task_handle(req["TaskHandle"])[1] if req.get("TaskHandle") else "")
    if arn.is_arn(text):
        queue = arn.parse(text)
        return Scope(queue.account_id, queue.region, queue.partition), queue.resource
    account_id = req.get("QueueOwnerAWSAccountId") or ctx.scope.account_id
    return Scope(account_id, ctx.scope.region, ctx.scope.partition), req.get("QueueName") or "*"


def _queue(ctx: Context, req: Members) -> str:
    scope, name = _named(ctx, req)
    return f"arn:{scope.partition}:sqs:{scope.region}:{scope.account_id}:{name}"


def _sent_to(ctx: Context, req: Members) -> str:
    """Moving messages takes them from the one queue and sends them to the other."""
    return str(req.get("DestinationArn") or "")


def _tagged(ctx: Context, req: Members) -> str:
    return _queue(ctx, req) if req.get("tags") else ""


def queue_policy(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    if not any(req.get(member) for member in ("QueueUrl", "QueueName", "SourceArn", "TaskHandle")):
        return None
    queue = state.find_queue(tx, *_named(ctx, req))
    return (queue.attributes.get("Policy") or None) if queue else None


ACCESS = Access(
    permissions={
        **{name: [Permission(f"sqs:{action}", _queue)] for name, action in _ACTIONS.items()},
        "CreateQueue": [Permission("sqs:CreateQueue", _queue), Permission("sqs:TagQueue", _tagged)],
        "StartMessageMoveTask": [
            Permission("sqs:StartMessageMoveTask", _queue),
            Permission("sqs:ReceiveMessage", _queue),
            Permission("sqs:DeleteMessage", _queue),
            Permission("sqs:SendMessage", _sent_to),
        ],
        "ListQueues": [Permission("sqs:ListQueues", lambda ctx, req: "*")],
    },
    resource_policy=queue_policy,
)
