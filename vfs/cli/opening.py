"""What every inspecting command has: the arguments that name an image, the opened image, and the report of what failed."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vfs.api.errors import message
from vfs.api.stack import Image, open_image
from vfs.cli.printing import complaint, shown

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Where there is no room for one file there will be none for the next."""

Run = Callable[[argparse.Namespace], int]
"""What a command's function returns: it runs the command and gives its exit code."""


def image_arguments(parser: argparse.ArgumentParser, examples: str) -> None:
    """Declare IMAGE and the options that say how it is opened; *examples* end the help."""
    parser.add_argument("image", metavar="IMAGE", help="the image; one inside another as OUTER!PATH")
    parser.add_argument("-t", "--type", metavar="TYPE", help="the format, when it should not be detected (see 'vfs modules')")
    parser.add_argument("-o", "--options", metavar="OPTIONS", default="", help="the module's options, separated by commas")
    parser.add_argument("--partition", metavar="N", type=partition_number, help="the partition with this number")
    parser.epilog = "examples:\n" + examples


def json_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")


def partition_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is not the number of a partition: 1, 2, …")
    return int(text)


def image_path(given: str) -> bytes:
    """A path of the command line, from the root of the image."""
    return b"/" + os.fsencode(given).lstrip(b"/")


class Report:
    """Tells of each failure on standard error, one line, as it happens; *status* is then the exit code. What is left out
    without being a failure is counted, and told at the end."""

    def __init__(self, image: str) -> None:
        self.image = image
        self.status = 0
        self.lost: Counter[str] = Counter()
        self.before: Callable[[], None] = lambda: None
        """Called before a line is printed: takes a line of progress away."""

    def failed(self, path: bytes, error: OSError) -> None:
        self.status = 1
        # Images have no file names in their errors: that one comes from a call of this host.
        where = "" if error.filename is None else " (in the destination)"
        self._say(f"{shown(path)}: {shown(message(error))}{where}")

    def broken(self, error: OSError) -> None:
        """A layer could not be opened."""
        self.status = 1
        self.before()
        sys.stdout.flush()
        print(complaint(error), file=sys.stderr)

    def lose(self, what: str) -> None:
        """One more of *what* is left out."""
        self.lost[what] += 1

    def tell_losses(self) -> None:
        for what, count in self.lost.items():
            self._say(f"warning: {what}: {count}")

    def _say(self, sentence: str) -> None:
        self.before()
        sys.stdout.flush()
        print(f"vfs: {shown(self.image)}: {sentence}", file=sys.stderr)

    @contextmanager
    def about(self, path: bytes) -> Iterator[None]:
        """A failure in the block is a failure of *path*; the command goes on after it, unless there is no room any more."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise
            self.failed(path, error)


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[tuple[Image, Report]]:
    """The image that the arguments name, open for reading, and its report."""
    with open_image(arguments.image, arguments.type, arguments.options, partition=arguments.partition) as image:
        report = Report(arguments.image)
        yield image, report
        report.tell_losses()
