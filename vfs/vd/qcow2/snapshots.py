"""Internal snapshots: the table of them, and the one that somebody wants."""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from vfs.api import Storage, damaged, fail
from vfs.vd.disk import MAX_SIZE
from vfs.vd.qcow2 import layout
from vfs.vd.qcow2.header import Header, check_place


class Snapshot(NamedTuple):
    """*size* of its disk in bytes, *time* in seconds since 1970."""

    id: str
    name: str
    l1_offset: int
    l1_entries: int
    size: int
    time: int


def read_snapshots(source: Storage, header: Header) -> tuple[list[Snapshot], int]:
    """The snapshots in the order of the table, and how many bytes that has. EUCLEAN."""
    found: list[Snapshot] = []
    at = header.snapshot_offset
    for number in range(1, header.snapshot_count + 1):
        if at - header.snapshot_offset > layout.MAX_SNAPSHOT_TABLE_BYTES or at + layout.SNAPSHOT.size > source.size:
            raise damaged(f"{header.name}: snapshot {number} of {header.snapshot_count} lies outside the table or the file")
        fields = layout.SNAPSHOT.unpack(source.read(at, layout.SNAPSHOT.size))
        l1_offset, l1_entries, id_length, name_length, seconds, _, _, _, extra_length = fields
        length = extra_length + id_length + name_length
        if extra_length > layout.MAX_SNAPSHOT_EXTRA or at + layout.SNAPSHOT.size + length > source.size:
            raise damaged(f"{header.name}: snapshot {number} has {extra_length} bytes of extra data and names of {length} in all")
        rest = source.read(at + layout.SNAPSHOT.size, length)
        size = header.size
        if extra_length >= layout.SNAPSHOT_EXTRA.size:
            size = layout.SNAPSHOT_EXTRA.unpack_from(rest)[1]
        rest = rest[extra_length:]
        id, name = os.fsdecode(rest[:id_length]), os.fsdecode(rest[id_length:])
        found.append(Snapshot(id, name, l1_offset, l1_entries, size, seconds))
        at += (layout.SNAPSHOT.size + length + 7) & ~7
    return found, at - header.snapshot_offset


def check_snapshot(source: Storage, header: Header, snapshot: Snapshot) -> None:
    """Its L1 table lies in the file and is large enough. EUCLEAN."""
    who = f"snapshot '{snapshot.name}'"
    if snapshot.l1_entries * 8 > layout.MAX_L1_BYTES or snapshot.size > MAX_SIZE:
        raise damaged(f"{header.name}: {who} has {snapshot.l1_entries} L1 entries and a disk of {snapshot.size} bytes")
    if snapshot.l1_entries * header.l2_entries * header.cluster_size < snapshot.size:
        raise damaged(f"{header.name}: {who} has {snapshot.l1_entries} L1 entries, too few for its disk of {snapshot.size} bytes")
    check_place(header, source, f"L1 table of {who}", snapshot.l1_offset, snapshot.l1_entries * 8)


def find_snapshot(header: Header, snapshots: list[Snapshot], wanted: str) -> Snapshot:
    """By its id, else by its name. EINVAL, naming those there are."""
    for snapshot in snapshots:
        if snapshot.id == wanted:
            return snapshot
    for snapshot in snapshots:
        if snapshot.name == wanted:
            return snapshot
    known = ", ".join(f"{snapshot.id} ({snapshot.name})" for snapshot in snapshots[:20]) or "none"
    fail(errno.EINVAL, f"{header.name}: no snapshot '{wanted}' (known: {known})")
