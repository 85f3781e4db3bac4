import pytest

from penstock.kernel.errors import ServiceError
from penstock.testkit.functions import create_function, zipped

PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"
MISSING = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-00000000000000000"


async def create_config(world, policy=None, **members):
    policies = {"CodeSigningPolicies": {"UntrustedArtifactOnDeployment": policy}} if policy else {}
    publishers = {"SigningProfileVersionArns": [PROFILE]}
    params = {"AllowedPublishers": publishers, **policies, **members}
    return (await world.call("lambda", "CreateCodeSigningConfig", **params))["CodeSigningConfig"]


async def call(world, operation, **params):
    return await world.call("lambda", operation, **params)


async def test_a_configuration_is_made_changed_listed_and_deleted(world):
    made = await create_config(world, Description="d")
    arn = made["CodeSigningConfigArn"]
    assert arn.endswith(f":code-signing-config:{made['CodeSigningConfigId']}")
    assert made["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert (await call(world, "GetCodeSigningConfig", CodeSigningConfigArn=arn))["CodeSigningConfig"] == made
    enforce = {"UntrustedArtifactOnDeployment": "Enforce"}
    changed = await call(world, "UpdateCodeSigningConfig", CodeSigningConfigArn=arn, CodeSigningPolicies=enforce)
    assert changed["CodeSigningConfig"] == made | {"CodeSigningPolicies": enforce}
    other = await create_config(world)
    page = await call(world, "ListCodeSigningConfigs", MaxItems=1)
    rest = await call(world, "ListCodeSigningConfigs", Marker=page["NextMarker"])
    listed = page["CodeSigningConfigs"] + rest["CodeSigningConfigs"]
    assert sorted(c["CodeSigningConfigArn"] for c in listed) == sorted([arn, other["CodeSigningConfigArn"]])
    await call(world, "DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    with pytest.raises(ServiceError, match=f"The Lambda code signing configuration {arn} can not be found."):
        await call(world, "GetCodeSigningConfig", CodeSigningConfigArn=arn)


async def test_a_function_holds_a_configuration_that_cannot_be_deleted_meanwhile(world):
    arn = (await create_config(world))["CodeSigningConfigArn"]
    await create_function(world, CodeSigningConfigArn=arn)
    await create_function(world, "g")
    got = await call(world, "GetFunctionCodeSigningConfig", FunctionName="f")
    assert got == {"CodeSigningConfigArn": arn, "FunctionName": "f"}
    assert await call(world, "GetFunctionCodeSigningConfig", FunctionName="g") == {}
    await call(world, "PutFunctionCodeSigningConfig", FunctionName="g", CodeSigningConfigArn=arn)
    page = await call(world, "ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn, MaxItems=1)
    assert page["FunctionArns"] == ["arn:aws:lambda:us-east-1:000000000000:function:f"]
    rest = await call(world, "ListFunctionsByCodeSigningConfig", CodeSigningConfigArn=arn, Marker=page["NextMarker"])
    assert rest == {"FunctionArns": ["arn:aws:lambda:us-east-1:000000000000:function:g"]}
    with pytest.raises(ServiceError, match="in use") as raised:
        await call(world, "DeleteCodeSigningConfig", CodeSigningConfigArn=arn)
    assert raised.value.code == "ResourceConflictException"
    for name in ("f", "g"):
        await call(world, "DeleteFunctionCodeSigningConfig", FunctionName=name)
    await call(world, "DeleteCodeSigningConfig", CodeSigningConfigArn=arn)


async def test_a_configuration_that_is_not_there_is_refused(world):
    await create_function(world)
    with pytest.raises(ServiceError, match=f"is not deleted: {MISSING}") as raised:
        await create_function(world, "g", CodeSigningConfigArn=MISSING)
    assert (raised.value.code, raised.value.status) == ("CodeSigningConfigNotFoundException", 404)
    with pytest.raises(ServiceError, match=f"is not deleted: {MISSING}"):
        await call(world, "PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=MISSING)


async def test_enforced_signing_refuses_new_code_and_layers_and_leaves_what_runs(world):
    arn = (await create_config(world, "Enforce"))["CodeSigningConfigArn"]
    with pytest.raises(ServiceError, match="Check the provided signature for g") as raised:
        await create_function(world, "g", CodeSigningConfigArn=arn)
    assert raised.value.code == "CodeVerificationFailedException"
    content = {"ZipFile": zipped("1", "python/thing.py")}
    layer = await call(world, "PublishLayerVersion", LayerName="l", Content=content)
    await create_function(world)
    await call(world, "PutFunctionCodeSigningConfig", FunctionName="f", CodeSigningConfigArn=arn)
    with pytest.raises(ServiceError, match="Check the provided signature"):
        await call(world, "UpdateFunctionCode", FunctionName="f", ZipFile=zipped("x"))
    with pytest.raises(ServiceError, match="Check the provided signature"):
        await call(world, "UpdateFunctionConfiguration", FunctionName="f", Layers=[layer["LayerVersionArn"]])
    await call(world, "UpdateFunctionConfiguration", FunctionName="f", Timeout=9)
    assert (await call(world, "Invoke", FunctionName="f", Payload=b"1"))["Payload"] == b"1"
