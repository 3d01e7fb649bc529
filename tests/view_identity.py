"""Random walks through the calls of identity, each in a process of its own, with what each gave and left behind.

Run as root on the host and as virtual root in a view, it has to print the same. The argument is where the walks begin.
"""

from __future__ import annotations

import ctypes
import os
import random
import struct
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
IDS = [0, 1, 2, 1000, 65534, 4294967295]
CAPABILITIES = [0, 1, 3, 6, 7, 8, 21, 40, 41, 63]
VERSIONS = [0x20080522] * 6 + [0x20071026, 0x19980330, 7]
CALLS = {"setuid": 105, "setgid": 106, "setreuid": 113, "setregid": 114, "setgroups": 116, "setresuid": 117, "setresgid": 119}
CALLS |= {"setfsuid": 122, "setfsgid": 123, "capget": 125, "capset": 126, "prctl": 157, "getgroups": 115}
KEEPCAPS, SET_KEEPCAPS, BOUNDING_READ, BOUNDING_DROP, SECUREBITS, SET_SECUREBITS, AMBIENT = 7, 8, 23, 24, 27, 28, 47


def raw(name: str, *arguments: object) -> int:
    """The result, or -errno; not by the C library's own functions, which change all threads."""
    words = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments]
    result = LIBC.syscall(CALLS[name], *words)
    return -ctypes.get_errno() if result == -1 else result


def capabilities(version: int = 0x20080522) -> tuple[int, bytes]:
    header, sets = ctypes.create_string_buffer(struct.pack("=Ii", version, 0), 8), ctypes.create_string_buffer(24)
    return raw("capget", header, sets), header.raw + sets.raw


def set_capabilities(version: int, words: list[int]) -> tuple[int, bytes]:
    header = ctypes.create_string_buffer(struct.pack("=Ii", version, 0), 8)
    return raw("capset", header, struct.pack("=6I", *words)), header.raw


def state() -> tuple[object, ...]:
    options = [raw("prctl", option, 0, 0, 0, 0) for option in (KEEPCAPS, SECUREBITS)]
    bounding = [raw("prctl", BOUNDING_READ, capability, 0, 0, 0) for capability in CAPABILITIES]
    ambient = [raw("prctl", AMBIENT, 1, capability, 0, 0) for capability in CAPABILITIES]
    return os.getresuid(), os.getresgid(), sorted(os.getgroups()), capabilities()[1].hex(), options, bounding, ambient


def step(chance: random.Random) -> tuple[str, object]:
    """One call."""
    ids = [chance.choice(IDS) for _ in range(3)]
    name = chance.choice([*CALLS, "prctl", "prctl", "capset"])
    if name in ("setuid", "setgid", "setfsuid", "setfsgid"):
        return f"{name}{ids[:1]}", raw(name, ids[0])
    if name in ("setreuid", "setregid"):
        return f"{name}{ids[:2]}", raw(name, *ids[:2])
    if name in ("setresuid", "setresgid"):
        return f"{name}{ids}", raw(name, *ids)
    if name == "setgroups":
        groups = [chance.choice(IDS[:-1]) for _ in range(chance.randrange(5))]
        return f"{name}{groups}", raw(name, len(groups), struct.pack(f"={len(groups)}I", *groups))
    if name == "getgroups":
        size = chance.randrange(4)
        return f"{name}({size})", raw(name, size, ctypes.create_string_buffer(400)) > -2
    if name == "capget":
        version = chance.choice(VERSIONS)
        return f"{name}({version:x})", capabilities(version)
    if name == "capset":
        version = chance.choice(VERSIONS)
        old = struct.unpack("=6I", capabilities()[1][8:])
        words = [chance.choice([word, word, word & chance.getrandbits(32), word | 1 << chance.randrange(32), 0]) for word in old]
        if chance.random() < 0.5:
            words[2], words[5] = old[1] & chance.getrandbits(32), 0  # inheritable: what ambient needs
        return f"{name}({version:x}, {words})", set_capabilities(version, words)
    option = chance.choice([KEEPCAPS, SET_KEEPCAPS, BOUNDING_READ, BOUNDING_DROP, SECUREBITS, SET_SECUREBITS, AMBIENT, AMBIENT])
    value = chance.choice([*CAPABILITIES, 0, 1])
    rest = [0, 0, 0]
    if option == SET_SECUREBITS:
        value = chance.choice([0, 1, 4, 16, 48, 64, 0x55, 0x1000])
    elif option == AMBIENT:
        value, rest[0] = chance.choice([1, 2, 2, 2, 3, 4, 5]), chance.choice(CAPABILITIES)
    elif option == SET_KEEPCAPS:
        value = chance.choice([0, 1, 2])
    return f"prctl({option}, {value}, {rest})", raw("prctl", option, value, *rest)


def walk(seed: int) -> None:
    chance = random.Random(seed)
    print(seed, "begins", state())
    for _ in range(12):
        what = step(chance)
        print(seed, *what, *state(), flush=True)
    if chance.random() < 0.5:
        os.execv(sys.executable, [sys.executable, __file__, "state"])


def begin() -> None:
    """A root that every host has: a container's lacks some capabilities."""
    for capability in range(41):
        if capability not in CAPABILITIES:
            raw("prctl", BOUNDING_DROP, capability, 0, 0, 0)
    raw("setgroups", 0, None)
    low, high = (sum(1 << bit % 32 for bit in CAPABILITIES if bit // 32 == word and bit < 41) for word in (0, 1))
    assert set_capabilities(0x20080522, [low, low, 0, high, high, 0])[0] == 0


def main() -> None:
    if sys.argv[1] == "state":
        print("executed", state())
        return
    first, count = map(int, sys.argv[1:])
    begin()
    for seed in range(first, first + count):
        sys.stdout.flush()
        child = os.fork()
        if not child:
            walk(seed)
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
