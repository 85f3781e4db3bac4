import pytest

from penstock.services import iam, lambda_, logs, s3, sqs, sts
from penstock.testkit.functions import FakePool
from penstock.testkit.world import World


@pytest.fixture
def pool():
    return FakePool()


@pytest.fixture
def world(pool):
    return World(lambda_.SERVICE, s3.SERVICE, sqs.SERVICE, logs.SERVICE, iam.SERVICE, sts.SERVICE, functions=pool)
