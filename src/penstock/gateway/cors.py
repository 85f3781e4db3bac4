"""Which web pages may use the node: S3's CORS rules, and pages of this machine for everything else.

A browser asks first (preflight) for all but simple requests; a simple one it sends, and only hides the answer. In
open mode such a request would be the root's, so there one that changes something is refused (`check_page`).
Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from penstock.gateway.hosts import is_own_name, is_this_machine, split_url
from penstock.kernel.errors import ServiceError
from penstock.protocol.messages import HttpRequest, HttpResponse

Rule = Mapping[str, Any]
Headers = list[tuple[str, str]]
FindRules = Callable[[str], Awaitable[Sequence[Rule]]]
"""The CORS rules of a bucket by its name; empty where it has none or isn't there."""

_API_PATH = re.compile(r"/(?:20\d\d-\d\d-\d\d/.*|service/[^/]+/operation/.*)?")
_API_METHODS = "GET, POST, PUT, PATCH, DELETE, HEAD"
_API_EXPOSED = (
    "x-amzn-RequestId, x-amzn-ErrorType, x-amzn-ErrorMessage, x-amz-function-error, x-amz-log-result,"
    " x-amz-executed-version, Date"
)
_METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
_VARY = ("Vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method")
_READING = ("GET", "HEAD", "OPTIONS")


class Cors:
    """`is_open`: the node takes whoever asks for its root, so pages from elsewhere are kept out."""

    def __init__(self, find_rules: FindRules, *, is_open: bool) -> None:
        self._find_rules = find_rules
        self._is_open = is_open

    async def preflight(self, request: HttpRequest) -> HttpResponse:
        """The answer to OPTIONS. Raises ServiceError: BadRequest, or AccessForbidden where no rule allows it."""
        headers = request.headers
        origin, method = headers.get("origin"), headers.get("access-control-request-method", "")
        if not origin:
            raise ServiceError("BadRequest", "Insufficient information. Origin request header needed.")
        asked = [name.strip() for name in headers.get("access-control-request-headers", "").split(",") if name.strip()]
        bucket = _bucket_of(request.path)
        if bucket is None:
            return HttpResponse(200, self._of_api(request, origin, asked))
        if method not in _METHODS:
            raise ServiceError("BadRequest", f"Invalid Access-Control-Request-Method: {method or 'null'}")
        rules = await self._find_rules(bucket)
        if not rules:
            raise _forbidden("CORS is not enabled for this bucket.", method, "BUCKET")
        rule = _find(rules, origin, method, asked)
        if rule is None:
            raise _not_allowed(method)
        return HttpResponse(200, _granted(rule, origin, asked))

    async def grants(self, request: HttpRequest) -> Headers:
        """The headers by which a page may read the answer; none where it may not, or where no page asks.

        Raises AccessForbidden in open mode where a page from elsewhere would change something.
        """
        origin = request.headers.get("origin")
        if not origin:
            return []
        bucket = _bucket_of(request.path)
        if bucket is None:
            granted = self._of_api(request, origin, [])
        else:
            rule = _find(await self._find_rules(bucket), origin, request.method, [])
            granted = _granted(rule, origin, []) if rule else []
        is_kept_out = self._is_open and request.method not in _READING and not _is_ours(request, origin)
        if not granted and is_kept_out:
            raise _not_allowed(request.method)
        return granted

    def _of_api(self, request: HttpRequest, origin: str, asked: Sequence[str]) -> Headers:
        """Services but S3 answer every page on AWS, as every request is signed; in open mode only our own."""
        if self._is_open and not _is_ours(request, origin):
            return []
        granted = [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Methods", _API_METHODS),
            ("Access-Control-Expose-Headers", _API_EXPOSED),
            _VARY,
        ]
        if asked:
            granted += [("Access-Control-Allow-Headers", ", ".join(asked)), ("Access-Control-Max-Age", "600")]
        return granted


def _bucket_of(path: str) -> str | None:
    """The bucket of a path-style request; None for the paths of the other services."""
    return None if _API_PATH.fullmatch(path) else unquote(path.split("/", 2)[1])


def _is_ours(request: HttpRequest, origin: str) -> bool:
    """A page that this machine serves, whatever its port; or one of the node's own name."""
    page, host = split_url(origin), split_url(f"//{request.headers.get('host', '')}")
    if is_this_machine(page.hostname or ""):
        return True
    return bool(page.netloc) and page.netloc == host.netloc and is_own_name(host.hostname or "")


def _find(rules: Sequence[Rule], origin: str, method: str, asked: Sequence[str]) -> Rule | None:
    """The first rule that allows all of it."""
    for rule in rules:
        if (
            any(_matches(pattern, origin) for pattern in rule.get("AllowedOrigins", []))
            and method in rule.get("AllowedMethods", [])
            and all(_is_header_allowed(rule, name) for name in asked)
        ):
            return rule
    return None


def _is_header_allowed(rule: Rule, name: str) -> bool:
    return any(_matches(pattern.lower(), name.lower()) for pattern in rule.get("AllowedHeaders", []))


def _matches(pattern: str, text: str) -> bool:
    """One `*` in a pattern stands for anything."""
    head, star, tail = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(head) + len(tail) and text.startswith(head) and text.endswith(tail)


def _granted(rule: Rule, origin: str, asked: Sequence[str]) -> Headers:
    is_any = "*" in rule["AllowedOrigins"]
    granted = [("Access-Control-Allow-Origin", "*" if is_any else origin)]
    granted.append(("Access-Control-Allow-Methods", ", ".join(rule["AllowedMethods"])))
    if asked:
        granted.append(("Access-Control-Allow-Headers", ", ".join(name.lower() for name in asked)))
    if rule.get("ExposeHeaders"):
        granted.append(("Access-Control-Expose-Headers", ", ".join(rule["ExposeHeaders"])))
    if rule.get("MaxAgeSeconds"):
        granted.append(("Access-Control-Max-Age", str(rule["MaxAgeSeconds"])))
    if not is_any:
        granted.append(("Access-Control-Allow-Credentials", "true"))
    return [*granted, _VARY]


def _not_allowed(method: str) -> ServiceError:
    return _forbidden(
        "This CORS request is not allowed. This is usually because the evalution of Origin, request method /"
        " Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS"
        " spec.",
        method,
        "OBJECT",
    )


def _forbidden(reason: str, method: str, kind: str) -> ServiceError:
    fields = {"Method": method, "ResourceType": kind}
    return ServiceError("AccessForbidden", f"CORSResponse: {reason}", status=403, fields=fields)
