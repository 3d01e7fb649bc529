"""The command `umview`: run a command in a view of its own."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vfs.api.errors import message

if TYPE_CHECKING:
    from vfs.view.files import OpenFiles

EXAMPLES = """\
examples:
  umview                                       a shell whose mounts only it sees
  umview bash -c 'mount -t umfuseext2 -o ro disk.img /mnt && ls -l /mnt'

Inside, mount(8) and umount(8) work as usual with the types that `vfs modules` lists, without privilege. The exit status is the
command's, or 128+n when signal n ended it. umview waits for background processes of the view as well.
"""


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="umview",
        description="Run COMMAND (default: your shell) in a view: what is mounted in it, only it and its children see.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--debug", action="store_true", help="log mounts, mistakes and calls that wait above 10 s to standard error")
    p.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command and its arguments")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    command: list[str] = options.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        command = [os.environ.get("SHELL") or "/bin/sh"]
    try:
        return run(command, options.debug)
    except OSError as error:
        print(f"umview: {message(error)}", file=sys.stderr)
        return 1


def run(command: list[str], debug: bool = False, files: OpenFiles | None = None) -> int:
    """Run *command* in a new view; its exit status, 128+n when signal n ended it. *files*: with other limits than usual. OSError:
    no view can be had here."""
    from vfs.view.files import OpenFiles
    from vfs.view.kernel import start
    from vfs.view.kernel.processes import descendants
    from vfs.view.supervisor import Supervisor

    supervisor = Supervisor(files or OpenFiles(), debug)
    try:
        tree = start.launch(supervisor.table.filter, command, cleanup=supervisor.close)
        supervisor.pids = lambda: descendants(tree.guardian)
        supervisor.serve(tree.listener)
        return tree.wait()
    except start.CannotStart as error:
        raise OSError(errno.ENOSYS, str(error)) from None
    finally:
        supervisor.close()


if __name__ == "__main__":
    sys.exit(main())
