"""The damage table: a good image, one field changed, one error that names it.

Each row says which structure and field gets which value, what is then asked, and the errno and the words of the sentence. The
images have no checksums, so that the number itself is met and not its checksum.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from fixtures.anatomy import Anatomy
from fixtures.ext import image
from vfs.api import Image, Node, open_image
from vfs.ext2 import features, layout
from vfs.ext2.layout import (
    ExtentHeader,
    GroupDescriptor,
    Inode,
    Structure,
    Superblock,
    XattrEntry,
    XattrHeader,
)


class Patient:
    """A copy of an image to damage."""

    def __init__(self, name: str, place: Path) -> None:
        self.raw = bytearray(image(name).read_bytes())
        self.anatomy = Anatomy(bytes(self.raw))
        self.path = place / "damaged.img"
        with open_image(str(image(name)), "ext2") as opened:
            self.numbers = {
                path: opened.resolve(path, follow=False).ino
                for path in (
                    b"README",
                    b"sparse",
                    b"a",
                    b"a/b/c",
                    b"crowd",
                    b"slow",
                    b"fast",
                    b"acl",
                    b"attributes",
                    b"fragments",
                )
            }

    def put(self, structure: type[Structure], base: int, name: str, value: int) -> None:
        field = structure.FIELDS[name]
        struct.pack_into(structure.ORDER + field.form, self.raw, base + field.offset, value)

    def inode(self, path: bytes) -> int:
        return self.anatomy.inodes[self.numbers[path]].offset

    def block(self, path: bytes, index: int = 0) -> int:
        """Where a block of a file's content is."""
        return self.anatomy.inodes[self.numbers[path]].blocks[index] * self.anatomy.block_size

    def open(self) -> Image:
        self.path.write_bytes(self.raw)
        return open_image(str(self.path), "ext2")


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient("tiny_ext4", tmp_path)


# ---------------------------------------------------------------- the superblock


class Row(NamedTuple):
    field: str
    value: int
    errno: int
    words: str


SUPERBLOCK_ROWS = [
    Row("magic", 0xEF54, errno.EINVAL, "no ext2 superblock"),
    Row("log_block_size", 7, errno.EUCLEAN, "log_block_size 7"),
    Row("log_block_size", 0xFFFFFFFF, errno.EUCLEAN, "log_block_size"),
    Row("first_data_block", 0, errno.EUCLEAN, "first_data_block 0"),
    Row("first_data_block", 0xFFFFFFF0, errno.EUCLEAN, "first_data_block"),
    Row("blocks_per_group", 0, errno.EUCLEAN, "blocks_per_group 0"),
    Row("blocks_per_group", 8193, errno.EUCLEAN, "blocks_per_group 8193"),
    Row("inodes_per_group", 0, errno.EUCLEAN, "inodes_per_group 0"),
    Row("inodes_per_group", 1 << 20, errno.EUCLEAN, "inodes_per_group"),
    Row("inodes_count", 1 << 31, errno.EUCLEAN, "inodes_count"),
    Row("blocks_count_lo", 0, errno.EUCLEAN, "blocks_count 0"),
    Row("blocks_count_lo", 0xFFFFFFFF, errno.EUCLEAN, "inodes_count"),
    Row("blocks_count_hi", 0xFFFFFFFF, errno.EUCLEAN, "blocks_count"),
    Row("inode_size", 0, errno.EUCLEAN, "inode_size 0"),
    Row("inode_size", 192, errno.EUCLEAN, "inode_size 192"),
    Row("inode_size", 2048, errno.EUCLEAN, "inode_size 2048"),
    Row("first_ino", 3, errno.EUCLEAN, "first_ino 3"),
    Row("desc_size", 32, errno.EUCLEAN, "desc_size 32"),
    Row("desc_size", 2048, errno.EUCLEAN, "desc_size 2048"),
    Row("feature_incompat", 0x2 | 0x1000, errno.EOPNOTSUPP, "dirdata"),
    Row("feature_incompat", 0x2 | 0x80000000, errno.EOPNOTSUPP, "0x80000000"),
    Row("feature_incompat", features.JOURNAL_DEV, errno.EOPNOTSUPP, "external journal"),
]


@pytest.mark.parametrize("row", SUPERBLOCK_ROWS, ids=lambda row: f"{row.field}-{row.value:#x}")
def test_superblock(row: Row, patient: Patient) -> None:
    patient.put(Superblock, 1024, row.field, row.value)
    with pytest.raises(OSError) as caught:
        patient.open()
    assert caught.value.errno == row.errno
    assert row.words in str(caught.value.strerror)


def test_superblock_of_clusters(tmp_path: Path) -> None:
    for field, value in (
        ("log_cluster_size", 40),
        ("clusters_per_group", 0),
        ("clusters_per_group", 77),
        ("log_cluster_size", 0),
    ):
        raw = bytearray(image("bigalloc").read_bytes())
        # Without its checksum: the feature bit goes.
        (ro_compat,) = struct.unpack_from("<I", raw, 1024 + 0x64)
        struct.pack_into("<I", raw, 1024 + 0x64, ro_compat & ~features.METADATA_CSUM)
        struct.pack_into("<I", raw, 1024 + Superblock.FIELDS[field].offset, value)
        path = tmp_path / "damaged.img"
        path.write_bytes(raw)
        with pytest.raises(OSError, match=r"cluster|blocks_per_group") as caught:
            open_image(str(path), "ext2")
        assert caught.value.errno == errno.EUCLEAN


def test_superblock_checksum(tmp_path: Path) -> None:
    raw = bytearray(image("tiny_csum").read_bytes())
    raw[1024 + Superblock.FIELDS["volume_name"].offset] ^= 1
    path = tmp_path / "damaged.img"
    path.write_bytes(raw)
    with pytest.raises(OSError, match="checksum") as caught:
        open_image(str(path), "ext2")
    assert caught.value.errno == errno.EUCLEAN


def test_unknown_read_only_features_do_not_matter(patient: Patient) -> None:
    patient.put(Superblock, 1024, "feature_ro_compat", 0x80000000)
    with patient.open() as opened:
        assert opened.resolve("/README").stat().size == 2500
        assert "unknown" in str(opened.filesystem.details()["features"]) or "0x80000000" in str(opened.filesystem.details())


def test_an_image_cut_off_is_read_as_far_as_it_goes(patient: Patient) -> None:
    cut = patient.block(b"fragments", -1)
    del patient.raw[cut:]
    with patient.open() as opened:
        assert "cut off" in str(opened.filesystem.details()["state"])
        assert bytes(opened.resolve("/README").open().read(0, 5))
        handle = opened.resolve("/fragments").open()
        with pytest.raises(OSError) as caught:
            handle.read(handle.size() - 10, 10)
        assert caught.value.errno == errno.EIO


# ---------------------------------------------------------------- groups and inodes


def test_inode_table_outside(patient: Patient) -> None:
    patient.put(GroupDescriptor, patient.anatomy.descriptors[0], "inode_table_lo", 1 << 20)
    with pytest.raises(OSError, match=r"group 0: inode table at block 1048576") as caught, patient.open() as opened:
        opened.root.stat()
    assert caught.value.errno == errno.EUCLEAN


Asking = Callable[[Image], object]


def resolve(path: bytes) -> Asking:
    return lambda opened: opened.resolve(path)


def read(path: bytes, size: int = 1 << 20) -> Asking:
    def ask(opened: Image) -> object:
        handle = opened.resolve(path).open()
        return handle.readinto(0, memoryview(bytearray(size)))

    return ask


def entries(path: bytes) -> Asking:
    return lambda opened: list(opened.resolve(path).entries())


def attributes(path: bytes) -> Asking:
    return lambda opened: opened.resolve(path).listxattr()


class InodeRow(NamedTuple):
    path: bytes
    field: str
    value: int
    ask: Asking
    words: str


INODE_ROWS = [
    InodeRow(b"README", "mode", 0x7FFF, resolve(b"README"), "file type 0x7"),
    InodeRow(b"README", "mode", 0, resolve(b"README"), "file type"),
    InodeRow(b"README", "links_count", 0, resolve(b"README"), "not in use"),
    InodeRow(b"README", "size_high", 0x80000000, resolve(b"README"), "size"),
    InodeRow(b"README", "extra_isize", 200, resolve(b"README"), "extra_isize 200"),
    InodeRow(b"README", "extra_isize", 6, resolve(b"README"), "extra_isize 6"),
    InodeRow(b"README", "flags", 0, read(b"README"), "outside the file system"),
    InodeRow(b"README", "flags", layout.FL_EA_INODE | layout.FL_EXTENTS, resolve(b"README"), "holds the value of an attribute"),
    InodeRow(b"slow", "size_lo", 5000, lambda opened: opened.root.lookup(b"slow").readlink(), "a link of 5000 bytes"),
    InodeRow(b"fast", "size_lo", 30, lambda opened: opened.root.lookup(b"fast").readlink(), "NUL"),
    InodeRow(b"attributes", "file_acl_lo", 1 << 30, attributes(b"attributes"), "outside the file system"),
    InodeRow(b"attributes", "file_acl_lo", 3, attributes(b"attributes"), "magic"),
]


@pytest.mark.parametrize("row", INODE_ROWS, ids=lambda row: f"{row.path.decode()}-{row.field}-{row.value:#x}")
def test_inode(row: InodeRow, patient: Patient) -> None:
    patient.put(Inode, patient.inode(row.path), row.field, row.value)
    with patient.open() as opened:
        with pytest.raises(OSError) as caught:
            row.ask(opened)
        assert caught.value.errno == errno.EUCLEAN
        assert row.words in str(caught.value.strerror)
        # The others are as they were.
        assert opened.root.lookup(b"lost+found").stat().is_directory


def test_a_number_that_is_not_in_use_is_stale(patient: Patient) -> None:
    with patient.open() as opened:
        unused = max(patient.anatomy.inodes) + 3
        with pytest.raises(OSError) as caught:
            opened.filesystem.node(unused)
        assert caught.value.errno == errno.ESTALE
        for impossible in (0, 1, 7, 1 << 40, -3):
            with pytest.raises(OSError) as caught:
                opened.filesystem.node(impossible)
            assert caught.value.errno == errno.EUCLEAN


# ---------------------------------------------------------------- maps


EXTENT_ROWS = [
    ("magic", 0, "magic 0x0000"),
    ("depth", 6, "depth 6, at most 5"),
    ("entries", 5, "5 entries of at most 4"),
    ("max", 100, "there is room for 4"),
]


@pytest.mark.parametrize(("field", "value", "words"), EXTENT_ROWS)
def test_extent_root(field: str, value: int, words: str, patient: Patient) -> None:
    patient.put(ExtentHeader, patient.inode(b"README") + layout.BLOCK_OFFSET, field, value)
    with patient.open() as opened:
        with pytest.raises(OSError, match=words) as caught:
            read(b"README")(opened)
        assert caught.value.errno == errno.EUCLEAN
        assert opened.resolve("/README").stat().size == 2500


def test_extent_tree_that_leads_to_itself(patient: Patient) -> None:
    """The one index entry of /fragments leads to its leaf; that leaf made an index that leads to itself."""
    leaf = patient.anatomy.inodes[patient.numbers[b"fragments"]].map_blocks[0]
    base = leaf * patient.anatomy.block_size
    patient.put(ExtentHeader, patient.inode(b"fragments") + layout.BLOCK_OFFSET, "depth", 2)
    patient.put(ExtentHeader, base, "depth", 1)
    patient.put(ExtentHeader, base, "entries", 1)
    struct.pack_into("<IIHH", patient.raw, base + 12, 0, leaf, 0, 0)
    with patient.open() as opened, pytest.raises(OSError, match="has depth 1, not 0") as caught:
        read(b"fragments")(opened)
    assert caught.value.errno == errno.EUCLEAN


def test_extents_out_of_order(patient: Patient) -> None:
    base = patient.anatomy.inodes[patient.numbers[b"fragments"]].map_blocks[0] * patient.anatomy.block_size
    struct.pack_into("<I", patient.raw, base + 12, 5)
    with patient.open() as opened, pytest.raises(OSError, match="out of order"):
        read(b"fragments")(opened)


def test_block_map_that_leads_to_itself(tmp_path: Path) -> None:
    """Every number of a triple indirect block is its own: 2^24 ways to nowhere, each level one less, and soon an end."""
    patient = Patient("tiny_ext2", tmp_path)
    number = patient.anatomy.inodes[patient.numbers[b"fragments"]].map_blocks[0]
    base = number * patient.anatomy.block_size
    patient.raw[base : base + 1024] = struct.pack("<I", number) * 256
    inode = patient.inode(b"fragments")
    struct.pack_into("<I", patient.raw, inode + layout.BLOCK_OFFSET + 14 * 4, number)
    patient.put(Inode, inode, "size_high", 0x10)
    with patient.open() as opened:
        handle = opened.resolve("/fragments").open()
        with pytest.raises(OSError, match="more blocks than the file system has") as caught:
            handle.seek_hole(1 << 30)
        assert caught.value.errno == errno.EUCLEAN


# ---------------------------------------------------------------- directories


def _listing(opened: Image, path: bytes) -> tuple[list[bytes], OSError | None]:
    names = []
    try:
        for entry in opened.resolve(path).entries():
            names.append(entry.name)
    except OSError as error:
        return names, error
    return names, None


def test_a_damaged_block_hides_its_own_entries_only(patient: Patient) -> None:
    with open_image(str(image("tiny_ext4")), "ext2") as opened:
        whole = _listing(opened, b"crowd")[0]
    # The first entry of the directory's third block.
    struct.pack_into("<H", patient.raw, patient.block(b"crowd", 2) + 4, 0)
    with patient.open() as opened:
        names, error = _listing(opened, b"crowd")
        assert error is not None and error.errno == errno.EUCLEAN and "rec_len 0" in str(error)
        lost = [name for name in whole if name not in names]
        assert 1 <= len(lost) <= 4 and len(names) + len(lost) == len(whole)
        crowd = opened.resolve("/crowd")
        assert all(crowd.lookup(name) for name in names)
        # The first one's own head is found all the same; what may be behind the break is not said to be absent.
        assert crowd.lookup(lost[0])
        for name in lost[1:]:
            with pytest.raises(OSError) as caught:
                crowd.lookup(name)
            assert caught.value.errno == errno.EUCLEAN
        with pytest.raises(OSError) as caught:
            crowd.lookup(b"never was")
        assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("byte", [b"/", b"\0"])
def test_a_name_that_cannot_be_is_left_out(byte: bytes, patient: Patient) -> None:
    base = patient.block(b"a")
    at = patient.raw.index(b"second-name", base)
    patient.raw[at + 3 : at + 4] = byte
    with patient.open() as opened:
        names, error = _listing(opened, b"a")
        assert names == [b"b"] and error is not None and "sec" in str(error)


@pytest.mark.parametrize("ino", [1, 7, 0xFFFFFFFF, 120])
def test_an_entry_that_names_no_inode_is_listed(ino: int, patient: Patient) -> None:
    """So that a person sees what is lost; it has no attributes."""
    base = patient.block(b"a")
    at = patient.raw.index(b"second-name", base)
    struct.pack_into("<I", patient.raw, at - 8, ino)
    with patient.open() as opened:
        directory = opened.resolve("/a")
        entry = next(entry for entry in directory.entries() if entry.name == b"second-name")
        for ask in (lambda: directory.child(entry), lambda: directory.lookup(b"second-name")):
            with pytest.raises(OSError) as caught:
                ask()
            assert caught.value.errno == errno.EUCLEAN


def test_a_directory_of_absurd_size_ends(patient: Patient) -> None:
    patient.put(Inode, patient.inode(b"a"), "size_lo", 0xFFFFFC00)
    with patient.open() as opened:
        names, error = _listing(opened, b"a")
        assert sorted(names) == [b"b", b"second-name"] and error is None
        with pytest.raises(OSError) as caught:
            opened.resolve("/a/none")
        assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("name", ["tiny_ext2", "tiny_ext4", "tiny_inline"])
@pytest.mark.parametrize("cookie", [-1, 1, 5, 1024, 1030, 50 << 10, (1 << 32) - 1, 1 << 32, (1 << 63) - 1])
def test_a_cookie_that_was_never_given_is_no_harm(name: str, cookie: int) -> None:
    with open_image(str(image(name)), "ext2") as opened:
        for path in ("/", "/crowd", "/a"):
            whole = list(opened.resolve(path).entries())
            assert list(opened.resolve(path).entries(cookie)) == [entry for entry in whole if entry.next > cookie]


def test_an_index_of_equal_hashes_ends(tmp_path: Path) -> None:
    """All entries of every index block have the one hash that is looked for, and go on and on."""
    raw = bytearray(image("large_dir").read_bytes())
    anatomy = Anatomy(bytes(raw))
    inode = next(inode for inode in anatomy.inodes.values() if inode.flags & layout.FL_INDEX and len(inode.blocks) > 100)
    size = anatomy.block_size
    for number in inode.blocks:
        base = number * size
        head = 32 if number == inode.blocks[0] else 8
        if head == 8 and raw[base : base + 4] != bytes(4):
            continue
        (limit,) = struct.unpack_from("<H", raw, base + head)
        for index in range(1, limit):
            struct.pack_into("<II", raw, base + head + index * 8, 1, index % 3)
        struct.pack_into("<H", raw, base + head + 2, limit)
    path = tmp_path / "damaged.img"
    path.write_bytes(raw)
    with open_image(str(path), "ext2") as opened:
        node = opened.filesystem.node(inode.number)
        names = [entry.name for entry in node.entries()]
        for name in (names[0], names[-1]):
            assert node.lookup(name)
        with pytest.raises(OSError):
            node.lookup(b"never was")


def test_a_parent_that_is_none(patient: Patient) -> None:
    base = patient.block(b"a/b/c")
    struct.pack_into("<I", patient.raw, base + 12, patient.numbers[b"README"])
    with patient.open() as opened:
        node: Node = opened.resolve("/a/b/c")
        with pytest.raises(OSError, match="no directory"):
            node.parent()


# ---------------------------------------------------------------- attributes


def _attribute_block(patient: Patient) -> int:
    inode = patient.anatomy.inodes[patient.numbers[b"attributes"]]
    return inode.attribute_block * patient.anatomy.block_size


ATTRIBUTE_ROWS = [
    (XattrHeader, 0, "magic", 0, "magic"),
    (XattrHeader, 0, "blocks", 2, "counts 2 blocks"),
    (XattrEntry, 32, "value_offs", 0xFFF0, "reaches beyond the end"),
    (XattrEntry, 32, "value_size", 0xFFFFFFFF, "reaches beyond the end"),
    (XattrEntry, 32, "value_inum", 12, "not one for values"),
    (XattrEntry, 32, "value_inum", 0xFFFFFFFF, "numbers are from 1"),
    (XattrEntry, 32, "name_len", 255, "reaches beyond the end|has no end"),
]


@pytest.mark.parametrize(("structure", "offset", "field", "value", "words"), ATTRIBUTE_ROWS)
def test_attributes(structure: type[Structure], offset: int, field: str, value: int, words: str, patient: Patient) -> None:
    base = _attribute_block(patient)
    assert base
    if field == "name_len":
        # Names to the block's end, one after the other, and no end of the list.
        patient.raw[base + 32 : base + 1024] = struct.pack("<BBHIII", 255, 1, 0, 0, 0, 0).ljust(272, b"n") * 3 + bytes([1] * 176)
    else:
        patient.put(structure, base + offset, field, value)
    with patient.open() as opened:
        node = opened.resolve("/attributes")
        with pytest.raises(OSError, match=words) as caught:
            for name in node.listxattr():
                node.getxattr(name)
        assert caught.value.errno == errno.EUCLEAN
        assert node.stat().size == 1
