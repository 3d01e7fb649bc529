"""ioctl on virtual files, directories and devices.

Of files and directories it is about their attributes, and nothing else. What stands for them is on file systems of the host's:
FITRIM or FIFREEZE on a placeholder would reach those. So whatever is a file system's is answered here. Small numbers (terminals,
FIONREAD, FIOCLEX) the kernel answers rightly by itself. A device answers all by itself.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from vfs.api import fail, ioctls
from vfs.api.blockhandle import BLKPG_ARGUMENT, BLKPG_PARTITION
from vfs.view.calls.table import CallTable
from vfs.view.credentials import SYS_ADMIN
from vfs.view.dentry import Dentry
from vfs.view.devicefile import DeviceFile
from vfs.view.files import LAZY, READY
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
        if isinstance(placeholder, DeviceFile):
            return of_device(supervisor, call, placeholder)
        small = call.args[1] & 0xFFFFFFFF < FIRST_OF_FILE_SYSTEMS and call.args[1] & 0xFFFFFFFF != abi.FIGETBSZ
        return CONTINUE if placeholder is None or small else answer(call, placeholder.dentry)

    virtual = Descriptor(0, READY)
    table.handle(ioctl, "ioctl")
    steps = [
        When(All([Among(1, (abi.FIGETBSZ,)), virtual]), NOTIFY),
        When(Descriptor(0, LAZY), NOTIFY),
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


# -------------------------------------------------------------------- devices

NATIVE = {0x5421, 0x5450, 0x5451, 0x5452}
"""FIONBIO, FIONCLEX, FIOCLEX and FIOASYNC are of descriptors, not of what they lead to."""
WRITE = 1 << 30
"""_IOC_WRITE: the caller gives as many bytes as bits 16 to 29 say (asm-generic/ioctl.h)."""


def of_device(supervisor: Supervisor, call: Call, file: DeviceFile) -> int:
    """The device answers. ENOTTY, and what it says."""
    request, address = call.args[1] & 0xFFFFFFFF, call.args[2]
    if request in NATIVE:
        return CONTINUE
    takes = ioctls.TAKES.get(request, request >> 16 & 0x3FFF if request & WRITE else 0)
    argument = struct.pack("=Q", address) if takes == ioctls.VALUE else call.read(address, takes) if takes else b""
    if request == ioctls.BLKPG:
        data = BLKPG_ARGUMENT.unpack(argument)[3]
        argument += call.read(data, BLKPG_PARTITION.size)
    if request in (ioctls.BLKRRPART, ioctls.BLKPG):
        supervisor.demand(SYS_ADMIN)
        supervisor.files.sweep_devices(file.nodes)
    result = file.device_handle.ioctl(request, argument)
    if result:
        call.write(address, result)
    supervisor.refresh_devices()
    return 0
