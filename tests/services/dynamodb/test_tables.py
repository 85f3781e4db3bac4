import pytest

from penstock.services.dynamodb import state

from .conftest import item, typed

UNITS = {"ReadCapacityUnits": 5, "WriteCapacityUnits": 5}
BY_G = {
    "IndexName": "by-g",
    "KeySchema": [{"AttributeName": "g", "KeyType": "HASH"}],
    "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["v"]},
}
G = [{"AttributeName": "g", "AttributeType": "S"}]


async def described(dynamo, name="table"):
    return (await dynamo.call("DescribeTable", TableName=name))["Table"]


async def test_a_table_is_said_to_be_made_and_then_is_there(dynamo):
    made = await dynamo.table(gsi=[("by-g", "gs", "KEYS_ONLY")], lsi=[("by-n", "pn")])
    assert (made["TableStatus"], made["GlobalSecondaryIndexes"][0]["IndexStatus"]) == ("CREATING", "CREATING")
    table = await described(dynamo)
    assert (table["TableStatus"], table["ItemCount"], table["TableSizeBytes"]) == ("ACTIVE", 0, 0)
    assert table["TableArn"] == "arn:aws:dynamodb:us-east-1:000000000000:table/table"
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["GlobalSecondaryIndexes"][0]["IndexArn"].endswith("table/table/index/by-g")
    assert table["GlobalSecondaryIndexes"][0]["Projection"] == {"ProjectionType": "KEYS_ONLY"}
    assert table["KeySchema"] == [
        {"AttributeName": "p", "KeyType": "HASH"},
        {"AttributeName": "s", "KeyType": "RANGE"},
    ]
    assert "IndexStatus" not in table["LocalSecondaryIndexes"][0]


async def test_tables_are_listed_in_pages(dynamo):
    for name in ("one", "two", "three", "four", "five"):
        await dynamo.table(name)
    first = await dynamo.call("ListTables", Limit=2)
    assert first == {"TableNames": ["five", "four"], "LastEvaluatedTableName": "four"}
    rest = await dynamo.call("ListTables", ExclusiveStartTableName="four")
    assert rest == {"TableNames": ["one", "three", "two"]}


async def test_a_deleted_table_leaves_nothing(dynamo):
    await dynamo.table(gsi=[("by-g", "g")])
    await dynamo.call(
        "UpdateTimeToLive", TableName="table", TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
    )
    for n in range(30):
        await dynamo.put(p="a", s=n, g="x", ttl=dynamo.world.clock.now_ms() // 1000 + 1000)
    gone = await dynamo.call("DeleteTable", TableName="table")
    assert gone["TableDescription"]["TableStatus"] == "DELETING"
    await dynamo.world.settle()
    left = await dynamo.world.platform.store.read(
        lambda tx: [pair for prefix in (state.ITEMS, state.ENTRIES, state.EXPIRIES) for pair in tx.range(prefix)]
    )
    assert left == []
    await dynamo.table()
    assert (await dynamo.call("Scan", TableName="table"))["Count"] == 0


async def test_a_protected_table_cannot_be_deleted(dynamo):
    await dynamo.table(DeletionProtectionEnabled=True)
    text = await dynamo.invalid("DeleteTable", TableName="table")
    assert "protected against deletion" in text
    await dynamo.call("UpdateTable", TableName="table", DeletionProtectionEnabled=False)
    await dynamo.call("DeleteTable", TableName="table")


async def test_an_index_is_filled_with_what_was_there_before_it(dynamo):
    await dynamo.table()
    for n in range(1200):
        await dynamo.put(p=str(n % 7), s=n, v=n, w=n, **({"g": "even"} if n % 2 == 0 else {}))
    await dynamo.call("PutItem", TableName="table", Item=item(p="x", s=1, g=5))
    answer = await dynamo.call(
        "UpdateTable", TableName="table", AttributeDefinitions=G, GlobalSecondaryIndexUpdates=[{"Create": BY_G}]
    )
    assert answer["TableDescription"]["GlobalSecondaryIndexes"][0]["IndexStatus"] == "CREATING"
    assert (await described(dynamo))["GlobalSecondaryIndexes"][0]["Backfilling"] is True
    query = {"TableName": "table", "IndexName": "by-g", "KeyConditionExpression": "g = :g", "Select": "COUNT"}
    query["ExpressionAttributeValues"] = {":g": typed("even")}
    assert "backfilling" in await dynamo.invalid("Query", **query)
    await dynamo.put(p="0", s=0, v=1, g="odd")
    await dynamo.put(p="new", s=1, v=1, g="even")
    await dynamo.world.settle()
    assert (await dynamo.call("Query", **query))["Count"] == 600
    index = (await described(dynamo))["GlobalSecondaryIndexes"][0]
    assert (index["IndexStatus"], index["ItemCount"]) == ("ACTIVE", 601)
    found = await dynamo.query("g = :g", {"g": "odd"}, IndexName="by-g")
    assert found == [{"p": "0", "s": 0, "g": "odd", "v": 1}]
    await dynamo.call("UpdateTable", TableName="table", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "by-g"}}])
    table = await described(dynamo)
    assert "GlobalSecondaryIndexes" not in table
    assert [one["AttributeName"] for one in table["AttributeDefinitions"]] == ["p", "s"]
    await dynamo.put(p="x", s=2, g=5)


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({}, "ValidationException"),
        ({"GlobalSecondaryIndexUpdates": [{"Create": BY_G}]}, "ValidationException"),
        (
            {
                "AttributeDefinitions": [*G, {"AttributeName": "unused", "AttributeType": "S"}],
                "GlobalSecondaryIndexUpdates": [{"Create": BY_G}],
            },
            "ValidationException",
        ),
        ({"GlobalSecondaryIndexUpdates": [{"Delete": {"IndexName": "none"}}]}, "ResourceNotFoundException"),
        ({"GlobalSecondaryIndexUpdates": []}, "ValidationException"),
        ({"GlobalSecondaryIndexUpdates": [{}]}, "ValidationException"),
        (
            {
                "AttributeDefinitions": G,
                "GlobalSecondaryIndexUpdates": [{"Create": BY_G}, {"Create": {**BY_G, "IndexName": "two"}}],
            },
            "LimitExceededException",
        ),
        ({"ProvisionedThroughput": UNITS}, "ValidationException"),
        ({"StreamSpecification": {"StreamEnabled": False}}, "ValidationException"),
        ({"TableName": "none", "DeletionProtectionEnabled": True}, "ResourceNotFoundException"),
    ],
)
async def test_updates_of_tables_that_are_refused(dynamo, members, code):
    await dynamo.table()
    assert (await dynamo.refused("UpdateTable", **{"TableName": "table", **members}))[0] == code


async def test_capacity_changes_between_modes(dynamo):
    await dynamo.table(ProvisionedThroughput=UNITS)
    table = await described(dynamo)
    assert ("BillingModeSummary" in table, table["ProvisionedThroughput"]["ReadCapacityUnits"]) == (False, 5)
    text = await dynamo.invalid("UpdateTable", TableName="table", ProvisionedThroughput=UNITS)
    assert text.startswith("The provisioned throughput for the table will not change.")
    less = UNITS | {"ReadCapacityUnits": 2}
    await dynamo.call("UpdateTable", TableName="table", ProvisionedThroughput=less)
    provisioned = (await described(dynamo))["ProvisionedThroughput"]
    assert (provisioned["ReadCapacityUnits"], provisioned["NumberOfDecreasesToday"]) == (2, 1)
    await dynamo.call("UpdateTable", TableName="table", BillingMode="PAY_PER_REQUEST")
    table = await described(dynamo)
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["ProvisionedThroughput"]["ReadCapacityUnits"] == 0


async def test_tags(dynamo):
    made = await dynamo.table(Tags=[{"Key": "a", "Value": "1"}])
    arn = made["TableArn"]
    await dynamo.call("TagResource", ResourceArn=arn, Tags=[{"Key": "b", "Value": "2"}])
    await dynamo.call("UntagResource", ResourceArn=arn, TagKeys=["a", "none"])
    assert (await dynamo.call("ListTagsOfResource", ResourceArn=arn))["Tags"] == [{"Key": "b", "Value": "2"}]
    assert (await dynamo.refused("ListTagsOfResource", ResourceArn=arn + "s"))[0] == "ResourceNotFoundException"
    for wrong, code in {
        "table": "ValidationException",
        "arn:aws:s3:::bucket": "AccessDeniedException",
        arn.replace("000000000000", "111111111111"): "AccessDeniedException",
        arn.replace("us-east-1", "eu-west-1"): "ValidationException",
        arn.replace(":table/", ":other/"): "ValidationException",
    }.items():
        assert (await dynamo.refused("ListTagsOfResource", ResourceArn=wrong))[0] == code
    await dynamo.invalid("TagResource", ResourceArn=arn, Tags=[])
    await dynamo.invalid("TagResource", ResourceArn=arn, Tags=[{"Key": str(n), "Value": ""} for n in range(50)])


async def test_time_to_live_is_switched_on_and_off(dynamo):
    await dynamo.table()
    now_s = dynamo.world.clock.now_ms() // 1000
    for s, ttl in enumerate((now_s - 10, now_s + 30, now_s - 6 * 365 * 86400, 0, -5, now_s + 10**9)):
        await dynamo.put(p="a", s=s, ttl=ttl)
    await dynamo.put(p="a", s=10, ttl=str(now_s - 10))
    assert await dynamo.call("DescribeTimeToLive", TableName="table") == {
        "TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}
    }
    on = {"Enabled": True, "AttributeName": "ttl"}
    assert await dynamo.call("UpdateTimeToLive", TableName="table", TimeToLiveSpecification=on) == {
        "TimeToLiveSpecification": on
    }
    await dynamo.world.settle()
    await dynamo.world.advance(5)
    left = sorted(int(one["s"]["N"]) for one in (await dynamo.call("Scan", TableName="table"))["Items"])
    assert left == [1, 2, 3, 4, 5, 10]
    text = await dynamo.invalid("UpdateTimeToLive", TableName="table", TimeToLiveSpecification=on)
    assert text == "TimeToLive is already enabled"
    other = {"Enabled": False, "AttributeName": "other"}
    text = await dynamo.invalid("UpdateTimeToLive", TableName="table", TimeToLiveSpecification=other)
    assert text == "TimeToLive is active on a different AttributeName: current AttributeName is ttl"
    await dynamo.update("SET x = :x, #t = :t", {"x": 1, "t": now_s + 500}, ExpressionAttributeNames={"#t": "ttl"})
    await dynamo.world.advance(60)
    assert await dynamo.get(p="a", s=1) is not None
    await dynamo.call("UpdateTimeToLive", TableName="table", TimeToLiveSpecification={**on, "Enabled": False})
    await dynamo.world.advance(1000)
    assert await dynamo.get(p="a", s=1) is not None


async def test_the_small_answers(dynamo):
    endpoints = (await dynamo.call("DescribeEndpoints"))["Endpoints"]
    assert endpoints == [{"Address": "localhost:4566", "CachePeriodInMinutes": 1440}]
    assert (await dynamo.call("DescribeLimits"))["TableMaxReadCapacityUnits"] == 40_000


async def test_an_index_may_have_several_attributes_in_its_key(dynamo):
    keys = [("g", "HASH"), ("h", "HASH"), ("n", "RANGE"), ("s", "RANGE")]
    schema = [{"AttributeName": name, "KeyType": kind} for name, kind in keys]
    await dynamo.table(
        gsi=[("wide", "g")],
    )
    await dynamo.call("UpdateTable", TableName="table", GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "wide"}}])
    wide = {"IndexName": "wide", "KeySchema": schema, "Projection": {"ProjectionType": "ALL"}}
    types = [
        {"AttributeName": name, "AttributeType": kind}
        for name, kind in (("g", "S"), ("h", "S"), ("n", "N"), ("s", "N"))
    ]
    await dynamo.call(
        "UpdateTable", TableName="table", AttributeDefinitions=types, GlobalSecondaryIndexUpdates=[{"Create": wide}]
    )
    for s in range(6):
        await dynamo.put(p="a", s=s, g="x", h="y", n=s // 3)
    found = await dynamo.query(
        "g = :g AND h = :h AND n = :n AND s > :s", {"g": "x", "h": "y", "n": 1, "s": 3}, IndexName="wide"
    )
    assert [one["s"] for one in found] == [4, 5]
    found = await dynamo.query("g = :g AND h = :h", {"g": "x", "h": "y"}, IndexName="wide")
    assert [one["s"] for one in found] == list(range(6))


async def test_time_to_live_that_is_switched_off_and_on_again_still_works(dynamo):
    await dynamo.table()
    now_s = dynamo.world.clock.now_ms() // 1000
    for s in range(20):
        await dynamo.put(p="a", s=s, ttl=now_s + 60)
    specification = {"AttributeName": "ttl"}
    for is_on in (True, False, True):
        await dynamo.call(
            "UpdateTimeToLive", TableName="table", TimeToLiveSpecification={**specification, "Enabled": is_on}
        )
    await dynamo.world.advance(120)
    assert (await dynamo.call("Scan", TableName="table"))["Count"] == 0
