"""hostfs: a directory of the host shown elsewhere, with everything in it.

In the order of a call:

    module       options; a mount of a host directory
    filesystem   the mount: descriptors of directories kept, numbers, nodes known
    mounts       which mounts below are not entered
    node         one inode: where it is, attributes, opening
    directory    names: look up, list, create, link, unlink, rename
    file         the handle: the host's own descriptor
    linux        calls of Linux that Python's `os` lacks

**Nothing leaves the directory.** A node is a place (the node of its directory, a name) and the identity that was found there
(device and inode number). Every call goes from a descriptor of the directory by one name, never following a link, and takes what
it finds only if it is that inode (ESTALE: it is another one now); what a call does, it does to the descriptor, not to the name.
`..` and links are never given to the kernel. A directory that somebody moves out of the tree while it is in use stays what it
was, as it does under a bind mount.

**Numbers** are the host's. Other file systems mounted below are shown, their numbers carry a device's in the upper 16 bits
(1, 2 … in the order met); links and renames across them are EXDEV. Numbers are not stable in the sense of `Filesystem`: a
front end holds nodes.

**Owners.** As root, what is created belongs to whom the front end says; others create their own, as they would by cp(1).

Limits: ctime and btime are the host's to set; what happens on the host besides us is seen at the next call, not told.
"""
