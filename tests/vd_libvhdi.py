"""Differencing VHD and VHDX disks as libvhdi reads them: qemu cannot. Its bindings belong to the system's Python, so it is asked
in a process of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

_READ = """
import sys, pyvhdi
chain = []
for path in sys.argv[1:]:
    file = pyvhdi.file()
    file.open(path)
    if chain:
        chain[-1].set_parent(file)
    chain.append(file)
disk = chain[0]
for at in range(0, disk.get_media_size(), 1 << 20):
    sys.stdout.buffer.write(disk.read_buffer_at_offset(min(1 << 20, disk.get_media_size() - at), at))
"""


def libvhdi(*chain: Path) -> bytes:
    """The content of the first image, the others being its parent, the parent's parent, and so on."""
    done = subprocess.run(["/usr/bin/python3", "-c", _READ, *map(str, chain)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout
