"""`vfs convert` and `vfs create`."""

from __future__ import annotations

import argparse
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from vfs.api import registry
from vfs.api.device import Device, StorageHandle
from vfs.api.errors import fail, message
from vfs.api.module import Format, Module
from vfs.api.options import open_paths, parse, size
from vfs.api.stack import open_disk
from vfs.api.storage import FileStorage, Storage
from vfs.cli.newimage import NewFile, new_image
from vfs.cli.opening import Run, partition_number
from vfs.cli.progress import Progress
from vfs.cli.pump import copy
from vfs.cli.transfer import to_stream

RAW = "raw"
"""The format of what is not named otherwise, and the only one that can be written to a device or a pipe: it is no layout."""

# ------------------------------------------------------------------------------------------------------------- convert


def convert(parser: argparse.ArgumentParser) -> Run:
    parser.epilog = (
        "examples:\n"
        "  vfs convert disk.vmdk disk.qcow2\n"
        "  vfs convert -O vmdk -o subformat=streamOptimized disk.raw disk.vmdk\n"
        "  vfs convert --partition 2 disk.qcow2 root.img\n"
        "  vfs convert 'backup.img!/images/disk.vdi' - | zstd > disk.zst\n"
    )
    parser.add_argument("source", metavar="A", help="the image; one inside another as OUTER!PATH")
    parser.add_argument("target", metavar="B", help="the new image, or a block device; - for standard output")
    parser.add_argument("-t", "--type", metavar="TYPE", help="the format of A, when it should not be detected")
    parser.add_argument(
        "-s", "--source-options", metavar="OPTIONS", default="", help="options for opening A (parent=, snapshot=)"
    )
    parser.add_argument("--partition", metavar="N", type=partition_number, help="only the partition of A with this number")
    _new_arguments(parser)
    return run_convert


def _new_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-O", "--format", metavar="FORMAT", help="the format (default: by the name's ending, else raw)")
    parser.add_argument("-o", "--options", metavar="OPTIONS", default="", help="the format's options, with commas")


def run_convert(arguments: argparse.Namespace) -> int:
    source, target = arguments.source, arguments.target
    format, module = _format(arguments.format, "" if _is_stream(target) else target)
    if _is_stream(target) and format.name != RAW:
        fail(errno.EINVAL, f"{format.name} cannot be written to a pipe or device: only raw can")
    with open_disk(source, arguments.type, arguments.source_options, partition=arguments.partition) as disk:
        handle = StorageHandle(disk.storage)
        with Progress(disk.storage.size) as progress:
            progress.start(os.fsencode(source))
            if target == "-":
                with _named(source):
                    to_stream(handle, handle.size(), 1, progress.advance)
            elif _is_stream(target):
                _to_device(handle, target, progress)
            else:
                _to_image(handle, target, format, module, arguments.options, progress)
    return 0


def _is_stream(target: str) -> bool:
    """Whether it is written in place: standard output, a device."""
    if target == "-":
        return True
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _to_device(handle: StorageHandle, target: str, progress: Progress) -> None:
    """To a block device, zeros too: something else may be on it."""
    with _named(target), FileStorage(target, writable=True) as out:
        if out.size < handle.size():
            fail(errno.ENOSPC, f"has {out.size} bytes, and the disk {handle.size()}")
        copy(handle, out, True, progress)
        out.flush()


def _to_image(handle: StorageHandle, target: str, format: Format, module: Module, options: str, progress: Progress) -> None:
    with new_image(target, replace=True) as storage, _named(target):
        continues = _create(storage, format, module, handle.size(), options)
        opening = module.options(rw=True)
        if hasattr(opening, "format"):
            opening.format = format.name
        mounted = module.mount(storage, opening)
        with mounted:
            if not isinstance(mounted, Device):
                fail(errno.EINVAL, f"{format.name}: not a disk")
            out = mounted.storage(0)
            if out.size < handle.size():
                fail(errno.EFBIG, f"{format.name}: the new disk has {out.size} bytes, and {handle.size()} are needed")
            copy(handle, out, continues, progress)


# -------------------------------------------------------------------------------------------------------------- create


def create(parser: argparse.ArgumentParser) -> Run:
    parser.epilog = (
        "examples:\n"
        "  vfs create disk.qcow2 20G\n"
        "  vfs create -O vdi disk.vdi 512M\n"
        "  vfs create -o backing_file=base.qcow2 child.qcow2\n"
        "'vfs modules vd' names the formats.\n"
    )
    parser.add_argument("target", metavar="B", help="the new image")
    parser.add_argument(
        "size", metavar="SIZE", type=_size, nargs="?", help="the disk's size: 512K, 10M, 2G (default: the parent's)"
    )
    _new_arguments(parser)
    return run_create


def _size(text: str) -> int:
    try:
        return size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': {error}") from None


def run_create(arguments: argparse.Namespace) -> int:
    format, module = _format(arguments.format, arguments.target)
    with new_image(arguments.target, replace=False) as storage, _named(arguments.target):
        _create(storage, format, module, arguments.size, arguments.options)
    return 0


# ---------------------------------------------------------------------------------------------------------------- both


def _format(wanted: str | None, target: str) -> tuple[Format, Module]:
    """The format asked for, or the one that the target's name suggests. EINVAL: unknown."""
    known = registry.formats()
    if wanted is not None:
        return known.get(wanted) or fail(errno.EINVAL, f"unknown format '{wanted}' (known: {', '.join(sorted(known))})")
    for format, module in known.values():
        if target.lower().endswith(format.endings):
            return format, module
    return known.get(RAW) or fail(errno.EINVAL, f"no format for '{target}': name one by -O")


def _create(storage: NewFile, format: Format, module: Module, size: int | None, text: str) -> bool:
    """Make the empty image; whether it continues another."""
    options: Any = parse(text, module.create_options(format.name))
    with ExitStack() as undo:
        parents: list[Storage] = []

        def opened(path: str) -> Storage:
            parents.append(undo.enter_context(FileStorage(path)))
            return parents[-1]

        open_paths(options, opened)
        module.create(storage, format.name, size, options)
        return bool(parents)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors in the block are told of *name*, where they tell of nothing else."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, message(error), error.filename or name) from error
