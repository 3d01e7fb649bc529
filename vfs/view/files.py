"""Open virtual files: the real descriptors that stand for them in the processes of a view.

An open virtual file is a **placeholder**: for a directory a real, empty, already removed directory; for everything else a memfd,
one an inode. The kernel then does dup, fork, exec, fcntl, locks, SCM_RIGHTS, close and the file position by itself, and `close`
is never trapped. Which file a descriptor stands for, its name in /proc/PID/fd tells: it carries a number of ours. So no table of
descriptors is kept, and nothing needs to be told when one is closed.

Two ranges of descriptor numbers, which the filter can tell apart:

* from `READY` (512): the memfd holds the content: reads, mmap and exec are the kernel's, at native speed; fstat and the like are
  trapped;
* from `LAZY` (768): it is a hole of the right size: reads are trapped and answered from the module. It is filled when the kernel
  itself has to see the content (mmap, sendfile, splice, dup2 to a low number).

Small files are filled when they are opened, and all when they are opened for writing: processes write the memfd (`writeback`).
What is filled is a cache, the view's page cache: bounded in bytes and in descriptors, dropped oldest first; what processes
have open stays, so that all of them see one memfd. Files of the host (`Dentry.real`) need none of this: their own descriptor is
handed over.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import resource
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from vfs.api import Change, Handle, fail
from vfs.view.dentry import DIRECTORY, LINK, REGULAR, Dentry
from vfs.view.devicefile import DeviceFile
from vfs.view.devices import DeviceNode, DeviceNodes, nodes_of
from vfs.view.kernel.descriptors import has_descriptor
from vfs.view.kernel.notify import Call
from vfs.view.lowdevices import LowDevices
from vfs.view.memfd import make_memfd
from vfs.view.mirrors import Mirrors
from vfs.view.mounts import Superblock
from vfs.view.placeholder import Placeholder, left_by_writing
from vfs.view.scratch import Scratch
from vfs.view.writeback import WriteBack

_HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
TOP: Final = 1024 if _HARD == resource.RLIM_INFINITY else min(1024, _HARD)
READY: Final = TOP // 2
LAZY: Final = TOP * 3 // 4
"""Numbers are taken from [READY, LAZY) and [LAZY, TOP), and above TOP when those are full; below the usual soft limit of 1024,
since programs size tables by it, and within the hard limit, since lower numbers are seen as what they are (a memfd)."""
GONE: Final = 128
"""From so many removed directories on, those that nobody is in are forgotten: they may hold descriptors of the host's."""
HIGHEST: Final = 1 << 16
TRIES: Final = 16
"""How many numbers of a range are looked at before it counts as full."""

FILL_AT_OPEN: Final = 1 << 20
"""Files up to this size are filled when they are opened: most are read whole, and native reads pay back the copy."""
CACHE_BYTES: Final = 256 << 20
CACHE_DESCRIPTORS: Final = 4096
SWEEP: Final = 4 * CACHE_DESCRIPTORS
"""From so many known files on, those that nobody has open are forgotten."""
NEITHER: Final = os.O_ACCMODE
"""The access mode that allows neither reading nor writing, as O_PATH does."""
SHRINK_LOOKS: Final = 64
"""How many of the oldest are looked at to find some to drop."""
CHUNK: Final = 1 << 20

KEPT_FLAGS: Final = os.O_NONBLOCK | os.O_APPEND | os.O_NOATIME | os.O_DIRECTORY
"""Flags of open(2) that the placeholder's own open file description shall have, for F_GETFL. O_NOATIME only where it is ours."""


class OpenFiles:
    """All placeholders of one supervisor."""

    def __init__(
        self,
        fill_at_open: int = FILL_AT_OPEN,
        cache_bytes: int = CACHE_BYTES,
        cache_descriptors: int = CACHE_DESCRIPTORS,
        sweep: int = SWEEP,
    ) -> None:
        self.fill_at_open, self.cache_bytes = fill_at_open, cache_bytes
        # A placeholder may have three descriptors, and half of all are for others.
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most_descriptors = HIGHEST if hard == resource.RLIM_INFINITY else hard * 3 // 4
        self.cache_descriptors = self.shrink_at = min(cache_descriptors, hard // 6 if hard != resource.RLIM_INFINITY else HIGHEST)
        self.scratch = Scratch()
        self.mirrors = Mirrors(self.scratch)
        token = os.urandom(4).hex().encode()
        self.name = b"umview." + token + b"."
        self.pattern = re.compile(
            rb"/memfd:" + re.escape(self.name) + rb"(\d+) \(deleted\)|" + re.escape(self.scratch.path) + rb"/(\d+) \(deleted\)"
        )
        self.numbers = itertools.count(1)
        """Never given twice: a descriptor may outlive what we know of it."""
        self.by_number: dict[int, Placeholder] = {}
        self.held: OrderedDict[int, Placeholder] = OrderedDict()
        self.cached = 0
        self.written = WriteBack(self.settled)
        self.hints: dict[tuple[int, int], int] = {}
        """Task and end of the range -> where to look for a free number."""
        self.users: Callable[[], Iterable[bytes]] = lambda: ()
        """The names (in /proc) of all that the processes of the view hold; set when it has started."""
        self.lists_itself: Callable[[Dentry], bool] = lambda directory: False
        """Whether the task whose call is being answered may be given the host's own directory."""
        self.losing: Callable[[Dentry], int] = lambda dentry: 0
        """The mode bits that a file loses when the task whose call is being answered writes it."""
        self.sweep_least = self.sweep_at = sweep
        self.gone: dict[int, Placeholder] = {}
        """Removed directories that somebody had open, and may still."""
        self.gone_at = GONE
        self.low_devices = LowDevices(self, LAZY)
        self.low_directories = False
        """Whether a directory was ever put at a low number, so that getdents64 must look at all numbers."""

    def close(self) -> None:
        """End: the scratch directory goes, what processes still hold stays theirs."""
        self.written.flush()
        self.written.files.clear()
        for placeholder in list(self.held.values()):
            self.drop(placeholder)
        self.scratch.close()

    # ---------------------------------------------------------------- which file is it

    def of_link(self, text: bytes) -> Placeholder | None:
        """The placeholder that the target of a /proc/PID/fd link names, `None` when it is the host's."""
        match = self.pattern.fullmatch(text)
        return self.by_number.get(int(match[1] or match[2])) if match else None

    def memfd_of(self, descriptor: int) -> bytes | None:
        """The name of one of our memfds, `None` for other files."""
        text = os.readlink(b"/proc/self/fd/%d" % descriptor)
        start, end = b"/memfd:", b" (deleted)"
        return text[len(start) : -len(end)] if text.startswith(start + self.name) else None

    def of_descriptor(self, tid: int, number: int) -> Placeholder | None:
        """The placeholder at a task's descriptor *number*, `None` when there is none (or no such descriptor). ESTALE: one that is
        known no more, of a mount that is gone; the kernel would read zeros from it."""
        if number < 0:
            return None
        try:
            text = os.readlink(b"/proc/%d/fd/%d" % (tid, number))
        except OSError:
            return None
        placeholder = self.of_link(text)
        if placeholder is None and self.pattern.fullmatch(text):
            fail(errno.ESTALE)
        return placeholder

    def is_hidden(self, tid: int) -> bool:
        """Whether we may not see a task's descriptors."""
        return os.path.exists(b"/proc/%d" % tid) and not os.access(b"/proc/%d/fd" % tid, os.R_OK)

    def forget_filesystem(self, superblock: Superblock) -> None:
        """It is about to be closed: write back, and drop all that stood for its files."""
        self.written.flush(superblock)
        for placeholder in list(superblock.placeholders.values()):
            self.written.files.pop(placeholder.number, None)
            self.drop(placeholder)
            self.by_number.pop(placeholder.number, None)
            self.gone.pop(placeholder.number, None)
        superblock.placeholders.clear()
        self.mirrors.forget_filesystem(superblock)

    # ---------------------------------------------------------------- making and dropping

    def placeholder(self, dentry: Dentry) -> Placeholder:
        """The placeholder of a dentry's inode, with a holder."""
        superblock, ino = dentry.mount.superblock, dentry.node.ino
        placeholder = superblock.placeholders.get(ino)
        if placeholder is None:
            if len(self.by_number) >= self.sweep_at:
                self.sweep()
            placeholder = Placeholder(next(self.numbers), dentry)
            self.by_number[placeholder.number] = superblock.placeholders[ino] = placeholder
        elif placeholder.holder >= 0 and superblock.filesystem.changes_outside and self.is_old(placeholder, dentry):
            self.drop(placeholder)
        placeholder.dentry = dentry  # /proc shows the name that was opened last
        if placeholder.holder < 0:
            self.make(placeholder)
        self.held[placeholder.number] = placeholder
        self.held.move_to_end(placeholder.number)
        if len(self.held) > self.shrink_at:
            self.shrink(placeholder)
        return placeholder

    def make(self, placeholder: Placeholder) -> None:
        """Give it a holder."""
        dentry = placeholder.dentry
        if dentry.kind == DIRECTORY:
            placeholder.holder = self.scratch.removed_directory(b"%d" % placeholder.number)
            return
        found = dentry.node.stat()
        placeholder.size = found.size if dentry.kind == REGULAR else 0

        def fill(writer: int) -> None:
            if 0 < placeholder.size <= self.fill_at_open:
                self.fill_small(placeholder, writer)
            os.ftruncate(writer, placeholder.size)
            placeholder.dress(writer, found)

        placeholder.holder = make_memfd(self.memfd_name(placeholder), fill)
        placeholder.note()

    def is_old(self, placeholder: Placeholder, dentry: Dentry) -> bool:
        """Whether a file was changed from outside since its memfd was made."""
        if dentry.kind != REGULAR or placeholder.written:
            return False
        found = dentry.node.stat()
        return (found.size, found.mtime) != placeholder.known

    def shrink(self, wanted: Placeholder) -> None:
        """Drop those of the oldest that nobody has open, but not the one that is *wanted* now. What is open keeps its memfd, as
        long as we can have descriptors at all."""
        scarce = len(self.held) > self.most_descriptors
        for number in list(itertools.islice(self.held, SHRINK_LOOKS)):
            placeholder = self.held[number]
            kept = placeholder is wanted or placeholder.written
            if not kept and (not placeholder.is_open() or (scarce and placeholder.dentry.mount.constant)):
                self.drop(placeholder)
            else:
                self.held.move_to_end(number)
        # Where most are open it is in vain to look each time.
        self.shrink_at = max(self.cache_descriptors, len(self.held) + SHRINK_LOOKS // 2)

    def sweep(self) -> None:
        """Forget the files that neither we nor any process has open: a tree of a million files may be read in one view."""
        used = self.used()
        for number, placeholder in list(self.by_number.items()):
            if number not in used and number not in self.held:
                self.drop(placeholder)  # a handle may have been opened again
                self.forget(placeholder)
        self.sweep_at = max(self.sweep_least, 2 * len(self.by_number))

    def used(self) -> set[int]:
        """The numbers of what processes have."""
        return {placeholder.number for text in self.users() if (placeholder := self.of_link(text)) is not None}

    def forget(self, placeholder: Placeholder) -> None:
        """Nobody has it, nor do we."""
        self.by_number.pop(placeholder.number, None)
        self.gone.pop(placeholder.number, None)
        placeholders = placeholder.dentry.mount.superblock.placeholders
        if placeholders.get(placeholder.key) is placeholder:
            del placeholders[placeholder.key]

    def removed_directory(self, placeholder: Placeholder) -> None:
        """We need no descriptor of it. Whether others have one only /proc tells: that is asked for many at a time."""
        self.drop(placeholder)
        self.gone[placeholder.number] = placeholder
        if len(self.gone) >= self.gone_at:
            used = self.used()
            for number, other in list(self.gone.items()):
                if number not in used and number not in self.held:
                    self.forget(other)
            self.gone_at = GONE + 2 * len(self.gone)

    def memfd_name(self, placeholder: Placeholder) -> bytes:
        """What `pattern` knows it by."""
        return self.name + b"%d" % placeholder.number

    def fill_small(self, placeholder: Placeholder, writer: int) -> None:
        """Fill at open. What cannot be read whole stays a hole: reads then tell where it is damaged."""
        try:
            text = placeholder.content().read(0, placeholder.size)
        except OSError:
            return
        if len(text) == placeholder.size:
            os.pwrite(writer, text, 0)
            self.account(placeholder)

    def drop(self, placeholder: Placeholder) -> None:
        """Let our own hold on it go."""
        with contextlib.suppress(OSError):
            placeholder.keep_atime()
        self.held.pop(placeholder.number, None)
        if placeholder.holder >= 0:
            os.close(placeholder.holder)
            placeholder.holder = -1
        self.cached -= placeholder.filled
        placeholder.filled = 0
        placeholder.close_handle()
        placeholder.close_copy()

    # ---------------------------------------------------------------- content

    def fill(self, placeholder: Placeholder) -> None:
        """Put the content into the holder's memfd, if it is not there."""
        if placeholder.whole:
            return
        self.copy_content(placeholder, placeholder.holder)
        self.account(placeholder)

    def account(self, placeholder: Placeholder) -> None:
        """It is filled now: count it, and drop the oldest where it becomes too much."""
        placeholder.filled = placeholder.size
        self.cached += placeholder.size
        if self.cached > self.cache_bytes:
            for other in list(itertools.islice(self.held.values(), SHRINK_LOOKS)):
                if other.filled and other is not placeholder and not other.is_open():
                    self.drop(other)
                    if self.cached <= self.cache_bytes:
                        return

    def begin_writing(self, placeholder: Placeholder, truncated: bool) -> None:
        """Processes are about to get descriptors to write it by: from now on the memfd is the truth. What it held before must be
        there, unless it is *truncated* at once. What the module refuses, it refuses here."""
        self.written.look()
        losing = self.losing(placeholder.dentry)
        if placeholder.written:
            if losing & ~placeholder.losing:
                self.written.store(placeholder)  # what others wrote
                placeholder.losing |= losing
            return
        handle = placeholder.dentry.node.open(os.O_RDWR)
        placeholder.close_handle()
        placeholder.close_copy()
        placeholder.handle = handle
        if not truncated and not placeholder.whole:
            self.copy_content(placeholder, placeholder.holder)
        self.cached -= placeholder.filled
        placeholder.filled = 0
        placeholder.dress(placeholder.holder)
        placeholder.note()
        placeholder.losing = losing
        self.written.add(placeholder)

    def settled(self, placeholder: Placeholder) -> None:
        """It was written back, and is an ordinary cached file."""
        if not placeholder.is_wanted():
            self.removed(placeholder.dentry)
            return
        if self.mirrors.paths:
            self.mirrors.written(placeholder.dentry)
        placeholder.close_handle()
        placeholder.size = os.fstat(placeholder.holder).st_size
        self.account(placeholder)

    def change_size(self, dentry: Dentry, size: int) -> None:
        """truncate(2). ENOSPC, EFBIG."""
        self.lose_bits(dentry)
        placeholder = dentry.placeholder
        if placeholder is None or placeholder.holder < 0:
            dentry.node.set(Change(size=size))
            return
        self.begin_writing(placeholder, size == 0)
        os.truncate(b"/proc/self/fd/%d" % placeholder.holder, size)

    def lose_bits(self, dentry: Dentry) -> None:
        """The task whose call is being answered changes a file's content."""
        losing = self.losing(dentry)
        if losing:
            mode = dentry.stat().mode
            left = left_by_writing(mode, losing)
            if left != mode:
                dentry.node.set(Change(mode=left))
                self.refresh(dentry)

    def refresh(self, dentry: Dentry, times: bool = False) -> None:
        """Mode, or with *times* the times, of an inode were set: its memfd, if it has one, shows them too."""
        placeholder = dentry.placeholder
        if placeholder is not None and placeholder.holder >= 0 and dentry.kind != DIRECTORY:
            placeholder.redress(times)

    def removed(self, dentry: Dentry) -> None:
        """A name of a file was removed. With the last one, and when nobody has it open, all that we hold of it goes."""
        placeholder = dentry.placeholder
        if placeholder is None:
            return
        if dentry.kind == DIRECTORY:
            self.removed_directory(placeholder)
            return
        if dentry.node.stat().nlink:
            return
        if placeholder.holder < 0 or not placeholder.is_open():
            self.written.files.pop(placeholder.number, None)
            placeholder.written = False
            self.drop(placeholder)
            self.forget(placeholder)

    def demand_stored(self, dentry: Dentry) -> None:
        """What processes wrote to the file is the module's content now."""
        placeholder = dentry.placeholder
        if placeholder is not None and placeholder.written:
            self.written.settle(placeholder)

    def store(self, placeholder: Placeholder) -> None:
        """Write back now, whether or not somebody still writes. ENOSPC, EIO."""
        if placeholder.written:
            self.written.store(placeholder)

    def fill_descriptor(self, call: Call, number: int, placeholder: Placeholder) -> None:
        """Put the content into the very memfd that a task has at *number*: it may be one that was dropped here since."""
        if placeholder.dentry.kind != REGULAR or not placeholder.size:
            return
        descriptor = call.get_fd(number)
        try:
            # Another thread may have put something else at that number since we looked: what we fill, we also write and chmod.
            if self.of_link(os.readlink(b"/proc/self/fd/%d" % descriptor)) is not placeholder:
                return
            if placeholder.written:
                placeholder.untracked = True
                return
            theirs, ours = os.fstat(descriptor), os.fstat(placeholder.holder) if placeholder.holder >= 0 else None
            if ours is not None and theirs.st_ino == ours.st_ino:
                self.fill(placeholder)
            elif not theirs.st_blocks:
                self.copy_content(placeholder, descriptor)
        finally:
            os.close(descriptor)

    def copy_content(self, placeholder: Placeholder, descriptor: int) -> None:
        content, size = placeholder.content(), placeholder.size
        found = placeholder.dentry.node.stat()
        if min(size, found.blocks * 512) > available_memory() // 2:
            fail(errno.ENOMEM, "too large to be held in memory")
        os.fchmod(descriptor, 0o600)  # it has the file's mode, which may forbid us to write
        writer = os.open(b"/proc/self/fd/%d" % descriptor, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.copy_ranges(content, writer, size)
            placeholder.dress(writer, found)
        finally:
            os.close(writer)

    def patched_copy(self, placeholder: Placeholder, header: int, interpreter: bytes) -> int:
        """Our descriptor of a copy of an ELF program whose program header at *header* (PT_INTERP) names *interpreter*."""
        if placeholder.copy >= 0 and placeholder.copy_interpreter == interpreter:
            return placeholder.copy
        size = placeholder.size

        def fill(writer: int) -> None:
            self.copy_ranges(placeholder.content(), writer, size)
            os.pwrite(writer, interpreter + b"\0", size)
            os.pwrite(writer, struct.pack("<Q", size), header + 8)  # p_offset
            os.pwrite(writer, struct.pack("<QQ", len(interpreter) + 1, len(interpreter) + 1), header + 32)  # p_filesz, p_memsz
            os.fchmod(writer, 0o555)  # whoever executes it

        reader = make_memfd(self.memfd_name(placeholder), fill)
        placeholder.close_copy()
        placeholder.copy, placeholder.copy_interpreter = reader, interpreter
        return reader

    def copy_ranges(self, content: Handle, writer: int, size: int) -> None:
        """Copy what is not a hole, so that the memfd keeps the holes."""
        offset = 0
        while offset < size:
            try:
                start = content.seek_data(offset)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                raise
            offset = content.seek_hole(start)
            while start < offset:
                piece = content.read(start, min(CHUNK, offset - start))
                if not len(piece):
                    return
                start += os.pwrite(writer, piece, start)

    # ---------------------------------------------------------------- handing out

    def open(self, call: Call, dentry: Dentry, flags: int) -> int:
        """Answer an open: a new open file description of the placeholder, or of the host's file, becomes the task's descriptor.
        What the module refuses, it refuses now (ENOKEY), also of an empty file."""
        plain = dentry.kind == REGULAR and not flags & os.O_PATH
        if plain and dentry.real:
            return self.hand_over(call, dentry, flags)
        if dentry.kind == DIRECTORY and dentry.mount.hidden and self.lists_itself(dentry):
            with host_directory(dentry, flags) as descriptor:
                return call.add_fd(descriptor, None, bool(flags & os.O_CLOEXEC))
        placeholder = self.placeholder(dentry)
        taken = KEPT_FLAGS
        if plain and flags & (os.O_ACCMODE | os.O_TRUNC):
            self.begin_writing(placeholder, bool(flags & os.O_TRUNC))
            taken |= os.O_ACCMODE | os.O_TRUNC
        elif plain:
            placeholder.content()
        elif flags & os.O_PATH and dentry.kind not in (DIRECTORY, LINK) and not dentry.mount.constant:
            flags |= NEITHER
            taken |= NEITHER
        descriptor = os.open(b"/proc/self/fd/%d" % placeholder.holder, flags & taken | os.O_CLOEXEC)
        try:
            return self.give(call, placeholder, descriptor, bool(flags & os.O_CLOEXEC))
        finally:
            os.close(descriptor)

    def open_device(self, call: Call, dentry: Dentry, flags: int) -> int:
        """Answer an open of a device. As `Device.open`."""
        nodes, node = nodes_of(dentry.mount), dentry.node
        assert isinstance(node, DeviceNode)
        self.sweep_devices(nodes)
        handle = nodes.device.open(node.sub_device, flags & ~(os.O_CREAT | os.O_TRUNC))
        number = next(self.numbers)
        file = DeviceFile(number, dentry, self.name + b"%d" % number, handle, flags & os.O_ACCMODE != os.O_RDONLY)
        self.by_number[number] = file
        descriptor = os.open(
            b"/proc/self/fd/%d" % file.holder, flags & (os.O_ACCMODE | os.O_NONBLOCK | os.O_APPEND) | os.O_CLOEXEC
        )
        try:
            return self.give(call, file, descriptor, bool(flags & os.O_CLOEXEC))
        finally:
            os.close(descriptor)

    def sweep_devices(self, nodes: DeviceNodes) -> None:
        """Close what nobody has open any more. (Who wrote, then has the table of partitions read again.)"""
        for file in list(nodes.open_files.values()):
            if not file.is_open():
                self.drop(file)
                self.by_number.pop(file.number, None)

    def hand_over(self, call: Call, dentry: Dentry, flags: int) -> int:
        """The task gets the host's own descriptor, and is never asked again: nor when it writes."""
        if flags & (os.O_ACCMODE | os.O_TRUNC):
            self.lose_bits(dentry)
        return self.hand_on(call, dentry, dentry.node.open(flags & ~(os.O_CREAT | os.O_EXCL)), flags)

    def hand_on(self, call: Call, dentry: Dentry, handle: Handle, flags: int) -> int:
        """The same of a file that is open already; closes *handle*."""
        with handle:
            descriptor = handle.descriptor()
            assert descriptor is not None  # what `Stat.real` promises
            if not dentry.mount.hidden:
                dentry.mount.hand_out(os.fstat(descriptor))
            return call.add_fd(descriptor, None, bool(flags & os.O_CLOEXEC))

    def give(
        self, call: Call, placeholder: Placeholder, descriptor: int, cloexec: bool, answer: bool = True, least: int = 0
    ) -> int:
        """Install our *descriptor* at a free high number of the task, not below *least*; with *answer* that is the call's
        result."""
        if least or not lacks_standard(call.tid):
            if soft_limit(call.tid) <= READY and self.is_full(call.tid):  # our numbers are above it: so count
                fail(errno.EMFILE)
            number = self.free_number(call.tid, max(READY if placeholder.whole else LAZY, least))
            try:
                return call.add_fd(descriptor, number, cloexec, answer)
            except OSError as error:
                if error.errno not in (errno.EBADF, errno.EMFILE, errno.EINVAL):
                    raise
        if isinstance(placeholder, DeviceFile):
            low = call.add_fd(descriptor, None, cloexec, False)
            self.low_devices.add(call, descriptor, low)
            return low
        # The hard limit is lower than our numbers, or the program closed one of 0 to 2 in order to get that number: the lowest
        # one then, filled, so that reads need no trap.
        if not placeholder.written:
            self.fill(placeholder)
        self.low_directories = self.low_directories or placeholder.dentry.kind == DIRECTORY
        return call.add_fd(descriptor, None, cloexec, answer)

    def free_number(self, tid: int, low: int) -> int:
        """A number that is free in the task's table, from *low* on, preferably in its range. Closing is never trapped, so look;
        go on from the last one found. EMFILE: the task has as many descriptors as it may."""
        top = LAZY if low < LAZY else TOP
        for first, end, tries in ((low, top, TRIES), (max(TOP, low), HIGHEST, HIGHEST)):
            if first >= end:
                continue
            if first >= TOP and self.is_full(tid):
                fail(errno.EMFILE)
            hint = self.hints.get((tid, end), 0)
            number = hint if first <= hint < end else first
            for _ in range(min(tries, end - first)):
                following = number + 1 if number + 1 < end else first
                if not has_descriptor(tid, number):
                    if len(self.hints) > CACHE_DESCRIPTORS:
                        self.hints.clear()
                    self.hints[tid, end] = following
                    return number
                number = following
            self.hints[tid, end] = number
        fail(errno.EMFILE)

    def is_full(self, tid: int) -> bool:
        """Whether a task has as many descriptors as its soft limit allows. Ours, at high numbers, would be at low ones elsewhere;
        the host's that lie above a limit that was lowered since do not count."""
        limit = soft_limit(tid)
        try:
            if os.stat(b"/proc/%d/fd" % tid).st_size < limit:  # Linux 6.2; before, 0
                return False
            return sum(number < limit or number >= READY for number in map(int, os.listdir(b"/proc/%d/fd" % tid))) >= limit
        except OSError:
            return False


def soft_limit(tid: int) -> int:
    """How many descriptors a task may have; `HIGHEST` where that is not to be known, or unlimited."""
    try:
        soft, _ = resource.prlimit(tid, resource.RLIMIT_NOFILE)
    except OSError:
        return HIGHEST
    return HIGHEST if soft == resource.RLIM_INFINITY else soft


@contextlib.contextmanager
def host_directory(dentry: Dentry, flags: int = 0) -> Iterator[int]:
    """A descriptor of a directory of the host's. ENOENT, and what the host says."""
    path = dentry.node.host_path() or fail(errno.ENOENT)
    descriptor = os.open(path, flags & os.O_NOATIME | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if (found.st_dev, found.st_ino) != dentry.stat().real:
            fail(errno.ENOENT)  # it was renamed meanwhile
        yield descriptor
    finally:
        os.close(descriptor)


def lacks_standard(tid: int) -> bool:
    """Whether one of the descriptors 0 to 2 is closed."""
    return has_descriptor(tid, 0) is False or has_descriptor(tid, 1) is False or has_descriptor(tid, 2) is False


def available_memory() -> int:
    """Bytes that can be had without pushing others out; a memfd is memory."""
    with open("/proc/meminfo", "rb") as lines:
        for line in lines:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) << 10
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
