"""The command `umview`: run a command in a view of its own."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vfs.api.errors import fail, message

if TYPE_CHECKING:
    from vfs.view.files import OpenFiles

EXAMPLES = """\
examples:
  umview                                       a shell whose mounts only it sees
  umview bash -c 'mount -t umfuseext2 -o ro disk.img /mnt && ls -l /mnt'

Inside, mount(8) and umount(8) work as usual with the types that `vfs modules` lists, without privilege. The exit status is the
command's, or 128+n when signal n ended it. umview waits for background processes of the view as well.
"""

SYSTEM_RC = "/etc/viewosrc"
USER_RC = "~/.viewosrc"

WITH_RC = """
files=$1; shift
while [ "$files" -gt 0 ]; do
    if [ -x "$1" ]; then "$1" </dev/null; else /bin/sh "$1" </dev/null; fi
    shift; files=$((files - 1))
done
exec "$@"
"""
"""What runs the files that come first, and then is COMMAND."""


def cache_size(text: str) -> int:
    from vfs.api.options import size

    try:
        return size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="umview",
        description="Run COMMAND (default: your shell) in a view: what is mounted in it, only it and its children see.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument(
        "-p",
        "--preload",
        metavar="SERVICE[,ARGUMENTS]",
        action="append",
        default=[],
        help="load a service, as um_add_service does (repeatable)",
    )
    p.add_argument("-s", "--secure", action="store_true", help="human mode: COMMAND begins as virtual root, permissions count")
    p.add_argument("-V", "--viewname", metavar="NAME", default="", help="the view's name, as viewname shows it")
    p.add_argument(
        "-f", "--rc", metavar="RC", help=f"run this file in the view before COMMAND, and {SYSTEM_RC} before it, not {USER_RC}"
    )
    p.add_argument("-u", action="store_true", help="nothing: the stock kernel is used in any case")
    p.add_argument(
        "--cache", metavar="SIZE", type=cache_size, help="bytes of files that nobody has open to keep in memory (256M)"
    )
    p.add_argument("--debug", action="store_true", help="log mounts, mistakes and calls that wait above 10 s to standard error")
    p.add_argument("command", metavar="COMMAND", nargs=argparse.REMAINDER, help="the command and its arguments")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] == "-c":
            from vfs.view.commands import login

            words = login.command_line(words) if login.is_login(sys.argv[0]) else words
        return start(parser().parse_args(words))
    except OSError as error:
        print(f"umview: {message(error)}", file=sys.stderr)
        return 1


def start(options: argparse.Namespace) -> int:
    command: list[str] = options.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        shell = os.environ.get("SHELL") or "/bin/sh"
        command = ["/bin/sh" if os.path.basename(shell) in ("umview", "kmview") else shell]
    inside = is_inside()
    files = rc_files(options.rc, inside)
    if files:
        command = ["/bin/sh", "-c", WITH_RC, "umview", str(len(files)), *files, *command]
    if inside:
        if options.cache is not None:
            fail(errno.EINVAL, "--cache: views inside another share its cache")
        from vfs.view.commands import nested

        nested.run(command, {"services": options.preload, "name": options.viewname, "human": options.secure})
    from vfs.view.files import OpenFiles

    return run(
        command,
        options.debug,
        OpenFiles() if options.cache is None else OpenFiles(cache_bytes=options.cache),
        services=options.preload,
        name=options.viewname,
        human=options.secure,
    )


def is_inside() -> bool:
    """Whether this is a view already."""
    from vfs.view.commands.channel import Outside, ask

    try:
        ask("view")
    except Outside:
        return False
    return True


def rc_files(chosen: str | None, inside: bool) -> list[str]:
    """What is to be run before COMMAND. A view inside another begins with what is there, so it runs only what was *chosen*."""
    if chosen is not None:
        with open(chosen, "rb"):  # what cannot be read, is told before anything is done
            pass
    usual = [] if inside else [SYSTEM_RC] if chosen is not None else [SYSTEM_RC, os.path.expanduser(USER_RC)]
    found = [path for path in usual if os.path.isfile(path)]
    return found if chosen is None else [*found, os.path.abspath(chosen)]


def run(command: list[str], debug: bool = False, files: OpenFiles | None = None, **begin: Any) -> int:
    """Run *command* in a new view; its exit status, 128+n when signal n ended it. *files*: with other limits than usual. *begin*:
    see `Supervisor.begin`. OSError: no view can be had here."""
    from vfs.view.contexts import forget_inherited
    from vfs.view.files import OpenFiles
    from vfs.view.kernel import start
    from vfs.view.kernel.processes import descendants
    from vfs.view.supervisor import Supervisor

    supervisor = Supervisor(files or OpenFiles(), debug)
    try:
        supervisor.begin(**begin)
        tree = start.launch(supervisor.table.filter, command, prepare=forget_inherited, cleanup=supervisor.files.scratch.close)
        supervisor.pids = lambda: descendants(tree.guardian)
        supervisor.serve(tree.listener)
        return tree.wait()
    except start.CannotStart as error:
        raise OSError(errno.ENOSYS, str(error)) from None
    finally:
        supervisor.close()


if __name__ == "__main__":
    sys.exit(main())
