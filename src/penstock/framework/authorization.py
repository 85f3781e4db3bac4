"""May this caller do this? Asked at the door for every call.

enforce  a refusal is raised in AWS's words
open     a refusal is only noted (`denials`), so that a pipeline's missing permissions are known before AWS says so
"""

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.engines.policy.evaluate import Decision, Policies, Request, evaluate, role_arn_of
from penstock.framework.context import Context
from penstock.framework.principals import PolicySource
from penstock.framework.service import Members, Permission, Service
from penstock.kernel import arn
from penstock.kernel.errors import ServiceError
from penstock.storage.transactions import ReadTransaction

DENIALS_MAX = 1000


@dataclass(slots=True)
class Denial:
    """What a principal would have been refused, and how often."""

    principal_arn: str
    action: str
    resource: str
    reason: str
    count: int = 0


class Authorizer:
    """Passed to the Dispatcher as `authorize`."""

    def __init__(self, source: PolicySource | None) -> None:
        self._source = source
        self._denials: dict[tuple[str, str, str], Denial] = {}

    async def __call__(self, ctx: Context, room: Service, operation: str, req: Members) -> None:
        is_open = ctx.platform.auth != "enforce"
        if ctx.principal.kind in ("root", "service", "anonymous") and is_open:
            return
        is_guarded = room.access.resource_policy is not None
        if ctx.principal.kind in ("root", "service") and not is_guarded:
            return
        canonical = room.access.canonical
        if canonical is not None:
            req = await ctx.store.read(lambda tx, given=req: canonical(tx, ctx, given))  # type: ignore[misc]
        for permission in _permissions(ctx, room, operation, req):
            asked, seen = permission.view(operation, req) if permission.view else (operation, req)
            if not permission.resource(ctx, seen):
                continue
            policies, owner, values = await self._facts(ctx, room, asked, seen)
            request = _request(ctx, permission, seen, owner, values)
            decision = evaluate(request, policies)
            if decision.allowed:
                continue
            if not is_open:
                raise refusal(room.name, _words(room.name, ctx, request, decision))
            self._note(ctx, request, decision)

    def denials(self) -> list[Denial]:
        """What would have been refused in enforce mode, in order of principal and action."""
        return [self._denials[key] for key in sorted(self._denials)]

    def _note(self, ctx: Context, request: Request, decision: Decision) -> None:
        who = role_arn_of(ctx.principal) or ctx.principal.arn
        key = (who, request.action, request.resource)
        if key not in self._denials:
            if len(self._denials) >= DENIALS_MAX:
                return
            self._denials[key] = Denial(*key, reason=decision.message(request))
        self._denials[key].count += 1

    async def _facts(
        self, ctx: Context, room: Service, operation: str, req: Members
    ) -> tuple[Policies, str | None, Mapping[str, str | list[str]]]:
        """What the store knows of the caller and of what is asked for: policies, its owner, condition keys."""
        access, source = room.access, self._source

        def look(tx: ReadTransaction) -> tuple[Policies, str | None, Mapping[str, str | list[str]]]:
            is_known = source is not None and ctx.principal.kind in ("user", "role")
            identity, boundary = source.policies_of(tx, ctx.principal) if source and is_known else ([], None)
            resource = access.resource_policy(tx, ctx, operation, req) if access.resource_policy else None
            owner = access.owner(tx, ctx, operation, req) if access.owner else None
            values = access.values(tx, ctx, operation, req) if access.values else {}
            return Policies(identity, resource, boundary, ctx.principal.session_policies), owner, values

        return await ctx.store.read(look)


def pass_role(member: str, service: str) -> Permission:
    """What handing the role named by `member` to `service` needs; nothing where the request has no such member.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html
    """
    return Permission(
        "iam:PassRole",
        lambda ctx, req: str(req.get(member) or ""),
        lambda ctx, req: {"iam:PassedToService": service},
    )


async def read_policies(ctx: Context, *, resource: str | None) -> Policies:
    """The caller's policies beside a resource's, for a room that decides itself (a role's trust)."""
    source: PolicySource | None = getattr(ctx.platform.caller, "policy_source", None)
    principal = ctx.principal
    if source is None or principal.kind not in ("user", "role"):
        return Policies(resource=resource, sessions=principal.session_policies)
    identity, boundary = await ctx.store.read(lambda tx: source.policies_of(tx, principal))
    return Policies(identity, resource, boundary, principal.session_policies)


async def refusal_of(ctx: Context, service: str, operation: str, req: Members) -> ServiceError | None:
    """What this caller would hear of another call; None where it would be let in, which in open mode is always.

    For a room whose operation is many in one, each to be judged by itself.
    """
    authorizer, rooms = getattr(ctx.platform.caller, "authorizer", None), getattr(ctx.platform.caller, "rooms", {})
    if ctx.platform.auth != "enforce" or authorizer is None or service not in rooms:
        return None
    try:
        await authorizer(ctx, rooms[service], operation, req)
    except ServiceError as error:
        return error
    return None


def _words(service: str, ctx: Context, request: Request, decision: Decision) -> str:
    """S3 puts the resource into quotes, and tells nobody in particular nothing in particular."""
    if ctx.principal.kind == "anonymous":
        return "Access Denied"
    text = decision.message(request)
    if service != "s3" or not request.action.startswith("s3:"):
        return text
    return text.replace(f"on resource: {request.resource}", f'on resource: "{request.resource}"')


def refusal(service: str, message: str) -> ServiceError:
    """AccessDenied in the REST-XML and query services, AccessDeniedException in the JSON ones."""
    code = "AccessDenied" if service in ("s3", "iam", "sts", "sns", "sqs") else "AccessDeniedException"
    return ServiceError(code, message, status=403)


def _permissions(ctx: Context, room: Service, operation: str, req: Members) -> tuple[Permission, ...]:
    asked = room.access.asked(ctx, operation, req) if room.access.asked is not None else None
    known = asked if asked is not None else room.access.permissions.get(operation)
    if known is not None:
        return tuple(known)
    return (Permission(f"{room.name}:{operation}", lambda ctx, req: "*"),)


def _request(
    ctx: Context, permission: Permission, req: Members, owner: str | None, values: Mapping[str, str | list[str]]
) -> Request:
    resource = permission.resource(ctx, req)
    owner = owner or (arn.parse(resource).account_id if arn.is_arn(resource) else "")
    extra = {**values, **(permission.conditions(ctx, req) if permission.conditions else {})}
    return Request(ctx.principal, permission.action, resource, owner or ctx.scope.account_id, _values(ctx, extra))


def _values(ctx: Context, extra: Mapping[str, str | list[str]]) -> dict[str, list[str]]:
    """Condition keys in lower case.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """
    principal, now_ms = ctx.principal, ctx.clock.now_ms()
    values = {
        "aws:principalarn": [role_arn_of(principal) or principal.arn],
        "aws:principalaccount": [principal.account_id],
        "aws:userid": [principal.user_id],
        "aws:sourceip": [ctx.request.source_ip],
        "aws:useragent": [ctx.request.user_agent],
        "aws:securetransport": ["true" if ctx.request.is_secure else "false"],
        "aws:requestedregion": [ctx.scope.region],
        "aws:epochtime": [str(now_ms // 1000)],
        "aws:currenttime": [str(now_ms // 1000)],
    }
    if principal.kind == "user":
        values["aws:username"] = [principal.arn.rsplit("/", 1)[-1]]
    if principal.source_arn:
        values["aws:sourcearn"] = [principal.source_arn]
        values["aws:sourceaccount"] = [principal.account_id]
    values.update({key.lower(): [v] if isinstance(v, str) else list(v) for key, v in extra.items()})
    return values
