"""The page and its table, as the supervisor has them: memory that the processes of the view share, and that we alone write."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterable
from enum import IntEnum

from vfs.view.kernel import libc
from vfs.view.kernel.machine import current
from vfs.view.shortcut.code_x86_64 import PAGE
from vfs.view.shortcut.layout import LONGEST, SHARED, SIZE, SLOT, SLOTS, WAYS, hash_of

WORD = struct.Struct("<I")
IPC_PRIVATE, IPC_RMID = 0, 0  # linux/ipc.h
PERMISSIONS = 0o1755  # IPC_CREAT; all may read and execute
MODE, GENERATION, PLAIN = SHARED, SHARED + 4, SHARED + 8
TABLE = SHARED + 4096


class Mode(IntEnum):
    """What the page lets pass: nothing; every call (nothing was ever mounted); names in directories of the table."""

    OFF = 0
    ALL = 1
    TABLE = 2


class Page:
    """A segment of shared memory (shmget(2)): a process gets it by one call that is not trapped, without a descriptor, and it
    ends with the last process that has it."""

    def __init__(self) -> None:
        """OSError."""
        calls = current().calls
        self.segment = libc.syscall(calls["shmget"], IPC_PRIVATE, SIZE, PERMISSIONS)
        try:
            self.address = libc.syscall(calls["shmat"], self.segment, 0, 0)
        finally:
            libc.syscall(calls["shmctl"], self.segment, IPC_RMID, 0)
        self.memory = memoryview((ctypes.c_char * SIZE).from_address(self.address)).cast("B")
        self.memory[: len(PAGE)] = PAGE
        self.generation = 0
        self.clear()

    def set_mode(self, mode: Mode) -> None:
        WORD.pack_into(self.memory, MODE, mode)

    def set_plain(self) -> None:
        """From now on the page makes no calls but those that it was asked to make."""
        WORD.pack_into(self.memory, PLAIN, 1)

    def clear(self) -> None:
        """Forget all directories."""
        self.generation = self.generation % 0xFFFFFFFF + 1  # never 0, which empty slots have
        WORD.pack_into(self.memory, GENERATION, self.generation)

    def add(self, directory: bytes, excepted: Iterable[bytes]) -> None:
        """Names of entries of *directory*, but not the *excepted* ones, may pass from now on. Readers are not kept out: they see
        whether the slot has changed under them. (Only one thread writes at a time.)"""
        text = directory + bytes(-len(directory) % 8) + b"".join(name + b"\0" for name in excepted)
        if len(text) > LONGEST:
            return
        first = hash_of(directory) % SLOTS
        for way in range(WAYS):
            at = TABLE + (first ^ way) * SLOT.size
            if WORD.unpack_from(self.memory, at + 4)[0] != self.generation:  # else it is taken
                break
        sequence = WORD.unpack_from(self.memory, at)[0] & 0xFFFFFFFE
        WORD.pack_into(self.memory, at, sequence | 1)
        self.memory[at : at + SLOT.size] = SLOT.pack(sequence | 1, self.generation, len(directory), text)
        WORD.pack_into(self.memory, at, (sequence + 2) & 0xFFFFFFFF)

    def close(self) -> None:
        self.memory.release()
        libc.syscall(current().calls["shmdt"], self.address)
