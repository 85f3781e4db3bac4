"""Quotas of Lambda."""

import re

from penstock.kernel.limits import Limit
from penstock.kernel.units import DAY_MS, GIB, HOUR_MS, KIB, MIB, MINUTE_MS, SECOND_MS

_QUOTAS = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
_ASYNC = "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html"
_CREATE = "https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html"
_CONCURRENCY = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html"

NAME_LETTERS_MAX = Limit(64, _CREATE)
TIMEOUT_S_MAX = Limit(900, _QUOTAS)
MEMORY_MB_MAX = Limit(10_240, _QUOTAS)
EPHEMERAL_MB_MAX = Limit(10_240, _QUOTAS)
TIMEOUT_S_DEFAULT = Limit(3, _CREATE)
MEMORY_MB_DEFAULT = Limit(128, _CREATE)
EPHEMERAL_MB_DEFAULT = Limit(512, _CREATE)
ENVIRONMENT_BYTES_MAX = Limit(4 * KIB, _QUOTAS)
LAYERS_MAX = Limit(5, _QUOTAS)
ZIPPED_BYTES_MAX = Limit(50 * MIB, _QUOTAS)
S3_ZIPPED_BYTES_MAX = Limit(250 * MIB, _QUOTAS)
UNZIPPED_BYTES_MAX = Limit(250 * MIB, _QUOTAS)
CODE_STORAGE_BYTES_MAX = Limit(75 * GIB, _QUOTAS)
POLICY_BYTES_MAX = Limit(20 * KIB, _QUOTAS)
SYNC_PAYLOAD_BYTES_MAX = Limit(6 * MIB, _QUOTAS)
ASYNC_PAYLOAD_BYTES_MAX = Limit(MIB, _QUOTAS)
INVOKE_ASYNC_BYTES_MAX = Limit(256 * KIB, "https://docs.aws.amazon.com/lambda/latest/api/API_InvokeAsync.html")
CLIENT_CONTEXT_BYTES_MAX = Limit(3583, "https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html")
PAGE_MAX = Limit(50, "https://docs.aws.amazon.com/lambda/latest/api/API_ListFunctions.html")
CONCURRENCY = Limit(1000, _QUOTAS)
UNRESERVED_CONCURRENCY_MIN = Limit(100, _CONCURRENCY)
TAGS_MAX = Limit(50, "https://docs.aws.amazon.com/lambda/latest/dg/configuration-tags.html")

RETRIES_DEFAULT = Limit(2, _ASYNC)
RETRY_DELAYS_MS = (MINUTE_MS, 2 * MINUTE_MS)  # between tries after function errors. Source: _ASYNC
EVENT_AGE_S_DEFAULT = Limit(21_600, _ASYNC)
THROTTLE_DELAY_MS_FIRST = Limit(SECOND_MS, _ASYNC)
THROTTLE_DELAY_MS_MAX = Limit(5 * MINUTE_MS, _ASYNC)
ERROR_MESSAGE_BYTES_MAX = Limit(
    KIB, "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"
)
RECURSION_HOPS_MAX = Limit(16, "https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html")

_DURABLE = "https://docs.aws.amazon.com/lambda/latest/dg/durable-functions.html"
DURABLE_SYNC_S_MAX = Limit(900, "https://docs.aws.amazon.com/lambda/latest/dg/durable-invoking.html")
DURABLE_TIMEOUT_S_DEFAULT = Limit(86_400, _DURABLE)
DURABLE_RETENTION_DAYS_DEFAULT = Limit(14, "https://docs.aws.amazon.com/lambda/latest/dg/durable-configuration.html")
DURABLE_PAGE_DEFAULT = Limit(100, "https://docs.aws.amazon.com/lambda/latest/api/API_GetDurableExecutionState.html")
DURABLE_PAGE_MAX = Limit(1000, "https://docs.aws.amazon.com/lambda/latest/api/API_GetDurableExecutionState.html")
CALLBACK_RESULT_BYTES_MAX = Limit(
    MIB, "https://docs.aws.amazon.com/lambda/latest/api/API_SendDurableExecutionCallbackSuccess.html"
)

# Ours, not AWS's.
DURABLE_PAGE_BYTES_MAX = 5 * MIB  # of operations in an event or an answer, which may hold 6 MiB
DURABLE_IN_FLIGHT_MAX = 1000
DURABLE_AFTER_OUTAGE_S = 1.0
DURABLE_AFTER_BUG_S = 60.0
RECURSION_HOPS_COUNTED = 1_000_000
LINEAGE_FUNCTIONS_MAX = 32
ASYNC_LEASE_MS = 12 * HOUR_MS  # beyond any wait and timeout; a restarted node takes its predecessor's back at once
ASYNC_IN_FLIGHT_MAX = 1000
ASYNC_IN_FLIGHT_OF_FUNCTION_MAX = 100
DELIVERY_ATTEMPTS_MAX = 20
BLOB_GRACE_MS = MINUTE_MS  # how long a replaced package stays for those who read it
CODE_GRACE_MS = 20 * MINUTE_MS  # how long unpacked code stays for invocations that still run it
CODE_URL_MS = 10 * MINUTE_MS
CREDENTIALS_MS = DAY_MS // 2
SPECS_MAX = 2000
LOG_LINGER_S = 0.1
LOG_BUFFER_BYTES_MAX = 32 * MIB
LOG_STREAMS_KNOWN_MAX = 10_000
METER_LINGER_S = 1.0
METRICS_ROLLED_MS = HOUR_MS

RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    }
)  # Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
# Source: https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html#snapstart-runtimes
SNAP_START_RUNTIMES = re.compile(r"python3\.1[2-9]|java(11|17|21|25)|dotnet(8|9|10)")

# Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
RUNTIMES = (
    *("nodejs18.x", "nodejs20.x", "nodejs22.x", "nodejs24.x", "nodejs26.x"),
    *("python3.9", "python3.10", "python3.11", "python3.12", "python3.13", "python3.14", "python3.15"),
    *("java8.al2", "java8.al2023", "java11", "java11.al2023", "java17", "java17.al2023", "java21", "java25"),
    *("dotnet8", "dotnet10", "ruby3.2", "ruby3.3", "ruby3.4", "ruby4.0", "provided.al2", "provided.al2023"),
)
# Runtimes that AWS no longer takes for new functions, and what it recommends instead.
# Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html
RETIRED_RUNTIMES = {
    "python2.7": "python3.13",
    "python3.6": "python3.13",
    "python3.7": "python3.13",
    "python3.8": "python3.13",
    "nodejs": "nodejs22.x",
    "nodejs4.3": "nodejs22.x",
    "nodejs4.3-edge": "nodejs22.x",
    "nodejs6.10": "nodejs22.x",
    "nodejs8.10": "nodejs22.x",
    "nodejs10.x": "nodejs22.x",
    "nodejs12.x": "nodejs22.x",
    "nodejs14.x": "nodejs22.x",
    "nodejs16.x": "nodejs22.x",
    "go1.x": "provided.al2023",
    "provided": "provided.al2023",
    "java8": "java21",
    "ruby2.5": "ruby3.4",
    "ruby2.7": "ruby3.4",
    "dotnetcore1.0": "dotnet8",
    "dotnetcore2.0": "dotnet8",
    "dotnetcore2.1": "dotnet8",
    "dotnetcore3.1": "dotnet8",
    "dotnet6": "dotnet8",
}
