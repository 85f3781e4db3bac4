"""Who is throttled, and with which of AWS's reasons."""

import pytest

from penstock.engines.functions.concurrency import Concurrency
from penstock.engines.functions.ports import Throttled

ARN = "arn:aws:lambda:us-east-1:1:function:f"


def start(concurrency, function=ARN, reserved=None, *, at=0.0, is_paced=False, is_provisioned=False):
    return concurrency.on_start("1", function, reserved, now_s=at, is_paced=is_paced, is_provisioned=is_provisioned)


def reason(call):
    with pytest.raises(Throttled) as caught:
        call()
    return caught.value.reason


def test_the_account_is_full_until_something_ends():
    concurrency = Concurrency(account_limit=2)
    first, _ = start(concurrency), start(concurrency, "other")
    assert reason(lambda: start(concurrency)) == "ConcurrentInvocationLimitExceeded"
    concurrency.on_end(first)
    start(concurrency)


def test_a_reserved_share_is_the_functions_own_and_nobody_elses():
    concurrency = Concurrency(account_limit=3)
    start(concurrency, reserved=1)
    assert reason(lambda: start(concurrency, reserved=1)) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    start(concurrency, "a")
    start(concurrency, "b")
    assert reason(lambda: start(concurrency, "c")) == "ConcurrentInvocationLimitExceeded"
    concurrency.on_retire("1", ARN)
    start(concurrency, "c")


def test_provisioned_concurrency_is_taken_from_the_rest_while_it_is_held():
    concurrency = Concurrency(account_limit=3)
    concurrency.on_provision("1", f"{ARN}:live", 2)
    start(concurrency, is_provisioned=True)
    start(concurrency, is_provisioned=True)
    start(concurrency)  # it spills over
    assert reason(lambda: start(concurrency, "other")) == "ConcurrentInvocationLimitExceeded"
    concurrency.on_provision("1", f"{ARN}:live", 0)
    start(concurrency, "other")


def test_provisioned_concurrency_of_a_reserved_function_is_part_of_its_share():
    concurrency = Concurrency(account_limit=3)
    concurrency.on_provision("1", f"{ARN}:live", 2)
    start(concurrency, reserved=2, is_provisioned=True)
    start(concurrency, reserved=2)
    assert reason(lambda: start(concurrency, reserved=2)) == "ReservedFunctionConcurrentInvocationLimitExceeded"
    start(concurrency, "other")


def test_synchronous_requests_are_ten_a_second_for_each_place():
    concurrency = Concurrency()
    for _ in range(10):
        concurrency.on_end(start(concurrency, reserved=1, is_paced=True))
    refused = reason(lambda: start(concurrency, reserved=1, is_paced=True))
    assert refused == "ReservedFunctionInvocationRateLimitExceeded"
    concurrency.on_end(start(concurrency, reserved=1))  # asynchronous: as many as there are places
    concurrency.on_end(start(concurrency, reserved=1, is_paced=True, at=0.1))
    small = Concurrency(account_limit=1)
    for _ in range(10):
        small.on_end(start(small, is_paced=True))
    assert reason(lambda: start(small, is_paced=True)) == "CallerRateLimitExceeded"


def test_a_function_gets_a_thousand_environments_each_ten_seconds():
    concurrency = Concurrency()
    for _ in range(1000):
        concurrency.on_scale(ARN, now_s=5.0)
    concurrency.on_scale("other", now_s=5.0)
    assert reason(lambda: concurrency.on_scale(ARN, now_s=5.0)) == "FunctionInvocationRateLimitExceeded"
    for _ in range(100):
        concurrency.on_scale(ARN, now_s=6.0)
    assert reason(lambda: concurrency.on_scale(ARN, now_s=6.0)) == "FunctionInvocationRateLimitExceeded"
