"""Archives that lie, loop, climb or burst: refused in AWS's words, and nothing of them stays."""

import io
import os
import random
import stat
import zipfile
from pathlib import Path

import pytest

from penstock.engines.functions.packages import BadPackage, PackageTooLarge, extract
from penstock.kernel.errors import ServiceError
from penstock.services.lambda_ import limits
from penstock.testkit.functions import create_function

LINK = stat.S_IFLNK | 0o777


def archive(*entries, compression=zipfile.ZIP_DEFLATED):
    """Entries are (name, content) or (name, content, mode)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as package:
        for name, content, *mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = (mode[0] if mode else 0o644) << 16
            info.compress_type = compression
            package.writestr(info, content)
    return out.getvalue()


def overlapping(count):
    """Many names for one megabyte of zeros: a bomb whose archive stays small."""
    data = archive(("a", bytes(1 << 20)))
    directory = data.index(b"PK\x01\x02")
    end = data.index(b"PK\x05\x06")
    record = data[directory:end]
    records = b"".join(record[:-1] + bytes([number % 256]) for number in range(count))
    tail = bytearray(data[end:])
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = len(records).to_bytes(4, "little")
    return data[:directory] + records + bytes(tail)


def understated():
    """An entry that says it is smaller than what it unpacks to."""
    data = bytearray(archive(("app.py", b"x" * 5000)))
    for at in (22, data.index(b"PK\x01\x02") + 24):
        data[at : at + 4] = (10).to_bytes(4, "little")
    return bytes(data)


REFUSED = [
    pytest.param(archive(("../evil", b"x")), id="climbs"),
    pytest.param(archive(("a/../../evil", b"x")), id="climbs later"),
    pytest.param(archive(("..\\evil", b"x")), id="climbs as on Windows"),
    pytest.param(archive(("/etc/evil", b"x")), id="absolute"),
    pytest.param(archive(("a", b"/etc/passwd", LINK)), id="link to an absolute path"),
    pytest.param(archive(("a", b"../../etc/passwd", LINK)), id="link that climbs"),
    pytest.param(archive(("a", b"b", LINK), ("a/c", b"x")), id="file beneath a link"),
    pytest.param(
        archive(("x/y/z", b"x"), ("x/y/up", b"../..", LINK), ("out", b"x/y/up/../..", LINK)),
        id="links that climb together",
    ),
    pytest.param(archive(("a/", b""), ("a", b"x")), id="file over a folder"),
    pytest.param(archive(("a", b"x"), ("a/b", b"x")), id="folder over a file"),
    pytest.param(archive(("n" * 300, b"x")), id="name too long"),
    pytest.param(archive(("d/" * 3000 + "f", b"x")), id="path too long"),
    pytest.param(understated(), id="understated size"),
    pytest.param(archive(("a", b"x" * 999))[:-30], id="truncated"),
    pytest.param(
        archive(("a", bytes(range(256))), compression=zipfile.ZIP_STORED).replace(bytes(range(60, 70)), bytes(10)),
        id="damaged",
    ),
    pytest.param(archive(("a", b"x" * 999), compression=zipfile.ZIP_LZMA)[:60] + b"\xff" * 99, id="damaged lzma"),
    pytest.param(b"PK\x05\x06" + b"\xff" * 18, id="nonsense directory"),
]


@pytest.mark.parametrize("package", REFUSED)
async def test_a_hostile_package_is_refused_and_leaves_nothing(world, package):
    before = set(os.listdir("/tmp"))
    with pytest.raises(ServiceError) as raised:
        await create_function(world, Code={"ZipFile": package})
    assert raised.value.code == "InvalidParameterValueException"
    assert raised.value.message in (
        "Could not unzip uploaded file. Please check your file, then try to upload again.",
        "Uploaded file must be a non-empty zip",
    )
    code = world.platform.data_dir / "code"
    assert not code.is_dir() or list(code.iterdir()) == []
    assert [blob_id async for blob_id in world.platform.blobs.ids()] == []
    assert "evil" not in set(os.listdir("/tmp")) - before


async def test_a_bomb_is_refused_by_what_it_unpacks_to(world):
    for package in (overlapping(300), archive(*((f"f{n}", bytes(1 << 24)) for n in range(16)))):
        assert len(package) < limits.ZIPPED_BYTES_MAX.value / 50
        with pytest.raises(ServiceError, match="Unzipped size must be smaller than 262144000 bytes"):
            await create_function(world, Code={"ZipFile": package})


def test_a_bomb_stops_at_the_bound_whatever_its_headers_say(tmp_path):
    with pytest.raises(PackageTooLarge):
        extract(archive(("a", bytes(2000))), str(tmp_path), bytes_max=1999)
    assert list(tmp_path.iterdir()) == []


def test_files_are_readable_by_all_and_executable_where_they_were(tmp_path):
    package = archive(
        ("bin/run", b"#!", 0o700),
        ("secret.txt", b"x", 0o600),
        ("dos.txt", b"x", 0),
        ("root", b"x", stat.S_IFREG | 0o4755),
        ("pipe", b"x", stat.S_IFIFO | 0o644),
        ("here", b"bin/run", LINK),
        ("deep/there", b"../bin", LINK),
        ("dangling", b"later", LINK),
    )
    folder = Path(extract(package, str(tmp_path)))
    modes = {name: stat.S_IMODE((folder / name).stat().st_mode) for name in ("bin/run", "secret.txt", "dos.txt")}
    assert modes == {"bin/run": 0o555, "secret.txt": 0o444, "dos.txt": 0o444}
    assert stat.S_IMODE((folder / "root").stat().st_mode) == 0o555
    assert stat.S_ISREG((folder / "pipe").stat().st_mode)
    assert (folder / "here").read_bytes() == (folder / "deep/there/run").read_bytes() == b"#!"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert extract(package, str(tmp_path)) == str(folder)


def test_damage_anywhere_is_refused_or_harmless(tmp_path):
    chance = random.Random(11)
    good = archive(("app.py", b"x = 1\n" * 50), ("lib/a.py", bytes(300)), ("l", b"app.py", LINK))
    outcomes = set()
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            folder = Path(extract(bytes(damaged), str(tmp_path), bytes_max=1 << 20))
        except BadPackage:
            outcomes.add("refused")
        else:
            outcomes.add("taken")
            assert all(Path(os.path.realpath(path)).is_relative_to(tmp_path) for path in folder.rglob("*"))
    assert outcomes == {"refused", "taken"}
