"""The ioctl(2) requests of block devices: numbers, and how many bytes each takes and gives.

Sources: linux/fs.h, linux/blkpg.h, linux/hdreg.h, linux/cdrom.h, linux/blkzoned.h. Most of them are older than the encoding of
sizes in a request's number, so the sizes stand here; what takes its argument in place of a pointer says `VALUE`.
"""

from __future__ import annotations

from typing import NamedTuple

VALUE = -1
"""*takes* of a request whose argument is a number, not an address. The handle is given it as 8 bytes, native order."""


class Ioctl(NamedTuple):
    """*takes*, *gives*: bytes read from, then written to, the address in the call's argument."""

    name: str
    request: int
    takes: int
    gives: int


BLKROSET, BLKROGET = 0x125D, 0x125E
BLKRRPART = 0x125F
BLKGETSIZE = 0x1260
BLKFLSBUF = 0x1261
BLKRASET, BLKRAGET = 0x1262, 0x1263
BLKFRASET, BLKFRAGET = 0x1264, 0x1265
BLKSECTGET = 0x1267
BLKSSZGET = 0x1268
BLKPG = 0x1269
BLKBSZGET, BLKBSZSET = 0x80081270, 0x40081271
BLKGETSIZE64 = 0x80081272
BLKDISCARD = 0x1277
BLKIOMIN, BLKIOOPT, BLKALIGNOFF, BLKPBSZGET = 0x1278, 0x1279, 0x127A, 0x127B
BLKDISCARDZEROES = 0x127C
BLKSECDISCARD = 0x127D
BLKROTATIONAL = 0x127E
BLKZEROOUT = 0x127F
BLKGETDISKSEQ = 0x80081280
BLKREPORTZONE, BLKRESETZONE, BLKGETZONESZ, BLKGETNRZONES = 0xC0101282, 0x40101283, 0x80041284, 0x80041285
HDIO_GETGEO = 0x0301
CDROM_DRIVE_STATUS, CDROM_DISC_STATUS, CDROM_GET_CAPABILITY = 0x5326, 0x5327, 0x5331

BLKPG_ADD_PARTITION, BLKPG_DEL_PARTITION, BLKPG_RESIZE_PARTITION = 1, 2, 3

BLOCK_IOCTLS = {
    ioctl.request: ioctl
    for ioctl in (
        Ioctl("BLKROSET", BLKROSET, 4, 0),
        Ioctl("BLKROGET", BLKROGET, 0, 4),
        Ioctl("BLKRRPART", BLKRRPART, 0, 0),
        Ioctl("BLKGETSIZE", BLKGETSIZE, 0, 8),
        Ioctl("BLKFLSBUF", BLKFLSBUF, 0, 0),
        Ioctl("BLKRASET", BLKRASET, VALUE, 0),
        Ioctl("BLKRAGET", BLKRAGET, 0, 8),
        Ioctl("BLKFRASET", BLKFRASET, VALUE, 0),
        Ioctl("BLKFRAGET", BLKFRAGET, 0, 8),
        Ioctl("BLKSECTGET", BLKSECTGET, 0, 2),
        Ioctl("BLKSSZGET", BLKSSZGET, 0, 4),
        Ioctl("BLKPG", BLKPG, 24, 0),  # struct blkpg_ioctl_arg; the front end appends the 152 bytes that its *data* points to
        Ioctl("BLKBSZGET", BLKBSZGET, 0, 4),
        Ioctl("BLKBSZSET", BLKBSZSET, 4, 0),
        Ioctl("BLKGETSIZE64", BLKGETSIZE64, 0, 8),
        Ioctl("BLKDISCARD", BLKDISCARD, 16, 0),
        Ioctl("BLKIOMIN", BLKIOMIN, 0, 4),
        Ioctl("BLKIOOPT", BLKIOOPT, 0, 4),
        Ioctl("BLKALIGNOFF", BLKALIGNOFF, 0, 4),
        Ioctl("BLKPBSZGET", BLKPBSZGET, 0, 4),
        Ioctl("BLKDISCARDZEROES", BLKDISCARDZEROES, 0, 4),
        Ioctl("BLKSECDISCARD", BLKSECDISCARD, 16, 0),
        Ioctl("BLKROTATIONAL", BLKROTATIONAL, 0, 2),
        Ioctl("BLKZEROOUT", BLKZEROOUT, 16, 0),
        Ioctl("BLKGETDISKSEQ", BLKGETDISKSEQ, 0, 8),
        Ioctl("BLKREPORTZONE", BLKREPORTZONE, 16, 16),
        Ioctl("BLKRESETZONE", BLKRESETZONE, 16, 0),
        Ioctl("BLKGETZONESZ", BLKGETZONESZ, 0, 4),
        Ioctl("BLKGETNRZONES", BLKGETNRZONES, 0, 4),
        Ioctl("HDIO_GETGEO", HDIO_GETGEO, 0, 16),
        Ioctl("CDROM_DRIVE_STATUS", CDROM_DRIVE_STATUS, VALUE, 0),
        Ioctl("CDROM_DISC_STATUS", CDROM_DISC_STATUS, 0, 0),
        Ioctl("CDROM_GET_CAPABILITY", CDROM_GET_CAPABILITY, 0, 0),
    )
}
