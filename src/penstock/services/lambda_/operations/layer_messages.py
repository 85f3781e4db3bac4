"""Errors of layers and of code signing, with AWS's texts where they are known."""

from collections.abc import Sequence

from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import messages


def unknown_layer_runtime(value: str, member: str, known: Sequence[str]) -> ServiceError:
    return messages.bad_value(
        value, member, f"Member must satisfy enum value set: [{', '.join(known)}] or be a valid ARN"
    )


def combined_too_large(actual: int, bytes_max: int) -> ServiceError:
    return messages.invalid(
        f"Function code combined with layers exceeds the maximum allowed size of {bytes_max} bytes. "
        f"The actual size is {actual} bytes."
    )


def no_such_layer_version(arn: str) -> ServiceError:
    return messages.invalid(f"Layer version {arn} does not exist.")


def bad_layer_arn(arn: str) -> ServiceError:
    return messages.invalid(f"Invalid Layer arn: {arn}")


def no_layer_version() -> ServiceError:
    return messages.not_found("The resource you requested does not exist.")


def layer_version_not_found(arn: str) -> ServiceError:
    return messages.not_found(f"Layer version {arn} does not exist.")


def layer_revision_mismatch() -> ServiceError:
    text = (
        "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve the "
        "latest Revision Id"
    )
    return ServiceError("PreconditionFailedException", text, status=412, fields={"Type": "User"})


def layer_of_other_region(region: str) -> ServiceError:
    return messages.invalid(
        f"Layers are not in the same region as the function. Layers are expected to be in region {region}."
    )


def layer_number_too_low() -> ServiceError:
    return messages.invalid("Layer Version Cannot be less than 1")


def code_signing_config_not_found(arn: str) -> ServiceError:
    return messages.not_found(f"The Lambda code signing configuration {arn} can not be found.")


def code_signing_config_in_use(arn: str) -> ServiceError:
    return messages.conflict(f"The code signing configuration {arn} is in use by one or more functions.")


def code_not_signed(name: str) -> ServiceError:
    text = (
        "Lambda cannot deploy the function. The function or layer might be signed using a signature that the client is "
        f"not configured to accept. Check the provided signature for {name}."
    )
    return ServiceError("CodeVerificationFailedException", text, fields={"Type": "User"})


def no_code_signing_config(arn: str) -> ServiceError:
    text = (
        f"The code signing configuration cannot be found. Check that the provided configuration is not deleted: {arn}."
    )
    return ServiceError("CodeSigningConfigNotFoundException", text, status=404, fields={"Type": "User"})
