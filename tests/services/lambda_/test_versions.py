from collections import Counter

import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.functions import create_function, zipped

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"


async def call(world, operation, **params):
    return await world.call("lambda", operation, **{"FunctionName": "f", **params})


async def update(world, text):
    await call(world, "UpdateFunctionCode", ZipFile=zipped(text))
    await world.settle()


async def test_publishing_makes_a_version_only_where_something_changed(world, pool):
    await create_function(world)
    first = await call(world, "PublishVersion", Description="one")
    assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", f"{ARN}:1", "one")
    assert (await call(world, "PublishVersion"))["Version"] == "1"
    await update(world, "new")
    assert (await call(world, "PublishVersion"))["Version"] == "2"
    listed = await call(world, "ListVersionsByFunction")
    assert [version["Version"] for version in listed["Versions"]] == ["$LATEST", "1", "2"]
    assert listed["Versions"][0]["FunctionArn"] == f"{ARN}:$LATEST"
    everything = await world.call("lambda", "ListFunctions", FunctionVersion="ALL", MaxItems=2)
    rest = await world.call("lambda", "ListFunctions", FunctionVersion="ALL", Marker=everything["NextMarker"])
    assert [f["Version"] for f in everything["Functions"] + rest["Functions"]] == ["$LATEST", "1", "2"]
    answer = await call(world, "Invoke", Qualifier="1")
    assert answer["ExecutedVersion"] == "1"
    spec, invocation = pool.invoked[0]
    assert (spec.arn, spec.version, invocation.invoked_arn) == (f"{ARN}:1", "1", f"{ARN}:1")


async def test_publishing_names_the_code_it_means(world):
    created = await create_function(world)
    assert (await call(world, "PublishVersion", CodeSha256=created["CodeSha256"]))["Version"] == "1"
    with pytest.raises(ServiceError, match="is different from current CodeSHA256 in"):
        await call(world, "PublishVersion", CodeSha256="other")


async def test_creating_with_publish_answers_version_one(world):
    created = await create_function(world, Publish=True)
    assert (created["Version"], created["FunctionArn"]) == ("1", ARN)
    assert (await call(world, "GetFunctionConfiguration", Qualifier="1"))["State"] == "Active"


async def test_an_alias_routes_its_share_to_a_second_version(world, pool):
    await create_function(world, Publish=True)
    await update(world, "new")
    await call(world, "PublishVersion")
    routing = {"AdditionalVersionWeights": {"2": 0.25}}
    alias = await call(world, "CreateAlias", Name="live", FunctionVersion="1", RoutingConfig=routing)
    assert (alias["AliasArn"], alias["RoutingConfig"]) == (f"{ARN}:live", routing)
    executed = Counter([(await call(world, "Invoke", Qualifier="live"))["ExecutedVersion"] for _ in range(400)])
    assert 60 <= executed["2"] <= 140
    assert pool.invoked[0][1].invoked_arn == f"{ARN}:live"
    cleared = await call(world, "UpdateAlias", Name="live", FunctionVersion="2", RoutingConfig={})
    assert "RoutingConfig" not in cleared
    assert (await call(world, "Invoke", FunctionName="f:live"))["ExecutedVersion"] == "2"
    assert await call(world, "GetAlias", Name="live") == cleared
    assert (await call(world, "ListAliases", FunctionVersion="1"))["Aliases"] == []
    with pytest.raises(ServiceError, match=r"following aliases reference it: \[live\]"):
        await call(world, "DeleteFunction", Qualifier="2")
    await call(world, "DeleteAlias", Name="live")
    with pytest.raises(ServiceError, match=f"Cannot find alias arn: {ARN}:live"):
        await call(world, "GetAlias", Name="live")
    await call(world, "DeleteFunction", Qualifier="2")
    assert f"{ARN}:2" in pool.retired


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"FunctionVersion": "9"}, "ResourceNotFoundException", f"Function not found: {ARN}:9"),
        (
            {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            "InvalidParameterValueException",
            "already included in routing configuration",
        ),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        ({"Name": "taken", "FunctionVersion": "1"}, "ResourceConflictException", f"Alias already exists: {ARN}:taken"),
    ],
)
async def test_an_alias_that_aws_would_refuse_is_refused(world, members, code, text):
    await create_function(world, Publish=True)
    await call(world, "CreateAlias", Name="taken", FunctionVersion="1")
    with pytest.raises(ServiceError) as raised:
        await call(world, "CreateAlias", **{"Name": "a", **members})
    assert raised.value.code == code
    assert text in raised.value.message


async def test_event_settings_belong_to_a_qualifier(world):
    await create_function(world)
    await world.call("sqs", "CreateQueue", QueueName="q")
    queue = "arn:aws:sqs:us-east-1:000000000000:q"
    with pytest.raises(ServiceError, match="doesn't have an EventInvokeConfig") as raised:
        await call(world, "GetFunctionEventInvokeConfig")
    assert raised.value.code == "ResourceNotFoundException"
    put = await call(
        world,
        "PutFunctionEventInvokeConfig",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": queue}},
    )
    assert (put["FunctionArn"], put["MaximumRetryAttempts"]) == (f"{ARN}:$LATEST", 0)
    updated = await call(world, "UpdateFunctionEventInvokeConfig", MaximumEventAgeInSeconds=60)
    assert (updated["MaximumRetryAttempts"], updated["MaximumEventAgeInSeconds"]) == (0, 60)
    assert updated["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": queue}}
    listed = await call(world, "ListFunctionEventInvokeConfigs")
    assert listed["FunctionEventInvokeConfigs"] == [await call(world, "GetFunctionEventInvokeConfig")]
    await call(world, "DeleteFunctionEventInvokeConfig")
    assert (await call(world, "ListFunctionEventInvokeConfigs"))["FunctionEventInvokeConfigs"] == []


@pytest.mark.parametrize(
    ("destination", "text"),
    [
        ({"OnSuccess": {"Destination": "arn:aws:s3:::bucket"}}, "is invalid"),
        ({"OnFailure": {"Destination": ARN}}, "destination for itself"),
        (None, "at least one of error handling or destination setting"),
    ],
)
async def test_event_settings_that_aws_would_refuse_are_refused(world, destination, text):
    await create_function(world)
    with pytest.raises(ServiceError, match=text):
        await call(world, "PutFunctionEventInvokeConfig", DestinationConfig=destination)
