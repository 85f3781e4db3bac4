import json
from urllib.parse import unquote

import pytest

from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services import iam
from penstock.services.iam.state import PolicySource
from penstock.testkit.world import World

BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
DOC = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]})
SESSION = Principal("role", "000000000000", "arn:aws:sts::000000000000:assumed-role/job/s", "AROA:s")


async def world_with_role() -> World:
    world = World(iam.SERVICE)
    await world.call("iam", "CreateRole", RoleName="job", AssumeRolePolicyDocument=DOC)
    return world


async def refused(call) -> str:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value.code


async def test_policies_of_a_role_are_its_inline_and_attached_documents():
    world = await world_with_role()
    await world.call("iam", "PutRolePolicy", RoleName="job", PolicyName="p", PolicyDocument=DOC)
    await world.call("iam", "AttachRolePolicy", RoleName="job", PolicyArn=BASIC)
    documents, boundary = await world.platform.store.read(lambda tx: PolicySource().policies_of(tx, SESSION))
    assert documents[0] == DOC
    assert "logs:PutLogEvents" in documents[1]
    assert boundary is None
    assert await refused(world.call("iam", "DeleteRole", RoleName="job")) == "DeleteConflict"
    await world.call("iam", "DetachRolePolicy", RoleName="job", PolicyArn=BASIC)
    await world.call("iam", "DeleteRolePolicy", RoleName="job", PolicyName="p")
    await world.call("iam", "DeleteRole", RoleName="job")
    assert await refused(world.call("iam", "GetRole", RoleName="job")) == "NoSuchEntity"


async def test_role_is_answered_as_it_was_made():
    world = await world_with_role()
    role = (await world.call("iam", "GetRole", RoleName="job"))["Role"]
    assert role["Arn"] == "arn:aws:iam::000000000000:role/job"
    assert role["RoleId"].startswith("AROA")
    assert len(role["RoleId"]) == 21
    assert unquote(role["AssumeRolePolicyDocument"]) == DOC


@pytest.mark.parametrize(
    ("operation", "params", "code"),
    [
        ("CreateRole", {"RoleName": "job", "AssumeRolePolicyDocument": DOC}, "EntityAlreadyExists"),
        ("CreateRole", {"RoleName": "x", "AssumeRolePolicyDocument": "{"}, "MalformedPolicyDocument"),
        ("AttachRolePolicy", {"RoleName": "job", "PolicyArn": BASIC + "x"}, "NoSuchEntity"),
        ("AttachRolePolicy", {"RoleName": "nobody", "PolicyArn": BASIC}, "NoSuchEntity"),
        ("DetachRolePolicy", {"RoleName": "job", "PolicyArn": BASIC}, "NoSuchEntity"),
        ("GetRolePolicy", {"RoleName": "job", "PolicyName": "x"}, "NoSuchEntity"),
    ],
)
async def test_refusals(operation, params, code):
    world = await world_with_role()
    assert await refused(world.call("iam", operation, **params)) == code


async def test_key_opens_as_its_user_while_it_is_active():
    world = World(iam.SERVICE)
    await world.call("iam", "CreateUser", UserName="ana")
    key = (await world.call("iam", "CreateAccessKey", UserName="ana"))["AccessKey"]

    async def find():
        return await world.platform.store.read(lambda tx: PolicySource().find_access_key(tx, key["AccessKeyId"]))

    secret, principal = await find()
    assert (secret, principal.arn) == (key["SecretAccessKey"], "arn:aws:iam::000000000000:user/ana")
    await world.call("iam", "UpdateAccessKey", UserName="ana", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    assert await find() is None


async def test_default_version_of_a_policy_is_what_counts():
    world = await world_with_role()
    arn = (await world.call("iam", "CreatePolicy", PolicyName="p", PolicyDocument=DOC))["Policy"]["Arn"]
    await world.call("iam", "AttachRolePolicy", RoleName="job", PolicyArn=arn)
    other = DOC.replace("s3", "sqs")
    await world.call("iam", "CreatePolicyVersion", PolicyArn=arn, PolicyDocument=other, SetAsDefault=True)
    documents, _ = await world.platform.store.read(lambda tx: PolicySource().policies_of(tx, SESSION))
    assert documents == [other]
    assert await refused(world.call("iam", "DeletePolicyVersion", PolicyArn=arn, VersionId="v2")) == "DeleteConflict"
    assert await refused(world.call("iam", "DeletePolicy", PolicyArn=arn)) == "DeleteConflict"
