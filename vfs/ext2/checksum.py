"""crc32c, which ext4 and its journal use. Python's library has only the other CRC-32."""

from __future__ import annotations

_POLYNOMIAL = 0x82F63B78


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
    for byte in content:
        seed = seed >> 8 ^ _TABLE[(seed ^ byte) & 0xFF]
    return seed
