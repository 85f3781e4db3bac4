"""The IAM decision: may this principal do this to that? Pure.

Order of thought: an explicit deny anywhere wins; then, within an account, an allow of either the identity's or the
resource's policies is enough, and across accounts both are needed; a permissions boundary and session policies
only ever narrow what identity policies allow.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from penstock.engines.policy.conditions import holds, matches, substitute
from penstock.kernel.scope import Principal

PolicyType = Literal["identity", "resource", "boundary", "session"]

_NAMES: dict[PolicyType, str] = {
    "identity": "identity-based policy",
    "resource": "resource-based policy",
    "boundary": "permissions boundary",
    "session": "session policy",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One question.

    resource_account_id   the owner of the resource; values: condition keys in lower case
    """

    principal: Principal
    action: str
    resource: str
    resource_account_id: str
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Policies:
    """JSON documents. `boundary`, `resource` are None where there is none; sessions come from AssumeRole."""

    identity: Sequence[str] = ()
    resource: str | None = None
    boundary: str | None = None
    sessions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """`denied_by` is set for an explicit deny; `lacking`, for the policy type that didn't allow."""

    allowed: bool
    denied_by: PolicyType | None = None
    lacking: PolicyType | None = None

    def message(self, request: Request) -> str:
        """AWS's words for a refusal.

        Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
        """
        head = f"User: {request.principal.arn} is not authorized to perform: {request.action}"
        head += f" on resource: {request.resource}" if request.resource != "*" else ""
        if self.denied_by is not None:
            article = "an" if self.denied_by == "identity" else "a"
            return f"{head} with an explicit deny in {article} {_NAMES[self.denied_by]}"
        lacking = _NAMES[self.lacking or "identity"]
        return f"{head} because no {lacking} allows the {request.action} action"


def evaluate(request: Request, policies: Policies) -> Decision:
    """Decide. Malformed documents allow nothing and deny nothing."""
    denied_by = _find_deny(request, policies)
    if denied_by is not None:
        return Decision(False, denied_by=denied_by)
    if request.principal.kind in ("service", "anonymous"):
        return _decide_resource(request, policies)
    granted = _grant_of_resource(request, policies.resource)
    is_same_account = request.principal.account_id == request.resource_account_id or not request.resource_account_id
    if granted == "session" and is_same_account:
        return Decision(True)
    lacking = _find_lacking(request, policies, has_resource_grant=granted is not None and is_same_account)
    if lacking is not None:
        return Decision(False, lacking=lacking)
    if not is_same_account and granted is None:
        return Decision(False, lacking="resource")
    return Decision(True)


def allows_principal(policy: str, request: Request) -> bool:
    """Whether a policy by itself (a role's trust policy) lets the principal in, and nothing in it denies."""
    statements = [s for s in _statements(policy) if _applies(s, request, with_principal=True)]
    return bool(statements) and not any(s.get("Effect") == "Deny" for s in statements)


def _find_deny(request: Request, policies: Policies) -> PolicyType | None:
    sources: list[tuple[PolicyType, Sequence[str]]] = [
        ("identity", policies.identity),
        ("resource", [policies.resource] if policies.resource else []),
        ("boundary", [policies.boundary] if policies.boundary else []),
        ("session", policies.sessions),
    ]
    for kind, documents in sources:
        for document in documents:
            if _effects(document, request, with_principal=kind == "resource").get("Deny"):
                return kind
    return None


def _find_lacking(request: Request, policies: Policies, *, has_resource_grant: bool) -> PolicyType | None:
    """The first policy type that should have allowed and didn't."""
    is_root = request.principal.kind == "root"
    if policies.boundary is not None and not _allows([policies.boundary], request):
        return "boundary"
    if policies.sessions and not _allows(policies.sessions, request):
        return "session"
    if is_root or has_resource_grant or _allows(policies.identity, request):
        return None
    return "identity"


def _decide_resource(request: Request, policies: Policies) -> Decision:
    """A service on its own behalf, or nobody in particular: only the resource's policy can let it in."""
    if policies.resource is not None and _grant_of_resource(request, policies.resource):
        return Decision(True)
    return Decision(False, lacking="resource")


def _grant_of_resource(request: Request, document: str | None) -> Literal["session", "principal", "account"] | None:
    """What a resource policy grants to: the session itself (past boundaries), the principal or its account.

    A grant to the account alone only opens the door for the account's own identity policies.
    """
    if document is None:
        return None
    account = {request.principal.account_id, f"arn:aws:iam::{request.principal.account_id}:root"}
    best: Literal["session", "principal", "account"] | None = None
    for statement in _statements(document):
        if statement.get("Effect") != "Allow" or not _applies(statement, request, with_principal=True):
            continue
        named = _aws_principals(statement.get("Principal"))
        if request.principal.arn in named:
            return "session"
        is_account_only = bool(named) and set(named) <= account and request.principal.kind not in ("root", "service")
        best = "account" if is_account_only and best is None else "principal" if not is_account_only else best
    is_foreign = request.principal.account_id != request.resource_account_id
    return best if best != "account" or is_foreign else None


def _allows(documents: Sequence[str], request: Request) -> bool:
    return any(_effects(document, request, with_principal=False).get("Allow") for document in documents)


def _effects(document: str, request: Request, *, with_principal: bool) -> dict[str, bool]:
    return {
        str(s.get("Effect")): True for s in _statements(document) if _applies(s, request, with_principal=with_principal)
    }


@lru_cache(maxsize=1024)
def _statements(document: str) -> tuple[dict[str, Any], ...]:
    try:
        policy = json.loads(document)
    except ValueError:
        return ()
    statements = policy.get("Statement", []) if isinstance(policy, dict) else []
    listed = statements if isinstance(statements, list) else [statements]
    return tuple(statement for statement in listed if isinstance(statement, dict))


def _applies(statement: Mapping[str, Any], request: Request, *, with_principal: bool) -> bool:
    if with_principal and not _names_principal(statement, request):
        return False
    return (
        _names_action(statement, request)
        and _names_resource(statement, request)
        and _conditions_hold(statement.get("Condition"), request)
    )


def _names_action(statement: Mapping[str, Any], request: Request) -> bool:
    if "NotAction" in statement:
        return not any(matches(p, request.action, fold=True) for p in _listed(statement["NotAction"]))
    return any(matches(p, request.action, fold=True) for p in _listed(statement.get("Action")))


def _names_resource(statement: Mapping[str, Any], request: Request) -> bool:
    is_inverted = "NotResource" in statement
    if not is_inverted and "Resource" not in statement:
        return True  # a trust policy has no resource
    patterns = _listed(statement["NotResource"] if is_inverted else statement["Resource"])
    texts = [text for pattern in patterns if (text := substitute(pattern, request.values)) is not None]
    return any(matches(text, request.resource) for text in texts) != is_inverted


def _names_principal(statement: Mapping[str, Any], request: Request) -> bool:
    if "NotPrincipal" in statement:
        return not _is_among(statement["NotPrincipal"], request)
    return _is_among(statement.get("Principal"), request)


def _is_among(named: Any, request: Request) -> bool:
    principal = request.principal
    if named == "*":
        return True
    if not isinstance(named, dict):
        return False
    if principal.kind == "service":
        return any(name in ("*", principal.arn) for name in _listed(named.get("Service"))) or "*" in _listed(
            named.get("AWS")
        )
    return any(name in _names_of(principal) for name in _listed(named.get("AWS")))


def _names_of(principal: Principal) -> set[str]:
    """Every way in which a policy may name the principal."""
    if principal.kind == "anonymous":
        return {"*"}
    names = {"*", principal.arn, principal.account_id, f"arn:aws:iam::{principal.account_id}:root"}
    role = role_arn_of(principal)
    return names | {role} if role else names


def role_arn_of(principal: Principal) -> str | None:
    """The role behind an assumed-role session, without its path."""
    if principal.kind != "role" or ":assumed-role/" not in principal.arn:
        return principal.arn if principal.kind == "role" else None
    name = principal.arn.split(":assumed-role/", 1)[1].split("/", 1)[0]
    return f"arn:aws:iam::{principal.account_id}:role/{name}"


def _aws_principals(named: Any) -> list[str]:
    return _listed(named.get("AWS")) if isinstance(named, dict) else []


def _conditions_hold(conditions: Any, request: Request) -> bool:
    if not isinstance(conditions, dict):
        return True
    return all(
        holds(operator, key, _listed(wanted), request.values)
        for operator, keys in conditions.items()
        for key, wanted in keys.items()
    )


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    return [("true" if item else "false") if isinstance(item, bool) else str(item) for item in items]
