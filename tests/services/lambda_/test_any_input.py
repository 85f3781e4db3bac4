"""Whatever a request holds, it is answered or refused: no operation of the control plane fails by a fault."""

import base64
import random

import pytest

from penstock.kernel.errors import ServiceError
from penstock.model.loader import service_model
from penstock.model.validation import compile_pattern
from penstock.services import lambda_
from penstock.testkit.functions import ROLE, create_function, zipped

ACCOUNT = "arn:aws:lambda:us-east-1:000000000000"
CASES = 40
OPERATIONS = [name for name in sorted(service_model("lambda").operations) if lambda_.SERVICE.find_operation(name)]
NAMES = ["f", "f:1", "f:live", "f:$LATEST", "g", f"{ACCOUNT}:function:f", f"{ACCOUNT}:function:f:live", "f.g", "f" * 70]
NAMES += [
    "000000000000:function:f",
    "arn:aws:lambda:eu-west-1:000000000000:function:f",
    "a:b:c:d",
    ":",
    "f:$LATEST.PUBLISHED",
]
ARNS = [
    f"{ACCOUNT}:function:f",
    f"{ACCOUNT}:layer:l:1",
    f"{ACCOUNT}:layer:l",
    "arn:aws:sqs:us-east-1:000000000000:q",
    ROLE,
]
ARNS += [
    f"{ACCOUNT}:code-signing-config:csc-00000000000000000",
    "arn:aws:s3:::b",
    "arn:x",
    "arn:::::",
    "kafka://t",
    "*",
]
ARNS += [f"{ACCOUNT}:event-source-mapping:00000000-0000-0000-0000-000000000000", f"{ACCOUNT}:capacity-provider:c", ""]
WORDS = ["", "a", "live", "1", "0", "-1", "$LATEST", "s3.amazonaws.com", "é\u2028😀", "x" * 300, "None", "000000000000"]
MARKERS = ["", "?", base64.urlsafe_b64encode(b'["f",1]').decode(), base64.urlsafe_b64encode(b"[1]").decode(), "W10="]
OTHERS = [
    "lambda:InvokeFunction",
    "lambda:GetLayerVersion",
    "lambda:InvokeFunctionUrl",
    "csc",
    "app.handler",
    "python3.11",
]
OTHERS += ["00000000-0000-0000-0000-000000000000", "o-abcdefghij", "/mnt/x", "subnet-1", "sg-1", "2", "/aws/lambda/f"]
OTHERS += [
    f"{ACCOUNT}:durable-execution:f:1/x",
    f"{ACCOUNT}:function:f:1/durable-execution/x/y",
    "eyJ9",
    "AA==",
    "us-east-1",
]
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}'
POLICIES = [POLICY, "{}", "[", '{"Statement":3}', '{"Statement":[3]}', "null"]


class Maker:
    """Members as a model declares them: often right, often not."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.density = 0.0

    def members(self, shape, depth=0):
        made = {}
        for name, member in shape.members.items():
            if name in shape.required or self.chance.random() < self.density:
                made[name] = self.value(name, member, depth)
        return made

    def value(self, name, shape, depth=0):
        pick = self.chance.choice
        if shape.type == "structure":
            return self.members(shape, depth + 1) if depth < 4 else {}
        if shape.type == "list":
            return [self.value(name, shape.element, depth + 1) for _ in range(pick([0, 1, 1, 2, 6]))]
        if shape.type == "map":
            return {
                str(pick([*WORDS, "1", "2"])): self.value(name, shape.value, depth + 1) for _ in range(pick([0, 1, 2]))
            }
        if shape.type in ("integer", "long"):
            low, high = shape.traits.get("min", 0), shape.traits.get("max", 10)
            return pick([low, low, high, min(max(low, 3), high), min(max(low, 200), high), -1, 10**6])
        if shape.type in ("float", "double"):
            return pick([0.0, 0.5, 1.0, 1.5, -0.1])
        if shape.type == "boolean":
            return pick([True, False])
        if shape.type == "blob":
            return pick([zipped(), b"", b"{}", b"no zip", b"\xff\xfe", zipped("x" * 999)])
        if shape.type == "timestamp":
            return pick([0, 1_700_000_000])
        if shape.enum:
            return pick([*shape.enum, *shape.enum, "Wrong"])
        return self.text(name, shape)

    def text(self, name, shape):
        """Nine times of ten one that the model lets through, so that the room has something to decide."""
        pool = [*NAMES, *ARNS, *WORDS, *OTHERS]
        pool += MARKERS if name == "Marker" else POLICIES if name == "Policy" else []
        good = [text for text in pool if is_allowed(shape, text)]
        known = [text for text in good if "f" in text] if "FunctionName" in name else good
        return self.chance.choice(known if known and self.chance.random() < 0.9 else pool)


def is_allowed(shape, text):
    pattern = compile_pattern(shape.traits["pattern"]) if "pattern" in shape.traits else None
    fits = shape.traits.get("min", 0) <= len(text) <= shape.traits.get("max", 10**6)
    return fits and (pattern is None or pattern.fullmatch(text) is not None)


async def furnish(world):
    await create_function(world, Publish=True)
    calls = [
        ("CreateAlias", {"FunctionName": "f", "Name": "live", "FunctionVersion": "1"}),
        ("CreateFunctionUrlConfig", {"FunctionName": "f", "AuthType": "NONE"}),
        ("PutFunctionEventInvokeConfig", {"FunctionName": "f", "MaximumRetryAttempts": 1}),
        ("PublishLayerVersion", {"LayerName": "l", "Content": {"ZipFile": zipped("1", "python/t.py")}}),
        ("AddPermission", {"FunctionName": "f", "StatementId": "a", "Action": "lambda:*", "Principal": "*"}),
    ]
    for operation, members in calls:
        await world.call("lambda", operation, **members)


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_any_input_is_answered_or_refused(world, operation):
    declared = service_model("lambda").operations[operation]
    maker = Maker(operation)
    await furnish(world)
    for _ in range(CASES):
        maker.density = maker.chance.choice([0.0, 0.1, 0.3, 0.6])
        members = maker.members(declared.input) if declared.input else {}
        refused = await refusal(world, operation, members)
        assert refused is None or (refused.status < 500 and refused.message), f"{members}: {refused}"


async def refusal(world, operation, members):
    try:
        await world.call("lambda", operation, **members)
    except ServiceError as error:
        return error
    return None
