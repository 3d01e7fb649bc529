"""ramfs: an empty file system in memory, as Linux's tmpfs is one (tmpfs(5); Linux, `mm/shmem.c`, `fs/libfs.c`).

Everything that a POSIX file system of Linux has: links, special files, the flags of renameat2(2) and fallocate(2), holes,
extended attributes and ACLs of all namespaces, files without a name. It has no source; what is in it ends with the mount.

In the order of a call:

    module       options; a mount
    filesystem   the table of inodes, what is in use and what is allowed
    node         what all inodes have: attributes, times, xattrs; special files, links
    attributes   which extended attributes there may be, and ACLs in step with the mode
    directory    names with stable cookies; create, link, unlink, rename
    file         a file's content and its handles
    content      content that is large or has holes: a memfd, or a table of pages

Limits: `size=` counts pages of content, of long links and of large attributes; what Python needs for an inode (about 500 bytes)
is bounded by `nr_inodes=`.
"""
