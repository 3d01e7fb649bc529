"""`vfs COMMAND …`: finds the command, parses, runs it, and turns whatever happens into one line and an exit code.

Exit codes: 0 done, 1 the named thing failed, 2 usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from vfs.cli.printing import complaint, shown

if TYPE_CHECKING:
    from vfs.cli.opening import Run


class Command(NamedTuple):
    """Where a command is: the file in this package that has a function of the command's name."""

    file: str
    summary: str


COMMANDS = {
    "ls": Command("listing", "list directories"),
    "tree": Command("listing", "draw a directory tree"),
    "cat": Command("reading", "write files to standard output"),
    "stat": Command("describing", "show everything about a file"),
    "cp": Command("copying", "copy files and directories out of an image"),
    "extract": Command("copying", "take a whole tree out, into a directory or a tar archive"),
    "find": Command("finding", "search a tree"),
    "df": Command("describing", "show how full a file system is"),
    "info": Command("disks", "show the layers of an image"),
    "partitions": Command("disks", "list the partitions of a disk"),
    "read": Command("disks", "write the bytes of a disk or partition to standard output"),
    "convert": Command("converting", "make an image of another format"),
    "create": Command("converting", "make an empty image"),
    "check": Command("checking", "look for what is wrong in an image"),
    "mount": Command("mounting", "mount an image through the kernel"),
    "umount": Command("mounting", "end a mount"),
    "modules": Command("describing", "list the modules and their options"),
}


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of a fixed width: asking for the terminal's costs an import in each start."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=90, max_help_position=28)


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {shown(message)} (see '{self.prog} --help')\n")


def main(arguments: list[str] | None = None) -> int:
    """The entry point of the command `vfs`; *arguments* as in `sys.argv[1:]`."""
    # A reader that has seen enough (`vfs ls … | head`) ends us silently, as it ends every other program.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _prepare_streams()
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()  # while its failure can still be told
        return status
    except KeyboardInterrupt:
        return _complain("vfs: interrupted", 130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename is None:
            # What is still buffered would be tried, and fail, once more when Python ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            error.filename = "standard output"
        return _complain(complaint(error), 1)
    except Exception as error:
        # A mistake of ours, perhaps brought out by a damaged image. A person gets one line, whoever looks for it the traceback.
        if os.environ.get("VFS_TRACEBACK"):
            raise
        what = shown(f"{type(error).__name__}: {error}")
        return _complain(f"vfs: internal error: {what} (set VFS_TRACEBACK=1 to see where)", 1)


def _run(arguments: list[str]) -> int:
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help", "help") and len(arguments) < 2:
        print(_usage())
        return 0
    if name == "--version":
        from importlib.metadata import version

        print(f"vfs {version('vfs')}")
        return 0
    if name == "help":
        name, arguments = arguments[1], [arguments[1], "--help"]
    if name not in COMMANDS:
        what = f"unknown command '{shown(name)}'" if name else "no command given"
        return _complain(f"vfs: {what} (see 'vfs --help')", 2)
    file, summary = COMMANDS[name]
    parser = Parser(
        f"vfs {name}", description=summary[0].upper() + summary[1:] + ".", formatter_class=Formatter, conflict_handler="resolve"
    )
    describe = getattr(importlib.import_module(f"vfs.cli.{file}"), name)
    run: Run = describe(parser)
    return run(parser.parse_intermixed_args(arguments[1:]))


def _usage() -> str:
    lines = ["usage: vfs COMMAND [OPTION…] …", "       vfs COMMAND --help", ""]
    lines += [f"  {name:10} {command.summary}" for name, command in COMMANDS.items()]
    lines += ["", "Images are named by a path; an image inside an image as OUTER!PATH. Formats are detected.", ""]
    lines += ["  vfs ls -l disk.img /etc", "  vfs cat disk.img /etc/hostname", "  vfs ls disk.qcow2 /p1/home"]
    lines += ["  vfs ls backup.img!/images/disk.img", "  vfs convert disk.vmdk disk.qcow2"]
    return "\n".join(lines)


def _prepare_streams() -> None:
    """Make what is printed safe from the locale, and the standard streams from being closed (`vfs ls … >&-`)."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, open(number, "w"))  # noqa: SIM115
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _complain(line: str, status: int) -> int:
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    print(line, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
