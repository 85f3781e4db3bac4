import orjson
import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal, service_principal
from penstock.testkit.functions import create_function

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
S3 = {"StatementId": "s3", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}


async def call(world, operation, **params):
    return await world.call("lambda", operation, **{"FunctionName": "f", **params})


async def invoke_as(world, principal, **members):
    ctx = world.context(principal=principal)
    return await ctx.call("lambda", "Invoke", {"FunctionName": "f", "InvocationType": "DryRun", **members})


async def test_a_permission_is_a_statement_of_the_policy(world):
    await create_function(world)
    added = await call(world, "AddPermission", **S3, SourceArn="arn:aws:s3:::in", SourceAccount="000000000000")
    statement = orjson.loads(added["Statement"])
    assert statement == {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": ARN,
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "000000000000"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::in"},
        },
    }
    got = await call(world, "GetPolicy")
    assert orjson.loads(got["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    with pytest.raises(ServiceError, match=r"The statement id \(s3\) provided already exists") as raised:
        await call(world, "AddPermission", **S3)
    assert raised.value.code == "ResourceConflictException"
    await call(world, "RemovePermission", StatementId="s3", RevisionId=got["RevisionId"])
    with pytest.raises(ServiceError, match="The resource you requested does not exist"):
        await call(world, "GetPolicy")


async def test_where_iam_is_enforced_a_service_needs_a_permission_for_its_source(world):
    await create_function(world)
    world.platform.auth = "enforce"
    bucket = service_principal("s3.amazonaws.com", account_id="000000000000", source_arn="arn:aws:s3:::in")
    other = service_principal("s3.amazonaws.com", account_id="000000000000", source_arn="arn:aws:s3:::out")
    with pytest.raises(ServiceError, match="lambda:InvokeFunction"):
        await invoke_as(world, bucket)
    await call(world, "AddPermission", **S3, SourceArn="arn:aws:s3:::in")
    assert await invoke_as(world, bucket) == {"StatusCode": 204}
    for principal, members in ((other, {}), (bucket, {"FunctionName": "f:$LATEST"})):
        with pytest.raises(ServiceError, match="not authorized to perform: lambda:InvokeFunction"):
            await invoke_as(world, principal, **members)


async def test_a_permission_of_an_alias_is_for_the_alias_alone(world):
    await create_function(world, Publish=True)
    await call(world, "CreateAlias", Name="live", FunctionVersion="1")
    await call(world, "AddPermission", **S3, Qualifier="live")
    world.platform.auth = "enforce"
    service = service_principal("s3.amazonaws.com", account_id="000000000000")
    assert await invoke_as(world, service, Qualifier="live") == {"StatusCode": 204}
    with pytest.raises(ServiceError, match="not authorized"):
        await invoke_as(world, service)


async def test_another_account_needs_a_permission_and_its_own_policy(world):
    await create_function(world)
    world.platform.auth = "enforce"
    stranger = Principal("root", "111122223333", "arn:aws:iam::111122223333:root", "111122223333")
    with pytest.raises(ServiceError, match="not authorized"):
        await invoke_as(world, stranger, FunctionName=ARN)
    await call(world, "AddPermission", **{**S3, "Principal": "111122223333"})
    assert await invoke_as(world, stranger, FunctionName=ARN) == {"StatusCode": 204}


async def test_a_role_that_lambda_may_not_assume_is_refused_where_iam_is_enforced(world):
    world.platform.auth = "enforce"
    with pytest.raises(ServiceError, match="cannot be assumed by Lambda"):
        await create_function(world)
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = orjson.dumps({"Version": "2012-10-17", "Statement": [trust]}).decode()
    await world.call("iam", "CreateRole", RoleName="worker", AssumeRolePolicyDocument=document)
    assert (await create_function(world))["State"] == "Pending"


async def test_latest_has_no_policy_of_its_own(world):
    await create_function(world)
    with pytest.raises(ServiceError, match="We currently do not support adding policies for"):
        await call(world, "AddPermission", **S3, Qualifier="$LATEST")


async def test_where_iam_is_enforced_a_role_must_be_allowed_what_the_settings_need(world):
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = orjson.dumps({"Version": "2012-10-17", "Statement": [trust]}).decode()
    await world.call("iam", "CreateRole", RoleName="worker", AssumeRolePolicyDocument=document)
    await create_function(world)
    world.platform.auth = "enforce"
    dead = {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:dead"}
    network = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    for members, text in (
        ({"DeadLetterConfig": dead}, "not have permissions to call SendMessage on SQS"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:sns:us-east-1:000000000000:t"}}, "to call Publish on SNS"),
        ({"VpcConfig": network}, "to call CreateNetworkInterface on EC2"),
    ):
        with pytest.raises(ServiceError, match=text):
            await call(world, "UpdateFunctionConfiguration", **members)
    allowed = [{"Effect": "Allow", "Action": ["sqs:SendMessage", "ec2:*"], "Resource": "*"}]
    policy = orjson.dumps({"Version": "2012-10-17", "Statement": allowed}).decode()
    await world.call("iam", "PutRolePolicy", RoleName="worker", PolicyName="p", PolicyDocument=policy)
    await call(world, "UpdateFunctionConfiguration", DeadLetterConfig=dead, VpcConfig=network)


async def test_policies_can_bind_callers_to_layers_principals_and_functions(world):
    await create_function(world)
    user = await made_user(
        world,
        allow("lambda:AddPermission", StringEquals={"lambda:Principal": "s3.amazonaws.com"}),
        allow(
            "lambda:UpdateFunctionConfiguration", **{"ForAllValues:StringLike": {"lambda:Layer": ["*:layer:good:*"]}}
        ),
        allow("lambda:CreateEventSourceMapping", ArnLike={"lambda:FunctionArn": f"{ARN}*"}),
        allow("lambda:TagResource"),
    )
    world.platform.auth = "enforce"
    ctx = world.context(principal=user)
    grant = {"FunctionName": "f", **S3}
    assert await ctx.call("lambda", "AddPermission", grant)
    layer = "arn:aws:lambda:us-east-1:000000000000:layer:bad:1"
    for operation, members in (
        ("AddPermission", {**grant, "StatementId": "t", "Principal": "events.amazonaws.com"}),
        ("UpdateFunctionConfiguration", {"FunctionName": "f", "Layers": [layer]}),
        ("CreateEventSourceMapping", {"FunctionName": "g", "EventSourceArn": "arn:aws:sqs:us-east-1:000000000000:q"}),
    ):
        with pytest.raises(ServiceError, match=f"not authorized to perform: lambda:{operation}"):
            await ctx.call("lambda", operation, members)


def allow(action, **conditions):
    statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
    return statement | ({"Condition": conditions} if conditions else {})


async def made_user(world, *statements):
    await world.call("iam", "CreateUser", UserName="u")
    document = orjson.dumps({"Version": "2012-10-17", "Statement": statements}).decode()
    await world.call("iam", "PutUserPolicy", UserName="u", PolicyName="p", PolicyDocument=document)
    return Principal("user", "000000000000", "arn:aws:iam::000000000000:user/u", "AIDAU")


@pytest.mark.parametrize(
    ("principal", "shown"),
    [
        ("events.amazonaws.com", {"Service": "events.amazonaws.com"}),
        ("logs.us-east-1.amazonaws.com", {"Service": "logs.us-east-1.amazonaws.com"}),
        ("alexa-appkit.amazon.com", {"Service": "alexa-appkit.amazon.com"}),
        ("111122223333", {"AWS": "arn:aws:iam::111122223333:root"}),
        ("arn:aws:iam::111122223333:role/r", {"AWS": "arn:aws:iam::111122223333:role/r"}),
        ("*", "*"),
    ],
)
async def test_every_kind_of_principal_is_shown_as_on_aws(world, principal, shown):
    await create_function(world)
    members = {**S3, "Principal": principal, "EventSourceToken": "amzn1.ask.skill"}
    statement = orjson.loads((await call(world, "AddPermission", **members))["Statement"])
    assert statement["Principal"] == shown
    assert statement["Condition"] == {"StringEquals": {"lambda:EventSourceToken": "amzn1.ask.skill"}}
