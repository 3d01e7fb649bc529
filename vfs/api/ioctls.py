"""The ioctl(2) requests of block devices: numbers, and how many bytes they take.

Sources: linux/fs.h, linux/blkpg.h, linux/hdreg.h, linux/cdrom.h, linux/blkzoned.h. Most of them are older than the encoding of
sizes in a request's number, so the sizes stand here; what takes its argument in place of a pointer says `VALUE`.
"""

from __future__ import annotations

VALUE = -1
"""In place of bytes: the argument is a number, not an address. The handle is given it as 8 bytes, native order."""


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

TAKES = {
    BLKROSET: 4,
    BLKRASET: VALUE,
    BLKFRASET: VALUE,
    BLKPG: 24,  # struct blkpg_ioctl_arg; the front end appends the 152 bytes that its *data* points to
    BLKBSZSET: 4,
    BLKDISCARD: 16,
    BLKSECDISCARD: 16,
    BLKZEROOUT: 16,
    CDROM_DRIVE_STATUS: VALUE,
}
"""Bytes read from the address in a request's argument, where its number does not say so (or says it wrongly)."""
