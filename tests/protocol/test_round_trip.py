"""Whatever botocore serialises we parse to the same members, and what we serialise botocore parses to the same result.

For every operation of every service that a request may mean, with members made up from the shapes.
"""

import math
import random
import string
from datetime import UTC, datetime

import botocore.session
import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import ByteStream, stream_of
from penstock.model.loader import service_model
from penstock.protocol.codecs import codec_for
from penstock.protocol.messages import HttpRequest
from penstock.protocol.route import SERVED, route

SESSION = botocore.session.get_session()
DEPTH = 4
HAVE_A_HOST_OF_THEIR_OWN = ("ListDirectoryBuckets", "WriteGetObjectResponse")
TARGETS = [(service, protocol) for service in SERVED for protocol in service_model(service).protocols]


class Maker:
    """Members made up from a shape of botocore's, seeded."""

    def __init__(self, seed):
        self.chance = random.Random(seed)

    def text(self, shape, *, is_outside):
        if shape.enum:
            return self.chance.choice(shape.enum)
        letters = string.ascii_letters + string.digits + ("-_." if is_outside else "-_. /&<>\"'é漢%+=,:")
        return "".join(self.chance.choices(letters, k=self.chance.randint(1, 12))).strip() or "x"

    def make(self, shape, depth=0, *, is_outside=False):
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, depth)
        if kind == "list":
            count = self.chance.randint(1, 3) if depth < DEPTH else 0
            return [self.make(shape.member, depth + 1, is_outside=is_outside) for _ in range(count)]
        if kind == "map":
            count = self.chance.randint(1, 2) if depth < DEPTH else 0
            keys = {self.text(shape.key, is_outside=True).lower().replace("_", "-") for _ in range(count)}
            if shape.key.enum:
                keys = {self.chance.choice(shape.key.enum) for _ in range(count)}
            return {key: self.make(shape.value, depth + 1, is_outside=is_outside) for key in keys}
        if kind in ("string", "character"):
            return self.text(shape, is_outside=is_outside)
        if kind == "blob":
            return self.chance.randbytes(self.chance.randint(1, 20))
        if kind == "boolean":
            return self.chance.random() < 0.5
        if kind in ("integer", "long"):
            return self.chance.randint(1, 10_000)
        if kind in ("float", "double"):
            return self.chance.randint(1, 10_000) / 8
        assert kind == "timestamp", kind
        return datetime.fromtimestamp(self.chance.randint(0, 2_000_000_000), UTC)

    def structure(self, shape, depth):
        if getattr(shape, "is_document_type", False):
            return {"a": [1, "b", None]}
        names = list(shape.members)
        is_union = getattr(shape, "is_tagged_union", False)
        if is_union:
            names = [self.chance.choice(names)]
        made = {}
        for name in names:
            member = shape.members[name]
            is_needed = is_union or name in shape.required_members
            is_wanted = is_needed or depth == 0 or self.chance.random() < 0.5
            if member.serialization.get("eventstream") or getattr(member, "is_document_type", False):
                continue
            if (
                depth >= DEPTH
                and name not in shape.required_members
                and member.type_name in ("structure", "list", "map")
            ):
                continue
            if is_wanted and depth < 2 * DEPTH:
                place = member.serialization.get("location")
                made[name] = self.make(member, depth + 1, is_outside=place is not None)
        return made


def without_empty(value):
    """XML and queries don't tell an empty list or structure from none."""
    if isinstance(value, dict):
        cleaned = {key: without_empty(item) for key, item in value.items()}
        return {key: item for key, item in cleaned.items() if item not in ({}, [], None, "")}
    if isinstance(value, list):
        return [cleaned for item in value if (cleaned := without_empty(item)) not in ({}, [])]
    return value


def normal(value):
    if isinstance(value, dict):
        return {key: normal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [normal(item) for item in value]
    if isinstance(value, datetime):
        return round(value.timestamp())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    return value


def on_the_wire(service, protocol, operation, members):
    model = SESSION.get_service_model(service).operation_model(operation)
    wire = create_serializer(protocol, False).serialize_to_request(members, model)
    wire["headers"].setdefault("Authorization", scope_of(service))
    prepare_request_dict(wire, endpoint_url="http://localhost")
    path, _, query = wire["url"].removeprefix("http://localhost").partition("?")
    body = wire["body"]
    if isinstance(body, dict):
        from urllib.parse import urlencode  # noqa: PLC0415

        body = urlencode(body)
        wire["headers"]["Content-Type"] = "application/x-www-form-urlencoded; charset=utf-8"
    data = body.encode() if isinstance(body, str) else body or b""
    headers = {name.lower(): str(value) for name, value in wire["headers"].items()}
    return HttpRequest(wire["method"], path, query, headers, stream_of(data))


def scope_of(service):
    return f"AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{SERVED[service][0]}/aws4_request, Signature=x"


async def read_streams(members):
    return {
        name: await value.read(bytes_max=10_000) if isinstance(value, ByteStream) else value
        for name, value in members.items()
    }


def request_id(answer, metadata):
    """botocore's CBOR parser leaves it among the headers."""
    return metadata.get("RequestId", CaseInsensitive(answer.headers).get("x-amzn-RequestId"))


def operations(service):
    declared = service_model(service).operations.items()
    return [name for name, op in declared if name not in HAVE_A_HOST_OF_THEIR_OWN and not op.declared.get("deprecated")]


@pytest.mark.parametrize(("service", "protocol"), TARGETS)
async def test_what_botocore_sends_we_read(service, protocol):
    for name in operations(service):
        shape = SESSION.get_service_model(service).operation_model(name).input_shape
        members = Maker(f"{service}.{name}").make(shape) if shape else {}
        if protocol == "rest-xml":
            members.pop("ContentLength", None)
            members.pop("Expires", None)  # botocore's client makes a date of what the model calls text
        request = on_the_wire(service, protocol, name, members)
        found = await route(request)
        assert (found.operation.name, found.protocol) == (name, protocol)
        read = await codec_for(protocol).parse_request(found.operation, request, found.path_labels)
        lossy = without_empty if protocol in ("query", "rest-xml") else lambda value: value
        assert normal(lossy(await read_streams(read))) == normal(lossy(members)), f"{service}.{name}"


@pytest.mark.parametrize(("service", "protocol"), TARGETS)
async def test_what_we_answer_botocore_reads(service, protocol):
    parser = create_parser(protocol)
    for name in operations(service):
        shape = SESSION.get_service_model(service).operation_model(name).output_shape
        result = Maker(f"{service}.{name}.out").make(shape) if shape else {}
        declared = service_model(service).operations[name]
        if declared.event_stream_output:
            continue
        result.pop("ContentRange", None)
        for member_name, member in shape.members.items() if shape else ():
            if member.serialization.get("location") == "statusCode":
                result[member_name] = 202
        payload = declared.output.payload if declared.output else None
        if payload and declared.output.members[payload].type == "blob":
            result[payload] = b"whole body"  # botocore's parser wants text here, its client doesn't
        if declared.streaming_output:
            result[declared.streaming_output] = stream_of(result[declared.streaming_output])
            result.pop("ContentLength", None)
        answer = codec_for(protocol).serialize_response(declared, result, "request-1")
        body = answer.body if isinstance(answer.body, bytes) else await answer.body.read(bytes_max=10_000)
        wire = {"status_code": answer.status, "headers": CaseInsensitive(answer.headers), "body": body}
        parsed = parser.parse(wire, shape)
        metadata = parsed.pop("ResponseMetadata")
        assert request_id(answer, metadata) == "request-1"
        expected = await read_streams(result)
        if payload and isinstance(parsed.get(payload), str) and isinstance(expected[payload], bytes):
            parsed[payload] = parsed[payload].encode()
        if name == "GetBucketLocation":
            continue  # botocore's client reads it, its parser doesn't
        if declared.method == "HEAD":
            expected = {k: v for k, v in expected.items() if shape.members[k].serialization.get("location")}
            parsed.pop("ContentType", None)
            expected.pop("ContentType", None)
        assert normal(without_empty(parsed)) == normal(without_empty(expected)), f"{service}.{name}"


class CaseInsensitive(dict):
    """Headers as botocore's parsers take them."""

    def __init__(self, pairs):
        super().__init__((name.lower(), value.encode("latin-1").decode("utf-8", "replace")) for name, value in pairs)

    def get(self, name, default=None):
        return super().get(name.lower(), default)

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())


@pytest.mark.parametrize(("service", "protocol"), TARGETS)
def test_errors_arrive_with_their_code_message_and_status(service, protocol):
    parser = create_parser(protocol)
    model = service_model(service)
    operation = next(op for op in model.operations.values() if op.method != "HEAD")
    for error in [*model.errors.values(), None]:
        code = error.name if error else "NoSuchThing"
        answer = codec_for(protocol).serialize_error(operation, ServiceError(code, "why <&> é"), "request-1")
        assert answer.status == (error.status or 400 if error else 400)
        wire = {"status_code": answer.status, "headers": CaseInsensitive(answer.headers), "body": answer.body}
        parsed = parser.parse(wire, None)
        sent = (
            error.code
            if error and protocol in ("query", "json", "smithy-rpc-v2-cbor") and model.is_query_compatible
            else code
        )
        if protocol == "query":
            sent = error.code if error else code
        assert parsed["Error"]["Code"] in (sent, code)
        assert parsed["Error"]["Message"] == "why <&> é"
        assert request_id(answer, parsed["ResponseMetadata"]) == "request-1"
