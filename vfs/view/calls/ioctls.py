"""ioctl on virtual files and directories: their attributes, and nothing else.

What stands for them is on file systems of the host's: FITRIM or FIFREEZE on a placeholder would reach those. So whatever is a
file system's is answered here. Small numbers (terminals, FIONREAD, FIOCLEX) the kernel answers rightly by itself.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from vfs.api import fail
from vfs.view.calls.table import CallTable
from vfs.view.dentry import Dentry
from vfs.view.files import READY
from vfs.view.kernel import abi
from vfs.view.kernel.filter import ALLOW, NOTIFY, All, Among, Descriptor, Less, Rule, When
from vfs.view.kernel.notify import CONTINUE, Call
from vfs.view.kernel.structs import signed

if TYPE_CHECKING:
    from vfs.view.supervisor import Supervisor

FIRST_OF_FILE_SYSTEMS = 0x5500
"""Below are the groups 0, 2, 3, 0x12, 0x53 and "T": file positions, disks and terminals."""

FLAGS = (
    abi.STATX_ATTR_COMPRESSED
    | abi.STATX_ATTR_IMMUTABLE
    | abi.STATX_ATTR_APPEND
    | abi.STATX_ATTR_NODUMP
    | abi.STATX_ATTR_ENCRYPTED
)
"""FS_*_FL of linux/fs.h: the same bits as statx has."""
XFLAGS = {abi.STATX_ATTR_IMMUTABLE: 0x8, abi.STATX_ATTR_APPEND: 0x10, abi.STATX_ATTR_NODUMP: 0x80}
"""FS_XFLAG_* of linux/fs.h."""
FSXATTR = struct.Struct("=5I8x")  # struct fsxattr: xflags, extsize, nextents, projid, cowextsize


def install(table: CallTable, supervisor: Supervisor) -> None:
    def ioctl(call: Call) -> int:
        placeholder = supervisor.files.of_descriptor(call.tid, signed(call.args[0]))
        return CONTINUE if placeholder is None else answer(call, placeholder.dentry)

    virtual = Descriptor(0, READY)
    table.handle(ioctl, "ioctl")
    steps = [
        When(All([Among(1, (abi.FIGETBSZ,)), virtual]), NOTIFY),
        When(Less(1, FIRST_OF_FILE_SYSTEMS), ALLOW),
        When(virtual, NOTIFY),
    ]
    table.filter.set_rule("ioctl", Rule(steps))


def answer(call: Call, dentry: Dentry) -> int:
    """ENOTTY: a request that is not for such a file. EROFS, EOPNOTSUPP: attributes cannot be set this way."""
    request, address = call.args[1] & 0xFFFFFFFF, call.args[2]
    if request == abi.FIGETBSZ:
        call.write(address, struct.pack("=i", dentry.mount.filesystem.statfs().block_size))
    elif request == abi.FS_IOC_GETFLAGS:
        call.write(address, struct.pack("=I", dentry.stat().attributes & FLAGS))
    elif request == abi.FS_IOC_FSGETXATTR:
        attributes = dentry.stat().attributes
        xflags = sum(xflag for flag, xflag in XFLAGS.items() if attributes & flag)
        call.write(address, FSXATTR.pack(xflags, 0, 0, 0, 0))
    elif request in (abi.FS_IOC_SETFLAGS, abi.FS_IOC_FSSETXATTR):
        fail(errno.EROFS if dentry.mount.read_only else errno.EOPNOTSUPP)
    elif request in (abi.FICLONE, abi.FICLONERANGE, abi.FIDEDUPERANGE, abi.FS_IOC_FIEMAP):
        fail(errno.EOPNOTSUPP)
    else:
        fail(errno.ENOTTY)
    return 0
