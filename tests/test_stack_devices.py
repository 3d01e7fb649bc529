"""Images through all their layers, in the library: disks, partitions, file systems in them, images in those."""

from __future__ import annotations

import errno
import os
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.devices import LUKS, MIB, SIZES, STARTS, ext4, partitioned, tree
from vfs.api import registry
from vfs.api.device import Device
from vfs.api.filesystem import Filesystem
from vfs.api.module import CERTAIN, NO, Module, Source
from vfs.api.options import Options, option, source_path, string
from vfs.api.stack import Image, open_disk, open_image, open_source
from vfs.api.storage import FileStorage, Storage, SubStorage
from vfs.api.walk import locate, walk_tree

MAGIC = b"a shifted disk\n".ljust(4096, b".")


class Shifted(Device):
    """A container as plain as can be: the disk begins after the header."""

    type = "shifted"

    def __init__(self, source: Storage, parent: Storage | None) -> None:
        super().__init__()
        self.source, self.parent, self.closed = source, parent, False
        self.read_only = source.read_only
        self.disk = SubStorage(source, len(MAGIC), source.size - len(MAGIC))

    def storages(self) -> dict[int, Storage]:
        return {0: self.disk}

    def details(self) -> dict[str, str | int]:
        return {"parent": os.path.basename(self.parent.name)} if self.parent else {}

    def close(self) -> None:
        self.closed = True
        self.source.close()


@dataclass
class ShiftedOptions(Options):
    parent: Any = option(source_path, "another file")  # noqa: RUF009
    colour: str | None = option(string, "of no importance")


class ShiftedModule(Module):
    name = "shifted"
    description = "a header and a disk"
    options = ShiftedOptions
    container = True

    def probe(self, source: Source) -> int:
        found = isinstance(source, Storage) and source.size > len(MAGIC) and source.read(0, len(MAGIC)) == MAGIC
        return CERTAIN if found else NO

    def mount(self, source: Source, options: ShiftedOptions) -> Device:
        assert isinstance(source, Storage)
        return Shifted(source, options.parent)


class Here(registry.Registered):
    """The module above, as if it were installed."""

    def load(self) -> Module:
        return ShiftedModule()


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {**registry.modules(), "shifted": Here("shifted", "device", "")}
    monkeypatch.setattr(registry, "modules", lambda: known)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return partitioned(tmp_path_factory.mktemp("disk") / "disk.img")


@pytest.fixture(scope="module")
def shifted(disk: Path) -> Path:
    image = disk.with_suffix(".shifted")
    image.write_bytes(MAGIC + disk.read_bytes())
    return image


@pytest.fixture(scope="module")
def nested(disk: Path, shifted: Path) -> Path:
    """A file system in a disk that has the disk in a container as a file."""
    content = disk.parent / "content"
    (content / "images").mkdir(parents=True)
    (content / "images" / "inner.shifted").write_bytes(shifted.read_bytes())
    image = disk.parent / "outer.img"
    image.write_bytes(bytes(40 * MIB))
    ext4(image, content, 40 * MIB)
    whole = disk.parent / "nested.shifted"
    whole.write_bytes(MAGIC + image.read_bytes())
    return whole


@pytest.fixture(params=["disk", "shifted"])
def image(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def refused(number: int, call: Callable[[], Any]) -> OSError:
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno == number, caught.value
    return caught.value


def types(image: Image) -> list[str]:
    return [layer.type for layer in image.layers]


# ------------------------------------------------------------------------------------------------------------- the tree


def test_a_disk_is_a_directory_of_its_parts(image: Path) -> None:
    with open_image(image) as opened:
        assert types(opened)[-1] == "mbr"
        assert opened.listdir() == ["disk", "p1", "p2", "p3"]
        assert opened.listdir("/p1") == ["data", "etc", "lost+found", "sparse"]
        assert opened.read_bytes("/p1/etc/hostname") == b"host1\n"
        assert opened.read_bytes("/p3/etc/hostname") == b"host3\n"
        part, whole = opened.resolve("/p2"), opened.resolve("/disk")
        assert part.stat().is_regular and part.stat().size == SIZES[2]
        assert whole.stat().is_regular and whole.stat().size == 20 * MIB
        assert opened.read_bytes("/p2")[: len(LUKS)] == LUKS
        assert opened.resolve("/p1").stat().is_directory
        refused(errno.EROFS, lambda: part.open(os.O_RDWR))
        for missing in ("/p0", "/p01", "/p4", "/p", "/disk1", "/p1x", "/p99999999999"):
            refused(errno.ENOENT, lambda path=missing: opened.resolve(path))  # type: ignore[misc]


def test_the_whole_is_read_by_its_extents(disk: Path) -> None:
    with open_image(disk) as opened, opened.resolve("/p2").open() as handle:
        extent, *holes = handle.extents(0, SIZES[2])
        assert (extent.offset, extent.fd_offset) == (0, STARTS[2])
        assert extent.fd is not None and os.pread(extent.fd, len(LUKS), extent.fd_offset) == LUKS
        assert all(each.hole for each in holes)
        assert sum(each.length for each in (extent, *holes)) == SIZES[2]


def test_links_stay_in_their_file_system(image: Path) -> None:
    with open_image(image) as opened:
        for link in ("/p1/etc/alias", "/p1/etc/up"):
            assert locate(opened.root, os.fsencode(link))[0] == b"/p1/etc/hostname"
        assert locate(opened.root, b"/p3/etc/alias")[0] == b"/p3/etc/hostname"
        # What the user types is another thing.
        assert locate(opened.root, b"/p1/etc/../../p3/./etc/up")[0] == b"/p3/etc/hostname"
        assert locate(opened.root, b"/../p1/..")[0] == b"/"


def test_a_walk_through_all_parts(image: Path) -> None:
    failed: list[Any] = []
    with open_image(image) as opened:
        found = {each.path for each in walk_tree(opened.root, lambda path, error: failed.append((path, error)))}
    assert not failed
    assert {b"p1/etc/hostname", b"p3/etc/hostname", b"p1/data", b"p3/lost+found", b"p2", b"disk"} <= found


def test_a_damaged_part_spoils_no_other(disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "damaged.img"
    content = bytearray(disk.read_bytes())
    content[STARTS[1] + 1024 + 0x63] |= 0x80  # s_feature_incompat
    image.write_bytes(content)
    with open_image(image) as opened:
        assert opened.listdir() == ["disk", "p1", "p2", "p3"]
        assert opened.resolve("/p1").stat().is_directory
        refused(errno.EOPNOTSUPP, lambda: opened.listdir("/p1"))
        refused(errno.EOPNOTSUPP, lambda: opened.resolve("/p1/etc"))
        assert opened.read_bytes("/p3/etc/hostname") == b"host3\n"
    refused(errno.EOPNOTSUPP, lambda: open_image(image, partition=1))
    with open_image(image, partition=1, patient=True) as opened:
        assert types(opened) == ["mbr"] and opened.failure is not None and opened.failure.errno == errno.EOPNOTSUPP


# ------------------------------------------------------------------------------------------------ partitions and layers


def test_one_partition(image: Path) -> None:
    below = ["shifted", "mbr"] if image.suffix == ".shifted" else ["mbr"]
    for opened in (open_image(image, partition=3), open_image(f"{image}!/p3"), open_image(f"{image}!p3/")):
        with opened:
            assert types(opened) == [*below, "ext2"]
            assert opened.read_bytes("/etc/alias") == b"host3\n"
            assert opened.layers[-1].source == f"{image}!/p3" or opened.layers[-1].source == f"{image}!p3/"
    with open_image(image, "ext2", "sb=1", partition=1) as opened:
        assert opened.read_bytes("/etc/hostname") == b"host1\n"


def test_what_a_partition_is_not(image: Path) -> None:
    for call in (lambda: open_image(image, partition=2), lambda: open_image(f"{image}!/p2")):
        assert "not an image of any known format" in str(refused(errno.EINVAL, call))
    refused(errno.ENXIO, lambda: open_image(image, partition=4))
    assert refused(errno.ENOENT, lambda: open_image(f"{image}!/p4")).filename == f"{image}!/p4"
    refused(errno.ENOENT, lambda: open_image(f"{image}!/p1/nothing"))
    refused(errno.ENOENT, lambda: open_image(f"{image}!/p4/nothing"))
    refused(errno.ENOTDIR, lambda: open_image(f"{image}!/disk/etc"))
    refused(errno.EINVAL, lambda: open_image(f"{image}!/p1/data"))
    refused(errno.EISDIR, lambda: open_image(f"{image}!/p1/etc"))
    with open_disk(image, partition=1) as part, open_source(SubStorage(part.storage, 0, SIZES[1]), "part") as opened:
        assert types(opened) == ["ext2"]
        said = str(refused(errno.EINVAL, lambda: open_source(part.storage, "part", partition=1)))
        assert "has no partitions: its content is ext2" in said


def test_images_in_images(nested: Path) -> None:
    with open_image(nested) as opened:  # no table: the disk is the file system
        assert types(opened) == ["shifted", "ext2"] and opened.listdir("/images") == ["inner.shifted"]
    inner = f"{nested}!/images/inner.shifted"
    with open_image(inner) as opened:
        assert types(opened) == ["shifted", "ext2", "shifted", "mbr"]
        assert opened.read_bytes("/p1/etc/up") == b"host1\n"
        devices = [layer.mounted for layer in opened.layers if isinstance(layer.mounted, Shifted)]
    assert all(device.closed for device in devices) and len(devices) == 2
    with open_image(f"{inner}!/p3") as opened:
        assert opened.read_bytes("/etc/up") == b"host3\n"
    with open_disk(inner, partition=2) as part:
        assert part.storage.read(0, len(LUKS)) == LUKS
        (extent,) = part.storage.extents(0, 4096)
        assert extent.fd is not None and os.pread(extent.fd, 512, extent.fd_offset) == LUKS[:512]  # in the outermost file
    assert refused(errno.EINVAL, lambda: open_image(f"{inner}!/p2")).filename == f"{inner}!/p2"


def test_types(image: Path) -> None:
    with open_image(image, "mbr") as opened:
        assert types(opened)[-1] == "mbr"
    if image.suffix == ".shifted":
        with open_image(image, "shifted") as opened:
            assert types(opened) == ["shifted"] and opened.listdir() == ["disk"]
        with open_image(image, "shifted", partition=1) as opened:
            assert types(opened) == ["shifted", "mbr", "ext2"]
    assert "no ext2 superblock" in str(refused(errno.EINVAL, lambda: open_image(image, "ext2")))
    refused(errno.ENODEV, lambda: open_image(image, "nonsense"))


def test_an_empty_disk(tmp_path: Path) -> None:
    image = tmp_path / "empty.shifted"
    image.write_bytes(MAGIC + bytes(MIB))
    with open_image(image) as opened:
        assert opened.listdir() == ["disk"] and opened.read_bytes("/disk") == bytes(MIB)
    refused(errno.EINVAL, lambda: open_image(image, partition=1))
    refused(errno.EINVAL, lambda: open_source(FileStorage(image).__class__(image), "x", "ext2"))


def test_a_container_of_itself_ends(tmp_path: Path) -> None:
    image = tmp_path / "many.shifted"
    image.write_bytes(MAGIC * 40 + bytes(MIB))
    assert "more than 16 layers" in str(refused(errno.ELOOP, lambda: open_image(image)))


# ---------------------------------------------------------------------------------------------------------------- disks


def test_the_bytes_of_a_disk(image: Path, disk: Path, tmp_path: Path) -> None:
    content = disk.read_bytes()
    with open_disk(image) as opened:
        assert opened.storage.read(0, opened.storage.size) == content
        assert [layer.type for layer in opened.layers] == (["shifted"] if image.suffix == ".shifted" else [])
    for number in STARTS:
        with open_disk(image, partition=number) as opened:
            wanted = content[STARTS[number] : STARTS[number] + SIZES[number]]
            assert opened.storage.read(0, opened.storage.size) == wanted
    with open_disk(f"{image}!/p1/etc/hostname") as opened:
        assert opened.storage.read(0, opened.storage.size) == b"host1\n"
    plain = tmp_path / "plain"
    plain.write_bytes(b"no format at all")
    with open_disk(plain, options="ro") as opened:
        assert opened.storage.read(0, 16) == b"no format at all" and not opened.layers
    refused(errno.EISDIR, lambda: open_disk(tmp_path))
    refused(errno.EINVAL, lambda: open_disk(plain, partition=1))


def test_writing_goes_through_all_layers(disk: Path, tmp_path: Path) -> None:
    image = tmp_path / "written.shifted"
    image.write_bytes(MAGIC + disk.read_bytes())
    with open_disk(image, writable=True, partition=2) as opened:
        assert not opened.storage.read_only
        opened.storage.write(1000, b"written through")
        opened.storage.zero(0, 8)
        opened.storage.flush()
        refused(errno.EBUSY, lambda: open_disk(image))
    with open_disk(image, partition=2) as opened:
        assert opened.storage.read_only
        assert opened.storage.read(0, 1016) == bytes(8) + LUKS[8:1000] + b"written through" + LUKS[1015:1016]
        refused(errno.EROFS, lambda: opened.storage.write(0, b"x"))


# -------------------------------------------------------------------------------------------------------------- options


def test_options_find_their_layer(shifted: Path, tmp_path: Path) -> None:
    parent = tmp_path / "parent.img"
    parent.write_bytes(b"parent")
    with open_image(shifted, options=f"ro,parent={parent},colour=red,sb=1", partition=1) as opened:
        device = opened.layers[0].mounted
        assert isinstance(device, Shifted) and isinstance(device.parent, FileStorage)
        assert device.parent.read(0, 6) == b"parent"
        assert isinstance(opened.filesystem, Filesystem)
    assert device.parent.fd < 0  # closed with all the rest
    with open_image(shifted, options=f"parent={shifted}!/p1/etc/hostname") as opened:
        device = opened.layers[0].mounted
        assert isinstance(device, Shifted) and device.parent is not None and device.parent.read(0, 5) == b"host1"
    said = str(refused(errno.EINVAL, lambda: open_image(shifted, options="colour=red,shape=round")))
    assert re.search(r"unknown option 'shape' \(known: colour, parent, ro, rw, rw\+, sector_size\)", said)
    assert "colour" in str(refused(errno.EINVAL, lambda: open_image(shifted, options="colour=")))
    assert refused(errno.ENOENT, lambda: open_image(shifted, options="parent=/nowhere/x")).filename == "/nowhere/x"


# --------------------------------------------------------------------------------------------------------------- fsspec


def test_fsspec(image: Path, tmp_path: Path) -> None:
    files = fsspec.filesystem("vfs", image=str(image))
    assert files.cat("/p1/etc/alias") == b"host1\n"
    assert {"/p1/etc/hostname", "/p2", "/p3/etc/hostname"} <= set(files.find("/"))
    assert [each["name"] for each in files.ls("/p3/etc")] == ["/p3/etc/alias", "/p3/etc/hostname", "/p3/etc/up"]
    files.close()
    with fsspec.open(f"vfs://p3/etc/hostname::file://{image}") as file:
        assert file.read() == b"host3\n"
    memory = fsspec.filesystem("memory")
    memory.pipe("/disk.img", image.read_bytes())
    with fsspec.open("vfs://p3/etc/hostname::memory://disk.img") as file:
        assert file.read() == b"host3\n"
    memory.rm("/disk.img")
    files = fsspec.filesystem("vfs", image=str(image), partition=3)
    assert files.cat("/etc/hostname") == b"host3\n"
    files.close()


def test_the_trees_of_the_tests_differ(tmp_path: Path) -> None:
    """What the tests above rely on."""
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tree(tmp_path / "tree", "name"), "tree")
    assert (tmp_path / "tree/etc/alias").is_symlink()
