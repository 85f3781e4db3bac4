"""A running node for real clients: a process of its own, as a user starts it."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

PROGRAM = [sys.executable, "-c", "from penstock.app.main import main; main()"]
CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}


@dataclass
class RunningNode:
    url: str
    data: Path
    process: subprocess.Popen

    def client(self, service, *, retries=0, signature=None, **arguments):
        config = Config(retries={"total_max_attempts": retries + 1}, signature_version=signature)
        return boto3.client(
            service, endpoint_url=self.url, config=config, **{"region_name": "us-east-1", **CREDENTIALS, **arguments}
        )

    def environment(self):
        """What a shell needs to reach it."""
        return {
            **os.environ,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_PAGER": "",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def run(self, *words, check=True, credentials=None):
        """A `penstock` command against this node."""
        environment = self.environment() | {name.upper(): value for name, value in (credentials or {}).items()}
        done = subprocess.run([*PROGRAM, *words], capture_output=True, text=True, env=environment, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return done

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(15)


def start(data, *flags):
    log = (data.parent / f"{data.name}.log").open("a")
    command = [*PROGRAM, "up", "--port", "0", "--data", str(data), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    line = process.stdout.readline()
    if not line.startswith("ready "):
        process.wait()
        raise RuntimeError(f"the node didn't start: {Path(log.name).read_text()[-3000:]}")
    return RunningNode(line.split()[1], data, process)


@pytest.fixture(scope="session")
def start_node():
    return start


@pytest.fixture
def program():
    return PROGRAM


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    running = start(tmp_path_factory.mktemp("node") / "data")
    yield running
    assert running.stop() == 0


@pytest.fixture
def fresh_node(tmp_path):
    """Starts nodes that a test may stop, kill and start again on its folder."""
    started = []

    def start_one(*flags, data=None):
        running = start(data or tmp_path / "data", *flags)
        started.append(running)
        return running

    yield start_one
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait()
