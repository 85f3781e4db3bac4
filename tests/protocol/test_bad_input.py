"""Input that no SDK sends: a clear answer in the protocol's words."""

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of
from penstock.model.loader import service_model
from penstock.protocol.codecs import codec_for
from penstock.protocol.event_stream import decode, encode
from penstock.protocol.messages import HttpRequest
from penstock.protocol.xml_values import MalformedXml, escape, parse_document


async def refused(service, operation, protocol, body, query="", headers=None, labels=None):
    declared = service_model(service).operations[operation]
    request = HttpRequest("POST", "/", query, headers or {}, stream_of(body))
    with pytest.raises(ServiceError) as caught:
        await codec_for(protocol).parse_request(declared, request, labels or {})
    return caught.value.code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"TableName": 1}', "SerializationException"),
        (b'{"TableName": "t", "Item": []}', "SerializationException"),
        (b'{"TableName": "t", "Item": {"a": {"B": "\xc3\xa9"}}}', "SerializationException"),
        (b'{"TableName": "t", "Item": {"a": {"BOOL": "true"}}}', "SerializationException"),
        (b"\xff\xfe", "SerializationException"),
        (
            b'{"TableName": "t", "Item": {"a": ' + b'{"M": {"a": ' * 500 + b"{}" + b"}}" * 500 + b"}}",
            "SerializationException",
        ),
    ],
)
async def test_json_of_the_wrong_kind(body, code):
    assert await refused("dynamodb", "PutItem", "json", body) == code


@pytest.mark.parametrize(
    "body",
    [
        b"<Tagging",
        b"<Wrong/>",
        b"not xml",
        b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
        b'<!DOCTYPE a [<!ENTITY x "y">]><Tagging/>',
        "<Tagging/>".encode("utf-16"),
    ],
)
async def test_xml_that_is_malformed_or_no_shape_of_ours(body):
    assert await refused("s3", "PutObjectTagging", "rest-xml", body) == "MalformedXML"


async def test_an_xml_document_has_a_bound():
    body = b"<Tagging>" + b" " * (3 << 20) + b"</Tagging>"
    assert await refused("s3", "PutObjectTagging", "rest-xml", body) == "MaxMessageLengthExceeded"


async def test_a_number_that_is_none():
    assert await refused("s3", "ListObjectsV2", "rest-xml", b"", query="max-keys=many") == "InvalidArgument"
    assert await refused("lambda", "ListFunctions", "rest-json", b"", query="MaxItems=x") == "SerializationException"
    assert await refused("iam", "ListUsers", "query", b"Action=ListUsers&MaxItems=x") == "MalformedInput"


@pytest.mark.parametrize("form", [b"Tags.member.x.Key=1", b"UserName.a=1", b"Tags.member=1"])
async def test_a_form_of_the_wrong_structure(form):
    assert await refused("iam", "CreateUser", "query", form) == "MalformedInput"


async def test_code_has_a_bound_of_its_own():
    body = b'{"x": "' + b"a" * (17 << 20) + b'"}'
    assert await refused("lambda", "CreateAlias", "rest-json", body) == "RequestEntityTooLargeException"


def test_control_characters_travel_as_references():
    assert escape('a<b>&"\r\x01\n') == "a&lt;b&gt;&amp;&quot;&#xd;&#x1;\n"
    with pytest.raises(MalformedXml):
        parse_document(b"<a>&x;</a>")


def test_event_frames_are_read_as_written_and_damage_is_seen():
    frame = encode({":event-type": "Records"}, b"payload")
    assert decode(frame + b"more") == ({":event-type": b"Records"}, b"payload", len(frame))
    assert decode(frame[:-1]) is None
    for at in range(len(frame)):
        damaged = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        with pytest.raises(ValueError):
            assert decode(damaged) is None
