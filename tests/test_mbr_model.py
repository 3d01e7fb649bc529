"""A disk's parts under any sequence of tables written, BLKPG and claims, compared with a model of what Linux does."""

from __future__ import annotations

import errno
import os

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.test_mbr_damage import Memory, disk, entry, mounted, record
from vfs.api import Storage, SubStorage, ioctls
from vfs.api.blockhandle import BLKPG_ARGUMENT, BLKPG_PARTITION

SECTOR = 512
SECTORS = 256
NUMBERS = st.integers(1, 6)
PLACES = st.tuples(st.integers(0, SECTORS + 8), st.integers(0, 64))


class Written(Memory):
    """One that can be written."""

    read_only = False

    def write(self, offset: int, content: bytes | memoryview) -> int:
        self.content[offset : offset + len(content)] = content
        return len(content)


class Parts(RuleBasedStateMachine):
    """*parts*: number -> (start, size) in sectors; *table*: what the table on the disk says, clipped."""

    def __init__(self) -> None:
        super().__init__()
        self.device = mounted(Written(disk({}, SECTORS)))
        self.whole = self.device.open(0, os.O_RDWR)
        self.parts: dict[int, tuple[int, int]] = {}
        self.table: dict[int, tuple[int, int]] = {}
        self.held: dict[int, Storage] = {}
        self.generation = 0

    def ask(self, operation: int, number: int, start: int, size: int) -> int:
        """The error number of a BLKPG, or 0."""
        partition = BLKPG_PARTITION.pack(start * SECTOR, size * SECTOR, number, b"", b"")
        try:
            self.whole.ioctl(ioctls.BLKPG, BLKPG_ARGUMENT.pack(operation, 0, len(partition), 0) + partition)
        except OSError as error:
            return error.errno or -1
        return 0

    def overlaps(self, number: int, start: int, size: int) -> bool:
        return any(
            other != number and start < begin + length and begin < start + size for other, (begin, length) in self.parts.items()
        )

    def changed(self, parts: dict[int, tuple[int, int]]) -> None:
        if parts != self.parts:
            self.parts = parts
            self.generation += 1

    @rule(places=st.lists(PLACES, max_size=4))
    def write_table(self, places: list[tuple[int, int]]) -> None:
        self.whole.write(0, record(*(entry(0x83, start, size) for start, size in places)))
        self.table = {
            number: (start, min(size, SECTORS - start))
            for number, (start, size) in enumerate(places, 1)
            if size and start < SECTORS
        }

    @rule()
    def reread(self) -> None:
        busy = any(self.parts[number] != self.table.get(number) for number in self.held)
        try:
            self.whole.ioctl(ioctls.BLKRRPART, b"")
        except OSError as error:
            assert busy and error.errno == errno.EBUSY
        else:
            assert not busy
            self.changed(dict(self.table))

    @rule(number=NUMBERS, place=PLACES)
    def add(self, number: int, place: tuple[int, int]) -> None:
        start, size = place
        found = self.ask(ioctls.BLKPG_ADD_PARTITION, number, start, size)
        if number in self.parts:
            assert found == errno.EBUSY
        elif size == 0 or start + size > SECTORS:
            assert found == errno.EINVAL
        elif self.overlaps(number, start, size):
            assert found == errno.EBUSY
        else:
            assert found == 0
            self.changed(self.parts | {number: place})

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        found = self.ask(ioctls.BLKPG_DEL_PARTITION, number, 0, 0)
        if number not in self.parts:
            assert found == errno.ENXIO
        elif number in self.held:
            assert found == errno.EBUSY
        else:
            assert found == 0
            self.changed({other: place for other, place in self.parts.items() if other != number})

    @rule(number=NUMBERS, size=st.integers(0, 64), moved=st.booleans())
    def resize(self, number: int, size: int, moved: bool) -> None:
        start = self.parts.get(number, (0, 0))[0] + moved
        found = self.ask(ioctls.BLKPG_RESIZE_PARTITION, number, start, size)
        if number not in self.parts:
            assert found == errno.ENXIO
        elif moved or size == 0 or start + size > SECTORS:
            assert found == errno.EINVAL
        elif self.overlaps(number, start, size):
            assert found == errno.EBUSY
        else:
            assert found == 0
            self.changed(self.parts | {number: (start, size)})

    @rule(number=NUMBERS)
    def hold_or_release(self, number: int) -> None:
        if number in self.held:
            self.held.pop(number).close()
        elif number in self.parts:
            self.held[number] = self.device.hold(number)

    @invariant()
    def parts_are_as_in_the_model(self) -> None:
        storages = self.device.storages()
        assert self.device.generation == self.generation
        assert set(storages) == {0, *self.parts}
        for number, place in self.parts.items():
            part = storages[number]
            assert isinstance(part, SubStorage)
            assert (part.start // SECTOR, part.size // SECTOR) == place
        for number, held in self.held.items():
            assert held.size == self.parts[number][1] * SECTOR

    def teardown(self) -> None:
        self.device.close()


TestParts = Parts.TestCase
TestParts.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
