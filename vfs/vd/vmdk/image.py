"""An opened VMDK: its extents one after the other, and its parent below them."""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Iterator

from vfs.api import Storage, damaged, fail
from vfs.vd.disk import HOLE, ZERO, DiskImage, Run
from vfs.vd.opening import Opening
from vfs.vd.vmdk.descriptor import new_content_id
from vfs.vd.vmdk.extent import Below, DiskExtent, ZeroExtent
from vfs.vd.vmdk.opening import Layout, local_name, open_layout


class VmdkImage(DiskImage):
    """The disk. Its identifier is the CID, `None` without a descriptor."""

    format = "vmdk"

    def __init__(self, source: Storage, layout: Layout, parent: DiskImage | None, writable: bool) -> None:
        super().__init__(source, sum(extent.size for extent in layout.extents), writable=writable, parent=parent)
        self.layout = layout
        self.files += layout.files
        self.parts = [extent for extent in layout.extents if extent.size]
        self.starts: list[int] = []
        position = 0
        for part in self.parts:
            self.starts.append(position)
            if parent is not None:
                part.below = self._below(position)
            position += part.size
        self.identifier: int | None = layout.descriptor.content_id("CID") if layout.descriptor is not None else None
        self._begun: set[int] = set()

    def _below(self, start: int) -> Below:
        def below(offset: int, length: int) -> bytes:
            buffer = bytearray(length)
            if self.parent is not None:
                self.parent.readinto(start + offset, memoryview(buffer))
            return bytes(buffer)

        return below

    def _pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Number of the extent, offset and length in it, for a range of the disk."""
        end, number = offset + length, bisect_right(self.starts, offset) - 1
        while offset < end:
            part, start = self.parts[number], self.starts[number]
            until = min(end, start + part.size)
            yield number, offset - start, until - offset
            offset, number = until, number + 1

    # ---------------------------------------------------------------- reading

    def runs(self, offset: int, length: int) -> Iterator[Run]:
        for number, at, count in self._pieces(offset, length):
            part, start = self.parts[number], self.starts[number]
            for place, size, kind, position in part.spans(at, count):
                yield Run(start + place, size, kind, part.source, position)

    def unpack(self, run: Run) -> bytes:
        number = bisect_right(self.starts, run.offset) - 1
        return self.parts[number].content(run.offset - self.starts[number], run.length)

    # ---------------------------------------------------------------- writing

    def _touch(self, number: int) -> DiskExtent:
        """An extent that is going to be changed."""
        part = self.parts[number]
        if number not in self._begun:
            if part.sealed:
                fail(errno.EROFS, part.sealed)
            part.begin()
            if not self._begun:
                self._renew()
            self._begun.add(number)
        return part

    def _renew(self) -> None:
        """Another CID: whoever has this disk as a parent sees that it has changed."""
        descriptor, room = self.layout.descriptor, self.layout.room
        if descriptor is None or self.identifier is None:
            return
        self.identifier = new_content_id()
        text = descriptor.renewed(self.identifier)
        if room and len(text) > room:
            fail(errno.ENOSPC, f"{self.name}: no room for another CID in the descriptor")
        self.file.write(self.layout.descriptor_offset, text.ljust(len(descriptor.text), b"\0") if room else text)
        if not room and len(text) < self.file.size:
            self.file.resize(len(text))

    def write_range(self, offset: int, content: memoryview) -> None:
        done = 0
        for number, at, count in self._pieces(offset, len(content)):
            self._touch(number).write(at, content[done : done + count])
            done += count

    def zero_range(self, offset: int, length: int) -> None:
        for number, at, count in self._pieces(offset, length):
            for first, last in self._not_zeros(number, at, count):
                self._touch(number).zero(first, last - first)

    def discard_range(self, offset: int, length: int) -> None:
        for number, at, count in self._pieces(offset, length):
            if not self.parts[number].sealed:
                self._touch(number).discard(at, count)

    def _not_zeros(self, number: int, offset: int, length: int) -> list[tuple[int, int]]:
        """The parts of a range of an extent, first and last byte, of which something is stored, here or in a parent. They end
        where grains do, so that whole grains can be given up."""
        part, start = self.parts[number], self.starts[number]
        grain, end = part.grain or 1, offset + length
        found: list[tuple[int, int]] = []
        for span in part.spans(offset, length):
            if span.kind == HOLE:
                below = self.parent.extents(start + span.offset, span.length) if self.parent is not None else []
                ranges = [(extent.offset - start, extent.length) for extent in below if not extent.hole]
            else:
                ranges = [(span.offset, span.length)] if span.kind != ZERO else []
            for at, size in ranges:
                first = max(offset, at // grain * grain)
                last = min(end, -(-(at + size) // grain) * grain)
                if found and first <= found[-1][1]:
                    found[-1] = found[-1][0], max(last, found[-1][1])
                else:
                    found.append((first, last))
        return found

    def sync(self) -> None:
        for number in sorted(self._begun):
            self.parts[number].flush()
        if self._begun:
            self.file.flush()

    def finish(self) -> None:
        self.sync()
        begun, self._begun = sorted(self._begun), set()
        for number in begun:
            self.parts[number].finish()

    # ---------------------------------------------------------------- for a person

    def facts(self) -> dict[str, str | int]:
        found: dict[str, str | int] = {"kind": self.layout.kind, "extents": len(self.layout.extents)}
        grains = {extent.grain for extent in self.layout.extents if extent.grain}
        if len(grains) == 1:
            found["grain size"] = grains.pop()
        descriptor = self.layout.descriptor
        if descriptor is not None:
            if self.identifier is not None:
                found["CID"] = f"{self.identifier:08x}"
            for label, name in (("adapter", "ddb.adapterType"), ("hardware version", "ddb.virtualHWVersion")):
                if value := descriptor.value(name):
                    found[label] = value.decode(errors="replace")
        if any(extent.unclean for extent in self.layout.extents):
            found["state"] = "was not closed"
        return found


def open_image(source: Storage, opening: Opening) -> VmdkImage:
    """The disk in *source*: see `vfs.vd.formats.Reader`. EUCLEAN: also when the parent has changed since the disk was made."""
    if opening.snapshot is not None:
        fail(errno.EINVAL, f"{source.name}: a VMDK has no snapshots inside; each is a file of its own")
    layout = open_layout(source, opening.writable)
    parent: DiskImage | None = None
    try:
        if opening.writable and layout.descriptor is not None and layout.descriptor.value("changeTrackPath"):
            fail(errno.EROFS, f"{source.name}: has changed-block tracking, which writing would belie")
        for extent in layout.extents:
            inherent = extent.source is None or not extent.source.read_only
            if opening.writable and extent.sealed and inherent and not isinstance(extent, ZeroExtent):
                fail(errno.EROFS, extent.sealed)
        parent, name = _open_parent(source, opening, layout)
        image = VmdkImage(source, layout, parent, opening.writable)
        image.parent_name = name
        return image
    except BaseException:
        for file in layout.files:
            file.close()
        if parent is not None:
            parent.close()
        raise


def _open_parent(source: Storage, opening: Opening, layout: Layout) -> tuple[DiskImage | None, str]:
    """The parent and what the image calls it. EUCLEAN: its CID is not the one that it had."""
    descriptor = layout.descriptor
    if descriptor is None:
        # An extent by itself knows nothing of a parent; the user may.
        return (opening.parent_of(source, b""), opening.parent.name) if opening.parent is not None else (None, "")
    hint = descriptor.parent_name()
    if hint is None:
        if opening.parent is not None:
            fail(errno.EINVAL, f"{source.name}: has no parent")
        return None, ""
    names = descriptor.names(local_name(hint))
    for name in names:
        try:
            parent = opening.parent_of(source, name)
            break
        except FileNotFoundError:
            if name is names[-1]:
                raise
    shown, wanted = names[0].decode(errors="replace"), descriptor.content_id("parentCID")
    if isinstance(parent, VmdkImage) and parent.identifier not in (None, wanted):
        found = parent.identifier or 0
        parent.close()
        raise damaged(f"{source.name}: its parent '{shown}' was changed: it has the CID {found:08x}, not {wanted or 0:08x}")
    return parent, shown
