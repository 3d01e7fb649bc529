"""um_add_service, um_ls_service, um_del_service, um_fsalias."""

from __future__ import annotations

from collections.abc import Sequence

from vfs.view.commands.channel import Usage, ask, flags, run


def add(arguments: Sequence[str] | None = None) -> int:
    usage = """usage: um_add_service [-p] NAME[,ARGUMENTS]

Load a service of the view: a group of modules (umfuse, umdev, ummisc) or one module, with options for all its mounts.
  -p, --permanent   it cannot be removed
"""

    def command(words: list[str]) -> None:
        options, names = flags(words, {"p": "permanent"}, {"permanent": "permanent"})
        if len(names) != 1:
            raise Usage("one service is to be named")
        ask("add", service=names[0], permanent="permanent" in options)

    return run("um_add_service", usage, command, arguments)


def ls(arguments: Sequence[str] | None = None) -> int:
    usage = """usage: um_ls_service

List the services that the view has loaded, a line each: NAME: DESCRIPTION
"""

    def command(words: list[str]) -> None:
        if flags(words, {}, {})[1]:
            raise Usage("no arguments are known")
        for name, description in ask("services")["services"]:
            print(f"{name}: {description}")

    return run("um_ls_service", usage, command, arguments)


def remove(arguments: Sequence[str] | None = None) -> int:
    usage = """usage: um_del_service NAME

Remove a service from the view, as um_ls_service names it. Its types cannot be mounted any more until it is added again.
"""

    def command(words: list[str]) -> None:
        names = flags(words, {}, {})[1]
        if len(names) != 1:
            raise Usage("one service is to be named")
        ask("remove", service=names[0])

    return run("um_del_service", usage, command, arguments)


def alias(arguments: Sequence[str] | None = None) -> int:
    usage = """usage: um_fsalias ALIAS TYPE

From now on `mount -t ALIAS` in this view means `mount -t TYPE`.
"""

    def command(words: list[str]) -> None:
        names = flags(words, {}, {})[1]
        if len(names) != 2:
            raise Usage("an alias and a type are to be named")
        ask("alias", alias=names[0], type=names[1])

    return run("um_fsalias", usage, command, arguments)
