"""crc32c and crc32_be: known values, the slow way, and the multiples that shorten."""

from __future__ import annotations

import random
import zlib

import pytest

from vfs.api.crc32c import MULTIPLES, crc32c
from vfs.ext2.journal import crc32_be

CASTAGNOLI = 0x11EDC6F41
ETHERNET = 0x04C11DB7


def bit_by_bit(seed: int, content: bytes) -> int:
    for byte in content:
        seed ^= byte
        for _ in range(8):
            seed = seed >> 1 ^ (0x82F63B78 if seed & 1 else 0)
    return seed


def test_the_published_values() -> None:
    """RFC 3720, B.4, which invert at both ends."""
    for content, value in (
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"123456789", 0xE3069283),
    ):
        assert crc32c(0xFFFFFFFF, content) ^ 0xFFFFFFFF == value


@pytest.mark.parametrize(
    "size", [0, 1, 3, 63, 64, 65, 66, 70, 100, 111, 255, 256, 1000, 1024, 1020, 2048, 4092, 4095, 4096, 4097, 9000]
)
def test_shortened_is_as_the_slow_way(size: int) -> None:
    chance = random.Random(size)
    for seed in (0, 0xFFFFFFFF, chance.getrandbits(32)):
        content = chance.randbytes(size)
        assert crc32c(seed, content) == bit_by_bit(seed, content)


@pytest.mark.parametrize("degrees", MULTIPLES)
def test_the_multiples_are_multiples(degrees: tuple[int, ...]) -> None:
    value = sum(1 << degree for degree in degrees) | 1
    while value.bit_length() >= CASTAGNOLI.bit_length():
        value ^= CASTAGNOLI << value.bit_length() - CASTAGNOLI.bit_length()
    assert value == 0


def test_crc32_be() -> None:
    def slow(seed: int, content: bytes) -> int:
        for byte in content:
            seed ^= byte << 24
            for _ in range(8):
                seed = (seed << 1 ^ (ETHERNET if seed >> 31 else 0)) & 0xFFFFFFFF
        return seed

    for content in (b"", b"a", bytes(range(256)), b"journal" * 100):
        for seed in (0, 0xFFFFFFFF, 0x12345678):
            assert crc32_be(seed, content) == slow(seed, content)
    assert crc32_be(0xFFFFFFFF, b"x") != zlib.crc32(b"x")
