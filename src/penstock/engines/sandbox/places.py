"""What functions see of the machine: which folders are hidden, and what is shown at AWS's places."""

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

UID_FIRST = 100_000
UIDS = 4096
"""Each environment gets the next one, then from the first again."""
HIDDEN = ("/home", "/root", "/var", "/opt", "/run", "/mnt", "/srv", "/media")
FOLDERS = ("/var/task", "/var/runtime", "/var/tmp", "/var/lang")


def root_mounts(
    *,
    work_dir: str,
    data_dir: str,
    runtime_dir: str,
    opt_dir: str,
    prefixes: Sequence[str],
    writable: Sequence[tuple[str, str]] = (),
) -> dict[str, object]:
    """For namespaces.prepare_root: interpreters where they are, the runtime at /var/runtime, layers at /opt.

    writable   (where it's shown, the folder) of what functions may write to
    prefixes   folders of interpreters; the first one's is Python's, also shown at /var/lang
    The data folder stays within reach of the template, which mounts code from it; each environment covers it.
    """
    hidden = [*HIDDEN]
    hosts = Path(work_dir) / "hosts"
    hosts.write_text(f"{_own_hosts()}127.0.0.1 sandbox.localdomain sandbox\n")
    passwd = Path(work_dir) / "passwd"
    passwd.write_text(_users())
    binds = [
        (path, path) for path in (*map(_real, filter(None, prefixes)), _real(data_dir)) if _is_within(path, hidden)
    ]
    binds += [
        ("/etc/hosts", str(hosts)),
        ("/etc/passwd", str(passwd)),
        ("/var/lang", _real(prefixes[0])),
    ]
    for folder, target in ((runtime_dir, "/var/runtime"), (opt_dir, "/opt")):
        if folder and _is_within(_real(folder), [_real(work_dir)]):
            binds += _composed(Path(folder), target, Path(work_dir))
        elif folder:
            binds.append((target, folder))
    return {
        "view": f"{work_dir}/view",
        "hidden": hidden,
        "binds": [*binds, *writable],
        "folders": FOLDERS,
        "writable": [path for path, _ in writable],
    }


@cache
def _users() -> str:
    """Whom a function may be, with names as AWS has them: libraries look up their own user."""
    lines = ["root:x:0:0:root:/root:/sbin/nologin\n"]
    for number in range(UIDS + 1):  # the first of them is whom the node's own file systems belong to
        name, uid = f"sbx_user{number}", UID_FIRST - 1 + number
        lines.append(f"{name}:x:{uid}:{uid}::/home/{name}:/sbin/nologin\n")
    return "".join(lines)


def _own_hosts() -> str:
    try:
        return Path("/etc/hosts").read_text().rstrip() + "\n"
    except OSError:
        return "127.0.0.1 localhost\n"


def _composed(folder: Path, target: str, work_dir: Path) -> Iterator[tuple[str, str]]:
    """A folder of links that we put together, as mounts of what the links mean: their targets may be hidden."""
    for item in sorted(folder.iterdir()):
        place = f"{target}/{item.name}"
        real = Path(os.path.realpath(item))
        if real.is_dir() and _is_within(str(real), [_real(str(work_dir))]):
            yield from _composed(real, place, work_dir)
        elif real.exists():
            yield place, str(real)


def _is_within(path: str, folders: list[str]) -> bool:
    return any(Path(path).is_relative_to(folder) for folder in folders)


def _real(path: str) -> str:
    return str(Path(path).resolve())
