"""`vfs stat`, `vfs df`, `vfs modules`."""

from __future__ import annotations

import argparse
import base64
import errno
import os
import sys
from collections.abc import Iterator
from stat import S_ISBLK, S_ISCHR, filemode
from typing import Any

from vfs.api.devicetree import DeviceTree
from vfs.api.errors import fail
from vfs.api.filesystem import Filesystem, StatFs
from vfs.api.node import Node, Stat
from vfs.api.stack import Image
from vfs.api.walk import locate
from vfs.cli import printing
from vfs.cli.opening import Report, Run, image_arguments, image_path, json_argument, opened
from vfs.cli.printing import shown

# ---------------------------------------------------------------------------------------------------------------- stat


def stat(parser: argparse.ArgumentParser) -> Run:
    image_arguments(parser, "  vfs stat disk.img /etc/passwd\n  vfs stat --json disk.img /bin/ping | jq .xattrs\n")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="the files")
    parser.add_argument("-L", "--dereference", action="store_true", help="follow symbolic links")
    json_argument(parser)
    return run_stat


def run_stat(arguments: argparse.Namespace) -> int:
    with opened(arguments) as (image, report):
        for given in arguments.paths:
            path = image_path(given)
            with report.about(path):
                canonical, node = locate(image.root, path, arguments.dereference)
                found = node.stat()
                if arguments.json:
                    printing.print_json(_record(canonical, node, found, report))
                else:
                    _describe(canonical, node, found, report)
        return report.status


def _record(path: bytes, node: Node, found: Stat, report: Report) -> dict[str, Any]:
    """What `ls --json` tells, and the rest: times in nanoseconds, blocks, device numbers, attributes in base64."""
    rest = {
        "atime_ns": found.atime,
        "mtime_ns": found.mtime,
        "ctime_ns": found.ctime,
        "btime_ns": found.btime,
        "blocks": found.blocks,
        "blksize": found.blksize,
        "rdev": [os.major(found.rdev), os.minor(found.rdev)],
        "xattrs": {printing.text(name): base64.b64encode(value).decode() for name, value in _xattrs(path, node, report)},
    }
    return printing.record(path, node, found) | rest


def _xattrs(path: bytes, node: Node, report: Report) -> list[tuple[bytes, bytes]]:
    with report.about(path):
        return [(name, node.getxattr(name)) for name in node.listxattr()]
    return []


def _describe(path: bytes, node: Node, found: Stat, report: Report) -> None:
    target = f" -> {shown(node.readlink())}" if found.is_symlink else ""
    numbers = f"   Device: {printing.device(found.rdev)}" if S_ISCHR(found.mode) or S_ISBLK(found.mode) else ""
    print(f"  Path: {shown(path)}{target}")
    print(f"  Type: {printing.type_name(found.mode)}{numbers}")
    print(f"  Size: {found.size}   Blocks: {found.blocks}   IO Block: {found.blksize}")
    print(f" Inode: {found.ino}   Links: {found.nlink}")
    print(f"  Mode: {printing.permissions(found.mode)} ({filemode(found.mode)})   Uid: {found.uid}   Gid: {found.gid}")
    for title, moment in (("Access", found.atime), ("Modify", found.mtime), ("Change", found.ctime), (" Birth", found.btime)):
        print(f"{title}: {'-' if moment is None else printing.exactly(moment)}")
    for name, value in _xattrs(path, node, report):
        print(f" Xattr: {shown(name)} = {_value(value)}")


def _value(value: bytes) -> str:
    """An attribute's value: text in quotes, anything else in hexadecimal."""
    readable = printing.text(value.removesuffix(b"\0"))
    return f'"{readable}"' if readable.isprintable() else f"0x{value.hex()}"


# ------------------------------------------------------------------------------------------------------------------ df


def df(parser: argparse.ArgumentParser) -> Run:
    image_arguments(parser, "  vfs df disk.img\n  vfs df -h disk.img\n  vfs df --json disk.img | jq .available\n")
    parser.add_argument("-h", dest="human", action="store_true", help="sizes with units: 1.5G")
    parser.add_argument("-i", "--inodes", action="store_true", help="count inodes instead of blocks")
    json_argument(parser)
    return run_df


def run_df(arguments: argparse.Namespace) -> int:
    with opened(arguments) as (image, report):
        table: list[list[str]] = []
        for number, filesystem in _filesystems(image, report):
            with report.about(b"/p%d" % number if number else b"/"):
                found = filesystem.statfs()
                if arguments.json:
                    part = {"partition": number} if number else {}
                    printing.print_json({"image": arguments.image, "type": filesystem.type, **part, **_fullness(found)})
                    continue
                name = shown(arguments.image) + (f"!/p{number}" if number else "")
                table.append([name, filesystem.type, *_columns(found, arguments)])
        if arguments.inodes:
            titles = ["Inodes", "IUsed", "IFree", "IUse%"]
        else:
            titles = ["Size" if arguments.human else "1K-blocks", "Used", "Available", "Use%"]
        if table:
            _table(["Filesystem", "Type", *titles], *table)
        return report.status


def _filesystems(image: Image, report: Report) -> Iterator[tuple[int, Filesystem]]:
    """The file system of an image, or those in its parts by number."""
    whole = image.filesystem
    if not isinstance(whole, DeviceTree):
        yield 0, whole
        return
    parts = whole.parts()
    if not parts:
        fail(errno.EINVAL, "no file system of any known format in it")
    for number in parts:
        with report.about(b"/p%d" % number):
            yield number, whole.mounted(number)


def _fullness(found: StatFs) -> dict[str, int]:
    unit = found.block_size
    return {
        "block_size": unit,
        "size": found.blocks * unit,
        "used": (found.blocks - found.free) * unit,
        "available": found.available * unit,
        "files": found.files,
        "files_free": found.files_free,
    }


def _columns(found: StatFs, arguments: argparse.Namespace) -> list[str]:
    """The numbers of one line of `df`."""
    unit = found.block_size
    if arguments.inodes:
        total, used, free = found.files, found.files - found.files_free, found.files_free
        sizes = [total, used, free]
    else:
        total, used, free = found.blocks, found.blocks - found.free, found.available
        sizes = [count * unit if arguments.human else count * unit // 1024 for count in (total, used, free)]
    numbers = [printing.amount(number) if arguments.human else str(number) for number in sizes]
    return [*numbers, f"{-(-100 * used // (used + free))}%" if used + free else "-"]


def _table(*lines: list[str]) -> None:
    """Lines in columns: the first two to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        cells = [cell.ljust(width) if place < 2 else cell.rjust(width) for place, (cell, width) in enumerate(zip(line, widths))]
        print(" ".join(cells).rstrip())


# ------------------------------------------------------------------------------------------------------------- modules


def modules(parser: argparse.ArgumentParser) -> Run:
    parser.add_argument("names", metavar="NAME", nargs="*", default=None, help="the modules to describe (default: all)")
    parser.epilog = "examples:\n  vfs modules\n  vfs modules ext2\n"
    return run_modules


def run_modules(arguments: argparse.Namespace) -> int:
    from vfs.api import registry
    from vfs.api.errors import message
    from vfs.api.options import known

    status = 0
    for name in arguments.names or sorted(registry.modules()):
        try:
            module = registry.find(name)
        except OSError as error:
            print(f"vfs: {shown(name)}: {shown(message(error))}", file=sys.stderr)
            status = 1
            continue
        kind = registry.modules()[registry.canonical(name)].kind
        other = ", ".join([registry.PREFIXES[kind] + module.name, *module.aliases])
        print(f"{module.name} ({kind}; also {other}): {module.description}")
        for option, (_, field) in known(module.options).items():
            print(f"    {option:12} {field.metadata['explanation']}")
        for format in module.formats:
            print(f"    creates {format.name:8} {format.description} ({', '.join(format.endings) or 'by name only'})")
    return status
