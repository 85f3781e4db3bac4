import pytest

from .conftest import item, plain, typed


async def with_numbers(dynamo, **members):
    await dynamo.table(**members)
    for p in ("a", "b"):
        for s in (-10, -1, 0, 2, 11, 100):
            await dynamo.put(p=p, s=s, g="even" if s % 2 == 0 else "odd", v=s)


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("p = :p", {}, [-10, -1, 0, 2, 11, 100]),
        ("p = :p AND s = :x", {"x": 2}, [2]),
        ("p = :p AND s < :x", {"x": 0}, [-10, -1]),
        ("p = :p AND s <= :x", {"x": 0}, [-10, -1, 0]),
        ("p = :p AND s > :x", {"x": 2}, [11, 100]),
        ("p = :p AND s >= :x", {"x": 2}, [2, 11, 100]),
        ("p = :p AND :x < s", {"x": 2}, [11, 100]),
        ("p = :p AND s BETWEEN :x AND :y", {"x": -1, "y": 11}, [-1, 0, 2, 11]),
        ("(p = :p) AND (s BETWEEN :x AND :y)", {"x": 3, "y": 4}, []),
    ],
)
async def test_sort_key_conditions(dynamo, condition, values, expected):
    await with_numbers(dynamo)
    found = await dynamo.query(condition, {"p": "a", **values})
    assert [one["s"] for one in found] == expected
    backwards = await dynamo.query(condition, {"p": "a", **values}, ScanIndexForward=False)
    assert [one["s"] for one in backwards] == expected[::-1]


async def test_begins_with_ends_where_it_should(dynamo):
    await dynamo.table(keys="pg")
    for g in ("a", "ab", "aba", "abz", "ab\U0010ffff", "ac", "b", "\U0010ffff", "\U0010ffffx"):
        await dynamo.put(p="a", g=g)
    found = await dynamo.query("p = :p AND begins_with(g, :x)", {"p": "a", "x": "ab"})
    assert [one["g"] for one in found] == ["ab", "aba", "abz", "ab\U0010ffff"]
    found = await dynamo.query("p = :p AND begins_with(g, :x)", {"p": "a", "x": "\U0010ffff"})
    assert [one["g"] for one in found] == ["\U0010ffff", "\U0010ffffx"]


@pytest.mark.parametrize("is_forward", [True, False])
@pytest.mark.parametrize("index", [None, "by-g"])
async def test_pages_join_without_gap_or_repetition(dynamo, index, is_forward):
    await with_numbers(dynamo, gsi=[("by-g", "gn")])
    for n in range(7):
        await dynamo.put(p="a", s=n + 1000, g="even", n=n // 3)
    members = {"IndexName": index} if index else {}
    condition, values = ("g = :g", {":g": typed("even")}) if index else ("p = :g", {":g": typed("a")})
    seen, start = [], {}
    while True:
        answer = await dynamo.call(
            "Query", TableName="table", KeyConditionExpression=condition, ExpressionAttributeValues=values,
            Limit=2, ScanIndexForward=is_forward, **members, **start,
        )  # fmt: skip
        seen += [plain(one)["s"] for one in answer["Items"]]
        if "LastEvaluatedKey" not in answer:
            break
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    whole = await dynamo.call(
        "Query", TableName="table", KeyConditionExpression=condition, ExpressionAttributeValues=values,
        ScanIndexForward=is_forward, **members,
    )  # fmt: skip
    assert seen == [plain(one)["s"] for one in whole["Items"]]
    assert len(seen) == (7 if index else 13)


async def test_a_page_ends_after_a_megabyte(dynamo):
    await dynamo.table()
    for s in range(12):
        await dynamo.put(p="a", s=s, t="x" * 100_000)
    first = await dynamo.call("Scan", TableName="table")
    assert first["Count"] == 10
    second = await dynamo.call("Scan", TableName="table", ExclusiveStartKey=first["LastEvaluatedKey"])
    assert (second["Count"], "LastEvaluatedKey" in second) == (2, False)


async def test_segments_share_a_table(dynamo):
    await dynamo.table(keys="p")
    for n in range(100):
        await dynamo.put(p=str(n))
    seen = []
    for segment in range(4):
        page = await dynamo.call("Scan", TableName="table", Segment=segment, TotalSegments=4)
        assert 0 < page["Count"] < 60
        seen += [plain(one)["p"] for one in page["Items"]]
    assert sorted(seen, key=int) == [str(n) for n in range(100)]


async def test_a_filter_counts_what_it_has_seen(dynamo):
    await with_numbers(dynamo)
    answer = await dynamo.call(
        "Scan", TableName="table", FilterExpression="v > :v", ExpressionAttributeValues={":v": typed(50)}
    )
    assert (answer["Count"], answer["ScannedCount"]) == (2, 12)
    counted = await dynamo.call("Scan", TableName="table", Select="COUNT")
    assert (counted["Count"], "Items" in counted) == (12, False)


async def test_an_index_holds_what_it_projects_of_items_that_have_its_keys(dynamo):
    await dynamo.table(
        gsi=[("by-g", "g", "KEYS_ONLY"), ("by-h", "h", "INCLUDE", "v")], lsi=[("by-n", "pn", "KEYS_ONLY")]
    )
    await dynamo.put(p="a", s=1, g="x", v=1, w=2)
    await dynamo.put(p="a", s=2, h="x", v=1, w=2)
    await dynamo.put(p="a", s=3, n=1, v=1, w=2)
    query = {"values": {"x": "x"}}
    assert await dynamo.query("g = :x", **query, IndexName="by-g") == [{"p": "a", "s": 1, "g": "x"}]
    assert await dynamo.query("h = :x", **query, IndexName="by-h") == [{"p": "a", "s": 2, "h": "x", "v": 1}]
    local = {"values": {"x": "a"}, "IndexName": "by-n"}
    assert await dynamo.query("p = :x", **local) == [{"p": "a", "s": 3, "n": 1}]
    assert await dynamo.query("p = :x", **local, ProjectionExpression="w") == [{"w": 2}]
    assert await dynamo.query("p = :x", **local, Select="ALL_ATTRIBUTES") == [
        {"p": "a", "s": 3, "n": 1, "v": 1, "w": 2}
    ]
    await dynamo.put(p="a", s=1, g="y", v=1)
    assert await dynamo.query("g = :x", **query, IndexName="by-g") == []
    assert await dynamo.query("g = :x", {"x": "y"}, IndexName="by-g") == [{"p": "a", "s": 1, "g": "y"}]


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"KeyConditionExpression": "s = :a"}, "Query condition missed key schema element: p"),
        ({"KeyConditionExpression": "p = :a AND x = :b"}, "Query condition missed key schema element: s"),
        ({"KeyConditionExpression": "p > :a"}, "Query key condition not supported"),
        (
            {"KeyConditionExpression": "p = :a OR s = :b"},
            "Invalid KeyConditionExpression: Invalid operator used in KeyConditionExpression: OR",
        ),
        (
            {"KeyConditionExpression": "p = :b"},
            "One or more parameter values were invalid: Condition parameter type does not match schema type",
        ),
        (
            {"KeyConditionExpression": "p = :a", "FilterExpression": "s = :b"},
            "Filter Expression can only contain non-primary key attributes: Primary key attribute: s",
        ),
        (
            {"KeyConditionExpression": "p = :a", "IndexName": "none"},
            "The table does not have the specified index: none",
        ),
        ({}, "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."),
        (
            {"KeyConditionExpression": "p = :a", "ExclusiveStartKey": item(p="b", s=1)},
            "The provided starting key is outside query boundaries based on provided conditions",
        ),
    ],
)
async def test_queries_that_are_refused(dynamo, members, text):
    await dynamo.table()
    expressions = members.get("KeyConditionExpression", "") + members.get("FilterExpression", "")
    known = {":a": typed("x"), ":b": typed(1)}
    used = {name: value for name, value in known.items() if name in expressions}
    if used:
        members = members | {"ExpressionAttributeValues": used}
    assert await dynamo.invalid("Query", TableName="table", **members) == text
