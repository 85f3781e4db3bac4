"""Dead letters go back where they came from."""

from penstock.framework.context import Context
from penstock.framework.service import on_intent
from penstock.services.sqs.operations.moves import MOVE, carry_on
from penstock.storage.outbox import Intent


@on_intent(MOVE)
async def move(ctx: Context, intent: Intent) -> None:
    await carry_on(ctx, str(intent.payload["source"]), str(intent.payload["id"]))
