"""Who is asking."""

from penstock.framework.context import Context
from penstock.framework.service import Members, operation
from penstock.kernel.scope import DEFAULT_ACCOUNT_ID


@operation
async def get_caller_identity(ctx: Context, req: Members) -> Members:
    principal = ctx.principal
    return {"UserId": principal.user_id, "Account": principal.account_id, "Arn": principal.arn}


@operation
async def get_access_key_info(ctx: Context, req: Members) -> Members:
    """The account of a key: itself where the key is an account id, else the caller's."""
    key = str(req["AccessKeyId"])
    is_account = len(key) == len(DEFAULT_ACCOUNT_ID) and key.isdigit()
    return {"Account": key if is_account else ctx.principal.account_id}
