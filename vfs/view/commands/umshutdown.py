"""umshutdown: end all processes of the view."""

from __future__ import annotations

from collections.abc import Sequence

from vfs.view.commands.channel import Usage, ask, flags, run

USAGE = """usage: umshutdown [SECONDS]

Send TERM to all processes of this view, wait 30 or SECONDS seconds, and send KILL to those that are left.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    def command(words: list[str]) -> None:
        rest = flags(words, {}, {})[1]
        if len(rest) > 1:
            raise Usage("more than one number of seconds")
        try:
            seconds = float(rest[0]) if rest else 30.0
        except ValueError:
            raise Usage(f"'{rest[0]}' is no number of seconds") from None
        if not 0 <= seconds < 1e9:
            raise Usage(f"'{rest[0]}' is no number of seconds")
        ask("shutdown", seconds=seconds)

    return run("umshutdown", USAGE, command, arguments)
