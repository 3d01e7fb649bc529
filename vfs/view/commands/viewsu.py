"""viewsu: su(1) for a view: a shell as somebody else, by virtual credentials."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

from vfs.view.commands.channel import Usage, ask, run

USAGE = """usage: viewsu [-] [-c COMMAND] [-s SHELL] [-p] [USER [ARGUMENT]...]

Run a shell, in this view, as USER (root). Nobody is asked for a password: the host still knows who you are.
  -, -l, --login          as if USER had logged in: his directory and environment
  -c, --command COMMAND   have the shell run COMMAND
  -s, --shell SHELL       this one instead of USER's
  -p, -m, --preserve-environment
"""

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WITH_VALUE = {"-c": "command", "--command": "command", "-s": "shell", "--shell": "shell"}
WITHOUT = {
    "-": "login",
    "-l": "login",
    "--login": "login",
    "-p": "preserve",
    "-m": "preserve",
    "--preserve-environment": "preserve",
}


def parse(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options, and USER with the shell's arguments: options may follow USER, up to `--`."""
    options: dict[str, str] = {}
    rest: list[str] = []
    todo = list(words)
    while todo:
        word = todo.pop(0)
        if word == "--":
            rest += todo
            break
        name, equals, value = word.partition("=")
        if word in WITHOUT:
            options[WITHOUT[word]] = word
        elif word in WITH_VALUE:
            if not todo:
                raise Usage(f"{word} wants a value")
            options[WITH_VALUE[word]] = todo.pop(0)
        elif equals and name.startswith("--") and name in WITH_VALUE:
            options[WITH_VALUE[name]] = value
        elif word.startswith("-") and not word.startswith("--") and word[:2] in WITH_VALUE:
            options[WITH_VALUE[word[:2]]] = word[2:]
        elif word.startswith("-"):
            raise Usage(f"unknown option '{word}'")
        else:
            rest.append(word)
    return options, rest


def find(user: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(user)
    except KeyError:
        raise OSError(0, f"user {user} does not exist") from None


def environment(found: pwd.struct_passwd, shell: str, options: dict[str, str]) -> dict[str, str]:
    """As su(1) sets it."""
    path = ROOT_PATH if found.pw_uid == 0 else DEFAULT_PATH
    if "login" in options:
        kept = {name: os.environ[name] for name in ("TERM", "COLORTERM", "NO_COLOR") if name in os.environ}
        names = {"HOME": found.pw_dir, "SHELL": shell, "USER": found.pw_name, "LOGNAME": found.pw_name, "PATH": path}
        return kept | names
    new = dict(os.environ)
    if "preserve" not in options:
        new |= {"HOME": found.pw_dir, "SHELL": shell}
        if found.pw_uid != 0:
            new |= {"USER": found.pw_name, "LOGNAME": found.pw_name}
    return new


def become(options: dict[str, str], rest: list[str]) -> int:
    ask("view")  # outside a view, this is what is to be said
    found = find(rest[0] if rest else "root")
    shell = options.get("shell") or ("preserve" in options and os.environ.get("SHELL")) or found.pw_shell or "/bin/sh"
    ask("identity", uid=found.pw_uid, gid=found.pw_gid, groups=os.getgrouplist(found.pw_name, found.pw_gid))
    login = "login" in options
    if login:
        try:
            os.chdir(found.pw_dir)
        except OSError as error:
            print(f"viewsu: {found.pw_dir}: {error.strerror}", flush=True)
    name = os.path.basename(shell)
    command = ["-c", options["command"]] if "command" in options else []
    try:
        os.execve(shell, [f"-{name}" if login else name, *command, *rest[1:]], environment(found, shell, options))
    except OSError as error:
        raise OSError(error.errno, f"{shell}: {error.strerror}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    return run("viewsu", USAGE, lambda words: become(*parse(words)), arguments)
