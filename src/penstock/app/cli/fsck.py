"""`penstock fsck`: is all that a node holds still there and still what it was?"""

import asyncio
import dataclasses
import json
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from penstock.app.cli.look import EXIT_FAILED, Json, report_failure
from penstock.app.client import NodeUnreachable, Refused, ask, endpoint_of
from penstock.app.config import ConfigError, load
from penstock.services import s3
from penstock.services.s3 import Findings, Problem
from penstock.storage import collection
from penstock.storage.backends.files import FileBlobStore
from penstock.storage.backends.sqlite import SqliteStore
from penstock.storage.backends.sqlite_files import FILE_NAME
from penstock.storage.transactions import StoreDamaged, StoreLocked

_SHOWN_MAX = 200
Flag = Annotated[bool, Parameter(negative=())]


def fsck(
    *,
    data: Path | None = None,
    endpoint: str | None = None,
    repair: Flag = False,
    fast: Flag = False,
    as_json: Json = False,
) -> int:
    """Check that every object has its bytes, that the map is whole, and that nothing lies about that nobody names.

    With --data, or to repair, a stopped node's folder is checked; else a running node is asked, which goes on
    meanwhile. Exit code 1 where something is wrong that was not repaired.

    Parameters
    ----------
    data
        The data folder of a node that isn't running.
    endpoint
        The node: AWS_ENDPOINT_URL, or http://127.0.0.1:4566.
    repair
        Mend what has a healthy copy, and delete what nothing names. Objects that are damaged are never deleted.
    fast
        Look at sizes only, don't read the bytes.
    as_json
        Print JSON.
    """
    try:
        if data is None and not repair:
            findings = _asked(ask(endpoint_of(endpoint), "POST", "fsck", {"fast": fast}))
        else:
            folder = load(flags={"data": data}, environment=os.environ, folder=Path.cwd()).data_dir
            findings = asyncio.run(check_folder(folder, is_repairing=repair, is_reading=not fast))
    except (NodeUnreachable, Refused, StoreLocked, StoreDamaged, OSError, ConfigError) as error:
        return report_failure(error)
    left = [problem for problem in findings.problems if not problem.mended]
    if as_json:
        print(json.dumps(_told(findings)))
        return EXIT_FAILED if left else 0
    for problem in findings.problems[:_SHOWN_MAX]:
        mended = f" [repaired: {problem.mended}]" if problem.mended else ""
        print(f"{problem.what}: {problem.where}: {problem.detail}{mended}")
    if len(findings.problems) > _SHOWN_MAX:
        print(f"... and {len(findings.problems) - _SHOWN_MAX} more")
    unread = f", {findings.unverified:,} of unknown checksum" if findings.unverified else ""
    print(
        f"{findings.objects:,} objects, {findings.bytes:,} bytes{unread}: "
        f"{len(findings.problems):,} problems, {len(findings.problems) - len(left):,} repaired"
    )
    return EXIT_FAILED if left else 0


async def check_folder(data_dir: Path, *, is_repairing: bool, is_reading: bool) -> Findings:
    """Raises StoreLocked while a node runs, StoreDamaged where the map can't be opened."""
    if not (data_dir / FILE_NAME).exists():
        raise FileNotFoundError(f"there is no node's data in {data_dir}")
    store = SqliteStore.open(data_dir)
    blobs = FileBlobStore(data_dir / "blobs")
    try:
        findings = await s3.check(store, blobs, is_repairing=is_repairing, is_reading=is_reading)
        await asyncio.to_thread(_check_files, data_dir, blobs, findings, is_repairing=is_repairing)
    finally:
        await blobs.close()
        await store.close()
    return findings


def _check_files(data_dir: Path, blobs: FileBlobStore, findings: Findings, *, is_repairing: bool) -> None:
    """The map's own file, and the blobs' folder against every store that shares it."""
    named: set[str] = set()
    for path in collection.stores(data_dir):
        findings.problems += [Problem("damaged", str(path), text) for text in collection.damage_of(path)]
        named |= collection.named_blob_ids(path)
    kept = collection.live_blob_ids(data_dir)
    present = set()
    root = data_dir / "blobs"
    for blob_id in blobs.ids():
        present.add(blob_id)
        if blob_id not in kept:
            findings.problems.append(_orphan(root / blob_id, f"blob {blob_id}", is_repairing=is_repairing))
    for path in blobs.drafts():
        findings.problems.append(_orphan(path, f"unfinished {path.name}", is_repairing=is_repairing))
    told = " ".join(problem.detail for problem in findings.problems if problem.what == "missing")
    for blob_id in sorted(named - present):
        if blob_id not in told:  # what S3 misses was told by its object
            findings.problems.append(Problem("missing", f"blob {blob_id}", "a record names it"))


def _orphan(path: Path, where: str, *, is_repairing: bool) -> Problem:
    size = path.stat().st_size
    if is_repairing:
        path.unlink()
    return Problem("orphan", where, f"{size:,} bytes that nothing names", "deleted" if is_repairing else "")


def _asked(answer: dict[str, Any]) -> Findings:
    problems = [Problem(**problem) for problem in answer.pop("problems")]
    return Findings(**answer, problems=problems)


def _told(findings: Findings) -> dict[str, Any]:
    return dataclasses.asdict(findings)
