"""crc32c, which ext4 (`checksums.rst`), its journal and VHDX use. Python's library has only the other CRC-32.

Byte by byte a block of 4 KiB costs 250 µs, and a journal has thousands. So long content is shortened first: a CRC is the rest
of a division of polynomials over bits, and it stays when a multiple of the divisor is added. There are multiples with few terms,
such as x^16550 + x^78 + x^70 + x^68 + x^22 + 1; with one of them all the bits of degree 16550 and more are replaced by their
sums at five lower places, which are five shifts of one large number. Each step halves the content; what is left after eight of
them goes through the table. 4 KiB then take some 20 µs.

The multiples were found by a search (none with four terms has its second one so low); a test divides them.
"""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78  # reflected: bit 0 is x^31
MULTIPLES = (
    (16550, 78, 70, 68, 22),
    (8439, 154, 151, 109, 58),
    (4450, 162, 118, 45, 32),
    (2454, 199, 94, 91, 72),
    (1386, 128, 103, 63, 32),
    (857, 181, 111, 40, 39),
    (563, 109, 58, 53, 31),
    (437, 177, 176, 171, 58),
)
"""Degrees of the terms of multiples of the polynomial, each with a last term of 1."""
_PIECE = 4096
_SHORT = 64


def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _table()


def crc32c(seed: int, content: bytes) -> int:
    """The running CRC: no inversion at either end, as the kernel's function of this name."""
    if len(content) <= _SHORT:
        return _by_table(seed, content)
    for start in range(0, len(content), _PIECE):
        piece = content[start : start + _PIECE]
        seed = _folded(seed, piece) if len(piece) > _SHORT else _by_table(seed, piece)
    return seed


def _by_table(seed: int, content: bytes) -> int:
    for byte in content:
        seed = seed >> 8 ^ _TABLE[(seed ^ byte) & 0xFF]
    return seed


def _folded(seed: int, content: bytes) -> int:
    # Bit 0 of the number is the highest degree; 32 zeros behind the content are the place of the rest.
    value = int.from_bytes(content, "little") ^ seed
    length = len(content) * 8 + 32
    for degree, b, c, d, e in MULTIPLES:
        # Whole bytes, and not more than land inside the number and behind what is folded.
        width = min(length - degree, degree - b) & ~7
        while width > 0:
            high = value & (1 << width) - 1
            value >>= width
            value ^= high << degree - width
            value ^= high << degree - b - width
            value ^= high << degree - c - width
            value ^= high << degree - d - width
            value ^= high << degree - e - width
            length -= width
            width = min(length - degree, degree - b) & ~7
    count = (length - 32) // 8
    return _by_table(0, (value & (1 << count * 8) - 1).to_bytes(count, "little")) ^ value >> count * 8
