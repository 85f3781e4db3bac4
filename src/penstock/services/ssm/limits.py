"""Quotas of Parameter Store."""

from penstock.kernel.limits import Limit

_QUOTAS = "https://docs.aws.amazon.com/general/latest/gr/ssm.html"
_PUT = "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html"

STANDARD_BYTES_MAX = Limit(4096, _PUT)
ADVANCED_BYTES_MAX = Limit(8192, _PUT)
DEPTH_MAX = Limit(15, _PUT)
VERSIONS_MAX = Limit(100, _QUOTAS)
LABELS_MAX = Limit(10, "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_LabelParameterVersion.html")
PAGE = Limit(10, "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html")
DESCRIBE_PAGE = Limit(50, "https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DescribeParameters.html")
