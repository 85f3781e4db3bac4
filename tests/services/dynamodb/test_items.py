import pytest

from .conftest import item, plain, typed


async def test_an_item_is_put_got_and_deleted(dynamo):
    await dynamo.table()
    values = {"p": "a", "s": 1, "t": "x", "l": [1, "two", None, True], "m": {"k": {"n": 1}}, "b": b"\0\xff"}
    values |= {"ss": {"x", "y"}, "ns": {1, 2}}
    await dynamo.put(**values)
    assert await dynamo.get(p="a", s=1) == values
    assert await dynamo.get(p="a", s=2) is None
    gone = await dynamo.call("DeleteItem", TableName="table", Key=item(p="a", s=1), ReturnValues="ALL_OLD")
    assert plain(gone["Attributes"]) == values
    assert await dynamo.get(p="a", s=1) is None


async def test_a_put_returns_what_it_replaces(dynamo):
    await dynamo.table()
    first = await dynamo.call("PutItem", TableName="table", Item=item(p="a", s=1, v=1), ReturnValues="ALL_OLD")
    assert "Attributes" not in first
    second = await dynamo.call("PutItem", TableName="table", Item=item(p="a", s=1, v=2), ReturnValues="ALL_OLD")
    assert plain(second["Attributes"]) == {"p": "a", "s": 1, "v": 1}


async def test_a_condition_that_fails_shows_the_item_if_asked(dynamo):
    await dynamo.table()
    await dynamo.put(p="a", s=1, v=1)
    members = {"TableName": "table", "Item": item(p="a", s=1), "ConditionExpression": "attribute_not_exists(p)"}
    assert await dynamo.refused("PutItem", **members) == (
        "ConditionalCheckFailedException",
        "The conditional request failed",
    )
    with pytest.raises(Exception) as caught:
        await dynamo.call("PutItem", **members, ReturnValuesOnConditionCheckFailure="ALL_OLD")
    assert plain(caught.value.fields["Item"]) == {"p": "a", "s": 1, "v": 1}


@pytest.mark.parametrize(
    ("expression", "values", "after"),
    [
        pytest.param("SET v = :v", {"v": 5}, {"v": 5}, id="set"),
        pytest.param("SET v = v + :v, w = v - :v", {"v": 5}, {"v": 6, "w": -4}, id="reads what was there before"),
        pytest.param("SET x = if_not_exists(x, :v)", {"v": 5}, {"v": 1, "x": 5}, id="if_not_exists"),
        pytest.param("SET l = list_append(:l, :l)", {"l": [1]}, {"v": 1, "l": [1, 1]}, id="list_append"),
        pytest.param("ADD v :v, c :c", {"v": 2, "c": 7}, {"v": 3, "c": 7}, id="add"),
        pytest.param("REMOVE v", None, {}, id="remove"),
        pytest.param("SET w = v REMOVE v", None, {"w": 1}, id="set and remove"),
    ],
)
async def test_updates(dynamo, expression, values, after):
    await dynamo.table()
    await dynamo.put(p="a", s=1, v=1)
    answer = await dynamo.update(expression, values, ReturnValues="ALL_NEW")
    assert plain(answer["Attributes"]) == {"p": "a", "s": 1, **after}
    assert await dynamo.get(p="a", s=1) == {"p": "a", "s": 1, **after}


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("NONE", None),
        ("ALL_OLD", {"p": "a", "s": 1, "v": 1, "m": {"x": 1, "y": 2}}),
        ("UPDATED_OLD", {"v": 1, "m": {"x": 1}}),
        ("ALL_NEW", {"p": "a", "s": 1, "v": 2, "m": {"x": 3, "y": 2}, "w": 4}),
        ("UPDATED_NEW", {"v": 2, "m": {"x": 3}, "w": 4}),
    ],
)
async def test_an_update_returns_what_was_asked_for(dynamo, how, expected):
    await dynamo.table()
    await dynamo.put(p="a", s=1, v=1, m={"x": 1, "y": 2})
    answer = await dynamo.update("SET v = :v, m.x = :x, w = :w", {"v": 2, "x": 3, "w": 4}, ReturnValues=how)
    assert (plain(answer["Attributes"]) if "Attributes" in answer else None) == expected


async def test_paths_that_an_update_touched_are_read_from_the_item_after_it(dynamo):
    await dynamo.table()
    await dynamo.put(p="a", s=1, v=1, l=[1, 2])
    answer = await dynamo.update("SET w = :w, l[7] = :w REMOVE l[0], v", {"w": 5}, ReturnValues="UPDATED_NEW")
    assert plain(answer["Attributes"]) == {"w": 5, "l": [2]}
    assert "Attributes" not in await dynamo.update("REMOVE w", ReturnValues="UPDATED_NEW")


async def test_the_size_of_a_string_counts_as_java_does(dynamo):
    await dynamo.table()
    await dynamo.put(p="a", s=1, t="a\u00e9\U0001f600")
    condition = {"ConditionExpression": "size(t) = :n", "ExpressionAttributeValues": {":n": typed(4)}}
    await dynamo.call("DeleteItem", TableName="table", Key=item(p="a", s=1), **condition)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        pytest.param(
            {"p": "a"},
            "One or more parameter values were invalid: Missing the key s in the item",
            id="missing key",
        ),
        pytest.param(
            {"p": 1, "s": 1},
            "One or more parameter values were invalid: Type mismatch for key p expected: S actual: N",
            id="key of another type",
        ),
        pytest.param(
            {"p": "", "s": 1},
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            "empty string value. Key: p",
            id="empty key",
        ),
        pytest.param(
            {"p": "a", "s": 1, "x": "y" * 409_600}, "Item size has exceeded the maximum allowed size", id="big"
        ),
        pytest.param(
            {"p": "a" * 2049, "s": 1},
            "One or more parameter values were invalid: Size of hashkey has exceeded the maximum size limit of2048 "
            "bytes",
            id="long partition key",
        ),
    ],
)
async def test_items_that_cannot_be_put(dynamo, values, text):
    await dynamo.table()
    assert await dynamo.invalid("PutItem", TableName="table", Item=item(**values)) == text


async def test_a_key_must_be_the_whole_key(dynamo):
    await dynamo.table()
    for key in ({"p": "a"}, {"p": "a", "s": "x"}, {"p": "a", "s": 1, "x": 1}):
        text = await dynamo.invalid("GetItem", TableName="table", Key=item(**key))
        assert text == "The provided key element does not match the schema"


async def test_unused_and_undefined_placeholders_are_refused(dynamo):
    await dynamo.table()
    key = {"TableName": "table", "Key": item(p="a", s=1)}
    assert (
        await dynamo.invalid(
            "UpdateItem",
            **key,
            UpdateExpression="SET v = :v",
            ExpressionAttributeValues={":v": typed(1), ":w": typed(1)},
        )
        == "Value provided in ExpressionAttributeValues unused in expressions: keys: {:w}"
    )
    assert await dynamo.invalid("GetItem", **key, ProjectionExpression="#a") == (
        "Invalid ProjectionExpression: An expression attribute name used in the document path is not defined; "
        "attribute name: #a"
    )


async def test_capacity_is_counted_as_on_aws(dynamo):
    await dynamo.table(gsi=[("by-g", "g")], lsi=[("by-n", "pn")])
    put = await dynamo.call(
        "PutItem", TableName="table", Item=item(p="a", s=1, g="x", n=1, t="y" * 1500), ReturnConsumedCapacity="INDEXES"
    )
    assert put["ConsumedCapacity"] == {
        "TableName": "table",
        "CapacityUnits": 6.0,
        "Table": {"CapacityUnits": 2.0},
        "LocalSecondaryIndexes": {"by-n": {"CapacityUnits": 2.0}},
        "GlobalSecondaryIndexes": {"by-g": {"CapacityUnits": 2.0}},
    }
    got = await dynamo.call("GetItem", TableName="table", Key=item(p="a", s=1), ReturnConsumedCapacity="TOTAL")
    assert got["ConsumedCapacity"] == {"TableName": "table", "CapacityUnits": 0.5}


async def test_a_batch_is_written_and_read(dynamo):
    await dynamo.table()
    puts = [{"PutRequest": {"Item": item(p="a", s=n)}} for n in range(25)]
    answer = await dynamo.call("BatchWriteItem", RequestItems={"table": puts}, ReturnConsumedCapacity="TOTAL")
    assert answer["UnprocessedItems"] == {}
    assert answer["ConsumedCapacity"] == [{"TableName": "table", "CapacityUnits": 25.0}]
    keys = [item(p="a", s=n) for n in range(30)]
    got = await dynamo.call("BatchGetItem", RequestItems={"table": {"Keys": keys, "ProjectionExpression": "s"}})
    assert sorted(plain(one)["s"] for one in got["Responses"]["table"]) == list(range(25))
    text = await dynamo.invalid("BatchGetItem", RequestItems={"table": {"Keys": [keys[0], keys[0]]}})
    assert text == "Provided list of item keys contains duplicates"
    text = await dynamo.invalid("BatchWriteItem", RequestItems={"table": [puts[0], puts[1], puts[0]]})
    assert text == "Provided list of item keys contains duplicates"
    many = [item(p="b", s=n, t="x" * 390_000) for n in range(50)]
    for one in many:
        await dynamo.call("PutItem", TableName="table", Item=one)
    keys = [{"p": one["p"], "s": one["s"]} for one in many]
    got = await dynamo.call("BatchGetItem", RequestItems={"table": {"Keys": keys}})
    left = got["UnprocessedKeys"]["table"]["Keys"]
    assert len(got["Responses"]["table"]) + len(left) == 50
    assert len(left) == 6


async def test_provisioned_units_are_held_to_where_limits_are_those_of_aws(dynamo):
    await dynamo.table(ProvisionedThroughput={"ReadCapacityUnits": 1, "WriteCapacityUnits": 1})
    dynamo.world.platform.limits = "aws"
    for n in range(300):
        await dynamo.put(p="a", s=n)
    code, _ = await dynamo.refused("PutItem", TableName="table", Item=item(p="a", s=1))
    assert code == "ProvisionedThroughputExceededException"
    puts = [{"PutRequest": {"Item": item(p="a", s=1)}}]
    await dynamo.table("other")
    answer = await dynamo.call("BatchWriteItem", RequestItems={"table": puts, "other": puts})
    assert answer["UnprocessedItems"] == {"table": puts}
    assert await dynamo.get(p="a", s=299) is not None
    await dynamo.world.advance(2)
    await dynamo.put(p="a", s=1)


async def test_the_most_on_demand_is_held_to_where_limits_are_those_of_aws(dynamo):
    await dynamo.table(OnDemandThroughput={"MaxReadRequestUnits": -1, "MaxWriteRequestUnits": 1})
    dynamo.world.platform.limits = "aws"
    for n in range(300):
        await dynamo.put(p="a", s=n)
    code, _ = await dynamo.refused("PutItem", TableName="table", Item=item(p="a", s=1))
    assert code == "ThrottlingException"
    assert await dynamo.get(p="a", s=1) is not None
