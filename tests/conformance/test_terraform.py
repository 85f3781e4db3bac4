"""Terraform's own AWS provider against a running node: what it applies, it finds again unchanged, and destroys.

Needs `terraform`, and in TERRAFORM_PLUGINS a folder of its plugins (a filesystem mirror).
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock.testkit.functions import zipped

PLUGINS = os.environ.get("TERRAFORM_PLUGINS", "")
pytestmark = [
    pytest.mark.real_clients,
    pytest.mark.xdist_group("conformance-terraform"),
    pytest.mark.skipif(not PLUGINS or not shutil.which("terraform"), reason="no terraform, or no plugins for it"),
]
CONFIGURATIONS = Path(__file__).parent / "terraform"
UNCHANGED = 0  # 2 would be a plan with differences


@pytest.fixture
def terraform(node, tmp_path):
    environment = node.environment() | {"TF_VAR_endpoint": node.url, "TF_IN_AUTOMATION": "1"}

    def run(command, *words):
        line = ["terraform", f"-chdir={tmp_path}", command, "-no-color", *words]
        return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=600)

    return run


def test_a_function_and_all_that_belongs_to_it_is_applied_unchanged_and_destroyed(terraform, tmp_path):
    shutil.copy(CONFIGURATIONS / "lambda.tf", tmp_path / "main.tf")
    (tmp_path / "f.zip").write_bytes(zipped())
    (tmp_path / "l.zip").write_bytes(zipped("1", "python/thing.py"))
    for command, words in (
        ("init", [f"-plugin-dir={PLUGINS}"]),
        ("apply", ["-auto-approve"]),
        ("plan", ["-detailed-exitcode"]),
        ("destroy", ["-auto-approve"]),
    ):
        done = terraform(command, *words)
        assert done.returncode == UNCHANGED, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert "Destroy complete! Resources: 15 destroyed." in done.stdout
