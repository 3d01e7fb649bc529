"""Descriptors of others where pidfd_getfd is forbidden, as in a container: their owner lends them.

Docker's default profile forbids pidfd_getfd to who lacks CAP_SYS_PTRACE, but neither ptrace nor process_vm_readv.  So the waiting
thread is held, and made to send its descriptor through a socket.  Its call is over by that: the thread makes it once more, the
handler is asked from the start, and this time finds the descriptor here.
"""

import os
from collections import OrderedDict

from vfs.view.kernel import passing
from vfs.view.kernel.notify import Answered, Call

_KEPT = 256  # tasks

_Made = tuple[int, tuple[int, ...]]  # a call: number and arguments


class Lender:
    """One thread at a time uses it."""

    def __init__(self) -> None:
        # task -> (its call, the numbers that the handler has asked for so far, what was lent and not yet taken)
        self._tasks: OrderedDict[int, tuple[_Made, list[int], dict[int, int]]] = OrderedDict()

    def get(self, call: Call, number: int) -> int:
        """A duplicate of a descriptor of the call's thread.  Answered: the handler will be asked again.  EBADF, EPERM."""
        made = call.nr, call.args
        kept = self._tasks.get(call.tid)
        if kept is None or kept[0] != made:
            self.forget(call.tid)
            kept = self._tasks[call.tid] = made, [], {}
            if len(self._tasks) > _KEPT:
                self.forget(next(iter(self._tasks)))
        _, asked, lent = kept
        found = lent.pop(number, None)
        if found is not None:
            return found
        numbers = [*dict.fromkeys([*asked, number])]
        self.forget(call.tid)
        if not os.path.lexists(f"/proc/{call.tid}/fd/{number}"):
            raise OSError(9, "no such descriptor")
        self._tasks[call.tid] = made, numbers, self._borrow(call, numbers)
        raise Answered

    def _borrow(self, call: Call, numbers: list[int]) -> dict[int, int]:
        """Ends the call; it will be made again."""
        ours, theirs = passing.pair()
        lent: dict[int, int] = {}
        try:
            try:
                socket = call.add_fd(theirs, None, True, answer=False)
            finally:
                os.close(theirs)
            with call.stop() as stopped:
                for number in numbers:
                    at, size = stopped.scratch(lambda at, number=number: passing.message(at, number))  # type: ignore[misc]
                    if stopped.syscall("sendmsg", socket, at, 0, 0, 0, call.listener.cookie) >= 0:
                        lent[number] = passing.arrived(ours)
                    stopped.syscall("munmap", at, size)
                stopped.syscall("close", socket)
                stopped.again(call.nr, call.args)
        except BaseException:
            for descriptor in lent.values():
                os.close(descriptor)
            raise
        finally:
            os.close(ours)
        return lent

    def forget(self, tid: int) -> None:
        kept = self._tasks.pop(tid, None)
        if kept:
            for descriptor in kept[2].values():
                os.close(descriptor)
