"""The hashes of directory indexes. Linux, `fs/ext4/hash.c`; `directory.rst`, "Half MD4" and the table of hash versions.

Each gives a major hash, by which the index is sorted, and a minor one, which orders names of equal hash for NFS.
"""

from __future__ import annotations

import struct

LEGACY, HALF_MD4, TEA = 0, 1, 2
UNSIGNED = 3
"""Added to one of these where names were hashed as unsigned characters."""
SIPHASH = 6
"""Wants the directory's key."""

_WORD = 0xFFFFFFFF
_END = 0xFFFFFFFE  # the largest even hash marks the end of a directory, and is no name's
_DEFAULT_SEED = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)


def dirhash(version: int, name: bytes, seed: tuple[int, ...]) -> tuple[int, int] | None:
    """(major, minor) of *name*; `None` for a hash that wants a key or is unknown."""
    signed = version < UNSIGNED
    kind = version if signed else version - UNSIGNED
    # Only characters above 127 have a sign.
    signed = signed and not name.isascii()
    state = seed if any(seed) else _DEFAULT_SEED
    minor = 0
    if kind == HALF_MD4:
        for start in range(0, len(name), 32):
            state = _half_md4(state, _words(name, start, 8, signed))
        major, minor = state[1], state[2]
    elif kind == TEA:
        for start in range(0, len(name), 16):
            state = _tea(state, _words(name, start, 4, signed))
        major, minor = state[0], state[1]
    elif kind == LEGACY:
        major = _legacy(name, signed)
    else:
        return None
    major &= ~1
    return (_END - 2 if major == _END else major), minor


def _words(name: bytes, start: int, count: int, signed: bool) -> tuple[int, ...]:
    """*count* words of the name from *start*, four characters each, filled up with the number of characters left."""
    left = len(name) - start
    pad = (left & 0xFF) * 0x01010101
    if left >= count * 4 and not signed:
        return struct.unpack_from(f">{count}I", name, start)
    words = []
    for index in range(start, min(len(name), start + count * 4), 4):
        word = pad
        for character in name[index : index + 4]:
            word = (word << 8) + (character - 256 if signed and character > 127 else character)
        words.append(word & _WORD)
    return (*words, *[pad] * (count - len(words)))


def _half_md4(state: tuple[int, ...], words: tuple[int, ...]) -> tuple[int, ...]:
    a, b, c, d = state
    w0, w1, w2, w3, w4, w5, w6, w7 = words
    for p, q, r, s in ((w0, w1, w2, w3), (w4, w5, w6, w7)):
        x = a + (d ^ b & (c ^ d)) + p & _WORD
        a = x << 3 & _WORD | x >> 29
        x = d + (c ^ a & (b ^ c)) + q & _WORD
        d = x << 7 & _WORD | x >> 25
        x = c + (b ^ d & (a ^ b)) + r & _WORD
        c = x << 11 & _WORD | x >> 21
        x = b + (a ^ c & (d ^ a)) + s & _WORD
        b = x << 19 & _WORD | x >> 13
    for p, q, r, s in ((w1, w3, w5, w7), (w0, w2, w4, w6)):
        x = a + (b & c) + ((b ^ c) & d) + p + 0x5A827999 & _WORD
        a = x << 3 & _WORD | x >> 29
        x = d + (a & b) + ((a ^ b) & c) + q + 0x5A827999 & _WORD
        d = x << 5 & _WORD | x >> 27
        x = c + (d & a) + ((d ^ a) & b) + r + 0x5A827999 & _WORD
        c = x << 9 & _WORD | x >> 23
        x = b + (c & d) + ((c ^ d) & a) + s + 0x5A827999 & _WORD
        b = x << 13 & _WORD | x >> 19
    for p, q, r, s in ((w3, w7, w2, w6), (w1, w5, w0, w4)):
        x = a + (b ^ c ^ d) + p + 0x6ED9EBA1 & _WORD
        a = x << 3 & _WORD | x >> 29
        x = d + (a ^ b ^ c) + q + 0x6ED9EBA1 & _WORD
        d = x << 9 & _WORD | x >> 23
        x = c + (d ^ a ^ b) + r + 0x6ED9EBA1 & _WORD
        c = x << 11 & _WORD | x >> 21
        x = b + (c ^ d ^ a) + s + 0x6ED9EBA1 & _WORD
        b = x << 15 & _WORD | x >> 17
    return state[0] + a & _WORD, state[1] + b & _WORD, state[2] + c & _WORD, state[3] + d & _WORD


def _tea(state: tuple[int, ...], words: tuple[int, ...]) -> tuple[int, ...]:
    left, right = state[0], state[1]
    a, b, c, d = words
    total = 0
    for _ in range(16):
        total = total + 0x9E3779B9 & _WORD
        left = left + ((right << 4) + a ^ right + total ^ (right >> 5) + b) & _WORD
        right = right + ((left << 4) + c ^ left + total ^ (left >> 5) + d) & _WORD
    return state[0] + left & _WORD, state[1] + right & _WORD, state[2], state[3]


def _legacy(name: bytes, signed: bool) -> int:
    current, previous = 0x12A3FE2D, 0x37ABE8F9
    for character in name:
        if signed and character > 127:
            character -= 256
        value = previous + (current ^ character * 7152373 & _WORD) & _WORD
        if value & 0x80000000:
            value -= 0x7FFFFFFF
        previous, current = current, value
    return current << 1 & _WORD
