import json
from types import ModuleType

import pytest

from penstock.framework.authorization import pass_role
from penstock.framework.service import Access, Permission, Service, operation
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services import iam
from penstock.testkit.world import World

ROLE = "arn:aws:iam::000000000000:role/job"
SESSION = Principal("role", "000000000000", "arn:aws:sts::000000000000:assumed-role/job/s", "AROA:s")
TRUST = '{"Statement": []}'
KEY = "arn:aws:s3:::lake/k"
MESSAGE = (
    f"User: {SESSION.arn} is not authorized to perform: s3:GetObject on resource: {KEY} "
    "because no identity-based policy allows the s3:GetObject action"
)


@operation
async def get_object(ctx, req):
    return {}


OBJECTS = ModuleType("objects")
OBJECTS.get_object = get_object
S3 = Service(
    "s3",
    operations=[OBJECTS],
    access=Access({"GetObject": (Permission("s3:GetObject", lambda ctx, req: f"arn:aws:s3:::lake/{req['Key']}"),)}),
)


async def world_with_role(auth: str) -> World:
    world = World(S3, iam.SERVICE, is_validating=False)
    await world.call("iam", "CreateRole", RoleName="job", AssumeRolePolicyDocument=TRUST)
    world.platform.auth = auth
    return world


def get(world):
    return world.context(principal=SESSION).call("s3", "GetObject", {"Key": "k"})


async def test_enforce_mode_refuses_in_words_of_aws_until_a_policy_allows():
    world = await world_with_role("enforce")
    with pytest.raises(ServiceError) as caught:
        await get(world)
    in_quotes = MESSAGE.replace(KEY, f'"{KEY}"')  # as S3 alone does
    assert (caught.value.code, caught.value.status, caught.value.message) == ("AccessDenied", 403, in_quotes)
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::lake/*"}})
    await world.call("iam", "PutRolePolicy", RoleName="job", PolicyName="p", PolicyDocument=document)
    assert await get(world) == {}


async def test_open_mode_only_notes_what_would_be_refused():
    world = await world_with_role("open")
    await get(world)
    await get(world)
    (denial,) = world.platform.caller.authorizer.denials()
    assert (denial.principal_arn, denial.action, denial.resource) == (ROLE, "s3:GetObject", KEY)
    assert (denial.reason, denial.count) == (MESSAGE, 2)


@pytest.mark.parametrize(("params", "is_refused"), [({"Role": ROLE}, True), ({}, False)])
async def test_handing_a_role_on_needs_pass_role(params, is_refused):
    access = Access({"GetObject": (pass_role("Role", "lambda.amazonaws.com"),)})
    world = World(Service("s3", operations=[OBJECTS], access=access), iam.SERVICE, is_validating=False)
    world.platform.auth = "enforce"
    call = world.context(principal=SESSION).call("s3", "GetObject", params)
    if not is_refused:
        assert await call == {}
        return
    with pytest.raises(ServiceError, match="iam:PassRole on resource: " + ROLE):
        await call
