import pytest

from penstock.framework.credentials import Authenticator
from penstock.kernel.errors import ServiceError
from penstock.kernel.scope import Principal
from penstock.services import iam, sts
from penstock.testkit.world import World

ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/job"
TRUST = (
    '{"Statement": {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}}'
)
ANA = Principal("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ana", "AIDA1")


async def test_root_is_told_who_it_is():
    answer = await World(sts.SERVICE).call("sts", "GetCallerIdentity")
    assert answer == {"UserId": ACCOUNT, "Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}


async def test_assumed_role_is_who_its_credentials_are():
    world = World(sts.SERVICE, iam.SERVICE)
    answer = await world.call("sts", "AssumeRole", RoleArn=ROLE, RoleSessionName="session")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job/session"
    minted = answer["Credentials"]
    found = Authenticator(world.platform.store, world.platform.entropy, mode="enforce")
    principal, secret = await found.authenticate(minted["AccessKeyId"], minted["SessionToken"], world.clock.now_ms())
    assert (principal.arn, secret) == (answer["AssumedRoleUser"]["Arn"], minted["SecretAccessKey"])


async def test_enforce_mode_asks_the_trust_policy():
    world = World(sts.SERVICE, iam.SERVICE)
    await world.call("iam", "CreateRole", RoleName="job", AssumeRolePolicyDocument=TRUST)
    world.platform.auth = "enforce"
    with pytest.raises(ServiceError) as caught:
        await world.context(principal=ANA).call("sts", "AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "session"})
    assert caught.value.code == "AccessDenied"
    assert caught.value.message == f"User: {ANA.arn} is not authorized to perform: sts:AssumeRole on resource: {ROLE}"


async def test_session_may_not_outlast_the_role():
    world = World(sts.SERVICE, iam.SERVICE)
    await world.call("iam", "CreateRole", RoleName="job", AssumeRolePolicyDocument=TRUST)
    with pytest.raises(ServiceError, match="MaxSessionDuration"):
        await world.call("sts", "AssumeRole", RoleArn=ROLE, RoleSessionName="session", DurationSeconds=3601)
