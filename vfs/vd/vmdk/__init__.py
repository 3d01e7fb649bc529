"""vmdk: VMware's virtual disks.

A disk is described by a text, the descriptor, in a file of its own or inside its only extent, and lies in one or more extents:

* hosted sparse ones (`monolithicSparse`, `twoGbMaxExtentSparse`), in versions 1 to 3, with or without redundant tables and
  marks for grains of zeros;
* flat ones (`monolithicFlat`, `twoGbMaxExtentFlat`, `vmfs` and its kin) and extents of zeros;
* streams of compressed grains (`streamOptimized`), the directory in front or at the end;
* those of ESX servers: `vmfsSparse` (COWD) and `seSparse`.

All are read; written are all but seSparse, version 3 with changed-block tracking, and compressed grains without markers. Delta
disks are followed to their parents: the file that `parentFileNameHint` names, if it lies beside, and whose CID is the one that
the child remembers. The first change of an opening gives a disk another CID.

Refused, each with a sentence: extents that are devices of the host or lie elsewhere than beside the image, `NOACCESS` extents, a
seSparse journal that wants replaying, a stream without its end, a parent that was changed.

Specification: VMware, "Virtual Disk Format 5.0"; for seSparse and whatever it does not say: qemu, `block/vmdk.c`.

The files in the order of a call: `image` (the disk), `opening` (which extents), `descriptor`, `extent` (what extents share, flat
ones), `sparse`, `stream`, `sesparse`, `tables`. Beside them: `layout`, `create`, `check`.

Limits: grains of up to 1 MiB, directories of up to 64 MiB, descriptors of up to 4 MiB. A grain of a stream that is written again
is appended again: the room of the first is lost until the disk is converted.
"""
