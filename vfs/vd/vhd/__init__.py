"""vhd: virtual hard disks of Virtual PC, Virtual Server and the first Hyper-V (qemu calls the format `vpc`).

Read and written: fixed, dynamic and differencing disks, of any block size that is a power of two. A disk is as large as its
footer says; where Virtual PC, Virtual Server or qemu have made it, as large as its geometry says. A differencing disk's parent
is found beside it, by the file name in the relative locator, or in the header where that holds a plain name; every other name,
absolute ones above all, wants the option `parent=`. The parent's UUID must be the one that the child remembers. The bitmaps of
dynamic disks are not looked at: nobody else does.

Files: `layout`; `footer` (footer and header, read and checked); `image` (open, read, write); `parent`; `create`; `check`.

Limits: 2040 GiB. Blocks that are discarded leave a gap in the file that later blocks fill; the file does not shrink.
"""
