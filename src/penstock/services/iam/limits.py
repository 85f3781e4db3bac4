"""Quotas of IAM."""

from penstock.kernel.limits import Limit

_QUOTAS = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"

ACCESS_KEYS_PER_USER_MAX = Limit(2, _QUOTAS)
POLICY_VERSIONS_MAX = Limit(5, _QUOTAS)
ATTACHED_POLICIES_MAX = Limit(10, _QUOTAS)
SESSION_S_DEFAULT = Limit(3600, "https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html")
