"""A raw image: everything is passed down."""

from __future__ import annotations

from vfs.api import Storage
from vfs.vd.disk import DiskImage, FlatImage
from vfs.vd.opening import Opening


class RawImage(FlatImage):
    """As large as its file is when it is opened."""

    format = "raw"

    def __init__(self, file: Storage, writable: bool = False) -> None:
        super().__init__(file, file.size, writable=writable, block_size=file.block_size)
        self.physical_block_size = file.physical_block_size

    def descriptor(self) -> int | None:
        return self.file.descriptor()


def open_image(source: Storage, opening: Opening) -> DiskImage:
    """EROFS is the caller's: *opening* asks for what the source can."""
    return RawImage(source, opening.writable)
