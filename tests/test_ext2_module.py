"""The module as a front end meets it: probing, options, what a mount reads, life time, threads; and that it never writes."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import struct
import subprocess
import threading
from pathlib import Path

import oracle
import pytest

from fixtures.anatomy import Anatomy
from fixtures.ext import IMAGES, image
from vfs.api import CERTAIN, NO, FileStorage, Storage, open_image, parse
from vfs.api import registry as known_modules
from vfs.ext2.module import Ext2Module, ExtOptions
from vfs.ext2.volume import Ext2Filesystem


class Counting(FileStorage):
    """A file that counts what is read of it."""

    reads = 0
    bytes_read = 0

    def read(self, offset: int, size: int) -> bytes:
        self.reads += 1
        self.bytes_read += size
        return super().read(offset, size)

    def readinto(self, offset: int, buffer: memoryview) -> int:
        self.reads += 1
        self.bytes_read += len(buffer)
        return super().readinto(offset, buffer)


def mounted(path: Path | str, options: str = "") -> tuple[Counting, Ext2Filesystem]:
    storage = Counting(str(path))
    filesystem = Ext2Module().mount(storage, parse(options, ExtOptions))
    assert isinstance(filesystem, Ext2Filesystem)
    return storage, filesystem


# ---------------------------------------------------------------- probing and options


@pytest.mark.parametrize("name", [name for name in IMAGES if not name.startswith("backup")])
def test_every_image_is_recognised(name: str) -> None:
    with FileStorage(str(image(name))) as storage:
        assert Ext2Module().probe(storage) == CERTAIN
        assert known_modules.detect(storage).name == "ext2"


def test_other_things_are_not(tmp_path: Path) -> None:
    for content in (b"", b"\0" * 4096, os.urandom(1 << 16), b"\x53\xef" * 4096):
        path = tmp_path / "other"
        path.write_bytes(content)
        with FileStorage(str(path)) as storage:
            assert Ext2Module().probe(storage) < CERTAIN
    assert Ext2Module().probe(None) == NO


def test_both_names() -> None:
    assert known_modules.find("ext2").name == known_modules.find("umfuseext2").name == "ext2"


@pytest.mark.parametrize(("options", "words"), [("rw", "rw+"), ("rw+", "only reads")])
def test_writing_is_refused_with_a_sentence(options: str, words: str) -> None:
    with pytest.raises(OSError, match="ext2: ") as caught:
        open_image(str(image("tiny_ext4")), "ext2", options)
    assert caught.value.errno == errno.EROFS and words in str(caught.value.strerror)


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"text\n" * 1000)
    for content, options, words in ((b"text\n" * 1000, "", "no ext2 superblock"), (b"short", "", "only 5 bytes")):
        path.write_bytes(content)
        with pytest.raises(OSError, match=words) as caught:
            open_image(str(path), "ext2", options)
        assert caught.value.errno == errno.EINVAL
    with pytest.raises(OSError, match="no ext2 superblock at 5 KiB") as caught:
        open_image(str(image("tiny_ext4")), "ext2", "sb=5")
    with pytest.raises(OSError, match="unknown option 'bs'") as caught:
        open_image(str(image("tiny_ext4")), "ext2", "bs=5")
    with pytest.raises(OSError, match="wants an image") as caught:
        Ext2Module().mount(None, ExtOptions())


def test_noload_shows_what_the_journal_has_not_reached() -> None:
    for option in ("noload", "norecovery"):
        with open_image(str(image("external_journal_dirty")), "ext2", option) as opened:
            assert list(opened.root.entries())
            assert "not shown" in str(opened.filesystem.details()["state"])


def test_details_are_for_a_person() -> None:
    with open_image(str(image("no_journal")), "ext2") as opened:
        told = opened.filesystem.details()
    assert told["type"] == "ext4" and told["label"] and told["state"] == "clean" and "extent" in str(told["features"])
    for name, kind in (("ext2_1k", "ext2"), ("ext3_1k", "ext3"), ("rev0", "ext2"), ("tiny_journal", "ext4")):
        with open_image(str(image(name)), "ext2") as opened:
            assert opened.filesystem.details()["type"] == kind


# ---------------------------------------------------------------- life time


def test_a_mount_that_fails_leaves_the_storage_open() -> None:
    with FileStorage(str(image("unknown_incompat"))) as storage:
        with pytest.raises(OSError):
            Ext2Module().mount(storage, ExtOptions())
        assert len(storage.read(1024, 100)) == 100


def test_close_ends_the_storage_and_may_be_repeated() -> None:
    storage, filesystem = mounted(image("tiny_ext4"))
    with filesystem:
        pass
    assert storage.fd == -1
    filesystem.close()


def test_many_mounts_at_once_share_nothing() -> None:
    opened = [mounted(image(name))[1] for name in ("tiny_ext4", "tiny_ext2", "acls") * 7]
    listings = [sorted(entry.name for entry in filesystem.root.entries()) for filesystem in opened]
    for index, filesystem in enumerate(opened):
        assert listings[index] == listings[index % 3]
        filesystem.close()


def test_the_image_is_never_written(tmp_path: Path) -> None:
    """A dirty one above all: the replay is in memory. The descriptor could not write either."""
    for name in ("journal_csum3", "kernel_crash", "kernel_fast_commit"):
        before = hashlib.sha256(image(name).read_bytes()).digest()
        storage, filesystem = mounted(image(name))
        with filesystem:
            assert filesystem.read_only and list(filesystem.root.entries())
            with pytest.raises(OSError):
                os.pwrite(storage.fd, b"x", 0)
            for change in (
                lambda root: root.create(b"new", 0o100644),
                lambda root: root.mkdir(b"new", 0o755),
                lambda root: root.unlink(b"README"),
            ):
                with pytest.raises(OSError) as caught:
                    change(filesystem.root)
                assert caught.value.errno == errno.EROFS
        assert hashlib.sha256(image(name).read_bytes()).digest() == before


def test_errors_of_operations_are_those_of_linux() -> None:
    with open_image(str(image("tiny_ext4")), "ext2") as opened:
        root, text = opened.root, opened.resolve("/README")
        link, null = root.lookup(b"fast"), root.lookup(b"null")
        for ask, number in (
            (lambda: root.lookup(b"n" * 256), errno.ENAMETOOLONG),
            (lambda: root.lookup(b"none"), errno.ENOENT),
            (lambda: text.lookup(b"x"), errno.ENOTDIR),
            (lambda: text.entries(), errno.ENOTDIR),
            (lambda: text.readlink(), errno.EINVAL),
            (lambda: root.open(), errno.EISDIR),
            (lambda: link.open(), errno.ELOOP),
            (lambda: null.open(), errno.ENXIO),
            (lambda: text.open(os.O_WRONLY), errno.EROFS),
            (lambda: text.open(os.O_RDONLY | os.O_TRUNC), errno.EROFS),
            (lambda: text.getxattr(b"user.none"), errno.ENODATA),
            (lambda: text.getxattr(b"nonsense"), errno.ENODATA),
            (lambda: text.getxattr(b"system.data"), errno.ENODATA),
            (lambda: text.open().seek_data(2500), errno.ENXIO),
            (lambda: text.open().seek_hole(-1), errno.ENXIO),
        ):
            with pytest.raises(OSError) as caught:
                ask()
            assert caught.value.errno == number
        assert text.parent() is None and opened.resolve("/a/b").parent() is not None
        assert opened.filesystem.node(text.ino).stat() == text.stat()


def test_a_stat_is_the_callers_to_change() -> None:
    """viewfs lays virtual owners over it."""
    with open_image(str(image("tiny_ext4")), "ext2") as opened:
        status = opened.resolve("/README").stat()
        status.uid = 4711
        assert opened.resolve("/README").stat().uid == 0


@pytest.mark.skipif(not oracle.kernel_can_mount(), reason="needs root, loop devices and the kernel's ext4")
def test_flags_are_the_attributes_of_statx(tmp_path: Path) -> None:
    """Offset 8 of struct statx: stx_attributes."""
    path = tmp_path / "flags.img"
    raw = bytearray(image("tiny_ext4").read_bytes())
    flags = {b"README": 0x10, b"sparse": 0x20, b"small": 0x40, b"empty": 0x4, b"acl": 0x10 | 0x40 | 0x8}
    with open_image(str(image("tiny_ext4")), "ext2") as opened:
        inodes = Anatomy(bytes(raw)).inodes
        for name, bits in flags.items():
            place = inodes[opened.resolve(name).ino].offset + 0x20
            struct.pack_into("<I", raw, place, bits | struct.unpack_from("<I", raw, place)[0])
    path.write_bytes(raw)
    known = 0x4 | 0x10 | 0x20 | 0x40 | 0x800 | 0x100000
    with open_image(str(path), "ext2") as opened, oracle.loop_mount(path) as point:
        for name in (*flags, b"a", b"fifo"):
            buffer = ctypes.create_string_buffer(256)
            assert ctypes.CDLL(None).statx(-100, os.fsencode(point) + b"/" + name, 0x100, 0xFFF, buffer) == 0
            (told,) = struct.unpack_from("=Q", buffer, 8)
            status = opened.resolve(name).stat()
            assert status.attributes == told & known == flags.get(name, 0) & known
            (blksize,) = struct.unpack_from("=I", buffer, 4)
            assert status.blksize == blksize


# ---------------------------------------------------------------- what is read


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 GiB with a million inodes, all of it sparse."""
    path = tmp_path_factory.mktemp("large") / "large.img"
    with path.open("wb") as made:
        made.truncate(64 << 30)
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    command = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-N",
        "1000000",
        "-E",
        "lazy_itable_init=1,nodiscard",
        "-J",
        "size=4",
        str(path),
    ]
    subprocess.run(command, env=environment, check=True, timeout=300, capture_output=True)
    return path


def test_a_mount_reads_as_much_of_a_large_image_as_of_a_small_one(large: Path) -> None:
    told = []
    for path in (large, image("ext4_4k")):
        storage, filesystem = mounted(path)
        with filesystem:
            assert [entry.name for entry in filesystem.root.entries()]
            told.append((storage.reads, storage.bytes_read))
    assert told[0][0] <= told[1][0] + 1 and told[0][1] <= 64 << 10


def test_a_name_in_a_large_directory_is_found_by_its_index() -> None:
    storage, filesystem = mounted(image("large_dir"))
    with filesystem:
        directory = max(
            (filesystem.root.child(entry) for entry in filesystem.root.entries() if entry.type == 4),
            key=lambda node: node.stat().size,
        )
        names = [entry.name for entry in directory.entries()]
        blocks = directory.stat().size // filesystem.block_size
        assert blocks > 100
    storage, filesystem = mounted(image("large_dir"))
    with filesystem:
        node = filesystem.node(directory.ino)
        node.stat()
        before = storage.reads
        assert node.lookup(names[len(names) // 2]).ino
        # The levels of the index, a leaf or two where hashes are equal, the inode, and the extent tree.
        assert storage.reads - before <= 12


def test_a_contiguous_file_is_one_read(large: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.img"
    content = os.urandom(3 << 20)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(content)
    environment = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"}
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tmp_path / "tree"), str(path), "16M"]
    subprocess.run(command, env=environment, check=True, timeout=100, capture_output=True)
    storage, filesystem = mounted(path)
    with filesystem:
        handle = filesystem.root.lookup(b"file").open()
        assert len(handle.extents(0, 1 << 40)) == 1
        before = storage.reads
        assert handle.read(100, 2 << 20) == content[100 : 100 + (2 << 20)]
        assert storage.reads == before + 1
        buffer = bytearray(1 << 20)
        assert handle.readinto(5, memoryview(buffer)) == 1 << 20 and buffer == content[5 : 5 + (1 << 20)]
        assert storage.reads == before + 2
        (extent,) = handle.extents(4096, 8192)
        assert extent.fd == storage.fd and os.pread(storage.fd, extent.length, extent.fd_offset) == content[4096 : 4096 + 8192]


def test_what_the_journal_has_is_not_handed_out_as_an_extent() -> None:
    """In a journalled image a block's place in the file has old bytes: only reading gives the new ones."""
    opaque = 0
    for name in ("journal_csum3", "journal_plain", "tiny_journal"):
        with open_image(str(image(name)), "ext2") as opened:
            for number in range(11, opened.filesystem.statfs().files):
                try:
                    node = opened.filesystem.node(number)
                    handle = node.open()
                except OSError:
                    continue
                for extent in handle.extents(0, 1 << 30):
                    if extent.fd is None and not extent.hole:
                        opaque += 1
                    elif extent.fd is not None:
                        assert os.pread(extent.fd, extent.length, extent.fd_offset) == handle.read(extent.offset, extent.length)
    assert opaque


def test_reading_is_safe_from_several_threads() -> None:
    _, filesystem = mounted(image("tiny_ext4"))
    reference = _walked(filesystem)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                assert _walked(filesystem) == reference
        except BaseException as problem:
            problems.append(problem)

    with filesystem:
        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert not problems


def _walked(filesystem: Ext2Filesystem) -> list[tuple[bytes, int, bytes]]:
    found = []
    directories = [filesystem.root]
    while directories:
        directory = directories.pop()
        for entry in directory.entries():
            node = directory.lookup(entry.name)
            status = node.stat()
            content = bytes(node.open().read(0, 1 << 16)) if status.is_regular else b""
            found.append((entry.name, status.size, content))
            if status.is_directory:
                directories.append(node)
    return found


def test_a_storage_is_all_it_needs(tmp_path: Path) -> None:
    """Not a file: any Storage, such as one without descriptors. Then nothing can be handed out, and all can be read."""

    class Memory(Storage):
        def __init__(self, content: bytes) -> None:
            self.content, self.size, self.name = content, len(content), "memory"

        def readinto(self, offset: int, buffer: memoryview) -> int:
            piece = self.content[offset : offset + len(buffer)]
            buffer[: len(piece)] = piece
            return len(piece)

    filesystem = Ext2Module().mount(Memory(image("tiny_ext4").read_bytes()), ExtOptions())
    handle = filesystem.root.lookup(b"README").open()
    assert all(extent.fd is None for extent in handle.extents(0, 1 << 20))
    assert len(handle.read(0, 5000)) == 2500
