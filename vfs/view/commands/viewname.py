"""viewname and vuname: what the view is called."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from vfs.view.commands.channel import Outside, Usage, ask, flags, run

SYSTEM = "GNU/Linux/View-OS"


def main(arguments: Sequence[str] | None = None) -> int:
    usage = """usage: viewname [-p] [-q] [NAME]

Print the name of this view, or give it one.
  -p, --prompt   for prompts: a view without a name shows as HOST[SERVER:VIEW]
  -q, --quiet    say nothing when this is no view
"""
    quiet = False

    def command(words: list[str]) -> None:
        nonlocal quiet
        options, names = flags(words, {"p": "prompt", "q": "quiet"}, {"prompt": "prompt", "quiet": "quiet"})
        quiet = "quiet" in options
        if len(names) > 1:
            raise Usage("a view has one name")
        try:
            if names:
                ask("name", name=names[0])
                return
            this = ask("view")
        except Outside:
            if quiet:
                raise SystemExit(1) from None
            raise
        if this["name"] or "prompt" not in options:
            print(this["name"])
        else:
            print(f"{this['host']}[{this['server']}:{this['view']}]")

    return run("viewname", usage, command, arguments)


SHORT = {
    "a": "all",
    "s": "kernel-name",
    "n": "nodename",
    "r": "kernel-release",
    "v": "kernel-version",
    "m": "machine",
    "p": "processor",
    "i": "hardware-platform",
    "o": "operating-system",
    "U": "serverid",
    "V": "viewid",
    "N": "viewname",
}


def vuname(arguments: Sequence[str] | None = None) -> int:
    usage = """usage: vuname [OPTION]...

As uname(1), in a view. Its options (-a -s -n -r -v -m -p -i -o), and:
  -U, --serverid   the process that serves the view
  -V, --viewid     the number of the view: 0 is the outermost
  -N, --viewname   its name
-a prints these as well, after the others.
"""

    def command(words: list[str]) -> None:
        wanted, rest = flags(words, SHORT, {name: name for name in SHORT.values()})
        if rest:
            raise Usage(f"unknown operand '{rest[0]}'")
        this = ask("view")
        everything = "all" in wanted
        if not wanted:
            wanted = {"kernel-name"}
        values = fields(this)
        printed = [value for name, value in values.items() if (everything and value != "unknown") or name in wanted]
        if everything and not this["name"]:
            printed = printed[:-1]
        print(*printed)

    return run("vuname", usage, command, arguments)


def fields(this: dict[str, Any]) -> dict[str, str]:
    """What may be printed, in its order."""
    found = os.uname()
    return {
        "kernel-name": found.sysname,
        "nodename": found.nodename,
        "kernel-release": found.release,
        "kernel-version": found.version,
        "machine": found.machine,
        "processor": "unknown",
        "hardware-platform": "unknown",
        "operating-system": SYSTEM,
        "serverid": str(this["server"]),
        "viewid": str(this["view"]),
        "viewname": this["name"],
    }
