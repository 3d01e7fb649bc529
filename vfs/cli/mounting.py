"""`vfs mount` and `vfs umount`."""

from __future__ import annotations

import argparse
import signal
import sys

from vfs.cli.opening import Run, partition_number
from vfs.cli.printing import complaint


def mount(parser: argparse.ArgumentParser) -> Run:
    parser.epilog = (
        "examples:\n"
        "  vfs mount disk.img /mnt\n"
        "  vfs mount -t ext2 -o ro,noxattr disk.img ~/disk\n"
        "  vfs mount --partition 2 disk.qcow2 /mnt\n"
        "  vfs umount ~/disk          (or fusermount3 -u ~/disk, or umount)\n"
    )
    parser.add_argument("source", metavar="SOURCE", help="the image; one inside another as OUTER!PATH")
    parser.add_argument("mountpoint", metavar="MOUNTPOINT", help="an existing directory")
    parser.add_argument("-t", "--type", metavar="TYPE", help="the format, when it should not be detected (see 'vfs modules')")
    parser.add_argument("-o", "--options", metavar="OPTIONS", action="append", default=[], help="mount options, with commas")
    parser.add_argument("--partition", metavar="N", type=partition_number, help="the partition with this number")
    parser.add_argument("-f", "--foreground", action="store_true", help="stay until the mount is ended")
    parser.add_argument("-d", "--debug", action="store_true", help="stay, and log each request")
    return run_mount


def run_mount(arguments: argparse.Namespace) -> int:
    # A file system must not die of a reader of its log that went away.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    from vfs.fuse import mounting

    return mounting.mount(
        arguments.source,
        arguments.mountpoint,
        arguments.type,
        ",".join(arguments.options),
        arguments.foreground or arguments.debug,
        arguments.debug,
        arguments.partition,
    )


def umount(parser: argparse.ArgumentParser) -> Run:
    parser.epilog = "examples:\n  vfs umount /mnt\n  vfs umount -l /mnt\n"
    parser.add_argument("mountpoints", metavar="MOUNTPOINT", nargs="+", help="where it is mounted")
    parser.add_argument("-l", "--lazy", action="store_true", help="detach now, end when nobody uses it any more")
    return run_umount


def run_umount(arguments: argparse.Namespace) -> int:
    from vfs.fuse import mounting

    status = 0
    for mountpoint in arguments.mountpoints:
        try:
            mounting.unmount(mountpoint, arguments.lazy)
        except OSError as error:
            print(complaint(error), file=sys.stderr)
            status = 1
    return status
