"""S3 over HTTP: large bodies, small bodies, listings; beside nginx, the disk, and other S3 servers where installed.

The clients cost next to nothing: bodies leave by sendfile and are dropped in the kernel as they come (MSG_TRUNC).
`S3_BENCH_PEERS` is a folder with other servers in it: bin/versitygw, bin/rclone, venv/bin/moto_server.
"""

import hashlib
import itertools
import os
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import boto3
import uvloop
from botocore.config import Config

from benchmarks._node import BenchNode, per_second, request, running_node
from penstock.kernel.scope import DEFAULT_ACCOUNT_ID
from penstock.services.s3 import state
from penstock.services.s3.state import Bucket, Version
from penstock.storage.backends.sqlite import SqliteStore
from penstock.storage.transactions import Transaction

MIB = 1 << 20
BIG = 64 * MIB
ROUNDS = 9
SMALL_CALLS = 8000
KEYS = 1_000_000
Answer = tuple[str, float, str]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.write_bytes(os.urandom(BIG))
        with _nginx(Path(folder)) as port, running_node() as node:
            node.sdk("s3").create_bucket(Bucket="bench")
            _beside(node, port, Path(folder), source)
            _measure("penstock", node.port, source, node)
            print(f"{'penstock, memory after all that':<44}{node.resident_mb():>9.0f} MB")
    for name, start in _peers().items():
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source"
            source.write_bytes(os.urandom(BIG))
            with start(Path(folder)) as port:
                _measure(name, port, source)
    _listing()


def _beside(node: BenchNode, nginx: int, folder: Path, source: Path) -> None:
    """Each figure in turns with its limit, so that whatever else the machine does befalls both."""
    sdk = _sdk(node.port)
    copies = itertools.count()
    for clients in (1, 8):
        with _Together(node.port, clients) as ours, _Together(nginx, clients) as theirs:
            heads = [_signed(sdk, "PUT", f"big{n}", length=BIG) for n in range(clients)]
            put = partial(_put_file, heads, source)
            _pairs(
                f"PUT 64 MB, {clients} clients, of MD5 beside cp + fsync",
                lambda put=put, ours=ours: ours.run(put),  # type: ignore[misc]
                lambda clients=clients: _copying(folder, source, copies, clients),  # type: ignore[misc]
                node,
                clients,
            )
            gets = [_signed(sdk, "GET", f"big{n}") for n in range(clients)]
            plain = [b"GET /source HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"] * clients
            _pairs(
                f"GET 64 MB, {clients} clients, of nginx",
                lambda gets=gets, ours=ours: ours.run(partial(_get_file, gets)),  # type: ignore[misc]
                lambda plain=plain, theirs=theirs: theirs.run(partial(_get_file, plain)),  # type: ignore[misc]
                node,
                clients,
            )
    _show_rate("nginx GET 1 KB, 64 clients", uvloop.run(_small_gets(nginx, "/small", 64)))


def _pairs(name: str, ours: Callable[[], float], limit: Callable[[], float], node: BenchNode, clients: int) -> None:
    found, limits, ratios = [], [], []
    cpu = node.cpu_ms()
    for _ in range(ROUNDS):
        found.append(ours())
        limits.append(limit())
        ratios.append(found[-1] / limits[-1])
    cpu_ms = (node.cpu_ms() - cpu) / ROUNDS / clients
    rates = f"{statistics.median(found):.0f} of {statistics.median(limits):.0f} MB/s"
    print(f"{name:<52}{statistics.median(ratios):>6.2f}  ({rates}; our CPU {cpu_ms:.0f} ms each)", flush=True)


def _measure(name: str, port: int, source: Path, node: BenchNode | None = None) -> None:
    sdk = _sdk(port)
    for clients in (1, 8):
        _show(f"{name} PUT 64 MB, {clients} clients", _puts(sdk, source, clients))
        _show(f"{name} GET 64 MB, {clients} clients", _gets_signed(sdk, port, clients))
    body = b"x" * 1024
    for clients in (1, 64):
        calls = SMALL_CALLS if clients > 1 else SMALL_CALLS // 4
        for method, sent in (("PUT", body), ("GET", b"")):
            messages = [_signed(sdk, method, f"k{n}", sent) for n in range(calls)]
            before = node.cpu_ms() if node else 0.0
            _show_rate(f"{name} {method} 1 KB, {clients} clients", uvloop.run(_rate(port, messages, clients)))
            if node:
                print(f"{'  CPU each':<44}{(node.cpu_ms() - before) / calls:>9.2f} ms", flush=True)


async def _rate(port: int, messages: list[bytes], clients: int) -> float:
    return await per_second(port, lambda n: messages[n], clients=clients, calls=len(messages))


async def _small_gets(port: int, path: str, clients: int) -> float:
    message = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()
    return await per_second(port, lambda n: message, clients=clients, calls=SMALL_CALLS)


def _sdk(port: int):  # type: ignore[no-untyped-def]  # boto3 has no types
    return boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="benchbenchbench1",
        aws_secret_access_key="benchbenchbench2",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def _signed(sdk, method: str, key: str, body: bytes = b"", length: int | None = None) -> bytes:  # type: ignore[no-untyped-def]
    """A presigned request, so that the peers that insist on a signature get one."""
    operation = {"PUT": "put_object", "GET": "get_object"}[method]
    url = sdk.generate_presigned_url(operation, {"Bucket": "bench", "Key": key}, ExpiresIn=3600)
    host, _, path = url.removeprefix("http://").partition("/")
    size = len(body) if length is None else length
    head = f"{method} /{path} HTTP/1.1\r\nhost: {host}\r\ncontent-length: {size}\r\n\r\n"
    return head.encode() + body


def _puts(sdk, source: Path, clients: int) -> float:  # type: ignore[no-untyped-def]
    heads = [_signed(sdk, "PUT", f"big{n}", length=BIG) for n in range(clients)]
    return _together(_port_of(sdk), partial(_put_file, heads, source), clients)


def _port_of(sdk) -> int:  # type: ignore[no-untyped-def]
    return int(sdk.meta.endpoint_url.rpartition(":")[2])


def _put_file(heads: list[bytes], source: Path, connection: socket.socket, number: int) -> None:
    connection.sendall(heads[number])
    with source.open("rb") as file:
        at = 0
        while at < BIG:
            at += os.sendfile(connection.fileno(), file.fileno(), at, BIG - at)
    _take_answer(connection)


def _gets_signed(sdk, port: int, clients: int) -> float:  # type: ignore[no-untyped-def]
    heads = [_signed(sdk, "GET", f"big{n}") for n in range(clients)]
    return _together(port, partial(_get_file, heads), clients)


def _get_file(heads: list[bytes], connection: socket.socket, number: int) -> None:
    _get(connection, heads[number])


def _get(connection: socket.socket, head: bytes) -> None:
    connection.sendall(head)
    _take_answer(connection)


def _take_answer(connection: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece:
            raise RuntimeError("the server hung up")
        head += piece
    head, _, rest = head.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 20"):
        raise RuntimeError((head + rest).decode("latin-1"))
    at = head.lower().find(b"content-length: ")
    left = int(head[at + 16 :].split(b"\r\n")[0]) - len(rest) if at >= 0 else 0
    while left:
        gone = connection.recv_into(_NOWHERE, min(left, MIB), socket.MSG_TRUNC)
        if not gone:
            raise RuntimeError("the server hung up")
        left -= gone


_NOWHERE = bytearray(MIB)


class _Together:
    """So many clients at once, each with a connection that stays open."""

    def __init__(self, port: int, clients: int) -> None:
        self._connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
        self._threads = ThreadPoolExecutor(clients)

    def __enter__(self) -> "_Together":
        return self

    def __exit__(self, *exc: object) -> None:
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()

    def run(self, work: Callable[[socket.socket, int], None]) -> float:
        """MB/s."""
        began = time.perf_counter()
        list(self._threads.map(work, self._connections, range(len(self._connections))))
        return len(self._connections) * BIG / MIB / (time.perf_counter() - began)


def _together(port: int, work: Callable[[socket.socket, int], None], clients: int) -> float:
    """MB/s of so many clients at once, the median of the rounds."""
    with _Together(port, clients) as all_of_them:
        return statistics.median(all_of_them.run(work) for _ in range(ROUNDS))


def _copying(folder: Path, source: Path, numbers: Iterator[int], count: int) -> float:
    """MB/s of so many new files at once, as a server writes them: written, synced, and hashed beside that."""
    data = source.read_bytes()

    def copy(number: int) -> None:
        hashing = threading.Thread(target=hashlib.md5, args=(data,))
        hashing.start()
        path = folder / f"copy{number}"
        with path.open("wb", buffering=0) as out:
            rest = memoryview(data)
            while rest:
                rest = rest[out.write(rest[:MIB]) :]
            os.fsync(out.fileno())
        hashing.join()
        path.unlink()

    began = time.perf_counter()
    with ThreadPoolExecutor(count) as threads:
        list(threads.map(copy, itertools.islice(numbers, count)))
    return count * BIG / MIB / (time.perf_counter() - began)


def _listing() -> None:
    """1,000 of a million keys, flat and by folder."""
    with tempfile.TemporaryDirectory() as folder, running_node(data=_filled(Path(folder))) as node:
        for name, query in (("flat", "list-type=2"), ("by folder", "list-type=2&delimiter=/")):
            message = request("s3", "GET", f"/bench?{query}")
            before = node.cpu_ms()
            rate = uvloop.run(per_second(node.port, lambda n: message, clients=1, calls=100))  # noqa: B023
            _show_rate(f"penstock ListObjectsV2, 1,000 of 1,000,000 {name}", rate)
            print(f"{'  CPU each':<44}{(node.cpu_ms() - before) / 100:>9.2f} ms")
        print(f"{'  memory':<44}{node.resident_mb():>9.0f} MB")


def _filled(folder: Path) -> Path:
    """A data folder with a bucket of a million small objects in a thousand folders."""

    async def fill() -> None:
        store = SqliteStore.open(folder)
        bucket = Bucket("bench", DEFAULT_ACCOUNT_ID, "us-east-1", 0)
        await store.transact(lambda tx: state.put_bucket(tx, bucket))
        for first in range(0, KEYS, 10_000):
            await store.transact(lambda tx, first=first: put(tx, first))  # type: ignore[misc]
        await store.close()

    def put(tx: Transaction, first: int) -> None:
        for number in range(first, first + 10_000):
            version = Version(f"folder={number // 1000:04}/part-{number:08}.parquet", 1024, "0" * 32, number)
            version.checksums = {"ChecksumCRC64NVME": "AAAAAAAAAAA="}
            tx.put(("s3", "current", "bench", version.key), state.dump_version(version))

    uvloop.run(fill())
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _serving(command: list[str], port: int, **environment: str) -> Iterator[int]:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **environment}
    )
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _nginx(folder: Path) -> Iterator[int]:
    port = _free_port()
    (folder / "small").write_bytes(b"x" * 1024)
    config = folder / "nginx.conf"
    config.write_text(
        f"pid {folder}/pid; daemon off; worker_processes 1; error_log stderr; user root;"
        "events { worker_connections 512; } http { sendfile on; access_log off; tcp_nopush on;"
        f"server {{ listen 127.0.0.1:{port}; root {folder}; keepalive_requests 1000000;"
        "keepalive_timeout 3600; client_header_timeout 3600; } }"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    with _serving([program, "-c", str(config), "-e", "stderr"], port):
        yield port


def _peers() -> dict[str, Callable[[Path], "Iterator[int]"]]:
    root = Path(os.environ.get("S3_BENCH_PEERS", "/nonexistent"))
    keys = {"ROOT_ACCESS_KEY": "benchbenchbench1", "ROOT_SECRET_KEY": "benchbenchbench2"}
    found: dict[str, Callable[[Path], Iterator[int]]] = {}

    @contextmanager
    def versitygw(folder: Path) -> Iterator[int]:
        port = _free_port()
        (folder / "data" / "bench").mkdir(parents=True)
        command = [str(root / "bin/versitygw"), "--port", f"127.0.0.1:{port}", "posix", str(folder / "data")]
        with _serving(command, port, **keys):
            yield port

    @contextmanager
    def rclone(folder: Path) -> Iterator[int]:
        port = _free_port()
        (folder / "data" / "bench").mkdir(parents=True)
        command = [str(root / "bin/rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", str(folder / "data")]
        with _serving([*command, "--auth-key", "benchbenchbench1,benchbenchbench2"], port):
            yield port

    @contextmanager
    def moto(folder: Path) -> Iterator[int]:
        port = _free_port()
        with _serving([str(root / "venv/bin/moto_server"), "-p", str(port)], port):
            _sdk(port).create_bucket(Bucket="bench")
            yield port

    for name, start, file in (
        ("versitygw", versitygw, "bin/versitygw"),
        ("rclone", rclone, "bin/rclone"),
        ("moto", moto, "venv/bin/moto_server"),
    ):
        if (root / file).exists():
            found[name] = start  # type: ignore[assignment]
    return found


def _show(name: str, megabytes_per_second: float) -> None:
    print(f"{name:<44}{megabytes_per_second:>9.0f} MB/s", flush=True)


def _show_rate(name: str, per_second: float) -> None:
    print(f"{name:<44}{per_second:>9.0f} /s", flush=True)
