import json

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services import dynamodb, iam
from penstock.testkit.world import World

from .conftest import Dynamo, item, typed

SESSION = Principal("role", "000000000000", "arn:aws:sts::000000000000:assumed-role/job/s", "AROA:s")
TABLE = "arn:aws:dynamodb:us-east-1:000000000000:table/table"


async def guarded(*statements):
    dynamo = Dynamo()
    dynamo.world = World(dynamodb.SERVICE, iam.SERVICE)
    await dynamo.table(gsi=[("by-g", "g")])
    await dynamo.world.call("iam", "CreateRole", RoleName="job", AssumeRolePolicyDocument='{"Statement": []}')
    document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
    await dynamo.world.call("iam", "PutRolePolicy", RoleName="job", PolicyName="p", PolicyDocument=document)
    dynamo.world.platform.auth = "enforce"
    return dynamo


def allow(action, resource=TABLE, **condition):
    found = {"Effect": "Allow", "Action": action, "Resource": resource}
    return found | ({"Condition": condition} if condition else {})


async def is_let(dynamo, operation, **members):
    try:
        await dynamo.world.context(principal=SESSION).call("dynamodb", operation, members)
    except ServiceError as error:
        if error.code == "AccessDeniedException":
            return False
        raise
    return True


async def test_leading_keys_bind_a_caller_to_partitions():
    own = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["mine"]}}
    dynamo = await guarded(allow(["dynamodb:*Item*", "dynamodb:Query"], **own))
    for p, expected in (("mine", True), ("yours", False)):
        assert await is_let(dynamo, "PutItem", TableName="table", Item=item(p=p, s=1)) is expected
        assert await is_let(dynamo, "GetItem", TableName="table", Key=item(p=p, s=1)) is expected
        query = {"KeyConditionExpression": "p = :p", "ExpressionAttributeValues": {":p": typed(p)}}
        assert await is_let(dynamo, "Query", TableName="table", **query) is expected
        keys = [item(p="mine", s=1), item(p=p, s=2)]
        assert await is_let(dynamo, "BatchGetItem", RequestItems={"table": {"Keys": keys}}) is expected
        put = {"TableName": "table", "Item": item(p=p, s=2)}
        assert await is_let(dynamo, "TransactWriteItems", TransactItems=[{"Put": put}]) is expected


async def test_attributes_bind_a_caller_to_what_it_may_see():
    seen = {"ForAllValues:StringEquals": {"dynamodb:Attributes": ["p", "s", "v"]}}
    dynamo = await guarded(allow("dynamodb:GetItem", **seen))
    key = {"TableName": "table", "Key": item(p="a", s=1)}
    assert await is_let(dynamo, "GetItem", **key, ProjectionExpression="v.x, s")
    assert not await is_let(dynamo, "GetItem", **key, ProjectionExpression="v, secret")


async def test_indexes_and_statements_have_resources_and_actions_of_their_own():
    dynamo = await guarded(allow("dynamodb:Query", TABLE + "/index/*"), allow("dynamodb:PartiQLSelect"))
    query = {"KeyConditionExpression": "g = :g", "ExpressionAttributeValues": {":g": typed("x")}}
    assert await is_let(dynamo, "Query", TableName="table", IndexName="by-g", **query)
    assert not await is_let(
        dynamo,
        "Query",
        TableName="table",
        KeyConditionExpression="p = :g",
        ExpressionAttributeValues=query["ExpressionAttributeValues"],
    )
    assert await is_let(dynamo, "ExecuteStatement", Statement='SELECT * FROM "table"')
    assert not await is_let(dynamo, "ExecuteStatement", Statement="INSERT INTO \"table\" VALUE {'p': 'a', 's': 1}")


async def test_a_table_s_policy_lets_others_in_and_keeps_them_out():
    dynamo = await guarded(allow("dynamodb:*"))
    stranger = Principal("user", "111111111111", "arn:aws:iam::111111111111:user/x", "AIDAX")

    async def get():
        context = dynamo.world.context(principal=stranger)
        return await context.call("dynamodb", "GetItem", {"TableName": TABLE, "Key": item(p="a", s=1)})

    with pytest.raises(ServiceError, match="not authorized"):
        await get()
    statement = {"Effect": "Deny", "Principal": "*", "Action": "dynamodb:GetItem", "Resource": TABLE}
    put = await dynamo.call("PutResourcePolicy", ResourceArn=TABLE, Policy=json.dumps({"Statement": [statement]}))
    assert not await is_let(dynamo, "GetItem", TableName="table", Key=item(p="a", s=1))
    got = await dynamo.call("GetResourcePolicy", ResourceArn=TABLE)
    assert got["RevisionId"] == put["RevisionId"]
    await dynamo.call("DeleteResourcePolicy", ResourceArn=TABLE)
    assert await is_let(dynamo, "GetItem", TableName="table", Key=item(p="a", s=1))
    code, _ = await dynamo.refused("GetResourcePolicy", ResourceArn=TABLE)
    assert code == "PolicyNotFoundException"
