"""How the command line reaches a running node."""

import os
import urllib.error
import urllib.request
from typing import Any

import boto3
import orjson
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config as ClientConfig

DEFAULT_ENDPOINT = "http://127.0.0.1:4566"
_TIMEOUT_S = 600


class NodeUnreachable(Exception):
    """Nothing answers at the endpoint."""


class Refused(Exception):
    """The node answered with an error, in its own words."""


def endpoint_of(given: str | None) -> str:
    """The flag, else AWS_ENDPOINT_URL, else where a node listens unless told otherwise."""
    return (given or os.environ.get("AWS_ENDPOINT_URL") or DEFAULT_ENDPOINT).rstrip("/")


def ask(endpoint: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """One call of `/_penstock/...`. Raises NodeUnreachable or Refused."""
    data = orjson.dumps(body) if body is not None else None
    url = f"{endpoint}/_penstock/{path}"
    request = urllib.request.Request(url, data, _signed(method, url, data), method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            found: dict[str, Any] = orjson.loads(answer.read())
            return found
    except urllib.error.HTTPError as error:
        raise Refused(_message(error.read()) or f"{error.code} {error.reason}") from error
    except OSError as error:
        raise NodeUnreachable(
            f"no node answers at {endpoint}: start one with `penstock up`, or name it with --endpoint"
        ) from error


def _signed(method: str, url: str, data: bytes | None) -> dict[str, str]:
    """Headers with a signature, if there are credentials: a node in enforce mode asks for the root's."""
    session = boto3.Session()
    credentials = session.get_credentials()
    request = AWSRequest(method, url, headers={"Content-Type": "application/json"}, data=data)
    if credentials is not None:
        SigV4Auth(credentials, "penstock", session.region_name or "us-east-1").add_auth(request)
    return dict(request.headers.items())


def sdk(service: str, endpoint: str) -> Any:
    """A boto3 client; without credentials in the environment, those of an open node."""
    session = boto3.Session()
    credentials: dict[str, str] = {}
    if session.get_credentials() is None:
        credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=session.region_name or "us-east-1",
        config=ClientConfig(read_timeout=_TIMEOUT_S * 2, retries={"total_max_attempts": 1}),
        **credentials,
    )


def _message(body: bytes) -> str:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode(errors="replace")[:500]
    return str(found.get("message", found))
