"""A node in a process of its own, and a client that costs little: raw sockets, one request at a time."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

_SIGNED = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


@dataclass
class BenchNode:
    process: subprocess.Popen[str]
    port: int
    start_ms: float

    def sdk(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def cpu_ms(self) -> float:
        """CPU time of the node's own process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0


@contextmanager
def running_node(*flags: str, data: Path | None = None) -> Iterator[BenchNode]:
    """`data` is a folder made before; else the node gets a new one, gone afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-c", "from penstock.app.main import main; main()"]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*command, "up", "--port", "0", "--data", str(data or f"{folder}/data"), *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        try:
            yield BenchNode(process, port, (time.perf_counter() - began) * 1000)
        finally:
            process.terminate()
            process.wait()


def request(service: str, method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """One HTTP request as bytes. An open node doesn't check the signature, so that the client costs nothing."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "host: 127.0.0.1",
        f"authorization: {_SIGNED.format(service)}",
        "x-amz-date: 20260101T000000Z",
        f"content-length: {len(body)}",
        *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Connection:
    """Sends a request and reads its answer whole; opens itself again where the server closes it after each."""

    def __init__(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._port, self._reader, self._writer = port, reader, writer
        self._is_over = False

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(port, *await asyncio.open_connection("127.0.0.1", port, limit=1 << 24))

    async def call(self, message: bytes) -> bytes:
        if self._is_over:
            self._writer.close()
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 24)
            self._is_over = False
        self._writer.write(message)
        head = await self._reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 20", b"HTTP/1.1 404")):
            raise RuntimeError(head.decode())
        lower = head.lower()
        self._is_over = b"connection: close" in lower
        if b"transfer-encoding: chunked" in lower:
            return await self._chunks()
        at = lower.find(b"content-length: ")
        size = int(lower[at + 16 : lower.index(b"\r", at)]) if at >= 0 else 0
        is_head = message.startswith(b"HEAD")
        return b"" if is_head or not size else await self._reader.readexactly(size)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self._reader.readline(), 16):
            body += await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()
        return body

    def close(self) -> None:
        self._writer.close()


async def latency_ms(port: int, make: Callable[[int], bytes], *, calls: int, warm_up: int = 50) -> float:
    """The median over one connection."""
    connection = await Connection.open(port)
    times = []
    for number in range(calls + warm_up):
        began = time.perf_counter()
        await connection.call(make(number))
        times.append((time.perf_counter() - began) * 1000)
    connection.close()
    return statistics.median(times[warm_up:])


async def per_second(port: int, make: Callable[[int], bytes], *, clients: int, calls: int) -> float:
    """Calls per second of so many connections together."""
    connections = [await Connection.open(port) for _ in range(clients)]
    numbers = iter(range(calls))

    async def work(connection: Connection) -> None:
        for number in numbers:
            await connection.call(make(number))

    began = time.perf_counter()
    await asyncio.gather(*map(work, connections))
    for connection in connections:
        connection.close()
    return calls / (time.perf_counter() - began)
