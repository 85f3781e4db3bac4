import orjson
import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.functions import create_function

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
ALLOW = {"Sid": "a", "Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction", "Resource": ARN}
DOCUMENT = {"Version": "2012-10-17", "Statement": [ALLOW]}


async def call(world, operation, **params):
    return await world.call("lambda", operation, **params)


async def put(world, document=DOCUMENT, arn=ARN, **members):
    return await call(world, "PutResourcePolicy", ResourceArn=arn, Policy=orjson.dumps(document).decode(), **members)


async def test_a_whole_policy_replaces_what_permissions_wrote_and_both_read_the_same(world):
    await create_function(world)
    grant = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    await call(world, "AddPermission", FunctionName="f", **grant)
    written = await put(world)
    assert orjson.loads(written["Policy"]) == DOCUMENT
    assert await call(world, "GetResourcePolicy", ResourceArn=ARN) == written
    assert await call(world, "GetPolicy", FunctionName="f") == written
    with pytest.raises(ServiceError, match="does not match the latest Revision Id") as raised:
        await put(world, RevisionId="00000000-0000-0000-0000-000000000000")
    assert raised.value.status == 412
    await call(world, "AddPermission", FunctionName="f", RevisionId=written["RevisionId"], **grant)
    got = await call(world, "GetResourcePolicy", ResourceArn=ARN)
    assert [s["Sid"] for s in orjson.loads(got["Policy"])["Statement"]] == ["a", "s3"]
    await call(world, "DeleteResourcePolicy", ResourceArn=ARN, RevisionId=got["RevisionId"])
    for operation in ("GetResourcePolicy", "DeleteResourcePolicy"):
        with pytest.raises(ServiceError, match="The resource you requested does not exist"):
            await call(world, operation, ResourceArn=ARN)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ([], "not an object"),
        ({"Version": "2012-10-17"}, "no Statement"),
        ({"Statement": [{k: v for k, v in ALLOW.items() if k != "Principal"}]}, "no Principal"),
        ({"Statement": [{**ALLOW, "Effect": "Maybe"}]}, "Effect is Allow or Deny"),
    ],
)
async def test_what_is_no_policy_is_refused(world, document, text):
    await create_function(world)
    with pytest.raises(ServiceError, match=text) as raised:
        await put(world, document)
    assert raised.value.code == "InvalidParameterValueException"


async def test_latest_and_what_is_not_there_have_no_policy(world):
    await create_function(world)
    with pytest.raises(ServiceError, match=r"adding policies for \$LATEST"):
        await put(world, arn=f"{ARN}:$LATEST")
    with pytest.raises(ServiceError, match="Function not found: .*:function:g"):
        await put(world, arn=ARN[:-1] + "g")
    with pytest.raises(ServiceError, match="Cannot find alias arn: .*:function:f:live"):
        await put(world, arn=f"{ARN}:live")


async def test_a_policy_is_of_the_revision_of_what_it_guards(world):
    await create_function(world, Publish=True)
    await call(world, "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    for name in ("f", "f:1", "f:live"):
        await call(world, "AddPermission", FunctionName=name, StatementId="s", Action="lambda:*", Principal="*")
    assert (await policy_revision(world, "f")) == (await config(world, "f"))["RevisionId"]
    assert (await policy_revision(world, "f:1")) == (await config(world, "f:1"))["RevisionId"]
    alias = await call(world, "GetAlias", FunctionName="f", Name="live")
    assert (await policy_revision(world, "f:live")) == alias["RevisionId"]


async def policy_revision(world, name):
    return (await call(world, "GetPolicy", FunctionName=name))["RevisionId"]


async def config(world, name):
    return await call(world, "GetFunctionConfiguration", FunctionName=name)


@pytest.mark.parametrize(
    ("members", "code", "text"),
    [
        ({"Principal": "someone"}, "InvalidParameterValueException", "The provided principal was invalid."),
        (
            {"FunctionUrlAuthType": "NONE"},
            "InvalidParameterValueException",
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        ),
        ({"Qualifier": "gone"}, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:gone"),
        ({"Qualifier": "7"}, "ResourceNotFoundException", f"Function not found: {ARN}:7"),
        ({"Action": "s3:Get"}, "ValidationException", "'s3:Get' at 'action' failed to satisfy constraint"),
        ({"StatementId": "a b"}, "ValidationException", "at 'statementId' failed to satisfy constraint"),
    ],
)
async def test_a_permission_that_aws_would_refuse_is_refused_in_its_words(world, members, code, text):
    await create_function(world)
    params = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", **members}
    with pytest.raises(ServiceError) as raised:
        await call(world, "AddPermission", FunctionName="f", **params)
    assert raised.value.code == code
    assert text in raised.value.message


async def test_removing_a_permission_says_what_is_missing(world):
    with pytest.raises(ServiceError, match="No policy found for: .*:function:f"):
        await call(world, "RemovePermission", FunctionName="f", StatementId="s")
    await create_function(world)
    with pytest.raises(ServiceError, match="No policy is associated with the given resource"):
        await call(world, "RemovePermission", FunctionName="f", StatementId="s")
    await call(world, "AddPermission", FunctionName="f", StatementId="s", Action="lambda:*", Principal="*")
    with pytest.raises(ServiceError, match="Statement t is not found in resource policy"):
        await call(world, "RemovePermission", FunctionName="f", StatementId="t")


async def test_runtime_updates_are_kept_per_version(world):
    await create_function(world, Publish=True)
    assert await call(world, "GetRuntimeManagementConfig", FunctionName="f") == {
        "UpdateRuntimeOn": "Auto",
        "FunctionArn": f"{ARN}:$LATEST",
    }
    runtime = (await config(world, "f"))["RuntimeVersionConfig"]["RuntimeVersionArn"]
    settings = {"UpdateRuntimeOn": "Manual", "RuntimeVersionArn": runtime}
    put_answer = await call(world, "PutRuntimeManagementConfig", FunctionName="f", Qualifier="1", **settings)
    assert put_answer == {**settings, "FunctionArn": f"{ARN}:1"}
    assert await call(world, "GetRuntimeManagementConfig", FunctionName="f:1") == put_answer
    assert (await call(world, "GetRuntimeManagementConfig", FunctionName="f"))["UpdateRuntimeOn"] == "Auto"
    with pytest.raises(ServiceError, match="RuntimeVersionArn is required"):
        await call(world, "PutRuntimeManagementConfig", FunctionName="f", UpdateRuntimeOn="Manual")


async def test_capacity_providers_are_refused_or_said_not_to_be_there(world):
    await create_function(world)
    assert await call(world, "ListCapacityProviders") == {"CapacityProviders": []}
    for operation in ("GetCapacityProvider", "DeleteCapacityProvider", "ListFunctionVersionsByCapacityProvider"):
        with pytest.raises(ServiceError, match="Capacity provider not found: c"):
            await call(world, operation, CapacityProviderName="c")
    with pytest.raises(ServiceError, match="has no capacity provider"):
        await call(world, "GetFunctionScalingConfig", FunctionName="f", Qualifier="$LATEST.PUBLISHED")
