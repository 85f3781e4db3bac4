"""GetRandomPassword."""

import string
from typing import Any

from penstock.framework.context import Context
from penstock.framework.service import operation
from penstock.services.secretsmanager import messages, rules

_PASSWORD_LENGTH = 32


@operation
async def get_random_password(ctx: Context, req: dict[str, Any]) -> dict[str, Any]:
    """A password of the asked length, with each kept type present unless that was turned off."""
    kinds = [
        [] if req.get("ExcludeLowercase") else list(string.ascii_lowercase),
        [] if req.get("ExcludeUppercase") else list(string.ascii_uppercase),
        [] if req.get("ExcludeNumbers") else list(string.digits),
        [] if req.get("ExcludePunctuation") else list(string.punctuation),
        [" "] if req.get("IncludeSpace") else [],
    ]
    excluded = req.get("ExcludeCharacters") or ""
    kinds = [kept for kind in kinds if (kept := [char for char in kind if char not in excluded])]
    length = req.get("PasswordLength") or _PASSWORD_LENGTH
    if not kinds:
        raise rules.invalid(messages.NO_CHARACTERS)
    required = kinds if req.get("RequireEachIncludedType", True) else []
    if len(required) > length:
        raise rules.invalid(messages.PASSWORD_TOO_SHORT)
    chars = [ctx.entropy.text("".join(kind), 1) for kind in required]
    every = "".join(char for kind in kinds for char in kind)
    chars.extend(ctx.entropy.text(every, length - len(chars)))
    chars.sort(key=lambda _: ctx.entropy.uniform(0, 1))
    return {"RandomPassword": "".join(chars)}
