"""Hostile and damaged partition tables: an answer or one of our errors, soon, in little memory, and no part outside the disk."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import pytest

from fixtures.ext import image
from tests.time_limit import time_limit
from vfs.api import Device, Storage, SubStorage, registry
from vfs.cli.main import main

SECTOR = 512
SECTORS = 4096
QUICK, MANY = 40, 500
SECONDS = 5
MEMORY = 64 << 20


class Memory(Storage):
    """A disk in memory; *claimed* is how large it says to be."""

    def __init__(self, content: bytes | bytearray, claimed: int | None = None) -> None:
        self.name, self.content = "memory", bytearray(content)
        self.size = len(content) if claimed is None else claimed
        self.reads = 0

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self.reads += 1
        piece = self.content[offset : offset + len(buffer)]
        size = max(0, min(len(buffer), self.size - offset))
        buffer[:size] = piece.ljust(size, b"\0")[:size]
        return size


def entry(type: int, start: int, sectors: int, indicator: int = 0) -> bytes:
    return struct.pack("<B3sB3sII", indicator, bytes(3), type, bytes(3), start, sectors)


def record(*entries: bytes) -> bytes:
    return bytes(446) + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


def disk(records: dict[int, bytes], sectors: int = SECTORS) -> bytearray:
    content = bytearray(sectors * SECTOR)
    for number, piece in records.items():
        content[number * SECTOR : number * SECTOR + len(piece)] = piece
    return content


def gpt(changes: dict[str, int] | None = None, entries: list[tuple[int, int]] | None = None, sectors: int = SECTORS) -> bytearray:
    """A disk with a GPT of which some fields of both headers are otherwise; its checksums are right."""
    changes = changes or {}
    places = entries if entries is not None else [(64, 127), (128, 1023)]
    array = b"".join(
        struct.pack("<16s16sQQQ72s", b"\x11" * 16, bytes([number]) * 16, first, last, 0, f"part {number}".encode("utf-16-le"))
        for number, (first, last) in enumerate(places, 1)
    )
    if changes.get("width", 128) > 128:
        array = b"".join(array[at : at + 128].ljust(changes["width"], b"\xee") for at in range(0, len(array), 128))
    array = array.ljust(128 * 128, b"\0")
    content = disk({0: record(entry(0xEE, 1, sectors - 1))}, sectors)
    for own, other, where in ((1, sectors - 1, 2), (sectors - 1, 1, sectors - 33)):
        fields = {"size": 92, "own": own, "other": other, "first": 34, "last": sectors - 34, "entries": where}
        fields |= {"count": 128, "width": 128} | changes
        used = array[: fields["count"] * fields["width"]]
        header = struct.pack(
            "<8sIIIIQQQQ16sQIII",
            b"EFI PART",
            fields.get("revision", 0x10000),
            fields["size"],
            0,
            0,
            fields["own"] % (1 << 64),
            fields["other"],
            fields["first"],
            fields["last"],
            b"\x22" * 16,
            fields["entries"],
            fields["count"],
            fields["width"],
            crc32(used),
        )
        checked = header.ljust(SECTOR, b"\0")[: fields["size"]]
        header = header[:16] + struct.pack("<I", crc32(checked)) + header[20:]
        content[own * SECTOR : own * SECTOR + 92] = header
        content[where * SECTOR : where * SECTOR + len(array)] = array
    return content


def mounted(storage: Storage) -> Device:
    module = registry.find("mbr")
    device = module.mount(storage, module.options())
    assert isinstance(device, Device)
    return device


def look_at_everything(storage: Storage) -> Device:
    """What front ends would ask of a disk; whatever is in the table."""
    assert 0 <= registry.find("mbr").probe(storage) <= 100
    device = mounted(storage)
    rows = [dict(row) for row in device.partitions()]
    assert all(row["number"] > 0 for row in rows)  # type: ignore[operator]
    assert device.details()
    for number, part in device.storages().items():
        assert isinstance(part, SubStorage)
        assert 0 <= part.start <= part.start + part.size <= storage.size
        assert number == 0 or part.size
        assert len(part.read(0, min(part.size, 4096))) == min(part.size, 4096)
        part.extents(0, part.size)
    generation = device.generation
    device.reread()
    assert device.generation == generation
    return device


def warned(storage: Storage) -> str:
    return str(look_at_everything(storage).details().get("warnings", ""))


def numbers(storage: Storage) -> list[int]:
    return [row.number for row in look_at_everything(storage).partitions()]


# ---------------------------------------------------------------------------------------------------------------- MBR


def test_chain_that_loops_ends() -> None:
    loop = Memory(
        disk(
            {
                0: record(entry(5, 100, 2000)),
                100: record(entry(0x83, 1, 10), entry(5, 50, 100)),
                150: record(entry(0x83, 1, 10), entry(5, 0, 100)),
            }
        )
    )
    assert numbers(loop) == [1, 5, 6]
    assert "the record at sector 100 is linked twice" in warned(loop)
    itself = Memory(disk({0: record(entry(15, 100, 2000)), 100: record(entry(5, 0, 10))}))
    assert "linked twice" in warned(itself)
    # The MBR as a record of its own chain.
    assert "linked twice" in warned(Memory(disk({0: record(entry(0x85, 0, 2000))})))


def test_endless_chain_of_empty_records_is_bounded() -> None:
    records = {number: record(entry(5, number - 9, 1)) for number in range(10, SECTORS - 1)}
    storage = Memory(disk(records | {0: record(entry(5, 10, 4000))}))
    assert "more than 1024 records" in warned(storage)


def test_logicals_are_bounded() -> None:
    records = {10 + 2 * number: record(entry(0x83, 1, 1), entry(5, 2 * number + 2, 2)) for number in range(SECTORS // 2 - 10)}
    storage = Memory(disk(records | {0: record(entry(5, 10, 4000))}))
    assert numbers(storage) == [1, *range(5, 256)]
    assert "more than 251 logical partitions" in warned(storage)


def test_several_extended_partitions_number_on() -> None:
    storage = Memory(
        disk(
            {
                0: record(entry(5, 100, 100), entry(0x83, 300, 10), entry(15, 400, 100)),
                100: record(entry(0x83, 1, 10)),
                400: record(entry(0x83, 1, 10), entry(5, 20, 20)),
                420: record(entry(0x82, 1, 5)),
            }
        )
    )
    assert numbers(storage) == [1, 2, 3, 5, 6, 7]
    device = mounted(storage)
    starts = {row.number: row.start // SECTOR for row in device.partitions()}
    assert starts == {1: 100, 2: 300, 3: 400, 5: 101, 6: 401, 7: 421}


def test_garbage_in_the_unused_entries_of_a_record_is_left_out() -> None:
    garbage = entry(0x41, 0x20202020, 0x20202020, 0x41)
    storage = Memory(disk({0: record(entry(5, 100, 200)), 100: record(entry(0x83, 1, 10), entry(0, 0, 0), garbage, garbage)}))
    inside = record(entry(0x83, 1, 10), entry(0, 0, 0), garbage, entry(0x83, 20, 10))
    assert numbers(storage) == [1, 5]
    assert numbers(Memory(disk({0: record(entry(5, 100, 200)), 100: inside}))) == [1, 5, 6]


def test_records_that_are_none() -> None:
    assert warned(Memory(disk({0: record(entry(5, 100, 200))}))) == ""  # nothing partitioned yet
    text = b"no boot record".ljust(512, b".")
    assert "the record at sector 100 has no 55AA" in warned(Memory(disk({0: record(entry(5, 100, 200)), 100: text})))
    beyond = Memory(disk({0: record(entry(5, 100, 200)), 100: record(entry(0x83, 1, 1), entry(5, 0xFFFFFF00, 1))}))
    assert "beyond the end of the disk" in warned(beyond)


def test_partitions_beyond_the_end_and_into_one_another() -> None:
    storage = Memory(
        disk({0: record(entry(0x83, SECTORS + 50, 10), entry(0x83, SECTORS - 10, 20), entry(0x83, 10, 50), entry(0x83, 20, 5))})
    )
    device = look_at_everything(storage)
    assert [row.number for row in device.partitions()] == [1, 2, 3, 4]
    assert {number: part.size // SECTOR for number, part in device.storages().items()} == {0: SECTORS, 2: 10, 3: 50, 4: 5}
    assert warned(storage) == "partitions beyond the end of the disk: 1, 2; partitions overlap: 3 and 4"


def test_boot_code_is_no_table() -> None:
    assert numbers(Memory(disk({0: record(entry(0x83, 10, 10, indicator=0x41))}))) == []
    assert numbers(Memory(b"\x55\xaa" * 255)) == []
    assert numbers(Memory(b"")) == []
    assert numbers(Memory(record(entry(0x83, 0, 1)))) == [1]


# ---------------------------------------------------------------------------------------------------------------- GPT


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"size": 91}, "header of 91 bytes"),
        ({"size": 513}, "header of 513 bytes"),
        ({"size": 0xFFFFFFFF}, "header of"),
        ({"width": 64}, "entries of 64 bytes"),
        ({"width": 0}, "entries of 0 bytes"),
        ({"count": 0xFFFFFFFF}, "at most"),
        ({"width": 4096, "count": 1025}, "at most"),
        ({"entries": SECTORS}, "entries outside the disk"),
        ({"entries": (1 << 64) - 1}, "entries outside the disk"),
        ({"entries": SECTORS - 1}, "entries outside the disk"),
        ({"own": 7}, "says that it is at sector 7"),
        ({"revision": 0x20000}, "revision 2.0"),
    ],
)
def test_headers_that_cannot_be(changes: dict[str, int], reason: str) -> None:
    from vfs.mbr.gpt import Broken, read_half

    content = gpt() if "own" in changes else gpt(changes)
    if "own" in changes:
        content[SECTOR + 24 : SECTOR + 32] = struct.pack("<Q", 7)
        header = content[SECTOR : SECTOR + 92]
        header[16:20] = bytes(4)
        content[SECTOR + 16 : SECTOR + 20] = struct.pack("<I", crc32(header))
    with pytest.raises(Broken, match=reason):
        read_half(Memory(content), SECTOR, 1)
    look_at_everything(Memory(content))


def test_header_without_entries() -> None:
    assert numbers(Memory(gpt({"count": 0}))) == []
    assert numbers(Memory(gpt())) == [1, 2]


@pytest.mark.parametrize("width", [136, 256, 512, 4096])
def test_entries_may_be_longer(width: int) -> None:
    device = look_at_everything(Memory(gpt({"width": width, "count": 4})))
    assert [(row.number, row.start, row.size, row.name) for row in device.partitions()] == [
        (1, 64 * SECTOR, 64 * SECTOR, "part 1"),
        (2, 128 * SECTOR, 896 * SECTOR, "part 2"),
    ]
    assert "warnings" not in device.details()


def test_header_may_be_longer() -> None:
    device = look_at_everything(Memory(gpt({"size": 512})))
    assert (len(device.partitions()), "warnings" in device.details()) == (2, False)


def test_entries_that_cannot_be() -> None:
    largest = (1 << 64) - 1
    storage = Memory(
        gpt(entries=[(100, 50), (largest, largest), (0, largest), (largest, 0), (SECTORS, SECTORS + 5), (200, 300), (250, 260)])
    )
    device = look_at_everything(storage)
    assert [row.number for row in device.partitions()] == [1, 2, 3, 4, 5, 6, 7]
    assert list(device.storages()) == [0, 3, 6, 7]
    assert "partitions end before they start: 1, 4" in warned(storage)
    assert "overlap: 3 and 6" in warned(storage)


def test_many_entries_that_overlap() -> None:
    storage = Memory(gpt({"count": 32768}, [(0, SECTORS)] * 128))
    # The array of 128 goes on into whatever lies behind it: its checksum is wrong.
    assert "no header is good" in warned(storage)
    storage = Memory(gpt(entries=[(number, SECTORS) for number in range(128)]))
    assert len(numbers(storage)) == 128
    assert "and 119 more" in warned(storage)


def test_names_that_are_no_text() -> None:
    content = gpt()
    array = bytearray(content[2 * SECTOR : 2 * SECTOR + 16384])
    array[56:128] = b"\x00\xd8" + b"a\0" * 35
    for where, header in ((2, 1), (SECTORS - 33, SECTORS - 1)):
        content[where * SECTOR : where * SECTOR + 16384] = array
        at = header * SECTOR
        content[at + 88 : at + 92] = struct.pack("<I", crc32(array))
        content[at + 16 : at + 20] = bytes(4)
        content[at + 16 : at + 20] = struct.pack("<I", crc32(content[at : at + 92]))
    first = look_at_everything(Memory(content)).partitions()[0]
    assert first.name == "\N{REPLACEMENT CHARACTER}" + "a" * 35
    first.name.encode()


def test_disk_of_the_largest_size() -> None:
    """A small table on a disk that says to be nearly 2^63 bytes: nothing depends on its size."""
    storage = Memory(gpt(), (1 << 63) - SECTOR)
    assert numbers(storage) == [1, 2]
    storage.reads = 0
    mounted(storage)
    assert storage.reads < 20


def test_memory_is_bounded() -> None:
    """The largest array that is read: 4 MiB of entries, each used."""
    count, sectors = 32768, 20000
    array = b"".join(
        struct.pack(
            "<16s16sQQQ72s", b"\x11" * 16, struct.pack("<QQ", 0, number), number % sectors, number % sectors, 0, b"a" * 72
        )
        for number in range(count)
    )
    content = disk({0: record(entry(0xEE, 1, sectors - 1)), 2: array}, sectors)
    header = struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 65536, 92, 0, 0, 1, 9, 34, 90, b"d" * 16, 2, count, 128, crc32(array))
    content[SECTOR : SECTOR + 92] = header[:16] + struct.pack("<I", crc32(header)) + header[20:]
    storage = Memory(content)
    with time_limit(SECONDS):
        assert len(mounted(storage).partitions()) == count
    tracemalloc.start()  # which takes its time
    try:
        device = mounted(storage)
        assert len(device.partitions()) == count
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------------------- mutations

IMAGES = {
    "mbr": disk(
        {
            0: record(entry(0x83, 10, 50), entry(5, 100, 2000), entry(7, 3000, 100), entry(0x82, 3200, 5)),
            100: record(entry(0x83, 1, 10), entry(5, 50, 100)),
            150: record(entry(0x83, 1, 10), entry(5, 300, 100)),
            400: record(entry(0x83, 1, 10)),
        }
    ),
    "gpt": gpt(),
    "hybrid": gpt(entries=[(number * 10 + 40, number * 10 + 49) for number in range(100)]),
}
IMAGES["hybrid"][446 + 16 : 446 + 32] = entry(0x83, 40, 10, 0x80)


def mutations(name: str, count: int) -> Iterator[tuple[str, bytearray]]:
    """Damaged images, most of them in fields of their tables; every second GPT's checksums are made right again."""
    original = IMAGES[name]
    used = [number for number in range(SECTORS) if any(original[number * SECTOR : (number + 1) * SECTOR])]
    for number in range(count):
        chance = random.Random(f"{name}:{number}")
        content = bytearray(original)
        for _ in range(chance.choice((1, 1, 2, 5))):
            sector = chance.choice(used)
            offset = sector * SECTOR
            if sector in (0, 100, 150, 400):
                offset += 446 + 16 * chance.randrange(4) + chance.choice((0, 4, 8, 9, 11, 12, 15))
            elif sector in (1, SECTORS - 1):
                offset += chance.randrange(92)
            else:
                offset += chance.randrange(SECTOR)
            width = chance.choice((1, 2, 4, 8))
            value = chance.choice((0, 1, 0xFF, 0x55AA, 0x7FFFFFFF, 0xFFFFFFFF, (1 << 64) - 1, chance.getrandbits(64)))
            content[offset : offset + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
        if chance.random() < 0.5:
            mend(content)
        if chance.random() < 0.1:
            del content[chance.randrange(len(content)) :]
        yield f"{name}:{number}", content


def mend(content: bytearray) -> None:
    """Make the checksums of a GPT right, as far as its numbers allow."""
    for at in (SECTOR, (SECTORS - 1) * SECTOR):
        where, count, width = struct.unpack_from("<QII", content, at + 72)
        if where < SECTORS and count * width < len(content):
            content[at + 88 : at + 92] = struct.pack("<I", crc32(content[where * SECTOR : where * SECTOR + count * width]))
        (size,) = struct.unpack_from("<I", content, at + 12)
        if size <= SECTOR:
            content[at + 16 : at + 20] = bytes(4)
            content[at + 16 : at + 20] = struct.pack("<I", crc32(content[at : at + size]))


def campaign(name: str, count: int) -> None:
    for title, content in mutations(name, count):
        with time_limit(SECONDS), contextlib.suppress(OSError):
            try:
                look_at_everything(Memory(content))
            except Exception as error:
                error.add_note(title)
                raise


@pytest.mark.parametrize("name", IMAGES)
def test_damage_is_answered(name: str) -> None:
    campaign(name, QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_command_line_answers_damage(name: str, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """With a file system where a partition is: what its number leads to is looked into."""
    content, disk = image("tiny_ext4").read_bytes(), tmp_path / "disk.img"
    for title, damaged in mutations(name, QUICK):
        room = max(0, len(damaged) - 128 * SECTOR)
        damaged[128 * SECTOR : 128 * SECTOR + room] = content[:room].ljust(room, b"\0")
        disk.write_bytes(damaged)
        for words in ("ls -lR", "info", "info --json", "partitions --json", "check", "read --partition 1"):
            with time_limit(SECONDS):
                assert main([*words.split(), str(disk)]) in (0, 1), (title, words)
            assert b"Traceback" not in capfdbinary.readouterr().err, (title, words)


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_much_damage_is_answered(name: str) -> None:
    campaign(name, MANY)
