"""CBOR by the examples of its standard, and what isn't CBOR."""

import contextlib
import random
from datetime import UTC, datetime

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of
from penstock.model.loader import service_model
from penstock.protocol.cbor import DEPTH_MAX, MalformedCbor, decode, encode
from penstock.protocol.codecs import codec_for
from penstock.protocol.messages import HttpRequest

CODEC = codec_for("smithy-rpc-v2-cbor")


# Source: https://www.rfc-editor.org/rfc/rfc8949#appendix-A
@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("17", 23),
        ("1818", 24),
        ("1bffffffffffffffff", 2**64 - 1),
        ("3903e7", -1000),
        ("3bffffffffffffffff", -(2**64)),
        ("f93e00", 1.5),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("f6", None),
        ("c1fb41d452d9ec200000", datetime(2013, 3, 21, 20, 4, 0, 500000, tzinfo=UTC)),
        ("c11a514b67b0", datetime(2013, 3, 21, 20, 4, 0, tzinfo=UTC)),
        ("62c3bc", "ü"),
        ("5f42010243030405ff", b"\x01\x02\x03\x04\x05"),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
    ],
)
def test_the_standards_examples_are_read(data, value):
    assert decode(bytes.fromhex(data)) == value


@pytest.mark.parametrize(
    "data", ["", "18", "61", "8201", "a161", "a10101", "ff", "81ff", "a16161ff", "1c", "0101", "62c328", "5f61ff", "f8"]
)
def test_what_is_no_whole_value_is_refused(data):
    with pytest.raises(MalformedCbor):
        decode(bytes.fromhex(data))


def test_depth_and_lengths_are_bounded():
    with pytest.raises(MalformedCbor):
        decode(b"\x81" * (DEPTH_MAX + 2) + b"\x01")
    with pytest.raises(MalformedCbor):
        decode(b"\x5b" + b"\xff" * 8)
    with pytest.raises(MalformedCbor):
        decode(b"\x9b" + b"\xff" * 8 + b"\x01")


def test_random_bytes_never_raise_anything_else():
    chance = random.Random(7)
    good = encode({"a": [1, -5, 1.5, None, True, b"x", "é" * 300, datetime(2026, 1, 1, tzinfo=UTC)], "b": {}})
    for _ in range(3000):
        damaged = bytearray(good)
        damaged[chance.randrange(len(good))] = chance.randrange(256)
        with contextlib.suppress(MalformedCbor):
            decode(bytes(damaged[: chance.randrange(len(good) + 1)]))


async def test_wrong_members_are_a_serialization_exception():
    operation = service_model("cloudwatch").operations["PutMetricData"]
    for body in (b"\xff", encode([]), encode({"Namespace": 1}), encode({"MetricData": {"a": 1}})):
        request = HttpRequest("POST", "/", body=stream_of(body))
        with pytest.raises(ServiceError) as caught:
            await CODEC.parse_request(operation, request, {})
        assert caught.value.code == "SerializationException"


def test_an_unknown_operation_is_answered_in_cbor():
    answer = CODEC.serialize_error(None, ServiceError("UnknownOperationException", "no", status=404), "r")
    assert (answer.status, decode(answer.body)) == (404, {"__type": "UnknownOperationException", "message": "no"})
    assert ("smithy-protocol", "rpc-v2-cbor") in answer.headers
