"""Classic BPF: an assembler with labels for seccomp filters, and an interpreter to ask a filter what it would say.

Source: linux/bpf_common.h, linux/filter.h, linux/seccomp.h (struct seccomp_data).  A program sees one system call:
its number, the architecture, the instruction pointer and six 64-bit arguments, in 32-bit words.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP = 0x05  # BPF_JMP | BPF_JA
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_ABOVE = 0x25  # BPF_JMP | BPF_JGT | BPF_K
JUMP_AT_LEAST = 0x35  # BPF_JMP | BPF_JGE | BPF_K
JUMP_ANY_BIT = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

INSTRUCTION = struct.Struct("<HBBI")  # struct sock_filter: code, jt, jf, k
CALL = struct.Struct("<iIQ6Q")  # struct seccomp_data: nr, arch, instruction_pointer, args
MAX_INSTRUCTIONS = 4096

AT_NUMBER = 0
AT_ARCH = 4
AT_INSTRUCTION = 8


def low_word(argument: int) -> int:
    """Offset of the lower 32 bits of an argument (the machines here are little endian)."""
    return 16 + 8 * argument


def high_word(argument: int) -> int:
    return 20 + 8 * argument


class Label:
    """A place in the program, perhaps still ahead."""

    __slots__ = ("position",)

    def __init__(self) -> None:
        self.position = -1


@dataclass
class Code:
    """A program being written.  Jumps lead forwards only, as BPF demands."""

    lines: list[tuple[int, int, Label | None, Label | None]] = field(default_factory=list)

    def load(self, offset: int) -> None:
        self.lines.append((LOAD_WORD, offset, None, None))

    def branch(self, operation: int, value: int, yes: Label, no: Label) -> None:
        """Compare the loaded word with a value.  Both targets must come within 255 instructions."""
        self.lines.append((operation, value, yes, no))

    def jump(self, target: Label) -> None:
        """Any distance."""
        self.lines.append((JUMP, 0, target, None))

    def give(self, action: int) -> None:
        self.lines.append((RETURN, action, None, None))

    def mark(self, label: Label) -> None:
        label.position = len(self.lines)

    def assemble(self) -> bytes:
        if len(self.lines) > MAX_INSTRUCTIONS:
            raise ValueError(f"the filter has {len(self.lines)} instructions, the kernel takes {MAX_INSTRUCTIONS}")
        out = bytearray()
        for at, (operation, value, yes, no) in enumerate(self.lines):
            if operation == JUMP and yes is not None:
                out += INSTRUCTION.pack(JUMP, 0, 0, yes.position - at - 1)
            elif yes is not None and no is not None:
                out += INSTRUCTION.pack(operation, yes.position - at - 1, no.position - at - 1, value)
            else:
                out += INSTRUCTION.pack(operation, 0, 0, value)
        return bytes(out)


def interpret(program: bytes, number: int, arguments: Sequence[int], ip: int = 0, arch: int | None = None) -> int:
    """The action a filter takes on a call (SECCOMP_RET_*, with its data), computed as the kernel would.

    Arguments may be negative: they are taken as 64-bit registers.  Without arch: this machine's.
    """
    if arch is None:
        from vfs.view.kernel.machine import current

        arch = current().audit_arch
    words = [a & 0xFFFFFFFFFFFFFFFF for a in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    signed = (number & 0xFFFFFFFF ^ 0x80000000) - 0x80000000
    call = CALL.pack(signed, arch, ip, *words)
    code = list(INSTRUCTION.iter_unpack(program))
    loaded = at = 0
    while at < len(code):
        operation, yes, no, value = code[at]
        at += 1
        if operation == RETURN:
            return int(value)
        if operation == LOAD_WORD:
            loaded = struct.unpack_from("<I", call, value)[0]
        elif operation == JUMP:
            at += value
        elif operation == JUMP_EQUAL:
            at += yes if loaded == value else no
        elif operation == JUMP_ABOVE:
            at += yes if loaded > value else no
        elif operation == JUMP_AT_LEAST:
            at += yes if loaded >= value else no
        elif operation == JUMP_ANY_BIT:
            at += yes if loaded & value else no
        else:
            raise ValueError(f"instruction {at - 1}: operation {operation:#x} is not known here")
    raise ValueError("the program runs past its end")
