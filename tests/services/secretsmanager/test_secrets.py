import asyncio

import pytest

from penstock.framework.background import BackgroundRunner
from penstock.kernel.errors import ServiceError
from penstock.services.secretsmanager import SERVICE
from penstock.testkit.world import World

S = "secretsmanager"


def run(coroutine):
    return asyncio.run(coroutine)


def test_put_moves_current_to_previous_and_a_token_is_idempotent():
    async def scenario():
        world = World(SERVICE)
        first = await world.call(S, "CreateSecret", Name="db", SecretString="one")
        token = "t" * 32
        for _ in range(2):
            put = await world.call(S, "PutSecretValue", SecretId="db", SecretString="two", ClientRequestToken=token)
            assert put["VersionId"] == token
        with pytest.raises(ServiceError, match="already in use"):
            await world.call(S, "PutSecretValue", SecretId="db", SecretString="3", ClientRequestToken=token)
        for secret_id in ("db", first["ARN"], first["ARN"][:-7]):
            assert (await world.call(S, "GetSecretValue", SecretId=secret_id))["SecretString"] == "two"
        old = await world.call(S, "GetSecretValue", SecretId="db", VersionStage="AWSPREVIOUS")
        assert (old["SecretString"], old["VersionId"]) == ("one", first["VersionId"])
        await world.call(
            S, "UpdateSecretVersionStage", SecretId="db", VersionStage="AWSCURRENT",
            RemoveFromVersionId=token, MoveToVersionId=first["VersionId"],
        )  # fmt: skip
        stages = (await world.call(S, "DescribeSecret", SecretId="db"))["VersionIdsToStages"]
        assert stages == {first["VersionId"]: ["AWSCURRENT"], token: ["AWSPREVIOUS"]}
        with pytest.raises(ServiceError, match="for staging label: AWSPENDING"):
            await world.call(S, "GetSecretValue", SecretId="db", VersionStage="AWSPENDING")

    run(scenario())


def test_deleted_secret_is_restored_or_gone_after_its_window():
    async def scenario():
        world = World(SERVICE)
        runner = BackgroundRunner(world.platform, [SERVICE])
        await world.call(S, "CreateSecret", Name="db", SecretBinary=b"\x00\xff")
        await world.call(S, "DeleteSecret", SecretId="db", RecoveryWindowInDays=7)
        with pytest.raises(ServiceError, match="marked for deletion"):
            await world.call(S, "GetSecretValue", SecretId="db")
        await world.call(S, "RestoreSecret", SecretId="db")
        assert (await world.call(S, "GetSecretValue", SecretId="db"))["SecretBinary"] == b"\x00\xff"
        await world.call(S, "DeleteSecret", SecretId="db", RecoveryWindowInDays=7)
        await runner.run_until_idle(horizon_s=8 * 86400)
        with pytest.raises(ServiceError, match="can't find the specified secret"):
            await world.call(S, "DescribeSecret", SecretId="db")

    run(scenario())


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (("CreateSecret", {"Name": "db", "SecretString": "x"}), "ResourceExistsException"),
        (("GetSecretValue", {"SecretId": "no"}), "ResourceNotFoundException"),
        (("PutSecretValue", {"SecretId": "db"}), "InvalidParameterException"),
        (("PutSecretValue", {"SecretId": "db", "SecretString": "x" * 65537}), "ValidationException"),
        (("DeleteSecret", {"SecretId": "db", "RecoveryWindowInDays": 6}), "InvalidParameterException"),
        (("DeleteSecret", {"SecretId": "db", "RecoveryWindowInDays": 31}), "InvalidParameterException"),
    ],
)
def test_what_is_wrong_is_refused_with_awss_code(call, code):
    async def scenario():
        world = World(SERVICE)
        await world.call(S, "CreateSecret", Name="db", SecretString="one")
        with pytest.raises(ServiceError) as caught:
            await world.call(S, call[0], **call[1])
        assert caught.value.code == code

    run(scenario())


def test_random_password_has_each_kept_type():
    async def scenario():
        world = World(SERVICE)
        for _ in range(50):
            answer = await world.call(
                S, "GetRandomPassword", PasswordLength=4, ExcludePunctuation=True, IncludeSpace=True
            )
            word = answer["RandomPassword"]
            assert len(word) == 4
            assert [any(test(char) for char in word) for test in (str.islower, str.isupper, str.isdigit)] == [True] * 3

    run(scenario())
