"""Whatever a request claims of itself, the node answers it as the caller's mistake and never as its own."""

import asyncio
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.framework.credentials import Authenticator, root_credentials
from penstock.gateway.aws import AwsFace
from penstock.kernel.streams import stream_of
from penstock.protocol.messages import HttpRequest
from penstock.services import s3, sts
from penstock.testkit.world import World

JUNK = st.sampled_from(
    [
        *("", "\xb2", "٣", "-", "--5", "20269999T999999Z", "00000000T000000Z", "9" * 5000, "1e9", "\udcff", "%", "a/b"),
        *("\x85", "null", "http://[", "[::1", "Thu, 01 Jan 0001 00:00:00 -2400", "Fri, 31 Dec 9999 23:59:59 -2359"),
    ]
)


def mostly(*good):
    return st.one_of(st.sampled_from(good), st.sampled_from(good), JUNK)


TIME, DAY, SERVICE = mostly("20260101T000000Z"), mostly("20260101"), mostly("s3", "lambda", "sts")
KEY, REGION, SIGNED = mostly("ROOT"), mostly("us-east-1"), mostly("host", "host;x-amz-date")
CREDENTIAL = st.tuples(KEY, DAY, REGION, SERVICE, mostly("aws4_request")).map("/".join)
HEADER = st.one_of(
    st.tuples(CREDENTIAL, SIGNED, JUNK).map(
        lambda c: f"AWS4-HMAC-SHA256 Credential={c[0]}, SignedHeaders={c[1]}, Signature={c[2]}"
    ),
    st.tuples(KEY, JUNK).map(lambda c: f"AWS {c[0]}:{c[1]}"),
    JUNK,
)
QUERY = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"AWSAccessKeyId": KEY, "Signature": JUNK, "Expires": mostly("1")}),
    st.fixed_dictionaries(
        {
            "X-Amz-Algorithm": mostly("AWS4-HMAC-SHA256"),
            "X-Amz-Credential": CREDENTIAL,
            "X-Amz-Date": TIME,
            "X-Amz-SignedHeaders": SIGNED,
            "X-Amz-Signature": JUNK,
        },
        optional={"X-Amz-Expires": mostly("60"), "X-Amz-Content-Sha256": JUNK},
    ),
)
HEADERS = st.fixed_dictionaries(
    {"host": mostly("localhost:4566", "data.localhost:4566")},
    optional={
        "authorization": HEADER,
        "x-amz-date": TIME,
        "date": TIME,
        "origin": JUNK,
        "content-encoding": mostly("gzip", "aws-chunked"),
        "x-amz-content-sha256": mostly("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        "x-amz-decoded-content-length": mostly("5"),
    },
)


@pytest.mark.parametrize("auth", ["open", "enforce"])
@settings(max_examples=150, deadline=None)
@given(method=st.sampled_from(["GET", "PUT", "OPTIONS"]), path=mostly("/", "/data/k"), query=QUERY, headers=HEADERS)
def test_no_claim_is_the_nodes_mistake(auth, method, path, query, headers):
    async def scenario():
        world = World(s3.SERVICE, sts.SERVICE)
        platform = world.platform
        platform.auth = auth
        root, _ = await root_credentials(platform.store, platform.entropy)
        face = AwsFace(platform, Authenticator(platform.store, platform.entropy, mode=auth))

        def wire(text):
            return text.replace("ROOT", root).encode("utf-8", "surrogateescape").decode("latin-1")

        sent = urlencode(query, errors="surrogateescape").replace("ROOT", root)
        named = {name: wire(value) for name, value in headers.items()}
        at = path if path.startswith("/") else "/" + quote(path, errors="surrogateescape")
        answer = await face.handle(HttpRequest(method, at, sent, named, stream_of(b"0x5\r\nhello\r\n0\r\n\r\n")))
        assert answer.status not in (500, 503)

    asyncio.run(scenario())
