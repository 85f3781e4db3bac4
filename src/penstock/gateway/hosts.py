"""Virtual hosts: a bucket in the host name becomes the first segment of the path.

`BUCKET.localhost`, `BUCKET.s3.localhost`, `BUCKET.s3.REGION.localhost`, the same under localhost.localstack.cloud (the
name that users' configurations already carry) and under amazonaws.com (a client that was given a proxy).
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

import ipaddress
import re
from urllib.parse import SplitResult, quote, urlsplit

from penstock.protocol.messages import HttpRequest

_OWN_NAMES = ("localhost", "localhost.localstack.cloud")
_BASES = r"(?:localhost\.localstack\.cloud|localhost|amazonaws\.com(?:\.cn)?)"
_OWN_SERVICE = re.compile(r"(?P<service>[a-z0-9-]+)(?:\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?\." + _BASES)
_BUCKET = re.compile(
    r"(?P<bucket>.+?)(?:\.s3(?:[.-](?:website[.-])?(?:dualstack\.)?(?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?)?\." + _BASES
)
_SERVICE_NAMES = frozenset(
    [
        *("s3", "s3-control", "lambda", "sqs", "sns", "logs", "iam", "sts", "ssm", "secretsmanager", "kinesis"),
        *("firehose", "dynamodb", "streams", "events", "scheduler", "pipes", "states", "apigateway", "execute-api"),
        *("monitoring", "glue", "athena", "kms", "xray", "cloudformation", "queue"),
    ]
)


def use_path_style(request: HttpRequest) -> str | None:
    """Move a bucket from the host into the path, and answer it; None where the host names none.

    The request's own path stays what it was for the signature: it was signed as sent (`signed_path`).
    """
    bucket = find_bucket(name_of(request))
    if bucket is not None:
        request.path = f"/{quote(bucket, safe='')}{request.path}"
    return bucket


def name_of(request: HttpRequest) -> str:
    """The host's name without its port, in small letters."""
    return request.headers.get("host", "").rsplit(":", 1)[0].lower()


def find_bucket(host: str) -> str | None:
    """The bucket that a host names (without its port), or None."""
    if not host.endswith(("localhost", "localhost.localstack.cloud", "amazonaws.com", "amazonaws.com.cn")):
        return None
    own = _OWN_SERVICE.fullmatch(host)
    if own and own["service"] in _SERVICE_NAMES:
        return None
    found = _BUCKET.fullmatch(host)
    if found is None or found["bucket"] in ("localhost", "s3"):
        return None
    if host.startswith("localhost."):
        return None
    return found["bucket"]


def split_url(url: str) -> SplitResult:
    """An Origin, or `//` and a Host, in parts; all of them empty where it can't be one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def is_own_name(name: str) -> bool:
    """Whether a Host can only be this node: an address can't be rebound; of names only our own."""
    return _address(name) is not None or name in _OWN_NAMES


def is_this_machine(name: str) -> bool:
    """Whether a page's host is this machine itself: localhost, a name below it, or a loopback address."""
    address = _address(name)
    return address.is_loopback if address else name in _OWN_NAMES or name.endswith(".localhost")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
