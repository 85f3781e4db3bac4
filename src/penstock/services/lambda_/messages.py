"""Errors of Lambda, with AWS's texts.

Source: https://docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html, the API reference's error
lists, and answers as users have posted them.
"""

from collections.abc import Sequence

from penstock.kernel.errors import ServiceError

CREATING = "The function is being created."
INIT_FAILED = "The function failed to initialize: see its log for the error."
UPDATING = "The function is being updated."
# The missing space is AWS's own.
ZERO_RESERVED = "Function not invoked. Function isconfigured with zero reserved concurrent executions"


def invalid(text: str) -> ServiceError:
    return ServiceError("InvalidParameterValueException", text, fields={"Type": "User"})


def conflict(text: str) -> ServiceError:
    return ServiceError("ResourceConflictException", text, status=409, fields={"Type": "User"})


def not_found(text: str) -> ServiceError:
    return ServiceError("ResourceNotFoundException", text, status=404, fields={"Type": "User"})


def function_not_found(arn: str) -> ServiceError:
    return not_found(f"Function not found: {arn}")


def function_exists(name: str) -> ServiceError:
    return conflict(f"Function already exist: {name}")


def provisioned_latest() -> ServiceError:
    return invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")


def provisioned_snap_start() -> ServiceError:
    return invalid("Provisioned Concurrency isn't supported with SnapStart.")


def provisioned_above_reserved() -> ServiceError:
    return invalid(
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    )


def no_provisioned() -> ServiceError:
    return ServiceError(
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
        status=404,
        fields={"Type": "User"},
    )


def unreachable_region(region: str, here: str) -> ServiceError:
    return not_found(f"Functions from '{region}' are not reachable in this region ('{here}')")


def qualifier_mismatch() -> ServiceError:
    return invalid("The derived qualifier from the function name does not match the specified qualifier.")


def update_in_progress(arn: str) -> ServiceError:
    return conflict(
        f"The operation cannot be performed at this time. An update is in progress for resource: {arn}",
    )


def not_ready(state: str) -> ServiceError:
    return conflict(
        f"The operation cannot be performed at this time. The function is currently in the following state: {state}"
    )


def revision_mismatch() -> ServiceError:
    text = (
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve "
        "the latest Revision Id"
    )
    return ServiceError("PreconditionFailedException", text, status=412, fields={"Type": "User"})


def bad_constraint(member: str, bound: int) -> ServiceError:
    return invalid(
        f"'{member}' value failed to satisfy constraint: Member must have value less than or equal to {bound}"
    )


def name_too_long(value: str, letters_max: int) -> ServiceError:
    return bad_value(value, "functionName", f"Member must have length less than or equal to {letters_max}")


def bad_name(value: str) -> ServiceError:
    return invalid(
        f"1 validation error detected: Value '{value}' at 'functionName' failed to satisfy constraint: Member must "
        "satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?"
        "(\\d{12}:)?(function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?"
    )


def handler_and_runtime() -> ServiceError:
    return invalid("Runtime and Handler are mandatory parameters for functions created with deployment packages.")


def image_packages() -> ServiceError:
    return invalid("Unsupported package type: Image. Functions here are created from .zip deployment packages.")


def retired_runtime(runtime: str, instead: str) -> ServiceError:
    return invalid(
        f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
        f"We recommend you use the new runtime ({instead}) while creating or updating functions."
    )


def unknown_runtime(runtime: str, known: Sequence[str]) -> ServiceError:
    return invalid(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: "
        f"[{', '.join(known)}] or be a valid ARN"
    )


def bad_value(value: str, member: str, constraint: str) -> ServiceError:
    """As the model's constraints are worded, for what the model doesn't say."""
    text = f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"
    return ServiceError("ValidationException", text)


def log_level_of_text() -> ServiceError:
    return invalid(
        "Log level is not supported when log format is set to 'Text'. Remove log level from your request or change "
        "the log format to 'JSON' and try again."
    )


def image_for_zip() -> ServiceError:
    return invalid("Please don't provide ImageUri when updating a function with packageType Zip.")


def functions_only() -> ServiceError:
    return invalid(
        "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
        "Please specify either a function name or an unqualified function ARN."
    )


def no_code() -> ServiceError:
    return invalid("Please provide a source for function code.")


def two_sources() -> ServiceError:
    return invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")


def bad_zip() -> ServiceError:
    return invalid("Could not unzip uploaded file. Please check your file, then try to upload again.")


def empty_zip() -> ServiceError:
    return invalid("Uploaded file must be a non-empty zip")


def unzipped_too_large(bytes_max: int) -> ServiceError:
    return invalid(f"Unzipped size must be smaller than {bytes_max} bytes")


def code_storage_exceeded() -> ServiceError:
    return ServiceError("CodeStorageExceededException", "Code storage limit exceeded.", fields={"Type": "User"})


def zipped_too_large(bytes_max: int) -> ServiceError:
    """Source: https://github.com/localstack/docs/pull/933"""
    text = f"Zipped size must be smaller than {bytes_max} bytes"
    return ServiceError("RequestEntityTooLargeException", text, status=413, fields={"Type": "User"})


def payload_too_large(bytes_max: int) -> ServiceError:
    text = f"Request must be smaller than {bytes_max} bytes for the InvokeFunction operation"
    return ServiceError("RequestTooLargeException", text, status=413, fields={"Type": "User"})


def s3_refused(code: str, text: str) -> ServiceError:
    return invalid(f"Error occurred while GetObject. S3 Error Code: {code}. S3 Error Message: {text}")


def unversioned_code(bucket: str) -> ServiceError:
    """Ours in words; that versions are needed is AWS's."""
    return invalid(f"S3ObjectStorageMode REFERENCE needs an object version: versioning isn't enabled for {bucket}.")


def reserved_variables(names: list[str]) -> ServiceError:
    return invalid(
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        "contains reserved keys that are currently not supported for modification. "
        f"Reserved keys used in this request: {', '.join(names)}"
    )


def environment_too_large(measured: str) -> ServiceError:
    return invalid(
        "Lambda was unable to configure your environment variables because the environment variables you have provided "
        f"exceeded the 4KB limit. String measured: {measured}"
    )


def too_many_layers(count_max: int) -> ServiceError:
    return invalid(f"Cannot reference more than {count_max} layers.")


def two_versions_of_layer(first: str, second: str) -> ServiceError:
    return invalid(
        "Two different versions of the same layer are not allowed to be referenced in the same function. "
        f"{first} and {second} are versions of the same layer."
    )


def bad_dead_letter(arn: str) -> ServiceError:
    return invalid(
        f"The provided dead letter target ARN is invalid: {arn}. It must be of an SQS queue or an SNS topic."
    )


def role_not_assumable() -> ServiceError:
    return invalid("The role defined for the function cannot be assumed by Lambda.")


def role_lacks(call: str, service: str) -> ServiceError:
    """Source: https://github.com/elastic/beats/issues/13963"""
    return invalid(f"The provided execution role does not have permissions to call {call} on {service}")


def half_a_network() -> ServiceError:
    """Source: https://github.com/aws/aws-sdk-js/issues/1293"""
    return invalid("SubnetIds and SecurityIds must coexist or be both empty list.")


def tenant_of_none() -> ServiceError:
    return invalid(
        "The invoked function is not enabled with tenancy configuration, but a tenant ID was specified in the request. "
        "Remove the tenant ID and try again."
    )


def no_tenant() -> ServiceError:
    return invalid(
        "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try "
        "again."
    )


def not_with_tenants(what: str) -> ServiceError:
    return invalid(f"{what} is not supported for functions with tenant isolation.")


def versions_differ(member: str) -> ServiceError:
    return invalid(f"Both versions of an alias must have the same {member}.")


def bad_json(detail: str) -> ServiceError:
    text = f"Could not parse request body into json: Could not parse payload into json: {detail}"
    return ServiceError("InvalidRequestContentException", text, fields={"Type": "User"})


def bad_client_context() -> ServiceError:
    text = "Client context must be a valid Base64-encoded JSON object."
    return ServiceError("InvalidRequestContentException", text, fields={"Type": "User"})


def mount_failed(why: str) -> ServiceError:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors"""
    text = f"The function couldn't mount its file system: {why}."
    return ServiceError("EFSMountFailureException", text, status=403, fields={"Type": "User"})


def restore_failed(*, is_timeout: bool) -> ServiceError:
    """Source: https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors"""
    if is_timeout:
        text = "Lambda couldn't restore the snapshot within the timeout limit."
        return ServiceError("SnapStartTimeoutException", text, status=408, fields={"Type": "User"})
    text = (
        "The afterRestore() runtime hook encountered an error. For more information, check the Amazon CloudWatch logs."
    )
    return ServiceError("SnapStartException", text, status=400, fields={"Type": "User"})


def no_snap_start(runtime: str) -> ServiceError:
    return invalid(f"{runtime} is not supported for SnapStart enabled functions.")


def throttled(reason: str) -> ServiceError:
    fields = {"Type": "User", "Reason": reason, "retryAfterSeconds": "1"}
    return ServiceError("TooManyRequestsException", "Rate Exceeded.", status=429, fields=fields)


def bad_marker() -> ServiceError:
    return invalid("Invalid value for pagination marker.")


def latest_undeletable() -> ServiceError:
    return invalid("$LATEST version cannot be deleted without deleting the function.")


def alias_as_qualifier() -> ServiceError:
    return invalid("Deletion of aliases is not currently supported.")


def version_in_use(aliases: Sequence[str]) -> ServiceError:
    """Source: https://github.com/karl-cardenas-coding/go-lambda-cleanup/issues/45"""
    return conflict(f"Unable to delete version because the following aliases reference it: [{', '.join(aliases)}]")


def unpublished_only() -> ServiceError:
    return invalid("This operation is permitted on Lambda functions' unpublished version ($LATEST) only.")


def other_code(given: str, known: str) -> ServiceError:
    return invalid(
        f"CodeSHA256 ({given}) is different from current CodeSHA256 in $LATEST ({known}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )


def alias_exists(arn: str) -> ServiceError:
    return conflict(f"Alias already exists: {arn}")


def no_such_alias(arn: str) -> ServiceError:
    return not_found(f"Cannot find alias arn: {arn}")


def alias_not_found(arn: str) -> ServiceError:
    """What UpdateAlias says. Source: https://github.com/apex/up/issues/606"""
    return not_found(f"Alias not found: {arn}")


def too_many_weights() -> ServiceError:
    return invalid("Number of items in AdditionalVersionWeights cannot be greater than 1")


def latest_in_routing() -> ServiceError:
    return invalid("$LATEST is not supported for an alias pointing to more than 1 version")


def version_twice_in_routing(version: str) -> ServiceError:
    return invalid(
        f"Invalid function version {version}. Function version {version} is already included in routing configuration."
    )


def policy_of_latest() -> ServiceError:
    return invalid("We currently do not support adding policies for $LATEST.")


def statement_exists(sid: str) -> ServiceError:
    return conflict(
        f"The statement id ({sid}) provided already exists. Please provide a new statement id, or remove the existing "
        "statement."
    )


def no_statement(sid: str) -> ServiceError:
    return not_found(f"Statement {sid} is not found in resource policy.")


def no_policy_found(arn: str) -> ServiceError:
    return not_found(f"No policy found for: {arn}")


def no_policy_associated() -> ServiceError:
    return not_found("No policy is associated with the given resource.")


def bad_policy(why: str) -> ServiceError:
    return invalid(f"The provided policy document is invalid: {why}")


def bad_principal() -> ServiceError:
    return invalid("The provided principal was invalid. Please check the principal and try again.")


def url_condition_of_other_action(member: str) -> ServiceError:
    return invalid(f"{member} is only supported for lambda:InvokeFunctionUrl action")


def access_denied(text: str) -> ServiceError:
    return ServiceError("AccessDeniedException", text, status=403)


def other_account(who: str, action: str, resource: str) -> ServiceError:
    return access_denied(
        f"User: {who} is not authorized to perform: {action} on resource: {resource} because no resource-based policy "
        f"allows the {action} action"
    )


def no_policy() -> ServiceError:
    return not_found("The resource you requested does not exist.")


def policy_too_long(size: int, bytes_max: int) -> ServiceError:
    text = f"The final policy size ({size}) is bigger than the limit ({bytes_max})."
    return ServiceError("PolicyLengthExceededException", text, fields={"Type": "User"})


def tags_of_versions() -> ServiceError:
    return invalid("Tags on function aliases and versions are not supported. Please specify a function ARN.")


def no_tags() -> ServiceError:
    return invalid("An error occurred and the request cannot be processed.")


def untaggable(kind: str) -> ServiceError:
    """Ours: what has no such resources has no tags of them."""
    return not_found(f"The resource you requested does not exist: this node has no {kind}.")


def too_many_tags() -> ServiceError:
    return invalid("Number of tags exceeds resource tag limit.")


def too_little_unreserved(count_min: int) -> ServiceError:
    return invalid(
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        f"its minimum value of [{count_min}]."
    )


def no_event_settings() -> ServiceError:
    return invalid("You must specify at least one of error handling or destination setting.")


def no_event_config(arn: str) -> ServiceError:
    return not_found(f"The function {arn} doesn't have an EventInvokeConfig")


def no_function_for_events() -> ServiceError:
    return not_found("The function doesn't exist.")


def bad_destinations(on_success: str, on_failure: str) -> ServiceError:
    success = f"OnSuccess(destination={on_success})" if on_success else "null"
    failure = f"OnFailure(destination={on_failure})" if on_failure else "null"
    return invalid(
        f"The provided destination config DestinationConfig(onSuccess={success}, onFailure={failure}) is invalid."
    )


def no_destination(target: str) -> ServiceError:
    return invalid(f"The destination ARN {target} is invalid.")


def destination_is_itself() -> ServiceError:
    return invalid("You can't specify the function as a destination for itself.")


def unbuilt(member: str) -> ServiceError:
    """Ours: refusing is better than a function that lacks what was asked for."""
    return invalid(f"{member} is not supported by this node.")


def recursive_loop() -> ServiceError:
    text = (
        "Lambda has detected your function being invoked in a recursive loop with other Amazon Web Services resources "
        "and stopped your function's invocation."
    )
    return ServiceError("RecursiveInvocationException", text, fields={"Type": "User"})


def mapping_exists(kind: str, source: str, function: str, id: str) -> ServiceError:
    """Source: https://github.com/hashicorp/terraform-provider-aws/issues and the AWS forums quote both forms."""
    tail = f"Please update or delete the existing mapping with UUID {id}"
    if kind == "sqs":
        return conflict(
            f'An event source mapping with SQS arn (" {source} ") and function (" {function} ") already exists. {tail}'
        )
    if kind in ("kafka", "self-managed"):
        return conflict(
            f'An event source mapping with event source ("{source}") and function ("{function}") already exists. {tail}'
        )
    return conflict(
        f'The event source arn (" {source} ") and function (" {function} ") provided mapping already exists. {tail}'
    )


def mapping_in_use(verb: str) -> ServiceError:
    text = f"Cannot {verb} the event source mapping because it is in use."
    return ServiceError("ResourceInUseException", text, fields={"Type": "User"})


def unsupported_setting(member: str) -> ServiceError:
    """Source: https://github.com/serverless/serverless/issues/7049"""
    return invalid(f"Unsupported {member} parameter for given event source mapping type.")


PROBLEM_OF_CLUSTER = "PROBLEM: Connection error. Please check your event source connection configuration."


def no_kafka_client() -> ServiceError:
    """Ours."""
    return invalid("Kafka event sources need the Python package confluent-kafka where the node runs.")


def unknown_cluster(source_arn: str, tag: str) -> ServiceError:
    """Ours: there is no MSK here that knows a cluster's brokers."""
    return invalid(f"The brokers of {source_arn} aren't known. Name them in the mapping's tag {tag}, as host:port.")


def destination_is_source(target: str) -> ServiceError:
    return invalid(f"The on-failure destination {target} can't be a topic that the mapping reads.")


def stream_inaccessible(source_arn: str) -> ServiceError:
    """Source: https://github.com/aws-amplify/amplify-cli/issues/12965"""
    return invalid(problem_of_stream(source_arn).removeprefix("PROBLEM: "))


def problem_of_stream(source_arn: str) -> str:
    """What LastProcessingResult says of a stream that can't be read."""
    actions = "GetRecords, GetShardIterator, DescribeStream, and ListStreams"
    if ":kinesis:" in source_arn:
        actions = "GetRecords, GetShardIterator, DescribeStream, ListShards, and ListStreams"
    return (
        f"PROBLEM: Cannot access stream {source_arn}. Please ensure the role can perform the {actions} Actions on your "
        "stream in IAM."
    )


def no_mapping() -> ServiceError:
    return not_found("The resource you requested does not exist.")


def queue_refused(code: str, text: str) -> ServiceError:
    return invalid(f"Error occurred while ReceiveMessage. SQS Error Code: {code}. SQS Error Message: {text}")


def visibility_too_short(hidden_s: int, timeout_s: int) -> ServiceError:
    return invalid(f"Queue visibility timeout: {hidden_s} seconds is less than Function timeout: {timeout_s} seconds")


def url_exists(arn: str) -> ServiceError:
    return conflict(
        f"Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for "
        "this Lambda function"
    )


def no_function_for_url() -> ServiceError:
    return not_found("Function does not exist")


def bad_url_qualifier(qualifier: str) -> ServiceError:
    pattern = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
    return bad_value(qualifier, "qualifier", f"Member must satisfy regular expression pattern: {pattern}")


def no_url() -> ServiceError:
    return not_found("The resource you requested does not exist.")


def stream_refused(source_arn: str, text: str) -> ServiceError:
    return invalid(f"Stream not found: {source_arn}. {text}")


def durable_at_creation_only() -> ServiceError:
    return invalid("DurableConfig can only be set when a function is created, and changed for a durable function.")
