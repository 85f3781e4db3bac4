"""Properties: indexes, counts and streams follow the items, and queries are what a sorted list would answer."""

import asyncio
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Dynamo, item, plain, typed

KEYS = st.tuples(st.sampled_from("ab"), st.integers(0, 3))
WRITES = st.one_of(
    st.tuples(st.just("put"), KEYS, st.sampled_from([None, "x", "y"]), st.integers(0, 2)),
    st.tuples(st.just("delete"), KEYS, st.none(), st.none()),
    st.tuples(st.just("update"), KEYS, st.sampled_from([None, "x", "y"]), st.integers(0, 2)),
    st.tuples(st.just("transact"), KEYS, st.sampled_from(["x", "y"]), st.integers(0, 2)),
)


async def carry_out(dynamo, write, items):
    """One write, on the table and on the dict that says what it should be."""
    kind, (p, s), g, n = write
    key = {"TableName": "table", "Key": item(p=p, s=s)}
    if kind == "put":
        values = {"p": p, "s": s, "n": n, **({"g": g} if g else {})}
        await dynamo.put(**values)
        items[p, s] = values
    elif kind == "delete":
        await dynamo.call("DeleteItem", **key)
        items.pop((p, s), None)
    elif kind == "update":
        values = {":n": typed(n)} | ({":g": typed(g)} if g else {})
        expression = "SET n = :n" + (", g = :g" if g else " REMOVE g")
        await dynamo.call("UpdateItem", **key, UpdateExpression=expression, ExpressionAttributeValues=values)
        known = items.setdefault((p, s), {"p": p, "s": s})
        known["n"] = n
        known.pop("g", None)
        known |= {"g": g} if g else {}
    else:
        other = {"p": "c", "s": s, "g": g, "n": n}
        put = {"Put": {"TableName": "table", "Item": item(**other)}}
        await dynamo.call("TransactWriteItems", TransactItems=[put, {"Delete": key}])
        items["c", s] = other
        items.pop((p, s), None)


def images(record):
    change = record["dynamodb"]
    key = plain(change["Keys"])
    new = plain(change["NewImage"]) if "NewImage" in change else None
    old = plain(change["OldImage"]) if "OldImage" in change else None
    return (key["p"], key["s"]), old, new


async def check(dynamo, items):
    scanned = [plain(one) for one in (await dynamo.call("Scan", TableName="table"))["Items"]]
    assert {(one["p"], one["s"]): one for one in scanned} == items
    indexed = [plain(one) for one in (await dynamo.call("Scan", TableName="table", IndexName="by-g"))["Items"]]
    assert {(one["p"], one["s"]): one for one in indexed} == {key: one for key, one in items.items() if "g" in one}
    local = [plain(one) for one in (await dynamo.call("Scan", TableName="table", IndexName="by-n"))["Items"]]
    assert sorted((one["p"], one["n"], one["s"]) for one in local) == sorted(
        (one["p"], one["n"], one["s"]) for one in items.values()
    )
    table = (await dynamo.call("DescribeTable", TableName="table"))["Table"]
    assert (table["ItemCount"], table["GlobalSecondaryIndexes"][0]["ItemCount"]) == (len(items), len(indexed))
    replayed = {}
    for record in await dynamo.stream_records():
        key, old, new = images(record)
        assert old == replayed.get(key)
        assert old != new
        if new is None:
            del replayed[key]
        else:
            replayed[key] = new
    assert replayed == items


@settings(max_examples=40, deadline=None)
@given(st.lists(WRITES, max_size=25))
def test_indexes_counts_and_streams_follow_the_items(writes):
    async def run():
        dynamo = Dynamo()
        await dynamo.table(
            gsi=[("by-g", "gn")],
            lsi=[("by-n", "pn", "KEYS_ONLY")],
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        items = {}
        for write in writes:
            await carry_out(dynamo, write, items)
        await check(dynamo, items)

    asyncio.run(run())


NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
TESTS = {
    "=": lambda s, low, high: s == low,
    "<": lambda s, low, high: s < low,
    "<=": lambda s, low, high: s <= low,
    ">": lambda s, low, high: s > low,
    ">=": lambda s, low, high: s >= low,
    "BETWEEN": lambda s, low, high: low <= s <= high,
}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NUMBERS, max_size=12, unique_by=lambda number: number.normalize()),
    st.sampled_from(sorted(TESTS)),
    NUMBERS,
    NUMBERS,
    st.booleans(),
    st.integers(1, 4),
)
def test_a_query_is_what_a_sorted_list_would_answer(numbers, operator, low, high, is_forward, limit):
    low, high = sorted((low, high))

    async def run():
        dynamo = Dynamo()
        await dynamo.table()
        for number in numbers:
            await dynamo.put(p="a", s={"N": str(number)})
            await dynamo.put(p="b", s={"N": str(number)})
        values = {":p": typed("a"), ":x": {"N": str(low)}} | ({":y": {"N": str(high)}} if operator == "BETWEEN" else {})
        condition = "s BETWEEN :x AND :y" if operator == "BETWEEN" else f"s {operator} :x"
        found, start = [], {}
        while True:
            page = await dynamo.call(
                "Query",
                TableName="table",
                KeyConditionExpression=f"p = :p AND {condition}",
                ExpressionAttributeValues=values,
                ScanIndexForward=is_forward,
                Limit=limit,
                **start,
            )
            found += [Decimal(one["s"]["N"]) for one in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
        wanted = sorted(number for number in numbers if TESTS[operator](number, low, high))
        assert found == (wanted if is_forward else wanted[::-1])

    asyncio.run(run())
