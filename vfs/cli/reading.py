"""`vfs cat`."""

from __future__ import annotations

import argparse
import os
import sys

from vfs.cli.opening import Run, image_arguments, image_path, opened
from vfs.cli.transfer import to_stream


def cat(parser: argparse.ArgumentParser) -> Run:
    image_arguments(parser, "  vfs cat disk.img /etc/hostname\n  vfs cat disk.img /var/log/syslog | less\n")
    parser.add_argument("paths", metavar="PATH", nargs="+", help="the files")
    return run_cat


def run_cat(arguments: argparse.Namespace) -> int:
    sys.stdout.flush()
    out = sys.stdout.fileno()
    with opened(arguments) as (image, report):
        for given in arguments.paths:
            path = image_path(given)
            with report.about(path), image.resolve(path).open(os.O_RDONLY) as handle:
                to_stream(handle, handle.size(), out)
        return report.status
