"""ext2: the reader of ext2, ext3 and ext4 images.

Read, whole: every feature that mke2fs and Linux know (see `features.py`), either kind of block map, inline data, indexed and
case-insensitive directories, extended attributes and ACLs, and a journal that wants replaying (in memory: the image is never
written). Refused, each with a sentence: unknown incompatible features, external journals that hold needed changes, writing.
Encrypted directories show the names that Linux shows without the key, their files give ENOKEY.

Specification: Linux, `Documentation/filesystems/ext4/` and `include/linux/jbd2.h`; docstrings cite the page.

The files in call order: `module` (probe, mount), `superblock`, `volume` (the door to the storage), `inode` (the node),
`directory`, `htree`, `blockmap`, `extents`, `indirect`, `file` (the handle), `inline`, `xattr`, `journal`; `layout`, `features`,
`cache` and `checksum` are used by all.

Limits: read-only; of the checksums, those of the superblock and of the journal are checked.
"""
