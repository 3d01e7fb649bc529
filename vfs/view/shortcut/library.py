"""A copy of the C library whose calls with names go through the page (page.c), and how the dynamic loader is told from others.

Only the five bytes before `syscall` change, `mov $number, %eax`: they become a jump behind the end of the library, where a
segment is added (in place of a note that nobody reads at run time). All addresses stay what they were; who jumps to the
`syscall` itself finds it. What does not look as expected is left alone, and then costs what it always did.

Calls before which the library turns on asynchronous cancellation (pthread_setcanceltype(3)) stay: a thread may end in them, and
what unwinds it does not know the way through the page.

Source: System V ABI, "Program Header"; Intel SDM 2, "JMP", "CALL", "SYSCALL".
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from vfs.view.shortcut.code_x86_64 import CAVE
from vfs.view.shortcut.layout import CALLS

HEADER = struct.Struct("<4s4xQHHIQQQIHHHHHH")
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")  # type, flags, offset, vaddr, paddr, filesz, memsz, align
PT_LOAD, PT_NOTE = 1, 4
READ_EXECUTE, WRITE = 5, 2
PAGE = 4096
MAX_HEADERS = 64
MAX_ADDRESS = 1 << 30

SITE = re.compile(rb"\xb8(.{4})(?:|.{0,12}?\xbf\x9c\xff\xff\xff)\x0f\x05", re.DOTALL)
"""mov $number, %eax; syscall.  Or a little later: mov $AT_FDCWD, %edi; syscall."""
OPENAT = 257
CANCELLED_WITHIN = 32
"""Bytes before a call in which the library calls what turns on cancellation."""
FLAG_MARK, SEGMENT_MARK = bytes.fromhex("7a7a7a7a"), bytes.fromhex("7b7b7b7b")
FLAG_SIZE = 4
WITNESS = 32
"""Bytes before the instruction pointer by which a call of the loader is known."""


class Segment(NamedTuple):
    at: int
    flags: int
    offset: int
    address: int
    filled: int
    size: int


def segments(image: bytes) -> tuple[list[Segment], int]:
    """The PT_LOAD segments of a 64-bit ELF file, and where a header of PT_NOTE lies behind them, 0 for none. ValueError."""
    if image[:6] != b"\x7fELF\x02\x01" or len(image) < 64:
        raise ValueError("no ELF file of 64 bits")
    table, size, count = struct.unpack_from("<Q", image, 32)[0], *struct.unpack_from("<HH", image, 54)
    if size != PROGRAM_HEADER.size or count > MAX_HEADERS or table + size * count > len(image):
        raise ValueError("no such program headers")
    loads, note = [], 0
    for at in range(table, table + size * count, size):
        kind, flags, offset, address, _, filled, length, _ = PROGRAM_HEADER.unpack_from(image, at)
        if kind == PT_LOAD:
            if offset + filled > len(image) or address + length > MAX_ADDRESS or (offset - address) % PAGE:
                raise ValueError("a segment that cannot be")
            loads.append(Segment(at, flags, offset, address, filled, length))
        elif kind == PT_NOTE and loads and not note:
            note = at
    return loads, note


def sites(image: bytes, loads: list[Segment]) -> list[tuple[int, int, int]]:
    """(file offset, address, number) of all calls of ours: of the five bytes before the instruction `syscall`."""
    found = []
    for load in loads:
        if load.flags == READ_EXECUTE:
            for match in SITE.finditer(image, load.offset, load.offset + load.filled):
                number, at = int.from_bytes(match[1], "little"), match.end() - 7
                if number in CALLS:
                    found.append((at, load.address + at - load.offset, number))
    return found


def patched(image: bytes, segment: int) -> bytes | None:
    """The copy; `None`: this is none of the libraries that we know how to change. *segment*: of shared memory, with the page."""
    try:
        loads, note = segments(image)
    except ValueError:
        return None
    found = [
        site for site in sites(image, loads) if site[2] != OPENAT or b"\xe8" not in image[site[0] - CANCELLED_WITHIN : site[0]]
    ]
    data = next((load for load in reversed(loads) if load.flags & WRITE), None)
    if not found or not note or data is None or data is not loads[-1]:
        return None
    end = data.address + data.size
    flag = (end + FLAG_SIZE - 1) // FLAG_SIZE * FLAG_SIZE
    if data.size <= data.filled or flag % PAGE == 0:  # no room behind the zeroed data
        return None
    out = bytearray(image)
    out += bytes(-len(out) % PAGE)
    offset = len(out)
    base = (flag // PAGE + 1) * PAGE
    code = bytearray(CAVE.replace(SEGMENT_MARK, struct.pack("<I", segment)))
    for match in re.finditer(FLAG_MARK, CAVE):
        code[match.start() : match.end()] = struct.pack("<i", flag - (base + match.end()))
    for at, address, _ in found:
        here = base + len(code)
        out[at : at + 5] = b"\xe9" + struct.pack("<i", here - (address + 5))  # jmp
        code += image[at : at + 5]  # what was there
        code += b"\x48\x8d\x64\x24\x80"  # lea -128(%rsp), %rsp: what lies below the stack pointer may be in use
        code += b"\xe8" + struct.pack("<i", base - (base + len(code) + 5))  # call common
        code += b"\x48\x8d\xa4\x24\x80\x00\x00\x00"  # lea 128(%rsp), %rsp
        code += b"\xe9" + struct.pack("<i", address + 7 - (base + len(code) + 5))
    out += code
    PROGRAM_HEADER.pack_into(out, note, PT_LOAD, READ_EXECUTE, offset, base, base, len(code), len(code), PAGE)
    return bytes(out)


def witnesses(loader: bytes) -> dict[int, bytes]:
    """Of all calls of openat in a dynamic loader: the instruction pointer's place in its page -> the bytes before it."""
    loads, _ = segments(loader)
    calls = [(at + 7, address + 7) for at, address, number in sites(loader, loads) if number == OPENAT]
    return {address % PAGE: loader[end - WITNESS : end] for end, address in calls}
