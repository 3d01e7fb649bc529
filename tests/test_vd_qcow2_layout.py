"""qcow2's structures and tables, without an image."""

from __future__ import annotations

import random
import struct
from array import array

import pytest

from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.packed import place
from vfs.vd.qcow2.refcounts import TYPES, decode_block, encode_block
from vfs.vd.qcow2.tables import decode, encode, follow


def test_sizes() -> None:
    assert layout.HEADER.size == 72 == layout.INCOMPATIBLE_AT
    assert layout.HEADER.size + layout.HEADER_3.size == 104 == layout.COMPRESSION_AT
    assert layout.SNAPSHOT.size == 40 and layout.SNAPSHOT_EXTRA.size == 16
    assert layout.BITMAP.size == 24 and layout.BITMAPS_HEADER.size == 24
    assert sum(1 << bit for bit in range(9, 56)) == layout.OFFSET
    assert layout.ALLOCATED_ALL ^ layout.ZERO_ALL == (1 << 64) - 1


def test_tables() -> None:
    numbers = [0, 1, layout.COPIED | 65536, (1 << 64) - 1]
    assert encode(array("Q", numbers)) == struct.pack(">4Q", *numbers)
    assert list(decode(struct.pack(">4Q", *numbers))) == numbers


@pytest.mark.parametrize("order", range(7))
def test_refcounts_of_all_widths(order: int) -> None:
    """Entry by entry, as the specification has it: narrow ones from the lowest bits on, wide ones big-endian."""
    width = 1 << order
    content = random.Random(order).randbytes(512)
    counts = decode_block(content, order)
    for index in range(512 * 8 >> order):
        if width < 8:
            expected = content[index * width // 8] >> index * width % 8 & (1 << width) - 1
        else:
            expected = int.from_bytes(content[index * width // 8 : (index + 1) * width // 8], "big")
        assert counts[index] == expected
    assert counts.typecode == TYPES.get(order, "B")
    assert encode_block(counts, order) == content


@pytest.mark.parametrize("bits", [9, 12, 16, 21])
def test_places_of_compressed_clusters(bits: int) -> None:
    width = 62 - (bits - 8)
    assert place(5 << width | 1000, bits) == (1000, 6 * 512 - 1000 % 512)
    assert place(512, bits) == (512, 512)
    assert place((1 << 62) - 1, bits)[0] == (1 << width) - 1


def test_rows_of_entries() -> None:
    """Entry by entry, and where a row is long as a whole: the same."""
    rng = random.Random(1)
    for _ in range(300):
        length, step = rng.randrange(1, 3000), rng.choice((0, 512, 65536))
        entry = rng.choice((0, 1, 1 << 20, layout.COPIED | 1 << 30, (1 << 64) - 1 - step * length, (1 << 64) - step * 5 - 1))
        row = [min(entry + step * number, (1 << 64) - 1) for number in range(length)]
        broken = rng.randrange(1, length + 1)
        if broken < length:
            row[broken] ^= 1 << rng.randrange(63)
        stop = rng.randrange(1, length + 1)
        found = follow(array("Q", row), 1, stop, entry, step)
        expected = 1
        while expected < stop and row[expected] == entry + step * expected:
            expected += 1
        assert found == max(expected, 1)
