"""What the control plane answers, word for word, as AWS does."""

import pytest

from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import limits
from penstock.testkit.functions import create_function, zipped

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
NULL = "Member must not be null"


async def call(world, operation, /, **params):
    return await world.call("lambda", operation, **{"FunctionName": "f", **params})


async def config(world, **params):
    return await call(world, "GetFunctionConfiguration", **params)


@pytest.mark.parametrize(
    ("operation", "members", "code", "text"),
    [
        (
            "CreateFunction",
            {"Runtime": "cobol"},
            "InvalidParameterValueException",
            f"Value cobol at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
            f"[{', '.join(limits.RUNTIMES)}] or be a valid ARN",
        ),
        (
            "CreateFunction",
            {"Runtime": "python3.7"},
            "InvalidParameterValueException",
            "The runtime parameter of python3.7 is no longer supported for creating or updating AWS Lambda functions. "
            "We recommend you use the new runtime (python3.13) while creating or updating functions.",
        ),
        (
            "CreateFunction",
            {"Role": "worker"},
            "ValidationException",
            "1 validation error detected: Value 'worker' at 'role' failed to satisfy constraint: Member must satisfy "
            r"regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+",
        ),
        (
            "CreateFunction",
            {"Architectures": ["x86_64", "arm64"]},
            "ValidationException",
            "1 validation error detected: Value '[x86_64, arm64]' at 'architectures' failed to satisfy constraint: "
            "Member must have length less than or equal to 1",
        ),
        (
            "CreateFunction",
            {"Architectures": ["z80"]},
            "ValidationException",
            "1 validation error detected: Value '[z80]' at 'architectures' failed to satisfy constraint: Member must "
            f"satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], {NULL}]",
        ),
        (
            "CreateFunction",
            {"name": "f" * 65},
            "ValidationException",
            f"1 validation error detected: Value '{'f' * 65}' at 'functionName' failed to satisfy constraint: Member "
            "must have length less than or equal to 64",
        ),
        (
            "CreateFunction",
            {"name": "arn:aws:lambda:us-east-1:111122223333:function:g"},
            "AccessDeniedException",
            "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:CreateFunction on resource: "
            "arn:aws:lambda:us-east-1:111122223333:function:g because no resource-based policy allows the "
            "lambda:CreateFunction action",
        ),
        (
            "CreateFunction",
            {"name": "arn:aws:lambda:eu-west-1:000000000000:function:g"},
            "ResourceNotFoundException",
            "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')",
        ),
        (
            "CreateFunction",
            {"LoggingConfig": {"LogFormat": "Text", "ApplicationLogLevel": "DEBUG"}},
            "InvalidParameterValueException",
            "Log level is not supported when log format is set to 'Text'. Remove log level from your request or change "
            "the log format to 'JSON' and try again.",
        ),
        (
            "CreateFunction",
            {"Tags": {f"k{number}": "" for number in range(51)}},
            "InvalidParameterValueException",
            "Number of tags exceeds resource tag limit.",
        ),
        (
            "CreateFunction",
            {"SnapStart": {"ApplyOn": "Always"}},
            "ValidationException",
            "1 validation error detected: Value 'Always' at 'snapStart.applyOn' failed to satisfy constraint: Member "
            "must satisfy enum value set: [PublishedVersions, None]",
        ),
        (
            "CreateFunction",
            {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
            "InvalidParameterValueException",
            "SubnetIds and SecurityIds must coexist or be both empty list.",
        ),
        (
            "UpdateFunctionCode",
            {"ImageUri": "x"},
            "InvalidParameterValueException",
            "Please don't provide ImageUri when updating a function with packageType Zip.",
        ),
        (
            "DeleteFunction",
            {"Qualifier": "$LATEST"},
            "InvalidParameterValueException",
            "$LATEST version cannot be deleted without deleting the function.",
        ),
        ("GetAlias", {"Name": "gone"}, "ResourceNotFoundException", f"Cannot find alias arn: {ARN}:gone"),
        ("UpdateAlias", {"Name": "gone"}, "ResourceNotFoundException", f"Alias not found: {ARN}:gone"),
        (
            "CreateAlias",
            {"Name": "1", "FunctionVersion": "1"},
            "ValidationException",
            "1 validation error detected: Value '1' at 'name' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
        ),
        (
            "CreateAlias",
            {"Name": "a", "FunctionVersion": "9"},
            "ResourceNotFoundException",
            f"Function not found: {ARN}:9",
        ),
        (
            "CreateAlias",
            {
                "Name": "a",
                "FunctionVersion": "1",
                "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}},
            },
            "InvalidParameterValueException",
            "Invalid function version 1. Function version 1 is already included in routing configuration.",
        ),
        (
            "CreateAlias",
            {"Name": "a", "FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            "InvalidParameterValueException",
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
        (
            "CreateAlias",
            {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}},
            "ValidationException",
            "1 validation error detected: Value '{2=1.5}' at 'routingConfig.additionalVersionWeights' failed to "
            "satisfy constraint: Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
            f"Member must have value greater than or equal to 0.0, {NULL}]",
        ),
        (
            "CreateAlias",
            {"Name": "a", "FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}},
            "ValidationException",
            "1 validation error detected: Value '{$LATEST=0.5}' at 'routingConfig.additionalVersionWeights' failed to "
            "satisfy constraint: Map keys must satisfy constraint: [Member must have length less than or equal to "
            "1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: "
            f"[0-9]+, {NULL}]",
        ),
        (
            "CreateAlias",
            {
                "Name": "a",
                "FunctionVersion": "1",
                "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.5, "3": 0.1}},
            },
            "InvalidParameterValueException",
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            "PublishVersion",
            {"CodeSha256": "other"},
            "InvalidParameterValueException",
            "CodeSHA256 (other) is different from current CodeSHA256 in $LATEST (*). Please try again with the "
            "CodeSHA256 in $LATEST.",
        ),
        (
            "PutFunctionConcurrency",
            {"FunctionName": "f:1", "ReservedConcurrentExecutions": 1},
            "InvalidParameterValueException",
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN.",
        ),
        (
            "CreateFunctionUrlConfig",
            {"Qualifier": "1", "AuthType": "NONE"},
            "ValidationException",
            "1 validation error detected: Value '1' at 'qualifier' failed to satisfy constraint: Member must satisfy "
            r"regular expression pattern: ((?!^\d+$)^[0-9a-zA-Z-_]+$)",
        ),
        (
            "CreateFunctionUrlConfig",
            {"FunctionName": "g", "AuthType": "NONE"},
            "ResourceNotFoundException",
            "Function does not exist",
        ),
        (
            "GetFunctionUrlConfig",
            {},
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            {},
            "InvalidParameterValueException",
            "You must specify at least one of error handling or destination setting.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            {"Qualifier": "9", "MaximumRetryAttempts": 0},
            "ResourceNotFoundException",
            "The function doesn't exist.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            {"DestinationConfig": {"OnSuccess": {"Destination": "arn:aws:iam::000000000000:role/r"}}},
            "InvalidParameterValueException",
            "The provided destination config DestinationConfig(onSuccess=OnSuccess(destination="
            "arn:aws:iam::000000000000:role/r), onFailure=null) is invalid.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            {"DestinationConfig": {"OnFailure": {"Destination": ARN + "g"}}},
            "InvalidParameterValueException",
            f"The destination ARN {ARN}g is invalid.",
        ),
        (
            "PutFunctionEventInvokeConfig",
            {"DestinationConfig": {"OnFailure": {"Destination": f"{ARN}:1"}}},
            "InvalidParameterValueException",
            "You can't specify the function as a destination for itself.",
        ),
        (
            "GetFunctionEventInvokeConfig",
            {},
            "ResourceNotFoundException",
            f"The function {ARN}:$LATEST doesn't have an EventInvokeConfig",
        ),
        (
            "UpdateFunctionEventInvokeConfig",
            {"Qualifier": "1", "MaximumRetryAttempts": 0},
            "ResourceNotFoundException",
            f"The function {ARN}:1 doesn't have an EventInvokeConfig",
        ),
        ("TagResource", {"Resource": ARN, "Tags": {}}, "InvalidParameterValueException", "An error occurred and *"),
        (
            "TagResource",
            {"Resource": f"{ARN}:1", "Tags": {"a": "b"}},
            "InvalidParameterValueException",
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        ),
        (
            "ListLayers",
            {"CompatibleRuntime": "cobol"},
            "ValidationException",
            "1 validation error detected: Value 'cobol' at 'compatibleRuntime' failed to satisfy constraint: Member "
            "must satisfy enum value set: *",
        ),
        (
            "Invoke",
            {"InvocationType": "Later"},
            "ValidationException",
            "1 validation error detected: Value 'Later' at 'invocationType' failed to satisfy constraint: Member must "
            "satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
        (
            "Invoke",
            {"TenantId": "blue"},
            "InvalidParameterValueException",
            "The invoked function is not enabled with tenancy configuration, but a tenant ID was specified in the "
            "request. Remove the tenant ID and try again.",
        ),
        ("Invoke", {"Qualifier": "gone"}, "ResourceNotFoundException", f"Function not found: {ARN}:gone"),
    ],
)
async def test_a_refusal_is_worded_as_on_aws(world, operation, members, code, text):
    await create_function(world, Publish=True)
    members = dict(members)
    if operation == "CreateFunction":
        request = create_function(world, members.pop("name", "g"), **members)
    else:
        request = call(world, operation, **members)
    with pytest.raises(ServiceError) as raised:
        await request
    assert raised.value.code == code
    head, star, tail = text.partition("*")
    if star and "[0-9" not in text and "regular expression" not in text:
        assert raised.value.message.startswith(head)
        assert raised.value.message.endswith(tail)
    else:
        assert raised.value.message == text


async def test_a_second_url_of_a_function_is_refused_in_aws_s_words(world):
    await create_function(world, Publish=True)
    await call(world, "CreateFunctionUrlConfig", AuthType="NONE")
    with pytest.raises(ServiceError) as raised:
        await call(world, "CreateFunctionUrlConfig", AuthType="NONE")
    assert raised.value.message == (
        f"Failed to create function url config for [functionArn = {ARN}]. Error message:  FunctionUrlConfig exists for "
        "this Lambda function"
    )
    assert (raised.value.code, raised.value.status) == ("ResourceConflictException", 409)


async def test_every_change_of_a_function_is_a_new_revision(world):
    seen = [(await create_function(world, settle=False))["RevisionId"]]
    await world.settle()
    seen.append((await config(world))["RevisionId"])
    seen.append((await call(world, "UpdateFunctionConfiguration", Timeout=9))["RevisionId"])
    await world.settle()
    seen.append((await config(world))["RevisionId"])
    for operation, members in (
        ("TagResource", {"Resource": ARN, "Tags": {"a": "b"}}),
        ("UntagResource", {"Resource": ARN, "TagKeys": ["a"]}),
        ("AddPermission", {"StatementId": "s", "Action": "lambda:*", "Principal": "*"}),
        ("RemovePermission", {"StatementId": "s"}),
        ("PublishVersion", {}),
    ):
        await call(world, operation, **members)
        seen.append((await config(world))["RevisionId"])
    assert len(set(seen)) == len(seen)


async def test_a_published_version_is_pending_then_active_and_runs_meanwhile(world):
    await create_function(world)
    published = await call(world, "PublishVersion", Description="d")
    assert (published["State"], published["StateReasonCode"]) == ("Pending", "Creating")
    assert "LastUpdateStatus" not in published
    assert (await call(world, "Invoke", Qualifier="1", Payload=b"1"))["ExecutedVersion"] == "1"
    await world.settle()
    settled = await config(world, Qualifier="1")
    assert (settled["State"], settled["LastUpdateStatus"], settled["Description"]) == ("Active", "Successful", "d")
    assert (await config(world))["Description"] == ""


async def test_listings_leave_out_states_and_the_runtime_s_version(world):
    await create_function(world, Publish=True)
    (listed,) = (await call(world, "ListFunctions"))["Functions"]
    assert set(await config(world)) - set(listed) == {"RuntimeVersionConfig", "State", "LastUpdateStatus"}
    assert listed["FunctionArn"] == ARN
    every = (await call(world, "ListFunctions", FunctionVersion="ALL"))["Functions"]
    assert [f["FunctionArn"] for f in every] == [f"{ARN}:$LATEST", f"{ARN}:1"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({}, {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"}),
        ({"LogGroup": "/mine"}, {"LogFormat": "Text", "LogGroup": "/mine"}),
        (
            {"LogFormat": "JSON", "SystemLogLevel": "WARN"},
            {
                "LogFormat": "JSON",
                "ApplicationLogLevel": "INFO",
                "SystemLogLevel": "WARN",
                "LogGroup": "/aws/lambda/f",
            },
        ),
    ],
)
async def test_log_settings_are_filled_up(world, given, shown):
    await create_function(world, LoggingConfig=given)
    assert (await config(world))["LoggingConfig"] == shown
    await call(world, "UpdateFunctionConfiguration", LoggingConfig={"LogFormat": "Text"})
    await world.settle()
    assert (await config(world))["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": shown["LogGroup"]}


async def test_a_network_is_taken_and_described(world):
    subnets = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    created = await create_function(world, VpcConfig=subnets)
    network = created["VpcConfig"]
    assert network == subnets | {"VpcId": network["VpcId"], "Ipv6AllowedForDualStack": False}
    assert network["VpcId"].startswith("vpc-")
    empty = {"SubnetIds": [], "SecurityGroupIds": []}
    cleared = await call(world, "UpdateFunctionConfiguration", VpcConfig=empty)
    assert cleared["VpcConfig"] == empty | {"VpcId": "", "Ipv6AllowedForDualStack": False}


async def test_deleting_a_version_that_is_not_there_is_no_error(world):
    await create_function(world, Publish=True)
    assert await call(world, "DeleteFunction", Qualifier="9") == {"StatusCode": 204}
    assert await call(world, "DeleteFunction", Qualifier="1") == {"StatusCode": 204}
    assert [v["Version"] for v in (await call(world, "ListVersionsByFunction"))["Versions"]] == ["$LATEST"]


async def test_an_alias_takes_its_url_and_its_policy_along(world):
    await create_function(world, Publish=True)
    await call(world, "CreateAlias", Name="live", FunctionVersion="1")
    await call(world, "CreateFunctionUrlConfig", Qualifier="live", AuthType="NONE")
    await call(world, "AddPermission", Qualifier="live", StatementId="s", Action="lambda:*", Principal="*")
    await call(world, "DeleteAlias", Name="live")
    assert (await call(world, "ListFunctionUrlConfigs"))["FunctionUrlConfigs"] == []
    await call(world, "CreateAlias", Name="live", FunctionVersion="1")
    with pytest.raises(ServiceError, match="The resource you requested does not exist"):
        await call(world, "GetPolicy", Qualifier="live")


async def test_every_list_gives_pages(world):
    await create_function(world, Publish=True)
    for name in ("a", "b", "c"):
        await call(world, "CreateAlias", Name=name, FunctionVersion="1")
        await call(world, "CreateFunctionUrlConfig", Qualifier=name, AuthType="NONE")
        await call(world, "PutFunctionEventInvokeConfig", Qualifier=name, MaximumRetryAttempts=0)
        content = {"ZipFile": zipped(name, "python/thing.py")}
        await call(world, "PublishLayerVersion", LayerName=name, Content=content)
    for operation, member, count in (
        ("ListAliases", "Aliases", 3),
        ("ListFunctionUrlConfigs", "FunctionUrlConfigs", 3),
        ("ListFunctionEventInvokeConfigs", "FunctionEventInvokeConfigs", 3),
        ("ListLayers", "Layers", 3),
        ("ListVersionsByFunction", "Versions", 2),
    ):
        assert await paged(world, operation, member) == count
    with pytest.raises(ServiceError, match="Invalid value for pagination marker"):
        await call(world, "ListAliases", Marker="nonsense")


async def paged(world, operation, member):
    """How many different ones pages of one give; the last page has no marker."""
    seen, marker = [], {}
    while True:
        page = await call(world, operation, MaxItems=1, **marker)
        assert len(page[member]) == 1
        seen.append(repr(page[member][0]))
        if "NextMarker" not in page:
            return len(set(seen))
        marker = {"Marker": page["NextMarker"]}


async def test_tags_are_of_code_signing_configurations_and_mappings_too(world):
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/abcdefghij"]}
    made = await call(world, "CreateCodeSigningConfig", AllowedPublishers=publishers, Tags={"a": "1"})
    await world.call("sqs", "CreateQueue", QueueName="q")
    await create_function(world)
    mapping = await call(world, "CreateEventSourceMapping", EventSourceArn=QUEUE, Tags={"a": "1"})
    mapping_arn = f"arn:aws:lambda:us-east-1:000000000000:event-source-mapping:{mapping['UUID']}"
    for arn in (made["CodeSigningConfig"]["CodeSigningConfigArn"], mapping_arn):
        await call(world, "TagResource", Resource=arn, Tags={"b": "2"})
        await call(world, "UntagResource", Resource=arn, TagKeys=["a"])
        assert await call(world, "ListTags", Resource=arn) == {"Tags": {"b": "2"}}


async def test_both_versions_of_an_alias_have_one_role(world):
    await create_function(world, Publish=True)
    await call(world, "UpdateFunctionConfiguration", Role="arn:aws:iam::000000000000:role/other")
    await world.settle()
    await call(world, "PublishVersion")
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    with pytest.raises(ServiceError, match="must have the same execution role"):
        await call(world, "CreateAlias", Name="a", FunctionVersion="1", RoutingConfig=routing)


async def test_functions_of_another_master_region_are_none(world):
    await create_function(world)
    for region, count in (("us-east-1", 1), ("ALL", 1), ("eu-west-1", 0)):
        found = await call(world, "ListFunctions", MasterRegion=region, FunctionVersion="ALL")
        assert len(found["Functions"]) == count
