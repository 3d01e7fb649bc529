"""`vfs ls` and `vfs tree`."""

from __future__ import annotations

import argparse
import stat
from collections.abc import Iterator
from typing import NamedTuple

from vfs.api.errors import damaged, message
from vfs.api.node import Entry, Node, Stat
from vfs.api.walk import MAX_DEPTH, locate
from vfs.cli import printing
from vfs.cli.opening import Report, Run, image_arguments, image_path, json_argument, opened
from vfs.cli.printing import shown


class Row(NamedTuple):
    """One file about to be printed. *node* and *found* are `None` where the entry is enough; its type is then known."""

    path: bytes
    entry: Entry
    node: Node | None = None
    found: Stat | None = None

    def is_type(self, mode: int) -> bool:
        """Whether the file's type is *mode*, one of S_IFDIR, S_IFLNK, …"""
        return self.entry.type == mode >> 12


class Directories:
    """Reads directories sorted by name, and keeps a walk through them from running in circles."""

    def __init__(self, report: Report, hidden: bool, attributes: bool) -> None:
        self.report, self.hidden, self.attributes = report, hidden, attributes
        self.seen: set[tuple[int, int]] = set()

    def rows(self, path: bytes, directory: Node) -> list[Row]:
        """The files in one directory. What cannot be read is reported and left out."""
        entries: list[Entry] = []
        with self.report.about(path):
            for entry in directory.entries():  # what was read before an error is shown
                entries.append(entry)
        entries.sort(key=lambda entry: entry.name)
        base = path.rstrip(b"/")
        rows = []
        for entry in entries:
            if entry.name.startswith(b".") and not self.hidden:
                continue
            where = base + b"/" + entry.name
            row = Row(where, entry)
            if self.attributes or not entry.type:
                with self.report.about(where):
                    node = directory.child(entry)
                    found = node.stat()
                    row = Row(where, entry._replace(type=stat.S_IFMT(found.mode) >> 12), node, found)
            rows.append(row)
        return rows

    def below(self, row: Row, directory: Node, depth: int) -> Node | None:
        """The node of the directory *row* in *directory*, when it can be entered; `None` for everything else."""
        if not row.is_type(stat.S_IFDIR):
            return None
        with self.report.about(row.path):
            node = row.node or directory.child(row.entry)
            if node.identity in self.seen:
                raise damaged(f"directory inode {node.ino} has two names or contains itself")
            if depth >= MAX_DEPTH:
                raise damaged(f"directories nest deeper than {MAX_DEPTH}")
            self.seen.add(node.identity)
            return node
        return None


# ------------------------------------------------------------------------------------------------------------------ ls


def ls(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs ls disk.img\n"
        "  vfs ls -l disk.img /etc /var\n"
        "  vfs ls -R --json disk.img | jq -r 'select(.type == \"file\") | .path'\n"
        "  vfs ls 'backup.img!/images/disk.img' /\n",
    )
    parser.add_argument("paths", metavar="PATH", nargs="*", default=None, help="what to list (default: /)")
    parser.add_argument("-l", "--long", action="store_true", help="with type, mode, links, owners, size and time")
    parser.add_argument("-a", "--all", action="store_true", help="names that begin with a dot too")
    parser.add_argument("-d", "--directory", action="store_true", help="directories themselves, not what is in them")
    parser.add_argument("-R", "--recursive", action="store_true", help="everything below, too")
    json_argument(parser)
    return run_ls


def run_ls(arguments: argparse.Namespace) -> int:
    with opened(arguments) as (image, report):
        printer = _Printer(arguments, report)
        hidden = arguments.all or arguments.json
        directories = Directories(report, hidden, arguments.long or arguments.json)
        named: list[Row] = []
        starts: list[tuple[bytes, Node]] = []
        for given in arguments.paths or ["/"]:
            path = image_path(given)
            with report.about(path):
                follow = path.endswith(b"/") or not (arguments.long or arguments.directory)
                canonical, node = locate(image.root, path, follow)
                found = node.stat()
                if found.is_directory and not arguments.directory:
                    starts.append((canonical if arguments.json else path, node))
                else:
                    entry = Entry(path, node.ino, stat.S_IFMT(found.mode) >> 12, 0)
                    named.append(Row(canonical, entry, node, found))
        printer.rows(named)
        printer.titles = len(starts) + len(named) > 1 or arguments.recursive
        for path, node in starts:
            directories.seen = {node.identity}
            _list(printer, directories, path, node, arguments.recursive)
        return report.status


def _list(printer: _Printer, directories: Directories, path: bytes, node: Node, recursive: bool) -> None:
    todo = [(path, node, 1)]
    while todo:
        path, node, depth = todo.pop()
        rows = directories.rows(path, node)
        printer.title(path)
        printer.rows(rows)
        if recursive:
            below = [(row.path, directories.below(row, node, depth)) for row in rows]
            todo += [(path, node, depth + 1) for path, node in reversed(below) if node is not None]


class _Printer:
    """Rows as the arguments want them: names, long lines or JSON."""

    def __init__(self, arguments: argparse.Namespace, report: Report) -> None:
        self.long, self.json, self.report = arguments.long, arguments.json, report
        self.titles = False
        self.printed = False

    def title(self, path: bytes) -> None:
        if self.titles and not self.json:
            print(f"{chr(10) if self.printed else ''}{shown(path)}:")
        self.printed = True

    def rows(self, rows: list[Row]) -> None:
        self.printed = self.printed or bool(rows)
        if self.json:
            for row in rows:
                with self.report.about(row.path):
                    if row.node is not None and row.found is not None:
                        printing.print_json(printing.record(row.path, row.node, row.found))
        elif self.long:
            self._long(rows)
        else:
            for row in rows:
                print(shown(row.entry.name))

    def _long(self, rows: list[Row]) -> None:
        table = [(row, _columns(row)) for row in rows]
        widths = [max(map(len, column)) for column in zip(*(columns for _, columns in table))]
        for row, columns in table:
            line = " ".join(text.rjust(width) for text, width in zip(columns, widths))
            print(f"{line} {shown(row.entry.name)}{_arrow(row, self.report)}")


def _columns(row: Row) -> tuple[str, ...]:
    found = row.found
    if found is None:  # reported already; the name is all that is known
        return ("??????????", "?", "?", "?", "?", "?")
    size = printing.device(found.rdev) if stat.S_ISCHR(found.mode) or stat.S_ISBLK(found.mode) else str(found.size)
    return (
        stat.filemode(found.mode),
        str(found.nlink),
        str(found.uid),
        str(found.gid),
        size,
        printing.minutes(found.mtime),
    )


def _arrow(row: Row, report: Report) -> str:
    if row.node is None or not row.is_type(stat.S_IFLNK):
        return ""
    with report.about(row.path):
        return f" -> {shown(row.node.readlink())}"
    return " -> ?"


# ---------------------------------------------------------------------------------------------------------------- tree


def tree(parser: argparse.ArgumentParser) -> Run:
    image_arguments(parser, "  vfs tree disk.img\n  vfs tree -L 2 disk.img /usr\n")
    parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="where to start (default: /)")
    parser.add_argument("-a", "--all", action="store_true", help="names that begin with a dot too")
    parser.add_argument("-L", "--levels", metavar="N", type=int, default=MAX_DEPTH, help="this many levels only")
    return run_tree


def run_tree(arguments: argparse.Namespace) -> int:
    with opened(arguments) as (image, report):
        path = image_path(arguments.path)
        counts = {True: 0, False: 0}
        with report.about(path):
            node = locate(image.root, path)[1]
            print(shown(path))
            if not node.stat().is_directory:
                return report.status
            directories = Directories(report, arguments.all, attributes=False)
            for line, row in _branches(directories, path, node, arguments.levels):
                counts[row.is_type(stat.S_IFDIR)] += 1
                print(line)
            print(f"\n{_count(counts[True], 'directory', 'directories')}, {_count(counts[False], 'file', 'files')}")
        return report.status


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _branches(directories: Directories, path: bytes, start: Node, levels: int) -> Iterator[tuple[str, Row]]:
    """The lines of the drawing below *start*, each with its file."""
    directories.seen = {start.identity}
    stack = [(start, iter(directories.rows(path, start)), "")]
    # Whether a row is the last of its directory decides how it is drawn: one row is held back on each level.
    held = [next(stack[0][1], None)]
    while stack:
        directory, rows, prefix = stack[-1]
        row = held[-1]
        if row is None:
            stack.pop()
            held.pop()
            continue
        held[-1] = next(rows, None)
        last = held[-1] is None
        yield f"{prefix}{'└── ' if last else '├── '}{shown(row.entry.name)}{_target(directory, row)}", row
        if len(stack) >= levels:
            continue
        node = directories.below(row, directory, len(stack))
        if node is not None:
            below = iter(directories.rows(row.path, node))
            stack.append((node, below, prefix + ("    " if last else "│   ")))
            held.append(next(below, None))


def _target(directory: Node, row: Row) -> str:
    if not row.is_type(stat.S_IFLNK):
        return ""
    try:
        return f" -> {shown((row.node or directory.child(row.entry)).readlink())}"
    except OSError as error:
        return f" -> ? ({shown(message(error))})"
