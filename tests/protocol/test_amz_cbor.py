"""The CBOR that the Java SDKs speak to Kinesis."""

from datetime import UTC, datetime

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.streams import stream_of
from penstock.model.loader import service_model
from penstock.protocol import cbor, event_stream
from penstock.protocol.codecs import codec_for
from penstock.protocol.messages import HttpRequest
from penstock.protocol.route import route

KINESIS = service_model("kinesis").operations
CODEC = codec_for("amz-cbor")
TIME = datetime(2026, 11, 21, 8, 0, 0, 250_000, tzinfo=UTC)


def request(operation, body):
    headers = {"x-amz-target": f"Kinesis_20131202.{operation}", "content-type": "application/x-amz-cbor-1.1"}
    return HttpRequest("POST", "/", headers=headers, body=stream_of(body))


async def test_a_request_is_known_by_its_content_type():
    found = await route(request("ListStreams", b"\xa0"))
    assert (found.protocol, found.operation.name) == ("amz-cbor", "ListStreams")


async def test_blobs_are_bytes_and_times_milliseconds():
    sent = cbor.encode({"StreamName": "s", "Data": b"\x00\xff", "PartitionKey": "k"})
    members = await CODEC.parse_request(KINESIS["PutRecord"], request("PutRecord", sent), {})
    assert members == {"StreamName": "s", "Data": b"\x00\xff", "PartitionKey": "k"}
    asked = {"StreamName": "s", "ShardId": "x", "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": TIME}
    for body in (
        cbor.encode(asked, ticks_per_s=1000),
        cbor.encode(asked | {"Timestamp": int(TIME.timestamp() * 1000)}),
    ):
        members = await CODEC.parse_request(KINESIS["GetShardIterator"], request("GetShardIterator", body), {})
        assert members["Timestamp"] == TIME
    record = {"Data": b"\x01", "PartitionKey": "k", "SequenceNumber": "1", "ApproximateArrivalTimestamp": TIME}
    answer = CODEC.serialize_response(KINESIS["GetRecords"], {"Records": [record], "MillisBehindLatest": 0}, "id")
    assert cbor.decode(answer.body, ticks_per_s=1000)["Records"] == [record]
    assert b"\xc1\x1b" + round(TIME.timestamp() * 1000).to_bytes(8, "big") in answer.body


async def test_an_error_names_its_type():
    error = ServiceError("ResourceNotFoundException", "Stream s under account 000000000000 not found.")
    answer = CODEC.serialize_error(KINESIS["DescribeStream"], error, "id")
    told = {"__type": error.code, "message": error.message}
    assert (answer.status, cbor.decode(answer.body)) == (400, told)
    with pytest.raises(ServiceError, match="SerializationException"):
        await CODEC.parse_request(KINESIS["PutRecord"], request("PutRecord", b"\xff"), {})


async def test_events_carry_cbor_too():
    async def events():
        yield "SubscribeToShardEvent", {"Records": [], "ContinuationSequenceNumber": "1", "MillisBehindLatest": 0}

    answer = CODEC.serialize_response(KINESIS["SubscribeToShard"], {"EventStream": events()}, "id")
    data = await answer.body.read(bytes_max=10_000)
    first = event_stream.decode(data)
    second = event_stream.decode(data[first[2] :])
    assert first[0][":event-type"] == b"initial-response"
    assert second[0][":content-type"] == b"application/x-amz-cbor-1.1"
    assert cbor.decode(second[1])["ContinuationSequenceNumber"] == "1"
