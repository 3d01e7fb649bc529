"""`vfs cp` and `vfs extract`."""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vfs.api.node import Node
from vfs.api.stack import Image
from vfs.api.walk import locate
from vfs.cli.hosttree import DIRECTORY, HostTree
from vfs.cli.opening import FULL, Report, Run, image_arguments, image_path, opened
from vfs.cli.progress import Progress

# ------------------------------------------------------------------------------------------------------------------ cp


def cp(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs cp disk.img /etc/hostname .\n"
        "  vfs cp disk.img /boot/vmlinuz kernel\n"
        "  vfs cp -a disk.img /home/ann /home/bob backup/\n",
    )
    parser.add_argument("paths", metavar="PATH", nargs="+", help="what to copy")
    parser.add_argument("destination", metavar="DEST", help="a directory to copy into, or the copy's name")
    parser.add_argument("-r", "-R", "--recursive", action="store_true", help="directories with all that is in them")
    parser.add_argument(
        "-a", "--archive", action="store_true", help="the same, keeping links, modes, times, attributes and (as root) owners"
    )
    return run_cp


def run_cp(arguments: argparse.Namespace) -> int:
    destination = os.fsencode(arguments.destination)
    into = os.path.isdir(destination)
    if not into:
        if len(arguments.paths) > 1 or destination.endswith(b"/"):
            raise OSError(errno.ENOTDIR, "is not a directory", destination)
        _check_replaceable(destination)
    with opened(arguments) as (image, report):
        top = destination if into else os.path.dirname(destination) or b"."
        with _host_tree(top, arguments.archive, report) as tree:
            for given in arguments.paths:
                path = image_path(given)
                with report.about(path):
                    source, node = _find(image, path, arguments)
                    name = os.path.basename(source) if into else os.path.basename(destination)
                    if name:
                        tree.copy(source, node, name)
                    else:  # the root has no name to give: its content comes into the directory
                        tree.fill(source, node, finish=False)
        return report.status


def _find(image: Image, path: bytes, arguments: argparse.Namespace) -> tuple[bytes, Node]:
    """The node to copy: of a link itself when links are kept as they are. EISDIR: a directory without -r."""
    whole = arguments.recursive or arguments.archive
    source, node = locate(image.root, path, follow=not whole)
    if node.stat().is_directory and not whole:
        raise OSError(errno.EISDIR, "is a directory (-r copies it)")
    return source, node


def _check_replaceable(destination: bytes) -> None:
    """A file or link may be replaced by a copy, a device or fifo not: `vfs cp disk.img /x /dev/null`, as root."""
    try:
        mode = os.lstat(destination).st_mode
    except FileNotFoundError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise OSError(errno.EEXIST, "exists and is not a regular file", destination)


# ------------------------------------------------------------------------------------------------------------- extract


def extract(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs extract disk.img tree/               everything, into the directory tree\n"
        "  vfs extract disk.img /etc etc.tar        as a tar archive\n"
        "  vfs extract --tar disk.img - | zstd > disk.tar.zst\n",
    )
    parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="what to take out (default: /)")
    parser.add_argument("destination", metavar="DEST", help="a directory, made if it is not there; X.tar or - for an archive")
    parser.add_argument("--tar", action="store_true", help="write a tar archive, whatever the name of DEST")
    return run_extract


def run_extract(arguments: argparse.Namespace) -> int:
    from vfs.cli.tarstream import TarStream

    destination = os.fsencode(arguments.destination)
    with opened(arguments) as (image, report):
        path = image_path(arguments.path)
        with report.about(path):
            source, node = locate(image.root, path)
            directory = node.stat().is_directory
        if report.status:
            return report.status
        if arguments.tar or destination == b"-" or destination.endswith(b".tar"):
            with _filling(destination), Progress() as progress, _tar_output(destination) as out:
                report.before = progress.clear
                tar = TarStream(out, report, progress)
                tar.add(source, node, b"." if directory else os.path.basename(source))
                tar.finish()
        else:
            new = not os.path.isdir(destination)
            if new:
                os.mkdir(destination)
            with _host_tree(destination, True, report) as tree:
                if directory:
                    tree.fill(source, node, finish=new)
                else:
                    tree.copy(source, node, os.path.basename(source))
        return report.status


@contextmanager
def _filling(destination: bytes) -> Iterator[None]:
    """When there is no room left, that is said of *destination*."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise OSError(error.errno, error.strerror, destination) from error
        raise


@contextmanager
def _host_tree(top: bytes, keep: bool, report: Report) -> Iterator[HostTree]:
    with _filling(top), Progress() as progress, HostTree(os.open(top, DIRECTORY), keep, report, progress) as tree:
        report.before = progress.clear
        yield tree


@contextmanager
def _tar_output(destination: bytes) -> Iterator[int]:
    """The descriptor to write an archive to. A file gets its name when it is complete."""
    if destination == b"-":
        sys.stdout.flush()
        if os.isatty(1):
            raise OSError(errno.EINVAL, "an archive is not written to a terminal", "standard output")
        yield 1
        return
    if os.path.exists(destination) and not os.path.isfile(destination):  # a tape, a fifo
        out = os.open(destination, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield out
        finally:
            os.close(out)
        return
    temporary = b"%s.%d.tmp" % (destination, os.getpid())
    try:
        out = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, destination) from error
    try:
        try:
            yield out
        finally:
            os.close(out)
        os.rename(temporary, destination)
    except BaseException:
        os.unlink(temporary)
        raise
