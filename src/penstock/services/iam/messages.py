"""Error texts of IAM."""

MALFORMED = "Syntax errors in policy."
MUST_DELETE_POLICIES = "Cannot delete entity, must delete policies first."
MUST_DETACH_POLICIES = "Cannot delete entity, must detach all policies first."
MUST_DELETE_KEYS = "Cannot delete entity, must delete access keys first."
POLICY_IN_USE = "Cannot delete a policy attached to entities."
POLICY_HAS_VERSIONS = (
    "This policy has more than one version. Before you delete a policy, you must delete the policy's versions."
)
DEFAULT_VERSION = "Cannot delete the default version of a policy."


def no_entity(kind: str, name: str) -> str:
    return f"The {kind} with name {name} cannot be found."


def entity_exists(kind: str, name: str) -> str:
    return f"{kind.capitalize()} with name {name} already exists."


def no_policy(arn: str) -> str:
    return f"Policy {arn} does not exist or is not attachable."


def no_attachment(arn: str) -> str:
    return f"Policy {arn} was not found."


def no_inline(kind: str, name: str) -> str:
    return f"The {kind} policy with name {name} cannot be found."


def policy_exists(name: str) -> str:
    return f"A policy called {name} already exists. Duplicate names are not allowed."


def no_version(arn: str, version: str) -> str:
    return f"Policy {arn} version {version} does not exist or is not attachable."


def no_key(key_id: str) -> str:
    return f"The Access Key with id {key_id} cannot be found."


def quota(what: str, value: int) -> str:
    return f"Cannot exceed quota for {what}: {value}"
