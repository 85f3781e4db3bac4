import pytest

from penstock.kernel.errors import ServiceError

from .conftest import item, plain, typed


def put(**values):
    return {"Put": {"TableName": "table", "Item": item(**values)}}


async def test_all_is_written_or_nothing_is(dynamo):
    await dynamo.table()
    await dynamo.put(p="a", s=1, v=1)
    check = {"TableName": "table", "Key": item(p="a", s=1), "ExpressionAttributeValues": {":v": typed(2)}}
    check |= {"ConditionExpression": "v = :v", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    with pytest.raises(ServiceError) as caught:
        await dynamo.call("TransactWriteItems", TransactItems=[put(p="a", s=2), {"ConditionCheck": check}])
    assert caught.value.code == "TransactionCanceledException"
    assert caught.value.message == (
        "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]"
    )
    first, second = caught.value.fields["CancellationReasons"]
    assert first == {"Code": "None"}
    assert (second["Message"], plain(second["Item"])) == (
        "The conditional request failed",
        {"p": "a", "s": 1, "v": 1},
    )
    assert await dynamo.get(p="a", s=2) is None
    check["ExpressionAttributeValues"] = {":v": typed(1)}
    update = {"TableName": "table", "Key": item(p="a", s=3), "UpdateExpression": "SET v = :v"}
    update["ExpressionAttributeValues"] = {":v": typed(7)}
    answer = await dynamo.call(
        "TransactWriteItems",
        TransactItems=[put(p="a", s=2), {"ConditionCheck": check}, {"Update": update}],
        ReturnConsumedCapacity="TOTAL",
    )
    assert answer["ConsumedCapacity"] == [{"TableName": "table", "CapacityUnits": 6.0, "WriteCapacityUnits": 6.0}]
    assert await dynamo.get(p="a", s=3) == {"p": "a", "s": 3, "v": 7}
    got = await dynamo.call(
        "TransactGetItems",
        TransactItems=[{"Get": {"TableName": "table", "Key": item(p="a", s=n)}} for n in (2, 9)],
    )
    assert got["Responses"] == [{"Item": item(p="a", s=2)}, {}]


async def test_a_token_makes_a_transaction_happen_once(dynamo):
    await dynamo.table()
    update = {"TableName": "table", "Key": item(p="a", s=1), "UpdateExpression": "ADD v :v"}
    members = {"TransactItems": [{"Update": update | {"ExpressionAttributeValues": {":v": typed(1)}}}]}
    for _ in range(3):
        await dynamo.call("TransactWriteItems", **members, ClientRequestToken="t")
    assert (await dynamo.get(p="a", s=1))["v"] == 1
    code, _ = await dynamo.refused("TransactWriteItems", TransactItems=[put(p="a", s=1)], ClientRequestToken="t")
    assert code == "IdempotentParameterMismatchException"
    await dynamo.world.advance(601)
    await dynamo.call("TransactWriteItems", **members, ClientRequestToken="t")
    assert (await dynamo.get(p="a", s=1))["v"] == 2


async def test_a_repeated_transaction_costs_reads(dynamo):
    await dynamo.table()
    members = {"TransactItems": [put(p="a", s=1, t="x" * 1500)], "ClientRequestToken": "t"}
    first = await dynamo.call("TransactWriteItems", **members, ReturnConsumedCapacity="TOTAL")
    again = await dynamo.call("TransactWriteItems", **members, ReturnConsumedCapacity="TOTAL")
    assert first["ConsumedCapacity"] == [{"TableName": "table", "CapacityUnits": 4.0, "WriteCapacityUnits": 4.0}]
    assert again["ConsumedCapacity"] == [{"TableName": "table", "CapacityUnits": 2.0, "ReadCapacityUnits": 2.0}]


async def test_names_and_values_that_nothing_uses_are_no_error_here(dynamo):
    await dynamo.table()
    unused = {"ExpressionAttributeNames": {"#a": "a"}, "ExpressionAttributeValues": {":a": typed(1)}}
    one = {"Put": {**put(p="a", s=1)["Put"], **unused}}
    await dynamo.call("TransactWriteItems", TransactItems=[one])
    assert await dynamo.get(p="a", s=1) is not None


async def test_a_projection_that_finds_nothing_gives_no_item(dynamo):
    await dynamo.table()
    await dynamo.put(p="a", s=1, v=1)
    get = {"TableName": "table", "Key": item(p="a", s=1), "ProjectionExpression": "nothing"}
    assert (await dynamo.call("TransactGetItems", TransactItems=[{"Get": get}]))["Responses"] == [{}]
    code, text = await dynamo.refused("TransactGetItems", TransactItems=[{"Get": {**get, "Key": item(p="a")}}])
    assert (code, text[-17:]) == ("TransactionCanceledException", "[ValidationError]")


@pytest.mark.parametrize(
    ("items", "code", "text"),
    [
        (
            [put(p="b", s=1), put(p="", s=1)],
            "ValidationException",
            "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
            "empty string value. Key: p",
        ),
        (
            [put(p="b", s=1), put(p="x" * 3000, s=1), put(p=1, s=1)],
            "TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ValidationError, "
            "ValidationError]",
        ),
        (
            [put(p="a", s=1), put(p="a", s=1)],
            "ValidationException",
            "Transaction request cannot include multiple operations on one item",
        ),
        ([{}], "ValidationException", "TransactItems can only contain one of Check, Put, Update or Delete"),
        (
            [put(p="a", s=1), put(p="a")],
            "TransactionCanceledException",
            "Transaction cancelled, please refer cancellation reasons for specific reasons [None, ValidationError]",
        ),
        (
            [{"Put": {"TableName": "none", "Item": item(p="a")}}],
            "ResourceNotFoundException",
            "Requested resource not found",
        ),
    ],
)
async def test_transactions_that_are_refused(dynamo, items, code, text):
    await dynamo.table()
    assert await dynamo.refused("TransactWriteItems", TransactItems=items) == (code, text)
