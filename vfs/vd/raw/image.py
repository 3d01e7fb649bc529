"""A raw image: everything is passed down."""

from __future__ import annotations

from collections.abc import Iterator

from vfs.api import Storage
from vfs.vd.disk import DATA, DiskImage, Run
from vfs.vd.opening import Opening


class RawImage(DiskImage):
    """As large as its file is when it is opened."""

    format = "raw"

    def __init__(self, file: Storage, writable: bool = False) -> None:
        super().__init__(file, file.size, writable=writable, block_size=file.block_size)
        self.physical_block_size = file.physical_block_size

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        yield Run(offset, length, DATA, self.file, offset)

    def write_range(self, offset: int, content: memoryview) -> None:
        self.file.write(offset, content)

    def zero_range(self, offset: int, length: int) -> None:
        self.file.zero(offset, length)

    def discard_range(self, offset: int, length: int) -> None:
        self.file.discard(offset, length)

    def descriptor(self) -> int | None:
        return self.file.descriptor()


def open_image(source: Storage, opening: Opening) -> DiskImage:
    """EROFS is the caller's: *opening* asks for what the source can."""
    return RawImage(source, opening.writable)
