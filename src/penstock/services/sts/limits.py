"""Quotas of STS."""

from penstock.kernel.limits import Limit

_ASSUME_ROLE = "https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"

ASSUME_ROLE_S_DEFAULT = Limit(3600, _ASSUME_ROLE)
CHAINED_ROLE_S_MAX = Limit(3600, _ASSUME_ROLE)
SESSION_POLICY_LETTERS_MAX = Limit(2048, _ASSUME_ROLE)
SESSION_TOKEN_S_DEFAULT = Limit(43_200, "https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html")
