import pytest

from penstock.gateway.hosts import find_bucket, use_path_style
from penstock.protocol.messages import HttpRequest


@pytest.mark.parametrize(
    ("host", "bucket"),
    [
        ("data.localhost", "data"),
        ("data.s3.localhost", "data"),
        ("my.dotted.data.s3.localhost", "my.dotted.data"),
        ("data.s3.eu-west-1.localhost", "data"),
        ("data.s3.localhost.localstack.cloud", "data"),
        ("data.s3.us-gov-west-1.localhost.localstack.cloud", "data"),
        ("data.s3.amazonaws.com", "data"),
        ("data.s3-us-west-2.amazonaws.com", "data"),
        ("data.s3.dualstack.us-east-1.amazonaws.com", "data"),
        ("localhost", None),
        ("localhost.localstack.cloud", None),
        ("s3.localhost", None),
        ("s3.localhost.localstack.cloud", None),
        ("s3.us-east-1.amazonaws.com", None),
        ("sqs.us-east-1.localhost.localstack.cloud", None),
        ("127.0.0.1", None),
        ("example.com", None),
    ],
)
def test_a_host_may_name_a_bucket(host, bucket):
    assert find_bucket(host) == bucket


def test_the_bucket_becomes_the_first_segment_of_the_path():
    request = HttpRequest("GET", "/a%20b//c", headers={"host": "Data.localhost:4566"})
    assert (use_path_style(request), request.path) == ("data", "/data/a%20b//c")
    plain = HttpRequest("GET", "/data/k", headers={"host": "localhost:4566"})
    assert (use_path_style(plain), plain.path) == (None, "/data/k")
