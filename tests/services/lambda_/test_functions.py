import base64
import hashlib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from penstock.kernel.errors import ServiceError, Unavailable
from penstock.kernel.scope import Scope
from penstock.kernel.streams import stream_of
from penstock.services.lambda_.operations import packages
from penstock.testkit.functions import ROLE, create_function, zipped

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
DAMAGED = zipped("x" * 100).replace(b"xxxx", b"yyyy", 1)
LAYER = "arn:aws:lambda:us-east-1:000000000000:layer:l"


def is_unpacked(spec):
    return Path(spec.code_dir).is_dir()


async def test_a_created_function_is_pending_then_active_and_keeps_what_it_was_given(world, pool):
    code = zipped()
    members = {"Timeout": 30, "MemorySize": 512, "Environment": {"Variables": {"A1": "x"}}, "Tags": {"team": "data"}}
    created = await create_function(world, settle=False, Code={"ZipFile": stream_of(code)}, **members)
    assert (created["FunctionArn"], created["Version"], created["State"]) == (ARN, "$LATEST", "Pending")
    assert created["StateReasonCode"] == "Creating"
    assert created["CodeSha256"] == base64.b64encode(hashlib.sha256(code).digest()).decode()
    await world.settle()
    got = await world.call("lambda", "GetFunction", FunctionName="f")
    config = got["Configuration"]
    assert (config["State"], config["LastUpdateStatus"]) == ("Active", "Successful")
    assert (config["Timeout"], config["MemorySize"], config["Environment"]) == (30, 512, {"Variables": {"A1": "x"}})
    assert (config["CodeSize"], got["Tags"]) == (len(code), {"team": "data"})
    assert await world.call("lambda", "GetFunctionConfiguration", FunctionName=ARN) == config
    (spec,) = pool.warmed
    assert (Path(spec.code_dir) / "app.py").read_text().startswith("def handler")
    assert (spec.memory_mb, spec.timeout_s, spec.role_arn, spec.log_group) == (512, 30, ROLE, "/aws/lambda/f")


async def test_the_location_of_the_code_downloads_the_zip_for_ten_minutes(world):
    code = zipped()
    await create_function(world, Code={"ZipFile": code})
    url = urlsplit((await world.call("lambda", "GetFunction", FunctionName="f"))["Code"]["Location"])
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    blob_id = url.path.removeprefix(packages.CODE_PATH)
    body = await packages.download(world.platform, blob_id, int(asked["expires"]), asked["signature"])
    assert await body.read(bytes_max=10_000) == code
    await world.advance(601)
    with pytest.raises(ServiceError, match="expired"):
        await packages.download(world.platform, blob_id, int(asked["expires"]), asked["signature"])


async def test_code_comes_from_s3_too(world, pool):
    await world.call("s3", "CreateBucket", Bucket="code")
    await world.call("s3", "PutObject", Bucket="code", Key="f.zip", Body=zipped("x = 1"))
    await create_function(world, Code={"S3Bucket": "code", "S3Key": "f.zip"})
    assert (Path(pool.warmed[0].code_dir) / "app.py").read_text() == "x = 1"
    with pytest.raises(ServiceError, match="S3 Error Code: NoSuchKey. S3 Error Message: The specified key"):
        await create_function(world, "g", Code={"S3Bucket": "code", "S3Key": "missing"})
    with pytest.raises(
        ServiceError, match="S3 Error Code: NoSuchBucket. S3 Error Message: The specified bucket does not"
    ):
        await create_function(world, "g", Code={"S3Bucket": "nowhere", "S3Key": "missing"})


async def test_code_is_taken_from_a_bucket_of_the_function_s_own_region(world):
    there = world.context(scope=Scope(region="eu-west-1"))
    place = {"CreateBucketConfiguration": {"LocationConstraint": "eu-west-1"}}
    await there.call("s3", "CreateBucket", {"Bucket": "code", **place})
    await there.call("s3", "PutObject", {"Bucket": "code", "Key": "f.zip", "Body": zipped()})
    with pytest.raises(ServiceError, match="S3 Error Code: PermanentRedirect.*in this region: eu-west-1. Please use"):
        await create_function(world, Code={"S3Bucket": "code", "S3Key": "f.zip"})


@pytest.mark.parametrize(
    "name",
    [
        "f",
        "f:$LATEST",
        "000000000000:function:f",
        "function:f",
        ARN,
        f"{ARN}:$LATEST",
        "us-east-1:000000000000:function:f",
    ],
)
async def test_every_form_of_the_name_finds_the_function(world, name):
    await create_function(world)
    assert (await world.call("lambda", "GetFunctionConfiguration", FunctionName=name))["FunctionName"] == "f"


@pytest.mark.parametrize(
    ("name", "qualifier", "code", "text"),
    [
        (
            "g",
            None,
            "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:us-east-1:000000000000:function:g",
        ),
        ("f", "7", "ResourceNotFoundException", f"Function not found: {ARN}:7"),
        ("f:1", "2", "InvalidParameterValueException", "The derived qualifier from the function name does not match"),
        (
            "arn:aws:lambda:eu-west-1:000000000000:function:f",
            None,
            "ResourceNotFoundException",
            "not reachable in this",
        ),
        ("f" * 65, None, "ResourceNotFoundException", "Function not found"),
    ],
)
async def test_a_name_that_finds_nothing_is_answered_as_aws_does(world, name, qualifier, code, text):
    await create_function(world)
    with pytest.raises(ServiceError) as raised:
        await world.call("lambda", "GetFunction", FunctionName=name, Qualifier=qualifier)
    assert raised.value.code == code
    assert text.lower() in raised.value.message.lower()


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"FunctionName": "f"}, "ResourceConflictException", "Function already exist: f"),
        ({"Handler": None}, "InvalidParameterValueException", "Runtime and Handler are mandatory parameters"),
        ({"Timeout": 901}, "InvalidParameterValueException", "'Timeout' value failed to satisfy"),
        ({"MemorySize": 10_241}, "InvalidParameterValueException", "less than or equal to 10240"),
        ({"EphemeralStorage": {"Size": 10_241}}, "InvalidParameterValueException", "less than or equal to 10240"),
        ({"Runtime": "python3.6"}, "InvalidParameterValueException", "python3.6 is no longer supported"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "reserved keys"),
        (
            {"Environment": {"Variables": {"BIG": "x" * 4087}}},
            "InvalidParameterValueException",
            "exceeded the 4KB limit",
        ),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip uploaded file."),
        ({"Code": {"ZipFile": DAMAGED}}, "InvalidParameterValueException", "Could not unzip uploaded file."),
        ({"Code": {}}, "InvalidParameterValueException", "provide a source for function code"),
        (
            {"Code": {"ZipFile": b"0" * 52_428_801}},
            "RequestEntityTooLargeException",
            "Zipped size must be smaller than 52428800 bytes",
        ),
        ({"PublishTo": "LATEST_PUBLISHED"}, "InvalidParameterValueException", "PublishTo is not supported"),
        ({"PackageType": "Image"}, "InvalidParameterValueException", "package type: Image"),
        ({"Layers": [f"{LAYER}{n}:1" for n in range(6)]}, "InvalidParameterValueException", "more than 5 layers"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::b"}}, "InvalidParameterValueException", "dead letter"),
    ],
)
async def test_a_function_that_aws_would_refuse_is_refused_in_its_words(world, members, code, text):
    await create_function(world)
    with pytest.raises(ServiceError) as raised:
        await create_function(world, **{"name": members.get("FunctionName", "g"), **_without_name(members)})
    assert raised.value.code == code
    assert text in raised.value.message


def _without_name(members):
    return {name: value for name, value in members.items() if name != "FunctionName"}


async def test_an_environment_of_exactly_4_kb_is_taken(world):
    created = await create_function(world, Environment={"Variables": {"BIG": "x" * (4096 - len('{"BIG":""}'))}})
    assert len(created["Environment"]["Variables"]["BIG"]) == 4086


async def test_functions_are_listed_in_pages(world):
    for name in ("b", "a", "c"):
        await create_function(world, name)
    page = await world.call("lambda", "ListFunctions", MaxItems=2)
    assert [f["FunctionName"] for f in page["Functions"]] == ["a", "b"]
    assert "State" not in page["Functions"][0]
    rest = await world.call("lambda", "ListFunctions", MaxItems=2, Marker=page["NextMarker"])
    assert [f["FunctionName"] for f in rest["Functions"]] == ["c"]
    assert "NextMarker" not in rest


async def test_a_deleted_function_is_gone_with_its_environments_and_its_package(world, pool):
    await create_function(world)
    assert await world.call("lambda", "DeleteFunction", FunctionName="f") == {"StatusCode": 204}
    assert f"{ARN}:$LATEST" in pool.retired
    with pytest.raises(ServiceError, match="Function not found"):
        await world.call("lambda", "DeleteFunction", FunctionName="f")
    await world.advance(61)
    assert [blob_id async for blob_id in world.platform.blobs.ids()] == []
    assert is_unpacked(pool.warmed[0])
    await world.advance(1200)
    assert not is_unpacked(pool.warmed[0])


async def test_code_that_another_function_runs_stays_unpacked(world, pool):
    await create_function(world)
    await create_function(world, "g")
    await world.call("lambda", "DeleteFunction", FunctionName="f")
    await world.advance(3600)
    assert is_unpacked(pool.warmed[1])


async def test_a_strict_node_refuses_a_runtime_that_it_lacks(world, pool):
    pool.refused_runtimes.add("python3.9")
    with pytest.raises(ServiceError, match=r"python3\.9 is refused"):
        await create_function(world, Runtime="python3.9")
    await create_function(world)
    with pytest.raises(ServiceError, match=r"python3\.9 is refused"):
        await world.call("lambda", "UpdateFunctionConfiguration", FunctionName="f", Runtime="python3.9")


async def test_a_package_that_could_not_be_named_is_not_kept(world):
    async def fail(fn):
        raise Unavailable("no disk")

    transact, world.platform.store.transact = world.platform.store.transact, fail
    with pytest.raises(ServiceError) as raised:
        await create_function(world, settle=False)
    assert raised.value.status == 503
    world.platform.store.transact = transact
    assert [blob_id async for blob_id in world.platform.blobs.ids()] == []
    assert (await create_function(world))["State"] == "Pending"


async def test_code_that_is_only_referred_to_stays_the_user_s_own(world):
    await world.call("s3", "CreateBucket", Bucket="code")
    await world.call("s3", "PutObject", Bucket="code", Key="f.zip", Body=zipped())
    code = {"S3Bucket": "code", "S3Key": "f.zip", "S3ObjectStorageMode": "REFERENCE"}
    with pytest.raises(ServiceError, match="needs an object version"):
        await create_function(world, Code=code)
    versioning = {"Status": "Enabled"}
    await world.call("s3", "PutBucketVersioning", Bucket="code", VersioningConfiguration=versioning)
    put = await world.call("s3", "PutObject", Bucket="code", Key="f.zip", Body=zipped())
    place = {"S3Bucket": "code", "S3Key": "f.zip", "S3ObjectVersion": put["VersionId"]}
    await create_function(world, Code=code)
    layer = await world.call("lambda", "PublishLayerVersion", LayerName="l", Content=code)
    assert (await world.call("lambda", "GetFunction", FunctionName="f"))["Code"]["ResolvedS3Object"] == place
    assert layer["Content"]["ResolvedS3Object"] == place
    usage = (await world.call("lambda", "GetAccountSettings"))["AccountUsage"]
    assert usage == {"TotalCodeSize": 0, "FunctionCount": 1}
    await world.call("lambda", "UpdateFunctionCode", FunctionName="f", S3Bucket="code", S3Key="f.zip")
    assert "ResolvedS3Object" not in (await world.call("lambda", "GetFunction", FunctionName="f"))["Code"]
    usage = (await world.call("lambda", "GetAccountSettings"))["AccountUsage"]
    assert usage["TotalCodeSize"] == len(zipped())
    assert await world.call("lambda", "Invoke", FunctionName="f")
