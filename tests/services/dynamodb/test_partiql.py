import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.engines.expressions.errors import BadExpression
from penstock.engines.expressions.partiql import parse_statement
from penstock.kernel.errors import ServiceError

from .conftest import item, plain, typed


async def run(dynamo, statement, *parameters, **members):
    if parameters:
        members["Parameters"] = [typed(one) for one in parameters]
    answer = await dynamo.call("ExecuteStatement", Statement=statement, **members)
    return [plain(one) for one in answer["Items"]]


async def with_items(dynamo):
    await dynamo.table(gsi=[("by-g", "g")])
    for p in ("a", "b"):
        for s in range(5):
            await dynamo.put(p=p, s=s, g="even" if s % 2 == 0 else "odd", v={"n": s * 10, "l": [s, s + 1]})


@pytest.mark.parametrize(
    ("statement", "parameters", "expected"),
    [
        ('SELECT s FROM "table" WHERE p = ? AND s >= 3', ["a"], [{"s": 3}, {"s": 4}]),
        ("SELECT s FROM \"table\" WHERE p = 'a' ORDER BY s DESC", [], [{"s": s} for s in (4, 3, 2, 1, 0)]),
        ('SELECT p, s FROM "table" WHERE p IN [?, ?] AND s = 2', ["b", "a"], [{"p": "b", "s": 2}, {"p": "a", "s": 2}]),
        ('SELECT v.n FROM "table" WHERE p = ? AND v.n > 25', ["a"], [{"n": 30}, {"n": 40}]),
        ('SELECT v.l[1] FROM "table" WHERE p = ? AND s BETWEEN 1 AND 2', ["a"], [{"l": 2}, {"l": 3}]),
        ('SELECT s FROM "table"."by-g" WHERE g = ? AND p = \'a\'', ["odd"], [{"s": 1}, {"s": 3}]),
        ('SELECT s FROM "table" WHERE p = ? AND (s = 1 OR s = 3)', ["a"], [{"s": 1}, {"s": 3}]),
        ('SELECT s FROM "table" WHERE p = ? AND v.x IS MISSING AND s < 1', ["a"], [{"s": 0}]),
        ("SELECT s FROM \"table\" WHERE p = 'b' AND contains(g, 'odd') AND s <> 1", [], [{"s": 3}]),
    ],
)
async def test_select(dynamo, statement, parameters, expected):
    await with_items(dynamo)
    assert await run(dynamo, statement, *parameters) == expected


async def test_a_scan_is_paged_by_tokens(dynamo):
    await with_items(dynamo)
    seen, members = [], {}
    while True:
        answer = await dynamo.call("ExecuteStatement", Statement='SELECT * FROM "table"', Limit=3, **members)
        seen += [(one["p"]["S"], one["s"]["N"]) for one in answer["Items"]]
        if "NextToken" not in answer:
            break
        members = {"NextToken": answer["NextToken"]}
    assert len(seen) == len(set(seen)) == 10
    in_two = await dynamo.call("ExecuteStatement", Statement="SELECT * FROM \"table\" WHERE p IN ['a','b']", Limit=7)
    rest = await dynamo.call(
        "ExecuteStatement", Statement="SELECT * FROM \"table\" WHERE p IN ['a','b']", NextToken=in_two["NextToken"]
    )
    assert (len(in_two["Items"]), len(rest["Items"])) == (7, 3)


async def test_items_are_inserted_changed_and_deleted(dynamo):
    await dynamo.table()
    await run(dynamo, "INSERT INTO \"table\" VALUE {'p': 'a', 's': 1, 'v': ?, 'ss': <<'x', 'y'>>, 'l': [1, true]}", 5)
    assert await dynamo.get(p="a", s=1) == {"p": "a", "s": 1, "v": 5, "ss": {"x", "y"}, "l": [1, True]}
    with pytest.raises(ServiceError, match="Duplicate primary key exists in table"):
        await run(dynamo, "INSERT INTO \"table\" VALUE {'p': 'a', 's': 1}")
    statement = (
        "UPDATE \"table\" SET v = v + ?, l = list_append(l, [2]) SET ss = set_delete(ss, <<'y'>>) REMOVE none "
        "WHERE p = 'a' AND s = 1 RETURNING MODIFIED NEW *"
    )
    assert await run(dynamo, statement, 2) == [{"v": 7, "l": [1, True, 2], "ss": {"x"}}]
    with pytest.raises(ServiceError, match="The conditional request failed"):
        await run(dynamo, "UPDATE \"table\" SET v = 1 WHERE p = 'a' AND s = 2")
    with pytest.raises(ServiceError, match="The conditional request failed"):
        await run(dynamo, "DELETE FROM \"table\" WHERE p = 'a' AND s = 1 AND v = 8")
    deleted = await run(dynamo, "DELETE FROM \"table\" WHERE p = 'a' AND s = 1 RETURNING ALL OLD *")
    assert deleted == [{"p": "a", "s": 1, "v": 7, "l": [1, True, 2], "ss": {"x"}}]
    assert await run(dynamo, "DELETE FROM \"table\" WHERE p = 'a' AND s = 1") == []
    with pytest.raises(ServiceError, match="mandatory equality on all key attributes"):
        await run(dynamo, "DELETE FROM \"table\" WHERE p = 'a'")


async def test_batches_and_transactions(dynamo):
    await dynamo.table()
    insert = "INSERT INTO \"table\" VALUE {'p': 'a', 's': ?}"
    statements = [{"Statement": insert, "Parameters": [typed(n)]} for n in (1, 1, 2)]
    answer = await dynamo.call("BatchExecuteStatement", Statements=statements)
    assert [one.get("Error", {}).get("Code") for one in answer["Responses"]] == [None, "DuplicateItem", None]
    exists = "EXISTS(SELECT * FROM \"table\" WHERE p = 'a' AND s = ?)"
    transaction = [{"Statement": insert, "Parameters": [typed(3)]}, {"Statement": exists, "Parameters": [typed(9)]}]
    code, _ = await dynamo.refused("ExecuteTransaction", TransactStatements=transaction)
    assert (code, await dynamo.get(p="a", s=3)) == ("TransactionCanceledException", None)
    transaction[1]["Parameters"] = [typed(2)]
    await dynamo.call("ExecuteTransaction", TransactStatements=transaction)
    select = "SELECT * FROM \"table\" WHERE p = 'a' AND s = ?"
    got = await dynamo.call(
        "ExecuteTransaction", TransactStatements=[{"Statement": select, "Parameters": [typed(n)]} for n in (3, 4)]
    )
    assert got["Responses"] == [{"Item": item(p="a", s=3)}, {}]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("", "Statement wasn't well formed"),
        ("SELECT FROM t", "Statement wasn't well formed"),
        ("SELECT * FROM t WHERE a = ?", "Number of parameters in request and statement don't match."),
        ("DROP TABLE t", "Expected data manipulation"),
        ("SELECT * FROM t WHERE a = 1 garbage", "Unexpected token garbage"),
    ],
)
def test_what_is_no_statement_is_refused(statement, told):
    with pytest.raises(BadExpression, match=told.replace("?", r"\?")):
        parse_statement(statement, [])


@given(st.text(alphabet="SELECT*FROMtWHEREap=()[]{}<>'\",.?:1 ANDOR", max_size=60))
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(BadExpression):
        parse_statement(text, [])
