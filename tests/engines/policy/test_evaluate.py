import json

import pytest

from penstock.engines.policy.evaluate import Policies, Request, allows_principal, evaluate
from penstock.kernel.scope import Principal, root_principal, service_principal

ACCOUNT, OTHER = "111122223333", "444455556666"
ANA = Principal("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/ana", "AIDA1")
JOB = Principal("role", ACCOUNT, f"arn:aws:sts::{ACCOUNT}:assumed-role/job/s1", "AROA1:s1")
NOBODY = Principal("anonymous", "", "*")
KEY = "arn:aws:s3:::lake/raw/a.csv"


def doc(*statements) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action="s3:GetObject", resource="arn:aws:s3:::lake/*", **rest):
    return {"Effect": "Allow", "Action": action, "Resource": resource, **rest}


def deny(**rest):
    return {**allow(**rest), "Effect": "Deny"}


def ask(who=ANA, action="s3:GetObject", resource=KEY, owner=ACCOUNT, **values):
    listed = {k.lower().replace("__", ":"): v if isinstance(v, list) else [v] for k, v in values.items()}
    return Request(who, action, resource, owner, listed)


NOTHING = "because no identity-based policy allows the s3:GetObject action"
NO_RESOURCE = "because no resource-based policy allows the s3:GetObject action"
ROLE = {"AWS": f"arn:aws:iam::{ACCOUNT}:role/job"}
ROOT = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}

CASES = [
    ("nothing allows", ask(), Policies(), NOTHING),
    ("identity allows", ask(), Policies([doc(allow())]), None),
    ("action wildcard, any case", ask(), Policies([doc(allow("S3:get*"))]), None),
    ("question mark", ask(), Policies([doc(allow("s3:GetObjec?"))]), None),
    ("another action", ask(), Policies([doc(allow("s3:PutObject"))]), NOTHING),
    ("another resource", ask(), Policies([doc(allow(resource="arn:aws:s3:::other/*"))]), NOTHING),
    ("resource is case-sensitive", ask(), Policies([doc(allow(resource="arn:aws:s3:::LAKE/*"))]), NOTHING),
    ("deny wins", ask(), Policies([doc(allow()), doc(deny())]), "with an explicit deny in an identity-based policy"),
    ("NotAction", ask(), Policies([doc({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})]), None),
    ("NotAction hit", ask(), Policies([doc({"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"})]), NOTHING),
    # ruff: noqa: E501
    ("NotResource", ask(), Policies([doc({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::x/*"})]), None),
    ("NotResource hit", ask(), Policies([doc({"Effect": "Allow", "Action": "*", "NotResource": KEY})]), NOTHING),
    ("one statement, not in a list", ask(), Policies([json.dumps({"Statement": allow()})]), None),
    ("malformed", ask(), Policies(["{"]), NOTHING),
    ("root needs no policy", ask(root_principal(ACCOUNT)), Policies(), None),
    ("root is denied by a bucket", ask(root_principal(ACCOUNT)), Policies(resource=doc(deny(Principal="*"))),
     "with an explicit deny in a resource-based policy"),
    ("boundary lacks", ask(), Policies([doc(allow())], boundary=doc(allow("sqs:*"))),
     "because no permissions boundary allows the s3:GetObject action"),
    ("boundary agrees", ask(), Policies([doc(allow())], boundary=doc(allow("s3:*"))), None),
    ("boundary grants nothing itself", ask(), Policies(boundary=doc(allow())), NOTHING),
    ("boundary denies", ask(), Policies([doc(allow())], boundary=doc(allow(), deny())),
     "with an explicit deny in a permissions boundary"),
    ("session lacks", ask(JOB), Policies([doc(allow())], sessions=[doc(allow("sqs:*"))]),
     "because no session policy allows the s3:GetObject action"),
    ("session agrees", ask(JOB), Policies([doc(allow())], sessions=[doc(allow())]), None),
    ("resource alone, same account", ask(), Policies(resource=doc(allow(Principal={"AWS": ANA.arn}))), None),
    ("role behind a session", ask(JOB), Policies(resource=doc(allow(Principal=ROLE))), None),
    ("account alone opens nothing at home", ask(), Policies(resource=doc(allow(Principal=ROOT))), NOTHING),
    ("NotPrincipal", ask(), Policies([doc(allow())], resource=doc({**deny(), "NotPrincipal": {"AWS": ANA.arn}})), None),
    ("NotPrincipal hits another", ask(JOB),
     Policies([doc(allow())], resource=doc({**deny(), "NotPrincipal": {"AWS": ANA.arn}})),
     "with an explicit deny in a resource-based policy"),
    ("abroad: identity alone", ask(owner=OTHER), Policies([doc(allow())]), NO_RESOURCE),
    ("abroad: resource alone", ask(owner=OTHER), Policies(resource=doc(allow(Principal=ROOT))), NOTHING),
    ("abroad: both", ask(owner=OTHER), Policies([doc(allow())], resource=doc(allow(Principal=ROOT))), None),
    ("anyone", ask(NOBODY), Policies(resource=doc(allow(Principal="*"))), None),
    ("anonymous isn't an account", ask(NOBODY), Policies(resource=doc(allow(Principal=ROOT))), NO_RESOURCE),
    ("service with a source", ask(service_principal("s3.amazonaws.com", account_id=ACCOUNT), aws__SourceArn="arn:aws:s3:::b"),
     Policies(resource=doc(allow(Principal={"Service": "s3.amazonaws.com"},
                                 Condition={"ArnLike": {"AWS:SourceArn": "arn:aws:s3:::*"}}))), None),
    ("another service", ask(service_principal("sns.amazonaws.com", account_id=ACCOUNT)),
     Policies(resource=doc(allow(Principal={"Service": "s3.amazonaws.com"}))), NO_RESOURCE),
    ("variable", ask(aws__username="raw"), Policies([doc(allow(resource="arn:aws:s3:::lake/${aws:username}/*"))]), None),
    ("variable without value", ask(), Policies([doc(allow(resource="arn:aws:s3:::lake/${aws:username}/*"))]), NOTHING),
    ("variable's star is no wildcard", ask(aws__username="*"),
     Policies([doc(allow(resource="arn:aws:s3:::lake/${aws:username}/*"))]), NOTHING),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "policies", "reason"), [pytest.param(*c[1:], id=c[0]) for c in CASES])
def test_decisions(request_, policies, reason):
    decision = evaluate(request_, policies)
    assert decision.allowed == (reason is None), decision
    if reason:
        head = f"User: {request_.principal.arn} is not authorized to perform: {request_.action} on resource: {KEY} "
        assert decision.message(request_) == head + reason


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "holds"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", ["b", "a"], "a", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a", None, False),
        ("StringEqualsIfExists", "a", None, True),
        ("StringEqualsIfExists", "a", "b", False),
        ("StringNotEquals", ["a", "b"], "c", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIgnoreCase", "A", "a", True),
        ("StringLike", "raw/*", "raw/x", True),
        ("StringNotLike", "raw/*", "raw/x", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericGreaterThan", 9, "10", True),
        ("NumericEquals", "x", "10", False),
        ("DateGreaterThan", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", True),
        ("DateLessThan", "2026-01-01T00:00:00Z", "2026-06-01T00:00:00Z", False),
        ("Bool", "false", "false", True),
        ("Bool", True, "false", False),
        ("BinaryEquals", "QUI=", "QUI=", True),
        ("IpAddress", "10.0.0.0/8", "10.1.2.3", True),
        ("IpAddress", "10.0.0.1", "10.0.0.2", False),
        ("NotIpAddress", "10.0.0.0/8", "11.1.2.3", True),
        ("ArnLike", "arn:aws:s3:::b*", "arn:aws:s3:::bucket", True),
        ("ArnNotEquals", "arn:aws:s3:::b", "arn:aws:s3:::c", True),
        ("Null", "true", None, True),
        ("Null", "false", None, False),
        ("Null", "false", "x", True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("NoSuchOperator", "a", "a", False),
    ],
)
def test_condition_operators(operator, wanted, value, holds):
    request = ask(**({} if value is None else {"k": value}))
    policies = Policies([doc(allow(Condition={operator: {"K": wanted}}))])
    assert evaluate(request, policies).allowed == holds


def test_trust_policy_lets_in_whom_it_names():
    trust = doc({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})
    role = f"arn:aws:iam::{ACCOUNT}:role/job"
    lambda_ = service_principal("lambda.amazonaws.com", account_id=ACCOUNT)
    assert allows_principal(trust, ask(lambda_, "sts:AssumeRole", role))
    assert not allows_principal(trust, ask(ANA, "sts:AssumeRole", role))
