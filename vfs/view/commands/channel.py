"""The commands' end of the control channel (vfs/view/control.py), and what they all do in the same way.

These run often and briefly (in prompts, in scripts): nothing is imported that they need not have.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from vfs.view.protocol import LARGEST, MAGIC


class Outside(OSError):
    """This is no view."""


class Usage(Exception):
    """A command line that means nothing; the text says why."""


def ask(request: str, **arguments: object) -> dict[str, Any]:
    """The supervisor's reply. `Outside`; OSError with a sentence."""
    text = json.dumps({"ask": request, **arguments}).encode()
    reply = ctypes.create_string_buffer(LARGEST)
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong]
    size = prctl(MAGIC, text, len(text), ctypes.addressof(reply), LARGEST)
    if size < 0:
        number = ctypes.get_errno()
        if number == errno.EINVAL:
            raise Outside(number, "this is not a view (see umview)")
        raise OSError(number, os.strerror(number))
    found: dict[str, Any] = json.loads(reply.raw[:size])
    if "error" in found:
        raise OSError(found["errno"], found["error"])
    return found


def run(name: str, usage: str, command: Callable[[list[str]], int | None], arguments: Sequence[str] | None) -> int:
    """Run a command; its exit status. One line on standard error where it fails: 1; where its line means nothing: 2."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if "--help" in words[:1] or "-h" in words[:1]:
            print(usage.rstrip())
            return 0
        status = command(words) or 0
        sys.stdout.flush()
        return status
    except Usage as error:
        print(f"{name}: {error}\n{usage.splitlines()[0]}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as error:
        print(f"{name}: {error.strerror or error}", file=sys.stderr)
        return 1


def flags(words: list[str], short: dict[str, str], long: dict[str, str]) -> tuple[set[str], list[str]]:
    """Options without values, by letter and by name, to what they mean; and the other words. `Usage`."""
    found: set[str] = set()
    rest: list[str] = []
    for at, word in enumerate(words):
        if word == "--":
            return found, rest + words[at + 1 :]
        if word.startswith("--"):
            if word[2:] not in long:
                raise Usage(f"unknown option '{word}'")
            found.add(long[word[2:]])
        elif word.startswith("-") and word != "-":
            for letter in word[1:]:
                if letter not in short:
                    raise Usage(f"unknown option '-{letter}'")
                found.add(short[letter])
        else:
            rest.append(word)
    return found, rest
