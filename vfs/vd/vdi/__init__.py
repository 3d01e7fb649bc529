"""vdi: VirtualBox disk images.

Read and written: version 1.1; dynamic, fixed, differencing; any block size that is a multiple of 512. A differencing image names
its parent by UUID only: the option `parent=` says which file that is, or it lies beside it and is called `{UUID}.vdi`, as
VirtualBox calls all but the first of a chain; then `parent=` is one further up. The UUIDs must agree, the one of the last change
too. Discarded blocks are given back: the last blocks of the file move into the gaps when it is closed, since the format has
none. Refused: version 0.0, undo images.

Files: `layout`, `image` (open, read, write), `create`, `check`.

Limits: images with more than 2^23 blocks in use (8 TiB) cannot be written to. A crash may leave blocks that nobody uses; the next
who writes the image makes use of them.
"""
