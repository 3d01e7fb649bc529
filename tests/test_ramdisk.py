"""ramdisk, null and trivhd: devices without a source."""

from __future__ import annotations

import errno
import os
import random
from typing import Any

import pytest

from vfs.api import Device, Extent, Storage, registry
from vfs.api import ioctls as ioctl
from vfs.api.allocation import KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE
from vfs.api.options import parse

MIB = 1 << 20


def device(name: str, options: str = "") -> Device:
    module = registry.find(name)
    made = module.mount(None, parse(options, module.options))
    assert isinstance(made, Device)
    return made


def disk(options: str = "") -> Storage:
    return device("ramdisk", options).storage(0)


def refused(number: int, call: Any, *arguments: object) -> None:
    with pytest.raises(OSError) as caught:
        call(*arguments)
    assert caught.value.errno == number


def occupied(storage: Storage) -> int:
    descriptor = storage.descriptor()
    assert descriptor is not None
    return os.fstat(descriptor).st_blocks * 512


def test_sizes() -> None:
    assert disk().size == 16 * MIB
    assert disk("size=100M").size == 100 * MIB
    assert disk("size=512").size == 512
    assert (disk("sector_size=4096").block_size, disk().block_size) == (4096, 512)
    largest = (1 << 63) - 512
    storage = disk(f"size={largest}")
    storage.write(largest - 4, b"last")
    assert (storage.size, storage.read(largest - 4, 4), occupied(storage)) == (largest, b"last", 4096)
    for wrong in ("size=0", "size=1000", "sector_size=4096,size=512", "sector_size=1024", "size=x"):
        refused(errno.EINVAL, device, "ramdisk", wrong)
    refused(errno.EFBIG, device, "ramdisk", f"size={1 << 63}")
    module = registry.find("umdevramdisk")
    refused(errno.EINVAL, module.mount, disk(), module.options())


def test_it_is_sparse() -> None:
    storage = disk("size=1T")
    assert (storage.read(1 << 39, 100), occupied(storage)) == (bytes(100), 0)
    assert storage.extents(0, 1 << 40) == [Extent(0, 1 << 40, hole=True)]
    storage.write(MIB, b"x" * MIB)
    assert occupied(storage) == MIB
    fd = storage.descriptor()
    assert storage.extents(0, 4 * MIB) == [
        Extent(0, MIB, hole=True),
        Extent(MIB, MIB, fd, MIB),
        Extent(2 * MIB, 2 * MIB, hole=True),
    ]
    assert storage.extents(MIB + 5, 10) == [Extent(MIB + 5, 10, fd, MIB + 5)]
    storage.discard(MIB, MIB // 2)
    assert (occupied(storage), storage.read(MIB, 4)) == (MIB // 2, bytes(4))
    storage.zero(MIB, MIB)
    assert occupied(storage) == 0
    storage.zero(0, 0)
    refused(errno.ENOSPC, storage.zero, (1 << 40) - 512, 1024)
    refused(errno.ENOSPC, storage.write, 1 << 40, b"x")
    refused(errno.EIO, storage.read, 1 << 40, 1)


def test_it_behaves_like_a_bytearray() -> None:
    size, chance = 64 * 1024, random.Random(1)
    storage, model = disk(f"size={size}"), bytearray(size)
    for _ in range(500):
        offset = chance.randrange(size)
        length = min(chance.choice((1, 100, 512, 4096, 20000)), size - offset)
        action = chance.randrange(4)
        if action == 0:
            content = chance.randbytes(length)
            storage.write(offset, content)
            model[offset : offset + length] = content
        elif action == 1:
            chance.choice((storage.zero, storage.discard))(offset, length)
            model[offset : offset + length] = bytes(length)
        else:
            assert storage.read(offset, length) == model[offset : offset + length]
            buffer = bytearray(length + 10)
            count = storage.readinto(offset, memoryview(buffer))
            assert (count, buffer[:count]) == (min(length + 10, size - offset), model[offset : offset + count])
    assert storage.read(0, size) == model


def test_read_only_and_details() -> None:
    with device("ramdisk", "ro") as made:
        refused(errno.EROFS, made.open, 0, os.O_RDWR)
        refused(errno.EROFS, made.storage(0).write, 0, b"x")
        assert made.details() == {"size": 16 * MIB, "sector size": 512, "occupied": 0}
        refused(errno.ENXIO, made.open, 1)
        refused(errno.EINVAL, made.reread)
    made.close()


def test_block_device_calls() -> None:
    with device("ramdisk", "size=1M,sector_size=4096") as made, made.open(0, os.O_RDWR) as handle:
        handle.write(0, b"x" * 16384)
        assert handle.ioctl(ioctl.BLKSSZGET, b"") == (4096).to_bytes(4, "little")
        handle.ioctl(ioctl.BLKDISCARD, (4096).to_bytes(8, "little") * 2)
        assert handle.read(4095, 3) == b"x\0\0"
        handle.allocate(PUNCH_HOLE | KEEP_SIZE, 8192, 4096)
        handle.allocate(ZERO_RANGE, 12288, 4096)
        assert bytes(handle.read(8192, 8192)) == bytes(8192)
        assert (handle.seek_data(0), handle.seek_hole(0)) == (0, 4096)
        handle.allocate(ZERO_RANGE | KEEP_SIZE, 0, 2 * MIB)
        assert bytes(handle.read(0, MIB)) == bytes(MIB)
        refused(errno.EINVAL, handle.allocate, ZERO_RANGE, 0, 2 * MIB)
        refused(errno.EINVAL, handle.allocate, ZERO_RANGE | KEEP_SIZE, MIB, 4096)
        refused(errno.EINVAL, handle.allocate, ZERO_RANGE, 512, 4096)
        for mode in (0, KEEP_SIZE, PUNCH_HOLE, 0x40):
            refused(errno.EOPNOTSUPP, handle.allocate, mode, 0, 4096)
        with made.open(0) as reader:
            refused(errno.EBADF, reader.allocate, ZERO_RANGE, 0, 4096)


def test_partitions_on_it() -> None:
    with device("ramdisk", "size=8M,mbr") as made:
        assert (made.type, made.sub_devices, list(made.storages())) == ("ramdisk", 256, [0])
        sector = bytes(446) + bytes.fromhex("00000000830000000008000000080000") + bytes(48) + b"\x55\xaa"
        with made.open(0, os.O_RDWR) as whole:
            whole.write(0, sector)
            whole.ioctl(ioctl.BLKRRPART, b"")
        assert {number: storage.size for number, storage in made.storages().items()} == {0: 8 * MIB, 1: MIB}
        made.storages()[1].write(0, b"part")
        assert made.storages()[0].read(MIB, 4) == b"part"
        made.storages()[1].discard(0, MIB)
        assert made.storages()[1].extents(0, MIB) == [Extent(0, MIB, hole=True)]
        assert made.storages()[0].descriptor() is not None
    with device("ramdisk", "size=1M,mbr,sector_size=4096,ro") as made:
        assert (made.read_only, made.storages()[0].block_size) == (True, 4096)
    refused(errno.EINVAL, device, "ramdisk", "mbr=1")


def test_trivhd() -> None:
    with device("umdevtrivhd") as made, made.open(0, os.O_RDWR) as one, made.open(0) as other:
        assert (made.character, made.storages(), one.size()) == (True, {}, 65536)
        assert one.write(65530, b"0123456789") == 6
        assert bytes(other.read(65528, 100)) == b"\0\0" + b"012345"
        refused(errno.ENOSPC, one.write, 65536, b"x")
        refused(errno.EBADF, other.write, 0, b"x")
        assert (one.write(65536, b""), bytes(other.read(70000, 10)), other.poll(5)) == (0, b"", 5)
        refused(errno.ENOTTY, one.ioctl, 0x1234, b"")
        refused(errno.ENXIO, made.open, 1)
        made.flush()
    refused(errno.EROFS, device("trivhd", "ro").open, 0, os.O_WRONLY)


def test_null_logs(capfd: pytest.CaptureFixture[str]) -> None:
    with device("umdevnull") as made:
        assert made.character
        with made.open(0, os.O_RDWR) as handle:
            assert (handle.read(100, 10), handle.readinto(0, memoryview(bytearray(3))), handle.write(7, b"four")) == (b"", 0, 4)
            refused(errno.ENOTTY, handle.ioctl, 0x1234, b"")
            handle.fsync()
        handle.close()
        refused(errno.ENXIO, made.open, 1)
    expected = [
        "open, flags 0o2",
        "read 10 bytes at 100",
        "read 3 bytes at 0",
        "write 4 bytes at 7",
        "ioctl 0x1234",
        "fsync",
        "close",
    ]
    assert capfd.readouterr().err.splitlines() == [f"null: {line}" for line in expected]
    refused(errno.EROFS, device("null", "ro").open, 0, os.O_WRONLY)
