"""Function code on disk: safe extraction, the merged view of layers, what the managed runtime brings.

Source: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
"""

import errno
import hashlib
import importlib.util
import io
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from penstock.engines.functions import bootstrap

UNZIPPED_BYTES_MAX = 250 * 1024 * 1024
ENTRIES_MAX = 100_000
COPY_BYTES = 1 << 20
NODE_CLIENT = "index.mjs"
PYTHON_CLIENT = "bootstrap.py"
RUNTIME_MODULES = (
    "awslambdaric", "runtime_client", "snapshot_restore_py", "simplejson", "boto3", "botocore", "s3transfer",
    "jmespath", "dateutil", "urllib3", "six",
)  # fmt: skip
PANDAS_LAYER = re.compile(r"arn:aws[a-z-]*:lambda:[a-z0-9-]+:336392948345:layer:AWSSDKPandas-Python3\d+(-Arm64)?:\d+")
PANDAS_MODULES = (
    "pandas", "numpy", "numpy.libs", "pyarrow", "pyarrow.libs", "s3fs", "fsspec", "aiobotocore", "aiohttp",
    "aiohappyeyeballs", "aioitertools", "aiosignal", "attr", "attrs", "frozenlist", "idna", "multidict", "propcache",
    "yarl", "wrapt", "typing_extensions", "packaging", "pytz", "tzdata", "awswrangler",
)  # fmt: skip


# What damaged or odd archives make zipfile and the decompressors raise.
UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(NotImplementedError, RuntimeError, EOFError, ValueError, IndexError, OverflowError, MemoryError),
)
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE})


STOCK = frozenset(name.partition(".")[0] for name in (*RUNTIME_MODULES, *PANDAS_MODULES))
"""What comes with the node: the names that a function's own packages may replace."""


class BadPackage(Exception):
    """The archive isn't one that Lambda would take; the text says why."""


class PackageTooLarge(BadPackage):
    """Unzipped it is beyond 250 MB."""


def extract(archive: bytes, packages_dir: str, *, bytes_max: int = UNZIPPED_BYTES_MAX) -> str:
    """Unpack into a read-only folder named by the content; the same archive is unpacked once.

    Raises BadPackage for what isn't a zip, leaves its folder, or holds links that do; PackageTooLarge beyond
    `bytes_max`, counted as it's written, whatever the archive says of itself.
    """
    target = Path(packages_dir) / hashlib.sha256(archive).hexdigest()
    if target.is_dir():
        return str(target)
    Path(packages_dir).mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=packages_dir, prefix=".unpacking-"))
    try:
        _unpack(archive, building, bytes_max)
        building.chmod(0o755)
        os.rename(building, target)
    except OSError:
        remove(str(building))
        if not target.is_dir():
            raise
    except BaseException:
        remove(str(building))
        raise
    return str(target)


def _unpack(archive: bytes, root: Path, bytes_max: int) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as package:
            entries = package.infolist()
            if len(entries) > ENTRIES_MAX:
                raise BadPackage("too many files")
            left = bytes_max
            for entry in entries:
                path = _inside(root, entry.filename)
                if entry.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                left -= _write(package, entry, path, root, left)
        _check_links(root)
    except UNREADABLE as failure:
        raise BadPackage(f"Could not unzip uploaded file: {failure}") from failure
    except OSError as failure:
        if failure.errno in _DISK_ERRORS:
            raise
        raise BadPackage(f"Could not unzip uploaded file: {failure}") from failure


def _check_links(root: Path) -> None:
    """Where links lead in the end: each may look harmless until another one stands in its way."""
    at = os.path.realpath(root)
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(folder, name)
            if os.path.islink(path) and not Path(os.path.realpath(path)).is_relative_to(at):
                raise BadPackage(f"a link leaves the package: {name!r}")


def _inside(root: Path, name: str) -> Path:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name:
        raise BadPackage(f"a file leaves the package: {name!r}")
    path = root.joinpath(*parts)
    for parent in path.parents:
        if parent == root:
            break
        if parent.is_symlink():
            raise BadPackage(f"a file is beneath a link: {name!r}")
    return path


def _write(package: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, root: Path, left: int) -> int:
    """Returns the bytes written."""
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        link = package.read(entry)[:4096].decode("utf-8", "replace")
        resolved = os.path.normpath(path.parent / link)
        if os.path.isabs(link) or not Path(resolved).is_relative_to(root):
            raise BadPackage(f"a link leaves the package: {entry.filename!r}")
        path.symlink_to(link)
        return 0
    path.unlink(missing_ok=True)
    written = 0
    with package.open(entry) as source, path.open("xb") as sink:
        while chunk := source.read(COPY_BYTES):
            written += len(chunk)
            if written > left:
                raise PackageTooLarge(f"Unzipped size must be smaller than {UNZIPPED_BYTES_MAX} bytes")
            sink.write(chunk)
    path.chmod(0o555 if mode & 0o111 else 0o444)
    return written


def remove(folder: str) -> None:
    """Delete an unpacked package."""
    shutil.rmtree(folder, ignore_errors=True)


def merged_layers(layer_dirs: Sequence[str], work_dir: str) -> str:
    """One folder that shows all layers, later ones over earlier ones; links, not copies. "" without layers."""
    if not layer_dirs:
        return ""
    if len(layer_dirs) == 1:
        return layer_dirs[0]
    key = hashlib.sha256("\0".join(layer_dirs).encode()).hexdigest()
    target = Path(work_dir) / "layers" / key
    if target.is_dir():
        return str(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".merging-"))
    for layer in layer_dirs:
        _link_over(Path(layer), building)
    _publish(building, target)
    return str(target)


def _link_over(source: Path, target: Path) -> None:
    """Folders merge; of two files, the later one stands."""
    for item in sorted(source.iterdir()):
        place = target / item.name
        if not item.is_dir():
            if place.is_symlink() or place.is_file():
                place.unlink()
            place.symlink_to(item)
        elif place.is_symlink() and place.is_dir():
            earlier = place.resolve()
            place.unlink()
            place.mkdir()
            _link_over(earlier, place)
            _link_over(item, place)
        elif place.is_dir():
            _link_over(item, place)
        elif not place.exists():
            place.symlink_to(item)


def _publish(building: Path, target: Path) -> None:
    try:
        building.chmod(0o755)
        os.rename(building, target)
    except OSError:
        remove(str(building))
        if not target.is_dir():
            raise


def _origin(module: str) -> Path | None:
    """Where this interpreter has a top-level package or module, or its folder of bundled libraries."""
    if module.endswith(".libs"):
        package = _origin(module.removesuffix(".libs"))
        libraries = package.parent / module if package is not None else None
        return libraries if libraries is not None and libraries.is_dir() else None
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    origin = Path(found.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def _link_modules(modules: Sequence[str], target: Path, *, files: Mapping[str, Path] | None = None) -> None:
    if target.is_dir():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".linking-"))
    for name, file in (files or {}).items():
        (building / name).symlink_to(file)
    for module in modules:
        if (origin := _origin(module)) is None:
            continue
        (building / origin.name).symlink_to(origin)
        for record in origin.parent.glob(f"{module.replace('.libs', '')}-*.dist-info"):
            if not (building / record.name).is_symlink():
                (building / record.name).symlink_to(record)
    _publish(building, target)


def _clients() -> dict[str, Path]:
    folder = Path(bootstrap.__file__).parent
    return {NODE_CLIENT: folder / "runtime.mjs", PYTHON_CLIENT: folder / "standalone.py"}


def runtime_dir(work_dir: str) -> str:
    """The managed runtime's own packages and no others: /var/runtime. Links into this interpreter's packages."""
    clients = _clients()
    places = "\0".join([*(str(_origin(module)) for module in RUNTIME_MODULES), *map(str, clients.values())])
    target = Path(work_dir) / "runtime" / hashlib.sha256(places.encode()).hexdigest()[:16]
    _link_modules(RUNTIME_MODULES, target, files=clients)
    return str(target)


def runtime_copy(interpreter: str, version: str) -> str:
    """As `runtime_dir`, for another Python: copies, compiled by it once for all nodes of this user.

    Takes seconds the first time. They are pure Python; what is compiled of them has a pure double.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock" / "runtimes"
    origins = {module: origin for module in RUNTIME_MODULES if (origin := _origin(module)) is not None}
    stamps = [f"{path}:{path.stat().st_mtime_ns}" for path in (*origins.values(), *_clients().values())]
    key = hashlib.sha256("\0".join([interpreter, *stamps]).encode()).hexdigest()[:16]
    target = cache / f"python{version}-{key}"
    if target.is_dir():
        return str(target)
    cache.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=cache, prefix=".copying-"))
    for name, file in _clients().items():
        shutil.copy(file, building / name)
    for module, origin in origins.items():
        _copy_module(module, origin, building)
    subprocess.run([interpreter, "-I", "-S", "-m", "compileall", "-q", str(building)], check=False)
    _publish(building, target)
    return str(target)


def _copy_module(module: str, origin: Path, target: Path) -> None:
    if origin.is_dir():
        shutil.copytree(origin, target / origin.name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "tests"))
    elif origin.suffix == ".py":
        shutil.copy(origin, target / origin.name)
    for record in origin.parent.glob(f"{module}-*.dist-info"):
        shutil.copytree(record, target / record.name, dirs_exist_ok=True)


def java_dir(jars: Sequence[str], work_dir: str) -> str:
    """/var/runtime for Java: links to AWS's client and what it needs."""
    target = Path(work_dir) / "runtime" / f"java-{hashlib.sha256(chr(0).join(jars).encode()).hexdigest()[:16]}"
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=".linking-"))
        for jar in jars:
            (building / Path(jar).name).symlink_to(jar)
        _publish(building, target)
    return str(target)


def is_stand_in(layer_dir: str, work_dir: str) -> bool:
    """Whether a layer is made of the node's own Python's packages."""
    return bool(layer_dir) and Path(layer_dir).is_relative_to(Path(work_dir) / "managed")


def managed_layer_dir(arn: str, work_dir: str) -> str | None:
    """A local stand-in for AWS's public pandas layer, from this interpreter's packages; None for other ARNs.

    Source: https://aws-sdk-pandas.readthedocs.io/en/stable/layers.html
    """
    if PANDAS_LAYER.fullmatch(arn) is None or _origin("pandas") is None:
        return None
    places = "\0".join(str(_origin(module)) for module in PANDAS_MODULES)
    layer = Path(work_dir) / "managed" / hashlib.sha256(places.encode()).hexdigest()[:16]
    _link_modules(PANDAS_MODULES, layer / "python")
    return str(layer)
