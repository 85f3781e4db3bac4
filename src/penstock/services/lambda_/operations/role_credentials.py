"""Who a running function is: a session of its role."""

from penstock.engines.functions.ports import Credentials, FunctionSpec
from penstock.framework.context import Platform
from penstock.framework.credentials import TemporaryCredentials, temporary_credentials
from penstock.kernel import arn
from penstock.kernel.scope import Principal, root_principal
from penstock.services.lambda_ import limits


def role_principal(role_arn: str, function_name: str) -> Principal:
    """The session that Lambda assumes: arn:aws:sts::ACCOUNT:assumed-role/ROLE/FUNCTION.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-intro-execution-role.html
    """
    role = arn.parse(role_arn)
    name = role.resource.rpartition("/")[2]
    session_arn = f"arn:{role.partition}:sts::{role.account_id}:assumed-role/{name}/{function_name}"
    return Principal("role", role.account_id, session_arn, f"AROA{name.upper()}:{function_name}")


class RoleCredentials:
    """The function engine's CredentialsSource. Whoever holds them is to ask again before they expire."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._temporary: TemporaryCredentials | None = None

    async def credentials_for(self, spec: FunctionSpec) -> Credentials:
        if self._temporary is None:
            self._temporary = await temporary_credentials(self._platform.store, self._platform.entropy)
        principal = (
            role_principal(spec.role_arn, spec.name) if arn.is_arn(spec.role_arn) else root_principal(spec.account_id)
        )
        return self._temporary.mint(principal, [], self._platform.clock.now_ms() + limits.CREDENTIALS_MS)
