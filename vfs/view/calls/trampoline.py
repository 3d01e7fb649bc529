"""A tiny program that executes another with more arguments in front of its own.

The argument list of a traced process cannot be changed before it executes a script; so it executes this, with the list as it
is, and this then the interpreter. ELF: System V ABI, "ELF Header", "Program Header"; one segment, readable, writable, executable.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from vfs.api import fail
from vfs.view.kernel.machine import current

BASE = 0x400000
HEADERS = 64 + 56
CODE = {
    "x86_64": (
        # rsi = argv, rdx = envp
        "488b0c24"  # mov rcx, [rsp]
        "488d742408"  # lea rsi, [rsp + 8]
        "488d54ce08"  # lea rdx, [rsi + rcx * 8 + 8]
        # all arguments but the first, or with it, and the zero behind them
        "4883c6{skip}"  # add rsi, 8, or 0
        "48bf{rest}"  # mov rdi, rest
        "488b06"  # 1: mov rax, [rsi]
        "488907"  # mov [rdi], rax
        "4883c608"  # add rsi, 8
        "4883c708"  # add rdi, 8
        "4885c0"  # test rax, rax
        "75ed"  # jnz 1
        # execve(path, list, envp)
        "48be{list}"  # mov rsi, list
        "48bf{path}"  # mov rdi, path
        "b83b0000000f05"  # mov eax, 59; syscall
        # exit_group(126)
        "bf7e000000"  # mov edi, 126
        "b8e70000000f05"  # mov eax, 231; syscall
    )
}
ROOM = 256
"""Bytes behind the path, since it may be changed for a longer one (`traced`)."""


def trampoline(path: bytes, words: Sequence[bytes], count: int) -> bytes:
    """An ELF file that executes *path* with *words* in place of the first of its *count* arguments; without *words*, with all its
    own. EPERM: not on arm64."""
    code = CODE.get(current().name)
    if code is None:
        fail(errno.EPERM)
    strings = BASE + HEADERS + len(code.format(rest="0" * 16, list="0" * 16, path="0" * 16, skip="00")) // 2
    addresses, text = [], b""
    for word in (path + bytes(ROOM), *words):
        addresses.append(strings + len(text))
        text += word + b"\0"
    text += bytes(-(strings + len(text)) % 8)
    table = strings + len(text)
    rest = table + 8 * len(words)
    places = {"rest": rest, "list": table, "path": addresses[0]}
    numbers = {name: struct.pack("<Q", at).hex() for name, at in places.items()}
    body = bytes.fromhex(code.format(**numbers, skip="08" if words else "00"))
    body += text + struct.pack(f"<{len(words)}Q", *addresses[1:])
    size = HEADERS + len(body)
    machine = {"x86_64": 62}[current().name]
    header = struct.pack(
        "<4s5B7xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 0, 0, 2, machine, 1, BASE + HEADERS, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, BASE, BASE, size, size + 8 * (count + 1), 4096)
    return header + segment + body
