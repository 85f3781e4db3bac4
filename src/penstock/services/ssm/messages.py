"""Error texts of Parameter Store.

Source: https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html and the others' pages.
"""

ALREADY_EXISTS = (
    "The parameter already exists. To overwrite this value, set the overwrite option in the request to true."
)
TYPE_REQUIRED = "A parameter type is required when you create a parameter."
TAGS_AND_OVERWRITE = (
    "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove "
    "overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource."
)
RESERVED = 'Parameter name: can\'t be prefixed with "ssm" (case-insensitive) or "aws" (case-insensitive).'
BAD_NAME = (
    'Parameter name: can\'t be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of '
    "sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following "
    "3 symbols .-_"
)
NOT_QUALIFIED = "Parameter name must be a fully qualified name."
TOO_DEEP = "The parameter name exceeds the maximum number of levels, 15."
BAD_PATH = (
    "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash "
    '"/". It can\'t be prefixed with "aws" or "ssm" (case-insensitive). It must use only letters, numbers, or the '
    "following symbols: . (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, if "
    'specified, must use the forward slash symbol "/". Valid example: /get/parameters2-/by1./path0_.'
)
BAD_TOKEN = "The specified token isn't valid."
TOO_MANY_LABELS = "A parameter version can have a maximum of ten labels."


def not_found(name: str) -> str:
    return f"Parameter {name} not found."


def version_not_found(name: str) -> str:
    return f"Systems Manager could not find version of {name}. Verify the version and try again."


def value_too_long(size_max: int, *, is_advanced: bool) -> str:
    tier = "Advanced" if is_advanced else "Standard"
    text = f"{tier} tier parameters support a maximum parameter value of {size_max} characters."
    return (
        text
        if is_advanced
        else f"{text} To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier."
    )


def pattern_mismatch(pattern: str) -> str:
    return f"Parameter value, cannot be validated against allowedPattern: {pattern}"
