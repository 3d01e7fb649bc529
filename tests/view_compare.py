# ruff: noqa: E501 (shell reads best as it is)
"""The same bash script twice: in a mount namespace, where the kernel mounts, and in a view. What they print must be the same.

Scripts run in an empty work directory with the image `img`, and directories `m` and `n` to mount on; `mnt IMAGE DIRECTORY` mounts.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.view_tree import make_image

UMVIEW = Path(sys.executable).parent / "umview"
KERNEL = ["unshare", "-m", "bash", "-c", 'mnt() { mount -t ext4 -o ro,loop "$1" "$2"; }; . "$0"']
VIEW = [str(UMVIEW), "bash", "-c", 'mnt() { mount -t umfuseext2 -o ro "$1" "$2"; }; . "$0"']


class Comparison:
    """A work directory and an image of view_tree's tree."""

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o755)
        self.directory, self.work = directory, directory / "w"
        self.image = make_image(directory, self.work / "m")

    def outcome(self, command: list[str], script: str) -> list[str]:
        shutil.rmtree(self.work, ignore_errors=True)
        for name in ("", "m", "n"):
            (self.work / name).mkdir()
        os.link(self.image, self.work / "img")
        file = self.directory / "script"
        file.write_text(script)
        environment = {**os.environ, "LC_ALL": "C", "HOME": str(self.work), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        done = subprocess.run(
            [*command, file], cwd=self.work, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=60,
        )  # fmt: skip
        return [*done.stdout.decode(errors="backslashreplace").splitlines(), f"status {done.returncode}"]

    def check(self, script: str, view: list[str] = VIEW) -> None:
        want, got = self.outcome(KERNEL, script), self.outcome(view, script)
        difference = difflib.unified_diff(want, got, "the kernel", "a view", lineterm="", n=1)
        assert got == want, "\n".join(["the outcomes differ", *difference])
