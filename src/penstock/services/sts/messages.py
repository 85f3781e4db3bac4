"""Error texts of STS."""

SESSION_FROM_SESSION = "Cannot call GetSessionToken with session credentials"
DURATION_TOO_LONG = "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
CHAIN_TOO_LONG = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining."


def invalid_arn(text: object) -> str:
    return f"{text} is invalid"


def not_trusted(caller_arn: str, role_arn: str) -> str:
    return f"User: {caller_arn} is not authorized to perform: sts:AssumeRole on resource: {role_arn}"
