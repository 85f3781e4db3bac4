import asyncio

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.ssm import SERVICE
from penstock.testkit.world import World


def run(coroutine):
    return asyncio.run(coroutine)


def test_versions_are_named_by_number_and_by_label():
    async def scenario():
        world = World(SERVICE)
        for value in ("one", "two"):
            await world.call(
                "ssm", "PutParameter", Name="/db/url", Type="String", Value=value, Overwrite=value == "two"
            )
        await world.call("ssm", "LabelParameterVersion", Name="/db/url", ParameterVersion=1, Labels=["prod"])
        for name, value in {"/db/url": "two", "/db/url:1": "one", "/db/url:prod": "one"}.items():
            assert (await world.call("ssm", "GetParameter", Name=name))["Parameter"]["Value"] == value
        many = await world.call("ssm", "GetParameters", Names=["/db/url:2", "/db/url:9", "/no"])
        assert [item["Value"] for item in many["Parameters"]] == ["two"]
        assert many["InvalidParameters"] == ["/db/url:9", "/no"]
        history = (await world.call("ssm", "GetParameterHistory", Name="/db/url"))["Parameters"]
        assert [(item["Version"], item["Labels"]) for item in history] == [(1, ["prod"]), (2, [])]

    run(scenario())


def test_by_path_takes_one_level_or_all_and_pages():
    async def scenario():
        world = World(SERVICE)
        for name in ("/a/1", "/a/2", "/a/b/3", "/ab/4"):
            await world.call("ssm", "PutParameter", Name=name, Type="String", Value="x")
        level = await world.call("ssm", "GetParametersByPath", Path="/a")
        assert [item["Name"] for item in level["Parameters"]] == ["/a/1", "/a/2"]
        page = await world.call("ssm", "GetParametersByPath", Path="/a/", Recursive=True, MaxResults=2)
        rest = await world.call(
            "ssm", "GetParametersByPath", Path="/a", Recursive=True, MaxResults=2, NextToken=page["NextToken"]
        )
        assert [item["Name"] for item in rest["Parameters"]] == ["/a/b/3"]
        assert "NextToken" not in rest

    run(scenario())


def test_secure_string_is_shown_only_decrypted():
    async def scenario():
        world = World(SERVICE)
        await world.call("ssm", "PutParameter", Name="key", Type="SecureString", Value="hush")
        shown = (await world.call("ssm", "GetParameter", Name="key"))["Parameter"]
        assert "hush" not in shown["Value"]
        shown = (await world.call("ssm", "GetParameter", Name="key", WithDecryption=True))["Parameter"]
        assert shown["Value"] == "hush"
        assert shown["ARN"] == "arn:aws:ssm:us-east-1:000000000000:parameter/key"
        assert (await world.call("ssm", "GetParameter", Name=shown["ARN"]))["Parameter"]["Name"] == "key"

    run(scenario())


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"Name": "old", "Value": "x", "Type": "String"}, "ParameterAlreadyExists"),
        ({"Name": "new", "Value": "x"}, "ValidationException"),
        ({"Name": "awsome", "Value": "x", "Type": "String"}, "ValidationException"),
        ({"Name": "a/b", "Value": "x", "Type": "String"}, "ValidationException"),
        ({"Name": "/a" * 16, "Value": "x", "Type": "String"}, "HierarchyLevelLimitExceededException"),
        ({"Name": "big", "Value": "x" * 4097, "Type": "String"}, "ValidationException"),
        (
            {"Name": "p", "Value": "x", "Type": "String", "AllowedPattern": r"^\d+$"},
            "ParameterPatternMismatchException",
        ),
    ],
)
def test_what_is_wrong_is_refused_with_awss_code(params, code):
    async def scenario():
        world = World(SERVICE)
        await world.call("ssm", "PutParameter", Name="old", Type="String", Value="x" * 4096)
        with pytest.raises(ServiceError) as caught:
            await world.call("ssm", "PutParameter", **params)
        assert caught.value.code == code
        with pytest.raises(ServiceError, match="Parameter no:1 not found"):
            await world.call("ssm", "GetParameter", Name="no:1")

    run(scenario())
