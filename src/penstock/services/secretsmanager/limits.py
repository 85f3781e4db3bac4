"""Quotas of Secrets Manager."""

from penstock.kernel.limits import Limit

_QUOTAS = "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"
_DELETE = "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_DeleteSecret.html"

VALUE_BYTES_MAX = Limit(65_536, _QUOTAS)
VERSIONS_UNLABELLED_MAX = Limit(100, _QUOTAS)
RECOVERY_DAYS_MIN = Limit(7, _DELETE)
RECOVERY_DAYS_MAX = Limit(30, _DELETE)
PAGE = Limit(100, "https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_ListSecrets.html")
