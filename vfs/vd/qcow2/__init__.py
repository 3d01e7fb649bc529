"""qcow2: QEMU's copy-on-write images.

Read: versions 2 and 3; clusters of 512 bytes to 2 MiB; refcounts of all widths; compressed clusters (deflate, zstd), zero
clusters, extended L2 entries (sub-clusters); backing files; internal snapshots (`snapshot=` their id or name); an external data
file.

Written: data (snapshots' clusters are copied first), zeros and discards, which give clusters back; new images. Persistent bitmaps
that record changes are marked as being in use, so that nobody trusts them; those that do not stay. An image whose dirty bit is
set has its refcounts rebuilt when it is opened for writing.

Refused: encryption (AES, LUKS), unknown incompatible features; writing to snapshots and to images marked corrupt.

Specification: QEMU, `docs/interop/qcow2.txt`; limits (L1 tables of 32 MiB, refcount tables of 8 MiB, 2 MiB clusters) as QEMU has
them.

Order of writing (`writer.py`): a cluster is written, then its refcount, then the entry that refers to it; a reference is removed
before the refcount goes down. So a kill may leak clusters, and nothing else.

Files: `layout`, `header`, `tables` (L1 and L2), `image` (open, map), `packed`, `snapshots`, `bitmaps`, `refcounts` (and
allocation), `writer`, `subclusters`, `create`, `references` (who refers to which cluster: check and rebuild), `check`.
"""
