"""Error texts of Secrets Manager.

Source: https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html and the operations' pages.
"""

SECRET_NOT_FOUND = "Secrets Manager can't find the specified secret."
IS_DELETED = "You can't perform this operation on the secret because it was marked for deletion."
NAME_IS_DELETED = "You can't create this secret because a secret with this name is already scheduled for deletion."
BOTH_VALUES = "You can't specify both a binary secret value and a string secret value in the same secret."
NO_VALUE = "You must provide either SecretString or SecretBinary."
RECOVERY_WINDOW = "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive)."
FORCE_AND_WINDOW = "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."
BAD_NEXT_TOKEN = "Invalid NextToken"
NO_CHARACTERS = "No characters are available for the password: exclude fewer."
PASSWORD_TOO_SHORT = "Password length is too short based on the required types."
VALUE_TOO_LONG = "The secret value can't be longer than 65536 bytes."


def exists(name: str) -> str:
    return f"The operation failed because the secret {name} already exists."


def value_not_found(*, stage: str = "", version_id: str = "") -> str:
    named = f"VersionId: {version_id}" if version_id else f"staging label: {stage}"
    return f"Secrets Manager can't find the specified secret value for {named}"


def stage_mismatch() -> str:
    return "You provided a VersionStage that is not associated to the provided VersionId."


def token_in_use(token: str, arn: str) -> str:
    return (
        f"You can't use ClientRequestToken {token} because that value is already in use for a version of secret {arn}."
    )


def stage_elsewhere(stage: str, version_id: str) -> str:
    return (
        f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version "
        f"{version_id}, so you must explicitly reference that version in RemoveFromVersionId."
    )


def stage_not_there(stage: str, version_id: str) -> str:
    return f"Staging label {stage} is not attached to version {version_id}."
