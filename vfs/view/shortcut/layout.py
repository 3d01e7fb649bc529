"""What page.c, cave.S and the supervisor agree upon."""

from __future__ import annotations

import struct
from typing import Final

BASE: Final = 0x551000000000
"""Where the page lies in every process: below all that Linux puts there by itself, and where the sanitizers let something lie."""
GATE: Final = BASE + 2
"""The instruction pointer of a call that the page makes past the supervisor."""
ENTRY: Final = BASE + 16
SHARED: Final = 4096
SLOTS: Final = 1024
WAYS: Final = 4
"""Slots in which a name may be."""
SLOT: Final = struct.Struct("<III4x240s")
"""sequence (odd: being written), generation, length, name."""
LONGEST: Final = 239
LINK: Final = b"\0"
"""Follows a whole name, which directories do not have: of a link that leads to the host."""
SIZE: Final = SHARED + 4096 + SLOTS * SLOT.size
FACTOR: Final = 0x9E3779B97F4A7C15

CALLS: Final = (2, 4, 6, 21, 89, 257, 262, 267, 269, 332, 439)
"""The numbers of the calls that page.c knows (x86_64)."""


def hash_of(name: bytes) -> int:
    """As `known` in page.c."""
    value = len(name)
    for (word,) in struct.iter_unpack("<Q", name + bytes(-len(name) % 8)):
        value = (value ^ word) * FACTOR & 0xFFFFFFFFFFFFFFFF
        value ^= value >> 32
    return value
