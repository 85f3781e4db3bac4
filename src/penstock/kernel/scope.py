"""Where every resource lives, and who is asking."""

from dataclasses import dataclass
from typing import Literal

DEFAULT_ACCOUNT_ID = "000000000000"
DEFAULT_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Scope:
    """A partition, an account and a region."""

    account_id: str = DEFAULT_ACCOUNT_ID
    region: str = DEFAULT_REGION
    partition: str = "aws"


PrincipalKind = Literal["root", "user", "role", "service", "anonymous"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The identity behind a call.

    arn            arn:aws:iam::ACCT:root, …:user/NAME, arn:aws:sts::ACCT:assumed-role/ROLE/SESSION,
                   or for a service its name (s3.amazonaws.com)
    user_id        aws:userid (AIDA…, AROA…:session, the account id for root)
    session_policies  JSON documents passed to AssumeRole
    source_arn     for a service: the resource on whose behalf it calls (aws:SourceArn)
    """

    kind: PrincipalKind
    account_id: str
    arn: str
    user_id: str = ""
    session_policies: tuple[str, ...] = ()
    source_arn: str = ""
    access_key_id: str = ""


def root_principal(account_id: str = DEFAULT_ACCOUNT_ID) -> Principal:
    """The account itself."""
    return Principal("root", account_id, f"arn:aws:iam::{account_id}:root", account_id)


def service_principal(name: str, *, account_id: str, source_arn: str = "") -> Principal:
    """A service calling on its own behalf: `s3.amazonaws.com`."""
    return Principal("service", account_id, name, name, source_arn=source_arn)
