from dataclasses import replace

from penstock.engines.functions.ports import FunctionSpec, LogLine
from penstock.framework.credentials import temporary_credentials
from penstock.services.lambda_ import LogShipper, RoleCredentials, limits
from penstock.testkit.functions import ROLE

SPEC = FunctionSpec(
    id="f#1",
    arn="arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST",
    name="f",
    version="$LATEST",
    account_id="000000000000",
    region="us-east-1",
    runtime="python3.11",
    handler="app.handler",
    code_dir="/nowhere",
    role_arn=ROLE,
    log_group="/aws/lambda/f",
)
STREAM = "2026/05/28/[$LATEST]0123456789abcdef0123456789abcdef"


def lines(world, *messages):
    return [LogLine(world.clock.now_ms(), message) for message in messages]


async def shipped(world, stream=STREAM, group="/aws/lambda/f"):
    answer = await world.call("logs", "GetLogEvents", logGroupName=group, logStreamName=stream, startFromHead=True)
    return [event["message"] for event in answer["events"]]


async def test_lines_reach_their_stream_whose_group_is_made_on_the_way(world):
    shipper = LogShipper(world.platform)
    shipper.write(SPEC, STREAM, lines(world, "START", "hello"))
    shipper.write(SPEC, "other", lines(world, "x"))
    shipper.write(SPEC, STREAM, lines(world, "", "END é"))
    await shipper.flush()
    assert await shipped(world) == ["START", "hello", " ", "END é"]
    assert await shipped(world, "other") == ["x"]
    shipper.write(SPEC, STREAM, lines(world, "later"))
    await shipper.close()
    assert (await shipped(world))[-1] == "later"


async def test_a_deleted_group_is_made_again(world):
    shipper = LogShipper(world.platform)
    shipper.write(SPEC, STREAM, lines(world, "one"))
    await shipper.flush()
    await world.call("logs", "DeleteLogGroup", logGroupName="/aws/lambda/f")
    shipper.write(SPEC, STREAM, lines(world, "two"))
    await shipper.close()
    assert await shipped(world) == ["two"]


async def test_without_a_flush_lines_are_shipped_after_a_moment(world):
    shipper = LogShipper(world.platform)
    shipper.write(SPEC, STREAM, lines(world, "one"))
    await world.advance(limits.LOG_LINGER_S + 0.01)
    assert await shipped(world) == ["one"]
    await shipper.close()


async def test_more_lines_than_the_buffer_holds_are_dropped_and_counted(world):
    shipper = LogShipper(world.platform)
    big = "x" * 200_000
    shipper.write(SPEC, STREAM, lines(world, *[big] * 200))
    assert shipper.dropped == 200 - limits.LOG_BUFFER_BYTES_MAX // 200_026
    await shipper.close()
    assert shipper._bytes == 0
    shipper.write(SPEC, STREAM, lines(world, "fits again"))
    await shipper.close()
    assert shipper.dropped == 200 - limits.LOG_BUFFER_BYTES_MAX // 200_026


async def test_a_function_is_a_session_of_its_role(world):
    credentials = await RoleCredentials(world.platform).credentials_for(replace(SPEC, account_id="000000000000"))
    minter = await temporary_credentials(world.platform.store, world.platform.entropy)
    _, principal = minter.resolve(credentials.access_key_id, credentials.session_token, world.clock.now_ms())
    assert principal.arn == "arn:aws:sts::000000000000:assumed-role/worker/f"
    assert credentials.access_key_id.startswith("ASIA")
    assert credentials.expires_ms > world.clock.now_ms()


async def test_where_iam_is_enforced_a_role_without_permission_has_no_logs(world):
    trust = (
        '{"Statement":[{"Effect":"Allow","Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
    )
    await world.call("iam", "CreateRole", RoleName="worker", AssumeRolePolicyDocument=trust)
    world.platform.auth = "enforce"
    shipper = LogShipper(world.platform)
    shipper.write(SPEC, STREAM, lines(world, "one"))
    await shipper.flush()
    assert shipper.dropped == 1
    basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    await world.call("iam", "AttachRolePolicy", RoleName="worker", PolicyArn=basic)
    shipper.write(SPEC, STREAM, lines(world, "two"))
    await shipper.close()
    assert await shipped(world) == ["two"]


async def test_lines_keep_coming_while_lines_are_shipped(world):
    shipper = LogShipper(world.platform)
    for number in range(50):
        shipper.write(SPEC, f"s{number % 3}", lines(world, f"line {number}"))
        await world.advance(limits.LOG_LINGER_S / 3)
    await shipper.flush()
    found = [await shipped(world, f"s{number}") for number in range(3)]
    assert [line for stream in found for line in stream] == [f"line {n}" for s in range(3) for n in range(s, 50, 3)]
    await shipper.close()
