"""Folders of this machine as a function's file systems."""

import json
import os
from pathlib import Path

import pytest

from penstock.engines.functions.file_systems import parse_mapping
from penstock.engines.functions.ports import FileSystemUnavailable

POINT = "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-0123456789abcdef0"
SOURCE = """
import os
def handler(event, context):
    path = "/mnt/shared/seen"
    before = open(path).read() if os.path.exists(path) else ""
    with open(path, "a") as file:
        file.write(event)
    return [before, sorted(os.listdir("/mnt")), os.getuid()]
"""


def mounted(b, name="f", **settings):
    return b.spec(SOURCE, name=name, file_systems=((POINT, "/mnt/shared"),), **settings)


async def test_functions_share_an_access_points_folder_which_outlives_them(sandboxed, tmp_path):
    async with sandboxed() as b:
        first = json.loads((await b.run(mounted(b), b'"a"')).payload)
        other = json.loads((await b.run(mounted(b, "g"), b'"b"')).payload)
        assert (first[:2], other[0]) == (["", ["shared"]], "a")
        plain = await b.run(b.spec("import os\ndef handler(e, c): return os.listdir('/mnt')\n", name="plain"))
        assert plain.payload == b"[]"
    assert (tmp_path / "data" / "file-systems" / POINT[-22:] / "seen").read_text() == "ab"


async def test_a_folder_of_the_users_own_is_written_as_its_owner(sandboxed, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4321, 4321)
    async with sandboxed(file_systems={"fsap-0123456789abcdef0": folder}) as b:
        answer = json.loads((await b.run(mounted(b), b'"a"')).payload)
        assert answer[2] == 4321
        snapped = mounted(b, "snapped", snap_start=True, version="1")
        assert await b.pool.snapshot(snapped) == ""
        assert json.loads((await b.run(snapped, b'"c"')).payload)[0] == "a"
    assert (folder / "seen").stat().st_uid == 4321


async def test_what_cannot_be_mounted_is_said(bench, isolation):
    async with bench(file_systems={POINT: Path("/nowhere/at/all")}) as b:
        with pytest.raises(FileSystemUnavailable, match="no folder"):
            await b.run(mounted(b))
        if isolation == "process":
            other = b.spec(SOURCE, name="g", file_systems=((POINT.replace("fsap-", "fsap-1"), "/mnt/shared"),))
            with pytest.raises(FileSystemUnavailable, match="--isolation sandbox"):
                await b.run(other)


def test_a_mapping_is_pairs():
    assert parse_mapping("a=/x, b=/y") == {"a": Path("/x"), "b": Path("/y")}
    assert parse_mapping("") == {}
    with pytest.raises(ValueError, match="ACCESS_POINT=FOLDER"):
        parse_mapping("a")
