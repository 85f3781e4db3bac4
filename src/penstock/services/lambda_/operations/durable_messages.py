"""Errors of durable functions, with AWS's texts where they are known.

Source: https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html, and answers as users have posted them.
"""

from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import messages


def no_execution(arn: str) -> ServiceError:
    return messages.not_found(f"Durable execution not found: {arn}")


def execution_exists(arn: str) -> ServiceError:
    text = f"Durable execution already started with a different payload: {arn}"
    return ServiceError("DurableExecutionAlreadyStartedException", text, status=409, fields={"Type": "User"})


def callback_closed() -> ServiceError:
    text = "The callback has timed out, or has already been completed."
    return ServiceError("CallbackTimeoutException", text, status=400, fields={"Type": "User"})


def durable_unqualified() -> ServiceError:
    return messages.invalid("You cannot invoke a durable function using an unqualified ARN.")


def durable_too_long_to_wait() -> ServiceError:
    return messages.invalid(
        "You cannot synchronously invoke a durable function with an executionTimeout greater than 15 minutes."
    )


def durable_too_long_to_map() -> ServiceError:
    return messages.invalid(
        "An event source mapping can't invoke a durable function with an executionTimeout greater than 15 minutes."
    )


def durable_streamed() -> ServiceError:
    return messages.invalid("You cannot invoke a durable function with a response stream.")


def not_durable(arn: str) -> ServiceError:
    return messages.invalid(f"DurableExecutionName can only be given to a durable function; {arn} isn't one.")
