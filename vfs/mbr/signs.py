"""What a sector that ends in 55AA may be besides a partition table: the boot sector of a file system."""

from __future__ import annotations

from struct import Struct
from typing import Final

from vfs.api import Storage

_BPB: Final = Struct("<11xHBHB4xB")  # bytes per sector, sectors per cluster, reserved sectors, FATs, media
FIXED_DISK, FLOPPY = 0xF8, 0xF0
VOLUME_DESCRIPTORS: Final = 32768
"""Where ISO 9660 and UDF have theirs (ECMA-119, 6.2.1; ECMA-167 2/8.3)."""


def is_boot_sector(sector: bytes) -> bool:
    """Whether a file system's own marks are there: NTFS, exFAT, FAT (a jump, and a BIOS parameter block of possible values)."""
    if sector[3:11] in (b"NTFS    ", b"EXFAT   "):
        return True
    size, cluster, reserved, fats, media = _BPB.unpack_from(sector)
    jump = sector[0] == 0xE9 or (sector[0] == 0xEB and sector[2] == 0x90)
    possible = (
        size in (512, 1024, 2048, 4096)
        and cluster & (cluster - 1) == 0 < cluster
        and reserved > 0 < fats <= 8
        and (media == FLOPPY or media >= FIXED_DISK)
    )
    return possible and (jump or sector[54:57] == b"FAT" or sector[82:85] == b"FAT")


def is_disc(storage: Storage) -> bool:
    """Whether it is an image of an optical disc: one that a disk's firmware can boot too has a table before it (isohybrid)."""
    if storage.size < VOLUME_DESCRIPTORS + 6:
        return False
    return storage.read(VOLUME_DESCRIPTORS + 1, 5) in (b"CD001", b"BEA01")
