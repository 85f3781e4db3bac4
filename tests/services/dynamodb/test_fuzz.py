"""Whatever is said, the answer is an answer or a refusal, never a failure of ours."""

import asyncio
import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.kernel.errors import ServiceError

from .conftest import Dynamo, item

TEXT = (
    "a b.c #n #m :v :w ( ) , = <> < >= + - [0] [1] . AND OR NOT BETWEEN IN SET REMOVE ADD DELETE size begins_with "
    "contains attribute_exists attribute_type if_not_exists list_append p s g ' \" 5 ;"
)
NONSENSE = st.lists(st.sampled_from(TEXT.split()), max_size=9).map(" ".join)
PATHS = st.sampled_from(["a", "b", "b.c", "b.c.d", "a[0]", "a[1].c", "a[9]", "g", "s", "p", "#n", "zz.c"])
OPERANDS = st.one_of(PATHS, st.sampled_from([":v", ":w"]), PATHS.map("size({})".format))
TESTS = st.one_of(
    st.tuples(OPERANDS, st.sampled_from(["=", "<>", "<", ">="]), OPERANDS).map(" ".join),
    st.tuples(OPERANDS, OPERANDS, OPERANDS).map(lambda parts: "{} BETWEEN {} AND {}".format(*parts)),
    st.tuples(OPERANDS, OPERANDS).map(lambda parts: "{} IN ({}, :v)".format(*parts)),
    st.tuples(st.sampled_from(["begins_with", "contains", "attribute_type"]), OPERANDS, OPERANDS).map(
        lambda parts: "{}({}, {})".format(*parts)
    ),
    st.tuples(st.sampled_from(["attribute_exists", "attribute_not_exists"]), PATHS).map(
        lambda parts: "{}({})".format(*parts)
    ),
)
GRAMMAR = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        inner.map("NOT {}".format), st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(" ".join)
    ),
    max_leaves=3,
)
EXPRESSIONS = st.one_of(NONSENSE, GRAMMAR, PATHS)
VALUES_OF_SET = st.one_of(
    OPERANDS,
    st.tuples(OPERANDS, st.sampled_from("+-"), OPERANDS).map(" ".join),
    st.tuples(PATHS, OPERANDS).map(lambda parts: "if_not_exists({}, {})".format(*parts)),
    st.tuples(OPERANDS, OPERANDS).map(lambda parts: "list_append({}, {})".format(*parts)),
)
CLAUSES = st.one_of(
    st.tuples(PATHS, VALUES_OF_SET).map(lambda parts: "SET {} = {}".format(*parts)),
    PATHS.map("REMOVE {}".format),
    st.tuples(st.sampled_from(["ADD", "DELETE"]), PATHS).map(lambda parts: "{} {} :v".format(*parts)),
)
UPDATES = st.one_of(NONSENSE, st.lists(CLAUSES, min_size=1, max_size=3).map(" ".join))
VALUES = st.recursive(
    st.sampled_from(
        [
            *({"S": text} for text in ("", "x", "S")),
            *({"N": text} for text in ("1", "-1e125", "1e-130", "x", "")),
            {"B": b""},
            {"B": b"\0"},
            {"BOOL": True},
            {"NULL": True},
            {"NULL": False},
            {"SS": ["a"]},
            {"SS": []},
            {"NS": ["1", "1.0"]},
            {"NS": ["2", "10"]},
            {"BS": [b"x"]},
            {},
            {"S": "x", "N": "1"},
        ]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2).map(lambda members: {"L": members}),
        st.dictionaries(st.sampled_from(["c", "d"]), inner, max_size=2).map(lambda members: {"M": members}),
    ),
    max_leaves=3,
)
ITEMS = st.dictionaries(st.sampled_from(["p", "s", "g", "a", "b", ""]), VALUES, max_size=4)
KEYS = st.one_of(st.just(item(p="a", s=1)), ITEMS)
COMPARISONS = "EQ NE LT BETWEEN IN BEGINS_WITH CONTAINS NOT_CONTAINS NULL NOT_NULL"
OPERATORS = st.sampled_from(COMPARISONS.split())
CONDITIONS = st.dictionaries(
    st.sampled_from(["p", "s", "a"]),
    st.fixed_dictionaries(
        {"ComparisonOperator": OPERATORS}, optional={"AttributeValueList": st.lists(VALUES, max_size=2)}
    ),
    max_size=2,
)
PLACEHOLDERS = {
    "ExpressionAttributeNames": st.dictionaries(st.sampled_from(["#n", "#m", "x"]), st.sampled_from(["a", "p"])),
    "ExpressionAttributeValues": st.dictionaries(st.sampled_from([":v", ":w", "x"]), VALUES),
}
REQUESTS = st.one_of(
    st.tuples(
        st.just("PutItem"),
        st.fixed_dictionaries({"Item": ITEMS}, optional={"ConditionExpression": EXPRESSIONS, **PLACEHOLDERS}),
    ),
    st.tuples(
        st.just("UpdateItem"),
        st.fixed_dictionaries(
            {"Key": KEYS},
            optional={
                "UpdateExpression": UPDATES,
                "ConditionExpression": EXPRESSIONS,
                "ReturnValues": st.sampled_from(["ALL_NEW", "UPDATED_OLD", "UPDATED_NEW"]),
                **PLACEHOLDERS,
            },
        ),
    ),
    st.tuples(
        st.just("UpdateItem"),
        st.fixed_dictionaries(
            {"Key": KEYS},
            optional={
                "Expected": CONDITIONS,
                "AttributeUpdates": st.dictionaries(
                    st.sampled_from(["p", "a", "b"]),
                    st.fixed_dictionaries(
                        {}, optional={"Value": VALUES, "Action": st.sampled_from(["PUT", "ADD", "DELETE"])}
                    ),
                    max_size=2,
                ),
            },
        ),
    ),
    st.tuples(
        st.just("Query"),
        st.fixed_dictionaries(
            {},
            optional={
                "KeyConditionExpression": EXPRESSIONS,
                "FilterExpression": EXPRESSIONS,
                "ProjectionExpression": EXPRESSIONS,
                "ExclusiveStartKey": KEYS,
                "IndexName": st.just("by-g"),
                **PLACEHOLDERS,
            },
        ),
    ),
    st.tuples(
        st.just("Query"),
        st.fixed_dictionaries({"KeyConditions": CONDITIONS}, optional={"QueryFilter": CONDITIONS}),
    ),
    st.tuples(
        st.just("Scan"),
        st.fixed_dictionaries(
            {}, optional={"FilterExpression": EXPRESSIONS, "ExclusiveStartKey": KEYS, **PLACEHOLDERS}
        ),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(REQUESTS, min_size=1, max_size=4))
def test_whatever_is_asked_is_answered_or_refused(requests):
    async def run():
        dynamo = Dynamo()
        await dynamo.table(gsi=[("by-g", "g", "KEYS_ONLY")])
        await dynamo.put(p="a", s=1, a=[1, {"c": 1}], b={"c": {"d": 1}}, g="x")
        for operation, members in requests:
            try:
                await dynamo.call(operation, TableName="table", **members)
            except ServiceError as error:
                assert error.status < 500, (operation, members)  # noqa: PT017
        with contextlib.suppress(ServiceError):
            await dynamo.call("Scan", TableName="table", IndexName="by-g")

    asyncio.run(run())
