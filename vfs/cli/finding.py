"""`vfs find`: the tests of find(1) that need nothing but a file's name and attributes."""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import stat
from collections.abc import Callable
from functools import partial

from vfs.api.node import Node, Stat
from vfs.api.walk import MAX_DEPTH, Found, locate, walk_tree
from vfs.cli import printing
from vfs.cli.opening import Report, Run, image_arguments, image_path, json_argument, opened

LETTERS = {"f": stat.S_IFREG, "d": stat.S_IFDIR, "l": stat.S_IFLNK, "c": stat.S_IFCHR, "b": stat.S_IFBLK}
LETTERS |= {"p": stat.S_IFIFO, "s": stat.S_IFSOCK}
UNITS = {"c": 1, "": 512, "b": 512, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}
SIZE = re.compile(r"([+-]?)(\d+)([cbkMG]?)")

SizeTest = Callable[[int], bool]


def find(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs find disk.img /etc -name '*.conf'\n"
        "  vfs find disk.img -type f -size +10M\n"
        "  vfs find --json disk.img -type l | jq -r .target\n",
    )
    parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="where to start (default: /)")
    parser.add_argument("-name", metavar="GLOB", help="names that match")
    parser.add_argument("-iname", metavar="GLOB", help="the same, in capitals or not")
    parser.add_argument("-type", dest="types", metavar="X", type=_types, help="f, d, l, c, b, p, s; several with commas")
    parser.add_argument("-size", metavar="[+-]N[ckMG]", type=_size, help="in 512-byte blocks, or units; + above, - below")
    parser.add_argument("-maxdepth", metavar="N", type=int, default=MAX_DEPTH, help="this many levels below PATH only")
    json_argument(parser)
    # What argparse takes for a negative number and not for an option: `-size -10k`.
    parser._negative_number_matcher = re.compile(r"-\d+[cbkMG]?$")
    return run_find


def _types(text: str) -> set[int]:
    try:
        return {LETTERS[letter] for letter in text.split(",")}
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"unknown type {error}, wants some of {', '.join(LETTERS)}") from None


def _size(text: str) -> SizeTest:
    """A test as find(1) makes it: sizes are rounded up to whole units."""
    match = SIZE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"wants a number with + or - before and one of c k M G after it, not '{text}'")
    sign, wanted, unit = match[1], int(match[2]), UNITS[match[3]]
    if sign == "+":
        return lambda size: -(-size // unit) > wanted
    if sign == "-":
        return lambda size: -(-size // unit) < wanted
    return lambda size: -(-size // unit) == wanted


def run_find(arguments: argparse.Namespace) -> int:
    with opened(arguments) as (image, report):
        path = image_path(arguments.path)
        with report.about(path):
            canonical, start = locate(image.root, path, follow=False)
            show = partial(_show, arguments, report)
            found = start.stat()
            if arguments.json:
                path = canonical
            show(path, canonical.rpartition(b"/")[2], start, found.mode)
            if found.is_directory and arguments.maxdepth > 0:
                _walk(start, path.rstrip(b"/") + b"/", arguments.maxdepth, report, show)
        return report.status


def _walk(start: Node, base: bytes, levels: int, report: Report, show: Callable[[bytes, bytes, Node, int], None]) -> None:
    def enter(found: Found) -> bool:
        return found.depth < levels

    for found in walk_tree(start, lambda path, error: report.failed(base + path, error), enter):
        show(base + found.path, found.entry.name, found.node, found.entry.type << 12)


def _show(arguments: argparse.Namespace, report: Report, path: bytes, name: bytes, node: Node, mode: int) -> None:
    """Print the file when it passes all tests; *mode* may be 0 when only `stat` knows the type."""
    if arguments.name and not fnmatch.fnmatchcase(name, os.fsencode(arguments.name)):
        return
    if arguments.iname and not fnmatch.fnmatchcase(name.lower(), os.fsencode(arguments.iname).lower()):
        return
    if arguments.types and mode and stat.S_IFMT(mode) not in arguments.types:
        return
    with report.about(path):
        found: Stat | None = None
        if arguments.json or arguments.size or (arguments.types and not mode):
            found = node.stat()
            if arguments.types and stat.S_IFMT(found.mode) not in arguments.types:
                return
            if arguments.size and not arguments.size(found.size):
                return
        if arguments.json and found is not None:
            printing.print_json(printing.record(path, node, found))
        else:
            print(printing.shown(path))
