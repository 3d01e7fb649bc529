"""The journal beyond what the images compare: damage in it, and the edits of fast commits against a plain model.

That every kind of journal is replayed as the kernel replays it is tested with the images (`test_ext2_images`).
"""

from __future__ import annotations

import contextlib
import errno
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fixtures.ext import image
from vfs.api import Image, open_image
from vfs.api.crc32c import crc32c
from vfs.api.walk import walk_tree
from vfs.ext2 import fastcommit, layout
from vfs.ext2 import journal_layout as jl
from vfs.ext2.fastcommit import Edits, FastCommits
from vfs.ext2.journal import Journal
from vfs.ext2.volume import Ext2Filesystem


def filesystem_of(opened: Image) -> Ext2Filesystem:
    filesystem = opened.filesystem
    assert isinstance(filesystem, Ext2Filesystem)
    return filesystem


class Log:
    """A copy of an image whose log is to be damaged."""

    def __init__(self, name: str, place: Path) -> None:
        self.raw = bytearray(image(name).read_bytes())
        self.path = place / "damaged.img"
        with open_image(str(image(name)), "ext2", "noload") as opened:
            journal = Journal(filesystem_of(opened))
            self.size = journal.block_size
            self.places = [journal.place(block) * self.size for block in range(journal.length)]
            self.superblock = journal.superblock
            self.checksums, self.end = journal.checksums, journal.end

    def header(self, block: int) -> tuple[int, int, int]:
        magic, kind, sequence = struct.unpack_from(">III", self.raw, self.places[block])
        return magic, kind, sequence

    def of_kind(self, kind: int) -> list[int]:
        return [block for block in range(1, self.end) if self.header(block)[:2] == (jl.MAGIC, kind)]

    def mend_superblock(self) -> None:
        """Its checksum, where it has one, after a change."""
        if self.checksums:
            base = self.places[0]
            blank = bytes(self.raw[base : base + 0xFC]) + bytes(4) + bytes(self.raw[base + 0x100 : base + 1024])
            struct.pack_into(">I", self.raw, base + 0xFC, crc32c(0xFFFFFFFF, blank))

    def open(self, options: str = "") -> Image:
        self.path.write_bytes(self.raw)
        return open_image(str(self.path), "ext2", options)


SUPERBLOCK_ROWS = [
    ("magic", 0, errno.EUCLEAN, "magic 0x00000000"),
    ("blocktype", 1, errno.EUCLEAN, "type 1"),
    ("blocksize", 512, errno.EUCLEAN, "blocks of 512 bytes"),
    ("maxlen", 0x7FFFFFFF, errno.EUCLEAN, "2147483647 blocks"),
    ("maxlen", 0, errno.EUCLEAN, "0 blocks"),
    ("first", 0, errno.EUCLEAN, "log from 0"),
    ("start", 0x7FFFFFFF, errno.EUCLEAN, "begins at 2147483647"),
    ("feature_incompat", 0x80000000, errno.EOPNOTSUPP, "0x80000000"),
]


@pytest.mark.parametrize(("field", "value", "number", "words"), SUPERBLOCK_ROWS)
def test_superblock(field: str, value: int, number: int, words: str, tmp_path: Path) -> None:
    log = Log("journal_csum3", tmp_path)
    struct.pack_into(">I", log.raw, log.places[0] + jl.JournalSuperblock.FIELDS[field].offset, value)
    log.mend_superblock()
    with pytest.raises(OSError, match="journal") as caught:
        log.open()
    assert caught.value.errno == number and words in str(caught.value.strerror)
    with log.open("noload") as opened:
        assert list(opened.root.entries())


def test_superblock_checksum(tmp_path: Path) -> None:
    log = Log("journal_csum3", tmp_path)
    log.raw[log.places[0] + 0x18] ^= 1
    with pytest.raises(OSError, match="superblock's checksum") as caught:
        log.open()
    assert caught.value.errno == errno.EUCLEAN


def test_a_journal_whose_inode_is_gone(tmp_path: Path) -> None:
    log = Log("journal_plain", tmp_path)
    struct.pack_into("<I", log.raw, 1024 + layout.Superblock.FIELDS["journal_inum"].offset, 12345678)
    with pytest.raises(OSError, match="inode 12345678") as caught:
        log.open()
    assert caught.value.errno == errno.EUCLEAN


@pytest.mark.parametrize("name", ["journal_csum2", "journal_csum3", "tiny_journal_csum"])
def test_a_block_whose_checksum_is_wrong_costs_this_block(name: str, tmp_path: Path) -> None:
    log = Log(name, tmp_path)
    with log.open() as opened:
        filesystem = filesystem_of(opened)
        overlay = filesystem.overlay
        assert len(overlay) > 2
        for number in overlay:
            assert len(overlay.content(number)) == log.size
        # One that is the content of a file, not what leads to it.
        victim = max(overlay)
        place = (overlay[victim] & (1 << 48) - 1) * log.size
    log.raw[place + 500] ^= 0x40
    with log.open() as opened:
        filesystem = filesystem_of(opened)
        with pytest.raises(OSError, match=f"wrong checksum of block {victim}") as caught:
            filesystem.read(victim, 1)
        assert caught.value.errno == errno.EUCLEAN
        for number in filesystem.overlay:
            if number != victim:
                assert filesystem.read(number, 1)


@pytest.mark.parametrize("kind", [jl.DESCRIPTOR, jl.REVOKE, jl.COMMIT])
def test_a_log_block_whose_checksum_is_wrong_ends_the_replay(kind: int, tmp_path: Path) -> None:
    log = Log("journal_csum3", tmp_path)
    with log.open() as opened:
        whole = filesystem_of(opened).overlay.transactions
    sequences = sorted({log.header(block)[2] for block in log.of_kind(jl.COMMIT)})
    block = next(block for block in log.of_kind(kind) if log.header(block)[2] >= sequences[0])
    log.raw[log.places[block] + 20] ^= 1
    with log.open() as opened:
        assert filesystem_of(opened).overlay.transactions < whole


def test_a_log_that_goes_round_and_round_ends(tmp_path: Path) -> None:
    """Every block of the ring is a descriptor of the first transaction that lists nothing, or a revoke block."""
    for kind in (jl.DESCRIPTOR, jl.REVOKE):
        log = Log("journal_plain", tmp_path)
        for block in range(log.superblock.first, log.end):
            content = struct.pack(">III", jl.MAGIC, kind, log.superblock.sequence) + struct.pack(">I", 16)
            base = log.places[block]
            if kind == jl.DESCRIPTOR:
                content = content[:12] + struct.pack(">IHH", 1, 0, jl.TAG_LAST)
            log.raw[base : base + log.size] = content.ljust(log.size, b"\0")
        with log.open() as opened:
            assert not filesystem_of(opened).overlay


def test_a_transaction_that_writes_outside(tmp_path: Path) -> None:
    log = Log("journal_plain", tmp_path)
    first = log.of_kind(jl.DESCRIPTOR)[0]
    struct.pack_into(">I", log.raw, log.places[first] + 12, 0x7FFFFFFF)
    with pytest.raises(OSError, match="writes block 2147483647") as caught:
        log.open()
    assert caught.value.errno == errno.EUCLEAN


def test_revoke_count_outside(tmp_path: Path) -> None:
    log = Log("journal_plain", tmp_path)
    for block in log.of_kind(jl.REVOKE):
        struct.pack_into(">I", log.raw, log.places[block] + 12, 0x7FFFFFFF)
    with pytest.raises(OSError, match="revoke block with 2147483647 bytes"):
        log.open()


# ---------------------------------------------------------------- fast commits


def _fast(log: Log) -> int:
    """Where the first fast commit is."""
    return log.places[log.end + 1]


def test_fast_commits_count_as_far_as_their_checksums_are_right(tmp_path: Path) -> None:
    log = Log("kernel_fast_commit", tmp_path)
    with log.open() as opened:
        fast = filesystem_of(opened).fast_commits
        assert fast is not None and fast.count > 2
        whole = fast.count
        assert f"{whole} fast commits" in str(opened.filesystem.details()["state"])
    # The second TAIL; one reaches to the end of its block.
    position, tails = _fast(log), []
    while len(tails) < 2:
        kind, length = struct.unpack_from("<HH", log.raw, position)
        assert fastcommit.ADD_RANGE <= kind <= fastcommit.HEAD
        if kind == fastcommit.TAIL:
            tails.append(position)
        position += 4 + length
    log.raw[tails[1] + 8] ^= 1
    with log.open() as opened:
        fast = filesystem_of(opened).fast_commits
        assert fast is not None and fast.count == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda log: log.raw.__setitem__(slice(_fast(log), _fast(log) + 2), b"\0\0"),
        lambda log: log.raw.__setitem__(slice(_fast(log) + 2, _fast(log) + 4), b"\xff\xff"),
        lambda log: log.raw.__setitem__(slice(_fast(log) + 4, _fast(log) + 8), b"\1\0\0\0"),
        lambda log: log.raw.__setitem__(slice(_fast(log) + 8, _fast(log) + 12), b"\xff\xff\xff\x7f"),
    ],
    ids=["no head", "length", "feature", "transaction"],
)
def test_fast_commits_that_do_not_begin_right_are_none(damage: Callable[[Log], None], tmp_path: Path) -> None:
    log = Log("kernel_fast_commit", tmp_path)
    damage(log)
    with log.open() as opened:
        assert filesystem_of(opened).fast_commits is None
        assert list(opened.root.entries())


edits = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30), st.one_of(st.none(), st.integers(100, 900))), max_size=25)


@settings(max_examples=300, deadline=None)
@given(edits, st.integers(0, 95), st.integers(1, 95))
def test_edits_are_what_a_plain_map_says(changes: list[tuple[int, int, int | None]], first: int, count: int) -> None:
    model: dict[int, int | None] = {}
    told = Edits()
    for start, length, block in changes:
        told.put(start, start + length, block)
        for index in range(length):
            model[start + index] = None if block is None else block + index
    found: dict[int, int | None] = {}
    for start, stop, mapped in told.within(first, first + count):
        for index in range(max(start, first), min(stop, first + count)):
            assert index not in found
            found[index] = None if mapped is None else mapped + index - start
    assert found == {index: block for index, block in model.items() if first <= index < first + count}


inos = st.one_of(st.integers(0, 45), st.sampled_from([0xFFFFFFFF, 768, 769]))
small = st.one_of(st.integers(0, 40), st.sampled_from([0xFFFFFFFF, 0x8000, 0x8001]))
names = st.sampled_from([b"new", b"goes", b"moves", b"before", b".", b"..", b"a/b", b"x" * 255, b"x" * 256])
flags = st.sampled_from([0, layout.FL_EXTENTS, layout.FL_INLINE_DATA, layout.FL_INDEX | layout.FL_EXTENTS, layout.FL_ENCRYPTED])
modes = st.sampled_from([0o100644, 0o040755, 0o120777, 0o020600, 0, 0o170000])
tags = st.one_of(
    st.builds(
        lambda ino, start, length, block: fastcommit.Tag(
            fastcommit.ADD_RANGE, struct.pack("<IIHHI", ino, start, length & 0xFFFF, 0, block)
        ),
        inos,
        small,
        small,
        small,
    ),
    st.builds(
        lambda ino, start, length: fastcommit.Tag(fastcommit.DEL_RANGE, struct.pack("<III", ino, start, length)),
        inos,
        small,
        small,
    ),
    st.builds(
        lambda kind, parent, ino, name: fastcommit.Tag(kind, struct.pack("<II", parent, ino) + name),
        st.sampled_from([fastcommit.CREAT, fastcommit.LINK, fastcommit.UNLINK]),
        inos,
        inos,
        names,
    ),
    st.builds(
        lambda ino, mode, bits, size, rest: fastcommit.Tag(
            fastcommit.INODE,
            struct.pack("<IHHI", ino, mode, 0, size) + struct.pack("<18xHII", 1, 0, bits) + rest,
        ),
        inos,
        modes,
        flags,
        small,
        st.binary(min_size=100, max_size=300),
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(tags, max_size=12))
def test_any_fast_commit_is_answered(changes: list[fastcommit.Tag]) -> None:
    """Tags with right checksums and anything in them."""
    with open_image(str(image("kernel_fast_commit")), "ext2") as opened:
        filesystem = filesystem_of(opened)
        fast = FastCommits(filesystem)
        filesystem.fast_commits = None
        for tag in changes:
            if len(tag.value) >= 9:
                fast.apply(tag)
        filesystem.forget()
        filesystem.fast_commits = fast
        try:
            for found in walk_tree(opened.root, lambda path, error: None):
                for ask in (found.node.stat, found.node.listxattr, found.node.parent, found.node.readlink):
                    with contextlib.suppress(OSError):
                        ask()
                with contextlib.suppress(OSError), found.node.open() as handle:
                    handle.readinto(0, memoryview(bytearray(1 << 16)))
                    handle.extents(0, 1 << 20)
        except OSError:
            pass
