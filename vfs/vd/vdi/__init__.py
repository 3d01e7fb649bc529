"""vdi: VirtualBox disk images.

Read and written: version 1.1; dynamic, fixed, differencing; any block size that is a multiple of 512. A differencing image names
its parent by UUID only, so the option `parent=` has to say which file that is; the UUIDs must agree, the one of its last change
too. Discarded blocks are given back: the last blocks of the file move into the gaps when it is closed, since the format has
none. Refused: version 0.0, undo images.

Files: `layout`, `image` (open, read, write), `create`, `check`.

Limits: images with more than 2^23 blocks in use (8 TiB) cannot be written to. A crash may leave blocks that nobody uses; the next
who writes the image makes use of them.
"""
