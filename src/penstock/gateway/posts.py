"""Uploads by a browser's form: a POST to a bucket becomes a PutObject.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream
from penstock.protocol import post_policy
from penstock.protocol.forms import Form, is_form, read_form
from penstock.protocol.messages import HttpRequest, HttpResponse
from penstock.protocol.post_policy import SizeRange
from penstock.protocol.sigv4 import Claim
from penstock.protocol.xml_values import escape

_STATUSES = ("200", "201", "204")
_HEADERS = (
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "content-md5",
)
_KEPT_OUT = ("x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token")


@dataclass(slots=True)
class Post:
    """A form's upload: `put`, the PutObject that it means."""

    bucket: str
    key: str
    fields: Mapping[str, str]
    put: HttpRequest
    claim: Claim | None


def find_bucket(request: HttpRequest) -> str | None:
    """The bucket that a form is posted to; None for any other request. `request.path` in path style.

    Raises PreconditionFailed (412) for a POST to a bucket that is neither a form nor a call.
    """
    if request.method != "POST" or request.query or "x-amz-target" in request.headers:
        return None
    bucket, _, rest = request.path.removeprefix("/").partition("/")
    if not bucket or rest:
        return None
    if not is_form(request):
        named = {"Condition": "Bucket POST must be of the enclosure-type multipart/form-data"}
        text = "At least one of the pre-conditions you specified did not hold"
        raise ServiceError("PreconditionFailed", text, status=412, fields=named)
    return unquote(bucket)


async def read_post(request: HttpRequest, bucket: str, now_ms: int) -> Post:
    """Raises ServiceError: what is wrong with the form, or what its policy doesn't allow."""
    form = await read_form(request)
    fields = form.fields
    claim = post_policy.claim_of(fields)
    key = fields.get("key")
    if not key:
        text = (
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields."
        )
        raise ServiceError("InvalidArgument", text, fields={"ArgumentName": "key", "ArgumentValue": ""})
    if form.file is None:
        text = "POST requires exactly one file upload per request."
        raise ServiceError("InvalidArgument", text, fields={"ArgumentName": "file", "ArgumentValue": "0"})
    key = key.replace("${filename}", form.filename)
    fields["key"] = key
    sizes = post_policy.check_policy(fields["policy"], fields, bucket, now_ms) if "policy" in fields else None
    return Post(bucket, key, fields, _put(request, form, bucket, key, sizes), claim)


def _put(request: HttpRequest, form: Form, bucket: str, key: str, sizes: SizeRange | None) -> HttpRequest:
    headers = {name: value for name, value in request.headers.items() if name in ("host", "user-agent", "referer")}
    for name, value in form.fields.items():
        if name in _HEADERS or (name.startswith("x-amz-") and name not in _KEPT_OUT):
            headers[name] = value
    if "acl" in form.fields:
        headers["x-amz-acl"] = form.fields["acl"]
    if "tagging" in form.fields:
        headers["x-amz-tagging"] = _tags(form.fields["tagging"])
    assert form.file is not None
    body = form.file if sizes is None else _bounded(form.file, sizes)
    path = f"/{quote(bucket, safe='')}/{quote(key)}"
    return HttpRequest("PUT", path, "", headers, body, request.source_ip, request.is_secure)


def _tags(document: str) -> str:
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        text = "The XML you provided was not well-formed or did not validate against our published schema"
        raise ServiceError("MalformedXML", text) from None
    found = []
    for tag in root.iter():
        if tag.tag.rpartition("}")[2] == "Tag":
            values = {item.tag.rpartition("}")[2]: item.text or "" for item in tag}
            found.append((values.get("Key", ""), values.get("Value", "")))
    return urlencode(found)


def _bounded(body: ByteStream, sizes: SizeRange) -> ByteStream:
    least, most = sizes
    if body.length is not None:
        _check_size(body.length, least, most)
        return body

    async def counted() -> AsyncIterator[bytes]:
        size = 0
        async for piece in body:
            size += len(piece)
            _check_size(size, 0, most)
            yield piece
        _check_size(size, least, most)

    return ByteStream(counted())


def _check_size(size: int, least: int, most: int) -> None:
    if size > most:
        named = {"ProposedSize": str(size), "MaxSizeAllowed": str(most)}
        raise ServiceError("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", fields=named)
    if size < least:
        named = {"ProposedSize": str(size), "MinSizeAllowed": str(least)}
        text = "Your proposed upload is smaller than the minimum allowed size"
        raise ServiceError("EntityTooSmall", text, fields=named)


def answer(post: Post, result: Mapping[str, Any], endpoint: str, answered: HttpResponse) -> HttpResponse:
    """What the browser gets: a redirect, or the status that the form asks for."""
    etag = str(result.get("ETag") or "")
    location = f"{endpoint}/{post.bucket}/{quote(post.key)}"
    headers = [(name, value) for name, value in answered.headers if name.lower() not in ("content-type", "location")]
    redirect = post.fields.get("success_action_redirect") or post.fields.get("redirect")
    if redirect and urlsplit(redirect).scheme in ("http", "https"):
        told = urlencode({"bucket": post.bucket, "key": post.key, "etag": etag})
        joined = f"{redirect}{'&' if urlsplit(redirect).query else '?'}{told}"
        return HttpResponse(303, [*headers, ("Location", joined)])
    status = post.fields.get("success_action_status", "204")
    status = status if status in _STATUSES else "204"
    headers.append(("Location", location))
    if status != "201":
        return HttpResponse(int(status), headers)
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<PostResponse><Location>{escape(location)}</Location><Bucket>{escape(post.bucket)}</Bucket>"
        f"<Key>{escape(post.key)}</Key><ETag>{escape(etag)}</ETag></PostResponse>"
    )
    return HttpResponse(201, [*headers, ("Content-Type", "application/xml")], document.encode())
