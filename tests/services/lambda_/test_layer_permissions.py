import orjson
import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, Scope
from penstock.testkit.functions import create_function, zipped

ARN = "arn:aws:lambda:us-east-1:000000000000:layer:l:1"
STRANGER = Principal("root", "111122223333", "arn:aws:iam::111122223333:root", "111122223333")
GRANT = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "111122223333"}


async def publish(world, name="l"):
    content = {"ZipFile": zipped("1", "python/thing.py")}
    return await world.call("lambda", "PublishLayerVersion", LayerName=name, Content=content)


async def call(world, operation, **params):
    return await world.call("lambda", operation, **{"LayerName": "l", "VersionNumber": 1, **params})


@pytest.mark.parametrize(
    ("members", "principal", "condition"),
    [
        ({}, {"AWS": "arn:aws:iam::111122223333:root"}, None),
        ({"Principal": "arn:aws:iam::111122223333:root"}, {"AWS": "arn:aws:iam::111122223333:root"}, None),
        (
            {"Principal": "*", "OrganizationId": "o-abcdefghij"},
            "*",
            {"StringEquals": {"aws:PrincipalOrgID": "o-abcdefghij"}},
        ),
    ],
)
async def test_a_permission_is_a_statement_of_the_layer_version_s_policy(world, members, principal, condition):
    await publish(world)
    added = await call(world, "AddLayerVersionPermission", **{**GRANT, **members})
    statement = {
        "Sid": "s",
        "Effect": "Allow",
        "Principal": principal,
        "Action": "lambda:GetLayerVersion",
        "Resource": ARN,
    }
    statement |= {"Condition": condition} if condition else {}
    assert orjson.loads(added["Statement"]) == statement
    got = await call(world, "GetLayerVersionPolicy")
    assert orjson.loads(got["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert got["RevisionId"] == added["RevisionId"]
    await call(world, "RemoveLayerVersionPermission", StatementId="s", RevisionId=got["RevisionId"])
    with pytest.raises(ServiceError, match="No policy is associated with the given resource"):
        await call(world, "GetLayerVersionPolicy")


@pytest.mark.parametrize(
    ("operation", "members", "code", "text"),
    [
        ("AddLayerVersionPermission", GRANT, "ResourceConflictException", "The statement id (s) provided already"),
        (
            "AddLayerVersionPermission",
            {**GRANT, "StatementId": "t", "RevisionId": "other"},
            "PreconditionFailedException",
            "Call the GetLayerPolicy API to retrieve the latest Revision Id",
        ),
        (
            "AddLayerVersionPermission",
            {**GRANT, "Action": "lambda:InvokeFunction"},
            "ValidationException",
            "Member must satisfy regular expression pattern: lambda:GetLayerVersion",
        ),
        (
            "AddLayerVersionPermission",
            {**GRANT, "VersionNumber": 9},
            "ResourceNotFoundException",
            "Layer version arn:aws:lambda:us-east-1:000000000000:layer:l:9 does not exist.",
        ),
        (
            "RemoveLayerVersionPermission",
            {"StatementId": "other"},
            "ResourceNotFoundException",
            "Statement other is not found in resource policy.",
        ),
        ("GetLayerVersionPolicy", {"LayerName": "m"}, "ResourceNotFoundException", "layer:m:1 does not exist."),
        ("GetLayerVersion", {"VersionNumber": 0}, "InvalidParameterValueException", "cannot be less than 1"),
    ],
)
async def test_what_aws_refuses_is_refused_in_its_words(world, operation, members, code, text):
    await publish(world)
    await call(world, "AddLayerVersionPermission", **GRANT)
    with pytest.raises(ServiceError) as raised:
        await call(world, operation, **members)
    assert raised.value.code == code
    assert text.lower() in raised.value.message.lower()


async def test_where_iam_is_enforced_another_account_needs_the_owner_s_permission(world):
    await publish(world)
    world.platform.auth = "enforce"
    ctx = world.context(principal=STRANGER, scope=Scope("111122223333"))
    with pytest.raises(ServiceError, match="no resource-based policy allows the lambda:GetLayerVersion action"):
        await ctx.call("lambda", "GetLayerVersionByArn", {"Arn": ARN})
    await call(world, "AddLayerVersionPermission", **GRANT)
    assert (await ctx.call("lambda", "GetLayerVersionByArn", {"Arn": ARN}))["Version"] == 1
    await call(world, "DeleteLayerVersion")
    with pytest.raises(ServiceError, match="not authorized"):
        await ctx.call("lambda", "GetLayerVersionByArn", {"Arn": ARN})


async def test_where_iam_is_enforced_a_function_takes_another_account_s_layer_only_if_permitted(world):
    await publish(world)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = orjson.dumps({"Version": "2012-10-17", "Statement": [trust]}).decode()
    stranger = Scope("111122223333")
    ctx = world.context(principal=STRANGER, scope=stranger)
    await ctx.call("iam", "CreateRole", {"RoleName": "w", "AssumeRolePolicyDocument": document})
    world.platform.auth = "enforce"
    members = {
        "FunctionName": "f",
        "Runtime": "python3.11",
        "Role": "arn:aws:iam::111122223333:role/w",
        "Handler": "app.handler",
        "Code": {"ZipFile": zipped()},
        "Layers": [ARN],
    }
    with pytest.raises(ServiceError, match="lambda:GetLayerVersion on resource: .*:layer:l:1") as raised:
        await ctx.call("lambda", "CreateFunction", members)
    assert (raised.value.code, raised.value.status) == ("AccessDeniedException", 403)
    await call(world, "AddLayerVersionPermission", **GRANT)
    assert (await ctx.call("lambda", "CreateFunction", members))["Layers"][0]["Arn"] == ARN


async def test_a_layer_of_another_region_is_refused(world):
    with pytest.raises(ServiceError, match="Layers are expected to be in region us-east-1"):
        await create_function(world, Layers=[ARN.replace("us-east-1", "eu-west-1")])
