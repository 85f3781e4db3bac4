"""Lambda: functions, their versions and invocations."""

from penstock.framework.service import Service
from penstock.services.lambda_ import background
from penstock.services.lambda_.operations import (
    access,
    aliases,
    capacity,
    code_signing,
    concurrency,
    durable_callbacks,
    durable_executions,
    event_invoke_configs,
    event_sources,
    function_urls,
    functions,
    invocations,
    layer_permissions,
    layers,
    permissions,
    provisioned,
    resource_policies,
    runtime_management,
    streaming,
    tags,
    updates,
    versions,
)
from penstock.services.lambda_.operations.log_shipper import LogShipper
from penstock.services.lambda_.operations.metering import meter_of
from penstock.services.lambda_.operations.packages import CODE_PATH, download
from penstock.services.lambda_.operations.role_credentials import RoleCredentials

__all__ = ["CODE_PATH", "SERVICE", "function_urls", "LogShipper", "RoleCredentials", "download", "meter_of"]

SERVICE = Service(
    "lambda",
    operations=[
        functions,
        updates,
        versions,
        aliases,
        layers,
        layer_permissions,
        permissions,
        resource_policies,
        code_signing,
        runtime_management,
        capacity,
        tags,
        concurrency,
        provisioned,
        event_invoke_configs,
        event_sources,
        function_urls,
        invocations,
        streaming,
        durable_executions,
        durable_callbacks,
    ],
    background=background,
    access=access.ACCESS,
)
