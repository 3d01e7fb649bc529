"""Compiles page.c and cave.S into code_x86_64.py: `python -m vfs.view.shortcut.make`. Needs gcc; users need it not."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tempfile
import textwrap
from pathlib import Path

from vfs.view.shortcut import layout

HERE = Path(__file__).resolve().parent
FLAGS = "-Os -ffreestanding -fno-pic -mcmodel=large -mgeneral-regs-only -mno-red-zone -fno-stack-protector -fcf-protection=none"
OPTIONS = f"{FLAGS} -fno-jump-tables -fno-asynchronous-unwind-tables -fno-builtin -fno-tree-loop-distribute-patterns -nostdlib"
SCRIPT = """SECTIONS {{ . = {base}; .text : {{ *(.first) *(.text*) *(.rodata*) }} shared = {shared}; /DISCARD/ : {{ *(*) }} }}"""
HEADER = '"""Machine code of page.c and cave.S, written by make.py."""\n\nfrom base64 import b85decode\n'


def compiled(source: Path, script: str, options: list[str]) -> bytes:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "script").write_text(script)
        subprocess.run(["gcc", *OPTIONS.split(), *options, "-c", source, "-o", work / "o"], check=True)
        subprocess.run(["ld", "-T", work / "script", "--oformat", "binary", "-o", work / "out", work / "o"], check=True)
        return (work / "out").read_bytes()


def build() -> dict[str, bytes]:
    constants = {"ENTRY": layout.ENTRY, "BASE": layout.BASE}
    page = compiled(HERE / "page.c", SCRIPT.format(base=layout.BASE, shared=layout.BASE + layout.SHARED), [])
    cave = compiled(HERE / "cave.S", SCRIPT.format(base=0, shared=0), [f"-D{name}={value}" for name, value in constants.items()])
    return {"PAGE": page, "CAVE": cave}


def digest() -> str:
    """Of all that the code is made of."""
    return hashlib.sha256(b"".join((HERE / name).read_bytes() for name in ("page.c", "cave.S", "layout.py"))).hexdigest()


def main() -> None:
    text = HEADER + f'\nMADE_OF = "{digest()}"\n'
    for name, code in build().items():
        lines = textwrap.wrap(base64.b85encode(code).decode(), 120)
        text += f"\n{name} = b85decode(\n" + "".join(f'    "{line}"\n' for line in lines) + ")\n"
        print(name, len(code))
    (HERE / "code_x86_64.py").write_text(text)


if __name__ == "__main__":
    main()
