"""What DynamoDB says of expressions, parameters and tables that can't be. One table, all of it in AWS's words."""

import pytest

from .conftest import item, typed

EXPRESSIONS = [
    ("a = :v AND", 'Syntax error; token: "<EOF>", near: "AND"'),
    ("a = :v)", 'Syntax error; token: ")", near: ":v)"'),
    ("a[:v] = :v", 'Syntax error; token: "[", near: "a[:v"'),
    ("a-b = :v", 'Syntax error; token: "-", near: "a-b"'),
    ("a = 'x'", 'Syntax error; token: "\'", near: "= \'x"'),
    ("a IN ()", 'Syntax error; token: ")", near: "()"'),
    ("", "The expression can not be empty;"),
    ("((a = :v))", "The expression has redundant parentheses;"),
    ("foo(a)", "Invalid function name; function: foo"),
    ("if_not_exists(a, b) = :v", "The function is not allowed in a condition expression; function: if_not_exists"),
    (
        "size(size(a)) = :v",
        "Incorrect operand type for operator or function; operator or function: size, operand type: N",
    ),
    ("name = :v", "Attribute name is a reserved keyword; reserved keyword: name"),
    (
        "attribute_exists(a, b)",
        "Incorrect number of operands for operator or function; operator or function: attribute_exists, number of "
        "operands: 2",
    ),
    (
        "attribute_exists(:v)",
        "Operator or function requires a document path; operator or function: attribute_exists",
    ),
    (
        "begins_with(a, :v)",
        "Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
    ),
    (
        "attribute_type(a, :s)",
        "Invalid attribute type name found; type: x, valid types: {B,NULL,SS,BOOL,L,BS,N,NS,S,M}",
    ),
    (
        "a BETWEEN :w AND :v",
        "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; lower bound operand: "
        "AttributeValue: {N:2}, upper bound operand: AttributeValue: {N:1}",
    ),
    (
        "a = a",
        "The first operand must be distinct from the remaining operands for this operator or function; operator: =, "
        "first operand: [a]",
    ),
    (
        "a IN (" + ", ".join([":v"] * 101) + ")",
        "The IN operator is provided with too many operands; number of operands: 101",
    ),
    ("a = :none", "An expression attribute value used in expression is not defined; attribute value: :none"),
]
UPDATES = [
    ("SET a = :v SET b = :v", 'The "SET" section can only be used once in an update expression;'),
    (
        "SET m = :v, m.x = :v",
        "Two document paths overlap with each other; must remove or rewrite one of these paths; path one: [m], path "
        "two: [m, x]",
    ),
    (
        "SET m.x = :v, m[0] = :v",
        "Two document paths conflict with each other; must remove or rewrite one of these paths; path one: [m, x], "
        "path two: [m, [0]]",
    ),
    (
        "ADD a :s",
        "Incorrect operand type for operator or function; operator: ADD, operand type: STRING, typeSet: "
        "ALLOWED_FOR_ADD_OPERAND",
    ),
    ("SET a = size(b)", "The function is not allowed in an update expression; function: size"),
    ("SET a = :v + :v + :v", 'Syntax error; token: "+", near: ":v + :v"'),
    (
        "SET a = list_append(b, :v)",
        "Incorrect operand type for operator or function; operator or function: list_append, operand type: N",
    ),
]
VALUES = {":v": typed(1), ":w": typed(2), ":s": typed("x")}


def used(expression):
    found = {name: value for name, value in VALUES.items() if name in expression}
    return {"ExpressionAttributeValues": found} if found else {}


@pytest.mark.parametrize(("expression", "text"), EXPRESSIONS)
async def test_conditions(dynamo, expression, text):
    await dynamo.table()
    told = await dynamo.invalid(
        "PutItem", TableName="table", Item=item(p="a", s=1), ConditionExpression=expression, **used(expression)
    )
    assert told == f"Invalid ConditionExpression: {text}"


@pytest.mark.parametrize(("expression", "text"), UPDATES)
async def test_updates(dynamo, expression, text):
    await dynamo.table()
    told = await dynamo.invalid(
        "UpdateItem", TableName="table", Key=item(p="a", s=1), UpdateExpression=expression, **used(expression)
    )
    assert told == f"Invalid UpdateExpression: {text}"


@pytest.mark.parametrize(
    ("expression", "values", "text"),
    [
        ("SET x = y", None, "The provided expression refers to an attribute that does not exist in the item"),
        ("SET x.y = :v", {"v": 1}, "The document path provided in the update expression is invalid for update"),
        ("REMOVE x.y", None, "The document path provided in the update expression is invalid for update"),
        ("DELETE x.y :v", {"v": {"a"}}, "The document path provided in the update expression is invalid for update"),
        ("SET t[0] = :v", {"v": 1}, "The document path provided in the update expression is invalid for update"),
        ("SET x = t + :v", {"v": 1}, "An operand in the update expression has an incorrect data type"),
        ("ADD t :v", {"v": 1}, "An operand in the update expression has an incorrect data type"),
        (
            "SET p = :v",
            {"v": "b"},
            "One or more parameter values were invalid: Cannot update attribute p. This attribute is part of the key",
        ),
        (
            "SET g = :v",
            {"v": 1},
            "The update expression attempted to update the secondary index key to unsupported type",
        ),
        ("SET big = :v", {"v": "x" * 409_600}, "Item size to update has exceeded the maximum allowed size"),
        (
            "SET v = v + :v",
            {"v": {"N": "9e125"}},
            "Number overflow. Attempting to store a number with magnitude larger than supported range",
        ),
    ],
)
async def test_updates_that_do_not_fit_the_item(dynamo, expression, values, text):
    await dynamo.table(gsi=[("by-g", "g")])
    await dynamo.put(p="a", s=1, t="text", v={"N": "9e125"})
    members = {"ExpressionAttributeValues": {f":{k}": typed(v) for k, v in values.items()}} if values else {}
    key = {"TableName": "table", "Key": item(p="a", s=1)}
    assert await dynamo.invalid("UpdateItem", **key, UpdateExpression=expression, **members) == text


WRONG = "One or more parameter values were invalid: "


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"SS": []}, WRONG + "An string set  may not be empty"),
        ({"NS": []}, WRONG + "An number set  may not be empty"),
        ({"BS": []}, WRONG + "Binary sets should not be empty"),
        ({"SS": ["a", "a"]}, WRONG + "Input collection [a, a] contains duplicates."),
        ({"NS": ["1", "1.0"]}, "Input collection contains duplicates"),
        ({"NULL": False}, WRONG + "Null attribute value types must have the value of true"),
        ({}, "Supplied AttributeValue is empty, must contain exactly one of the supported datatypes"),
        (
            {"S": "a", "N": "1"},
            "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the supported "
            "datatypes",
        ),
        ({"N": "abc"}, "The parameter cannot be converted to a numeric value: abc"),
        ({"N": ""}, "The parameter cannot be converted to a numeric value"),
        ({"N": "1" * 39}, "Attempting to store more than 38 significant digits in a Number"),
        ({"N": "1e126"}, "Number overflow. Attempting to store a number with magnitude larger than supported range"),
        ({"N": "1e-131"}, "Number underflow. Attempting to store a number with magnitude smaller than supported range"),
    ],
)
async def test_values(dynamo, value, text):
    await dynamo.table()
    assert await dynamo.invalid("PutItem", TableName="table", Item={**item(p="a", s=1), "x": value}) == text


async def test_batches(dynamo):
    await dynamo.table()
    assert await dynamo.invalid("BatchGetItem", RequestItems={}) == (
        "The requestItems parameter is required for BatchGetItem"
    )
    many = {"Keys": [item(p="a", s=n) for n in range(101)]}
    assert await dynamo.invalid("BatchGetItem", RequestItems={"table": many}) == (
        "1 validation error detected: Value at 'RequestItems.table.member.Keys' failed to satisfy constraint: Member "
        "must have length less than or equal to 100"
    )
    for wrong in (item(p="a"), item(p=1, s=1)):
        requests = {"table": [{"PutRequest": {"Item": item(p="a", s=1)}}, {"PutRequest": {"Item": wrong}}]}
        text = await dynamo.invalid("BatchWriteItem", RequestItems=requests)
        assert text == "The provided key element does not match the schema"
    assert await dynamo.get(p="a", s=1) is None


async def test_nesting_has_a_bound(dynamo):
    await dynamo.table()
    deep = typed("x")
    for _ in range(31):
        deep = {"L": [deep]}
    await dynamo.call("PutItem", TableName="table", Item={**item(p="a", s=1), "x": deep})
    text = await dynamo.invalid("PutItem", TableName="table", Item={**item(p="a", s=1), "x": {"L": [deep]}})
    assert text.startswith("Nesting Levels have exceeded supported limits")


HASH, RANGE = [{"AttributeName": name, "KeyType": kind} for name, kind in (("p", "HASH"), ("s", "RANGE"))]
TYPES = [{"AttributeName": name, "AttributeType": kind} for name, kind in (("p", "S"), ("s", "N"), ("g", "S"))]


def index(*keys, name="index", projection=None):
    return {"IndexName": name, "KeySchema": list(keys), "Projection": projection or {"ProjectionType": "ALL"}}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        (
            {"BillingMode": "PROVISIONED"},
            WRONG + "ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED",
        ),
        (
            {"ProvisionedThroughput": {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}},
            WRONG + "Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
            "PAY_PER_REQUEST",
        ),
        (
            {"AttributeDefinitions": TYPES[:1]},
            WRONG
            + "Some index key attributes are not defined in AttributeDefinitions. Keys: [s], AttributeDefinitions: "
            "[p]",
        ),
        (
            {"AttributeDefinitions": TYPES},
            WRONG + "Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions",
        ),
        (
            {"AttributeDefinitions": TYPES, "GlobalSecondaryIndexes": [index(HASH)]},
            WRONG + "Some AttributeDefinitions are not used. AttributeDefinitions: [p, s, g], keys used: [p, s]",
        ),
        (
            {"KeySchema": [HASH, RANGE, {"AttributeName": "g", "KeyType": "RANGE"}]},
            "1 validation error detected: Value '[KeySchemaElement(attributeName=p, keyType=HASH), "
            "KeySchemaElement(attributeName=s, keyType=RANGE), KeySchemaElement(attributeName=g, keyType=RANGE)]' at "
            "'keySchema' failed to satisfy constraint: Member must have length less than or equal to 2",
        ),
        ({"KeySchema": [RANGE, HASH]}, "Invalid KeySchema: The first KeySchemaElement is not a HASH key type"),
        (
            {"StreamSpecification": {"StreamEnabled": False, "StreamViewType": "KEYS_ONLY"}},
            WRONG + "Table is being created with a stream disabled, UpdateViewType should not be specified",
        ),
        ({"GlobalSecondaryIndexes": []}, WRONG + "List of GlobalSecondaryIndexes is empty"),
        (
            {"GlobalSecondaryIndexes": [index(HASH), index(HASH)]},
            WRONG + "Duplicate index name: index",
        ),
        (
            {"GlobalSecondaryIndexes": [index(HASH, projection={"ProjectionType": "INCLUDE"})]},
            WRONG + "ProjectionType is INCLUDE, but NonKeyAttributes is not specified",
        ),
        (
            {
                "GlobalSecondaryIndexes": [
                    index(HASH, projection={"ProjectionType": "ALL", "NonKeyAttributes": ["x"]}),
                ]
            },
            WRONG + "ProjectionType is ALL, but NonKeyAttributes is specified",
        ),
        (
            {"LocalSecondaryIndexes": [index(HASH)]},
            WRONG + "Index KeySchema does not have a range key for index: index",
        ),
        (
            {"KeySchema": [HASH], "AttributeDefinitions": TYPES[:2], "LocalSecondaryIndexes": [index(HASH, RANGE)]},
            WRONG
            + "Table KeySchema does not have a range key, which is required when specifying a LocalSecondaryIndex",
        ),
        (
            {"TableName": "a"},
            "1 validation error detected: Value 'a' at 'tableName' failed to satisfy constraint: Member must have "
            "length greater than or equal to 3",
        ),
    ],
)
async def test_tables(dynamo, members, text):
    given = {"TableName": "table", "KeySchema": [HASH, RANGE], "AttributeDefinitions": TYPES[:2]}
    assert await dynamo.invalid("CreateTable", **{**given, "BillingMode": "PAY_PER_REQUEST", **members}) == text


async def test_tables_that_are_or_are_not_there(dynamo):
    await dynamo.table()
    assert await dynamo.refused(
        "CreateTable",
        TableName="table",
        KeySchema=[HASH],
        AttributeDefinitions=TYPES[:1],
        BillingMode="PAY_PER_REQUEST",
    ) == ("ResourceInUseException", "Table already exists: table")
    none = ("ResourceNotFoundException", "Requested resource not found: Table: none not found")
    for operation in ("DescribeTable", "DeleteTable"):
        assert await dynamo.refused(operation, TableName="none") == none
    for operation, members in (("PutItem", {"Item": item(p="a", s=1)}), ("Scan", {})):
        assert await dynamo.refused(operation, TableName="none", **members) == (
            "ResourceNotFoundException",
            "Requested resource not found",
        )
