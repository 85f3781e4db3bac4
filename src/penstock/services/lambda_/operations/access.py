"""What IAM is asked for each operation, and the policy of the function that a request names.

Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html
"""

from typing import Any

from penstock.engines.durable.machine import read_callback_id
from penstock.engines.durable.model import Refused
from penstock.framework.authorization import pass_role
from penstock.framework.context import Context
from penstock.framework.service import Access, Members, Permission
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import rules, state
from penstock.services.lambda_.operations import layer_records, layers
from penstock.storage.transactions import ReadTransaction

_OF_FUNCTIONS = (
    "GetFunction",
    "GetFunctionConfiguration",
    "GetFunctionCodeSigningConfig",
    "PutFunctionCodeSigningConfig",
    "DeleteFunctionCodeSigningConfig",
    "PutRuntimeManagementConfig",
    "GetRuntimeManagementConfig",
    "PutFunctionScalingConfig",
    "GetFunctionScalingConfig",
    "PutResourcePolicy",
    "GetResourcePolicy",
    "DeleteResourcePolicy",
    "DeleteFunction",
    "UpdateFunctionCode",
    "PublishVersion",
    "ListVersionsByFunction",
    "CreateAlias",
    "GetAlias",
    "UpdateAlias",
    "DeleteAlias",
    "ListAliases",
    "AddPermission",
    "RemovePermission",
    "GetPolicy",
    "PutFunctionConcurrency",
    "PutFunctionRecursionConfig",
    "GetFunctionRecursionConfig",
    "GetFunctionConcurrency",
    "PutProvisionedConcurrencyConfig",
    "GetProvisionedConcurrencyConfig",
    "ListProvisionedConcurrencyConfigs",
    "DeleteProvisionedConcurrencyConfig",
    "DeleteFunctionConcurrency",
    "PutFunctionEventInvokeConfig",
    "GetFunctionEventInvokeConfig",
    "UpdateFunctionEventInvokeConfig",
    "DeleteFunctionEventInvokeConfig",
    "ListFunctionEventInvokeConfigs",
    "CreateFunctionUrlConfig",
    "GetFunctionUrlConfig",
    "UpdateFunctionUrlConfig",
    "DeleteFunctionUrlConfig",
    "ListFunctionUrlConfigs",
    "TagResource",
    "UntagResource",
    "ListTags",
    "ListDurableExecutionsByFunction",
)
_OF_EXECUTIONS = (
    "CheckpointDurableExecution",
    "GetDurableExecution",
    "GetDurableExecutionHistory",
    "GetDurableExecutionState",
    "StopDurableExecution",
)
_OF_CALLBACKS = (
    "SendDurableExecutionCallbackSuccess",
    "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
)
_OF_NONE = (
    "ListFunctions",
    "ListLayers",
    "GetAccountSettings",
    "ListEventSourceMappings",
    "CreateCodeSigningConfig",
    "ListCodeSigningConfigs",
    "CreateCapacityProvider",
    "ListCapacityProviders",
)
_OF_CAPACITY_PROVIDERS = (
    "GetCapacityProvider",
    "UpdateCapacityProvider",
    "DeleteCapacityProvider",
    "ListFunctionVersionsByCapacityProvider",
)
_OF_CODE_SIGNING = (
    "GetCodeSigningConfig",
    "UpdateCodeSigningConfig",
    "DeleteCodeSigningConfig",
    "ListFunctionsByCodeSigningConfig",
)
_OF_SOURCES = ("GetEventSourceMapping", "UpdateEventSourceMapping", "DeleteEventSourceMapping")
_OF_LAYERS = ("PublishLayerVersion", "ListLayerVersions")
_OF_LAYER_VERSIONS = (
    "GetLayerVersion",
    "DeleteLayerVersion",
    "AddLayerVersionPermission",
    "RemoveLayerVersionPermission",
    "GetLayerVersionPolicy",
)
_PASSED_TO = "lambda.amazonaws.com"


def _function(ctx: Context, req: Members) -> str:
    """The function, or what else a tag operation names."""
    try:
        resource = str(req.get("Resource") or "")
        if resource and ":function:" not in resource:
            return resource
        text = str(req.get("FunctionName") or req.get("Resource") or req.get("ResourceArn") or "*")
        return rules.named(ctx.scope, text, req.get("Qualifier")).arn
    except ServiceError:
        return "*"


def _layer(ctx: Context, req: Members) -> str:
    name = str(req.get("LayerName") or "*")
    return name if name.startswith("arn:") else layer_records.layer_arn(ctx.scope, name)


def _layer_version(ctx: Context, req: Members) -> str:
    return str(req["Arn"]) if req.get("Arn") else f"{_layer(ctx, req)}:{req.get('VersionNumber', '*')}"


def _source(ctx: Context, req: Members) -> str:
    scope = ctx.scope
    return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account_id}:event-source-mapping:{req['UUID']}"


def _signing(ctx: Context, req: Members) -> str:
    return str(req["CodeSigningConfigArn"])


def _capacity_provider(ctx: Context, req: Members) -> str:
    scope = ctx.scope
    name = req["CapacityProviderName"]
    return f"arn:{scope.partition}:lambda:{scope.region}:{scope.account_id}:capacity-provider:{name}"


def _execution(ctx: Context, req: Members) -> str:
    return str(req["DurableExecutionArn"])


def _callback(ctx: Context, req: Members) -> str:
    """The execution that waits for it."""
    try:
        return read_callback_id(str(req["CallbackId"]))[0]
    except Refused:
        return "*"


def _settings(ctx: Context, req: Members) -> dict[str, str | list[str]]:
    """Lambda's own condition keys.

    Source: https://docs.aws.amazon.com/service-authorization/latest/reference/list_awslambda.html#awslambda-policy-keys
    """
    network = req.get("VpcConfig") or {}
    keys: dict[str, Any] = {
        "lambda:Layer": req.get("Layers"),
        "lambda:SubnetIds": network.get("SubnetIds"),
        "lambda:SecurityGroupIds": network.get("SecurityGroupIds"),
        "lambda:CodeSigningConfigArn": req.get("CodeSigningConfigArn"),
        "lambda:Principal": req.get("Principal"),
        "lambda:FunctionUrlAuthType": req.get("FunctionUrlAuthType") or req.get("AuthType"),
    }
    return {key: value for key, value in keys.items() if value}


def _fed_function(ctx: Context, req: Members) -> dict[str, str | list[str]]:
    return {"lambda:FunctionArn": _function(ctx, req)} if req.get("FunctionName") else {}


def _any(ctx: Context, req: Members) -> str:
    return "*"


def function_policy(tx: ReadTransaction, ctx: Context, operation: str, req: Members) -> str | None:
    """The policy of the function, version, alias or layer version that the request names."""
    if operation.endswith(("LayerVersion", "LayerVersionByArn")):
        return _layer_policy(tx, ctx, req)
    try:
        named = rules.named(ctx.scope, str(req.get("FunctionName") or ""), req.get("Qualifier"))
    except ServiceError:
        return None
    policy = state.find_policy(tx, named.scope, named.name, named.qualifier)
    return None if policy is None else policy.document()


def _layer_policy(tx: ReadTransaction, ctx: Context, req: Members) -> str | None:
    try:
        scope, name, number = layers.named(ctx.scope, str(req.get("Arn") or req.get("LayerName")))
    except ServiceError:
        return None
    policy = layer_records.find_layer_policy(tx, scope, name, number or int(req.get("VersionNumber") or 0))
    return None if policy is None else policy.document()


ACCESS = Access(
    permissions={
        **{name: [Permission(f"lambda:{name}", _function, _settings)] for name in _OF_FUNCTIONS},
        **{name: [Permission(f"lambda:{name}", _any)] for name in _OF_NONE},
        **{name: [Permission(f"lambda:{name}", _layer)] for name in _OF_LAYERS},
        **{name: [Permission(f"lambda:{name}", _execution)] for name in _OF_EXECUTIONS},
        **{name: [Permission(f"lambda:{name}", _callback)] for name in _OF_CALLBACKS},
        **{name: [Permission(f"lambda:{name}", _source, _fed_function)] for name in _OF_SOURCES},
        **{name: [Permission(f"lambda:{name}", _signing)] for name in _OF_CODE_SIGNING},
        **{name: [Permission(f"lambda:{name}", _capacity_provider)] for name in _OF_CAPACITY_PROVIDERS},
        "CreateEventSourceMapping": [Permission("lambda:CreateEventSourceMapping", _any, _fed_function)],
        **{name: [Permission(f"lambda:{name}", _layer_version)] for name in _OF_LAYER_VERSIONS},
        "GetLayerVersionByArn": [Permission("lambda:GetLayerVersion", _layer_version)],
        "CreateFunction": [Permission("lambda:CreateFunction", _function, _settings), pass_role("Role", _PASSED_TO)],
        "UpdateFunctionConfiguration": [
            Permission("lambda:UpdateFunctionConfiguration", _function, _settings),
            pass_role("Role", _PASSED_TO),
        ],
        "InvokeAsync": [Permission("lambda:InvokeAsync", _function)],
        "InvokeWithResponseStream": [Permission("lambda:InvokeFunction", _function)],
        "Invoke": [Permission("lambda:InvokeFunction", _function)],
    },
    resource_policy=function_policy,
)
