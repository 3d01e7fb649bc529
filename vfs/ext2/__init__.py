"""ext2: the reader of ext2, ext3 and ext4 images.

Read, whole: every feature that mke2fs and Linux know (`features`), either kind of block map, inline data, indexed and
case-insensitive directories, extended attributes and ACLs, and a journal that wants replaying, fast commits included (in
memory: the image is never written). Encrypted directories show the names that Linux shows without the key, their files give
ENOKEY. Refused, each with a sentence: unknown incompatible features, an external journal that holds changes, writing.

Specification: Linux, `Documentation/filesystems/ext4/` (docstrings name the page), `include/linux/jbd2.h`, `fs/ext4/hash.c`,
`fs/ext4/fast_commit.h`. Where these say nothing, as Linux does.

The files in the order of a call: `module` (probe, mount), `volume` (the door to the storage), `inode` (the node), `directory`,
`htree`, `dirhash`, `casefold`, `fscrypt`, `file` (the handle), `inline`, `xattr`, `acl`, `extents`, `indirect`, `blockmap`.
At mount: `superblock`, `journal`, `fastcommit`. For a person: `report`. Used by all: `layout`, `journal_layout`, `features`,
`cache`.

Limits: read-only. Of the checksums those of the superblock and the journal are checked; what is wrong elsewhere is met by the
checks of each structure, and by e2fsck. Orphans are left as they are: they have no names.
"""
