"""What VDI, VHD and VHDX have in common, where it is not the same as for every format."""

from __future__ import annotations

import errno
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests import vd_campaign as campaign
from tests import vd_made as made
from tests.vd_campaign import MemoryFile
from vfs.vd.vdi import layout as vdi

MIB = 1 << 20
SIZE = 6 * MIB + 512
FORMATS = pytest.mark.parametrize("format", ("vdi", "vhd", "vhdx"))


class Counting(campaign.FileStorage):
    """How many bytes are read."""

    count = 0

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self.count += len(buffer)
        return super().readinto(offset, buffer)

    def read(self, offset: int, size: int) -> bytes:
        self.count += size
        return super().read(offset, size)


@FORMATS
def test_opening_a_large_disk_costs_what_a_small_one_costs(tmp_path: Path, format: str) -> None:
    counts = []
    for size in (MIB, 1 << 40):
        campaign.created(tmp_path / f"{size}", format, size)
        with campaign.opened_file(tmp_path / f"{size}", True) as device:
            device.storage(0).write(size - 5, b"hello")
        storage = Counting(str(tmp_path / f"{size}"))
        with campaign.opened(storage) as device:
            assert device.storage(0).read(size - 5, 5) == b"hello"
            counts.append(storage.count)
    assert counts[1] <= counts[0] + 8192, counts


@FORMATS
def test_discarding_a_large_disk_is_quick(tmp_path: Path, format: str) -> None:
    campaign.created(tmp_path / "disk", format, 2 << 40 if format != "vhd" else 2000 << 30, block_size=MIB)
    with campaign.opened_file(tmp_path / "disk", True) as device:
        disk = device.storage(0)
        disk.write(disk.size // 2 - 5, b"0123456789")
        before = time.thread_time()
        disk.discard(512, disk.size - 1024)
        disk.zero(0, disk.size)
        assert [extent.hole for extent in disk.extents(0, disk.size)] == [True]
        assert time.thread_time() - before < 2
        assert disk.read(disk.size // 2 - 5, 10) == bytes(10)


@FORMATS
def test_extents_are_of_the_file(tmp_path: Path, format: str) -> None:
    flat = bytearray(SIZE)
    campaign.created(tmp_path / "disk", format, SIZE, block_size=MIB)
    with campaign.opened_file(tmp_path / "disk", True) as device:
        for at, length in ((0, 3 * MIB), (4 * MIB + 5, 10), (SIZE - 1, 1)):
            flat[at : at + length] = b"x" * length
            device.storage(0).write(at, b"x" * length)
        found = device.storage(0).extents(0, SIZE)
    raw = (tmp_path / "disk").read_bytes()
    rebuilt = bytearray(SIZE)
    for extent in found:
        assert extent.hole or extent.fd is not None
        if not extent.hole:
            rebuilt[extent.offset : extent.offset + extent.length] = raw[extent.fd_offset : extent.fd_offset + extent.length]
    assert rebuilt == flat
    assert sum(extent.length for extent in found if extent.hole) >= 2 * MIB


class OnAPartition(MemoryFile):
    """Its size stays."""

    def resize(self, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "its size cannot be changed")


@pytest.mark.parametrize("format", ("vdi", "vhdx"))
def test_an_image_whose_file_cannot_be_resized(format: str) -> None:
    directory = made.image(format, SIZE, b"x" * SIZE, block_size=MIB)
    directory[b"disk"] += b"old content" * 300_000
    with campaign.opened(OnAPartition(directory, b"disk", True), rw=True) as device:
        disk = device.storage(0)
        disk.discard(0, 2 * MIB)
        disk.flush()
        disk.write(MIB + 5, b"y")
    assert made.content(directory) == bytes(MIB + 5) + b"y" + bytes(MIB - 6) + b"x" * (SIZE - 2 * MIB)


@FORMATS
def test_a_disk_that_is_full(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that has no room leaves what was there, and the image is none the worse."""
    directory = made.image(format, SIZE, b"x" * MIB, block_size=MIB)
    monkeypatch.setattr(MemoryFile, "largest", len(directory[b"disk"]) + MIB + 100_000)
    with made.opened(directory, writable=True) as device:
        disk = device.storage(0)
        with pytest.raises(OSError) as error:
            disk.write(3 * MIB, b"y" * 3 * MIB)
        assert error.value.errno == errno.EFBIG
        disk.write(2 * MIB, b"z" * 10)
        assert disk.read(0, MIB + 5) == b"x" * MIB + bytes(5)
    monkeypatch.undo()
    found = made.content(directory)
    assert found[:MIB] == b"x" * MIB and found[2 * MIB : 2 * MIB + 11] == b"z" * 10 + b"\0"
    assert set(found[3 * MIB :]) <= set(b"y\0")
    assert all(finding.kind == "leak" for finding in campaign.checked(MemoryFile(directory, b"disk")))


@FORMATS
def test_readers_beside_a_writer(tmp_path: Path, format: str) -> None:
    campaign.created(tmp_path / "disk", format, 16 * MIB, block_size=MIB)
    wrong: list[Any] = []
    with campaign.opened_file(tmp_path / "disk", True) as device:
        disk, done = device.storage(0), threading.Event()

        def read(seed: int) -> None:
            rng = campaign.random.Random(seed)
            try:
                while not done.is_set():
                    block = rng.randrange(16)
                    found = set(disk.read(block * MIB + rng.randrange(MIB - 4096), 4096))
                    if not found <= {0, block + 1}:
                        wrong.append((block, found))
            except BaseException as error:
                wrong.append(error)

        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
        for reader in readers:
            reader.start()
        rng = campaign.random.Random(3)
        for number in range(150):
            block = rng.randrange(16)
            if number % 5 == 0:
                disk.zero(block * MIB, MIB)
            else:
                disk.write(block * MIB, bytes([block + 1]) * MIB)
            if number % 20 == 0:
                disk.flush()
        done.set()
        for reader in readers:
            reader.join()
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("block", (8192, 512, 4608))
def test_a_vdi_with_room_before_each_block(block: int) -> None:
    flat = bytearray(campaign.content(1, 100_000 // 512 * 512))
    size, extra, blocks = len(flat), 1024, -(-len(flat) // block)
    header = vdi.Header.unpack(bytes(made.image("vdi", size)[b"disk"][: vdi.HEADER_SIZE]))
    header = header._replace(block_size=block, blocks=blocks, block_extra=extra, length=0x180, allocated=blocks, data_offset=4096)
    file = bytearray(header.pack()).ljust(512, b"\0") + struct.pack(f"<{header.blocks}I", *reversed(range(header.blocks)))
    file += bytes(4096 - len(file))
    for number in reversed(range(header.blocks)):
        file += b"extra".ljust(extra) + flat[number * block : (number + 1) * block].ljust(block, b"\0")
    directory = {b"disk": file}
    todo = campaign.random_operations(campaign.random.Random(1), size, 30)
    made.against_model(directory, b"disk", flat, todo)


def test_a_block_that_somebody_reads_is_not_given_to_another() -> None:
    """A VDI that is full has then more blocks than the disk, until it is closed."""
    directory = made.image("vdi", 4 * 8192, b"x" * 4 * 8192, block_size=8192)
    with made.opened(directory, writable=True) as device:
        disk: Any = device.storage(0)
        disk.reading += 1
        disk.discard(0, 8192)
        disk.write(0, b"y" * 8192)
        disk.flush()
        assert directory[b"disk"].count(b"x" * 8192) == 4
        assert [found.kind for found in campaign.checked(MemoryFile(directory, b"disk"))] == ["warning", "leak"]
        assert campaign.read_all(disk) == b"y" * 8192 + b"x" * 3 * 8192
        disk.reading -= 1
    assert campaign.checked(MemoryFile(directory, b"disk")) == []
    assert made.content(directory) == b"y" * 8192 + b"x" * 3 * 8192
