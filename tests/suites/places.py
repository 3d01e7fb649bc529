"""Where a suite's work directory lies, and who runs it: the same path in all places, so that outputs can be compared."""

from __future__ import annotations

import contextlib
import enum
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
UMVIEW = Path(sys.executable).parent / "umview"


class Where(enum.StrEnum):
    NATIVE = "native"  # no view at all: what the others are compared with
    HOST = "host"  # in a view, on the host's own file system: the view should not be noticed
    HOSTFS = "hostfs"  # in a view, a directory of the host mounted elsewhere
    RAMFS = "ramfs"  # in a view, a file system in memory


VIEWS = (Where.HOST, Where.HOSTFS, Where.RAMFS)

# $0 the work directory; what follows is the command. mode=: as the directory is elsewhere.
ENTER = {
    Where.HOST: 'cd "$0" && exec "$@"',
    Where.HOSTFS: 'mount -t umfusehostfs "$BEHIND" "$0" && cd "$0" && exec "$@"',
    Where.RAMFS: 'mount -t umfuseramfs -o mode=755 none "$0" && cd "$0" && exec "$@"',
}


def users() -> list[str]:
    """Who can run suites: the one who asks, and where that is root an ordinary user too."""
    if os.geteuid() != 0:
        return [pwd.getpwuid(os.geteuid()).pw_name]
    return ["root", *(["nobody"] if shutil.which("setpriv") else [])]


def become(user: str) -> list[str]:
    """What to put before a command."""
    entry = pwd.getpwnam(user)
    if entry.pw_uid == os.geteuid():
        return []
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--"]


@dataclass
class Place:
    """A fresh work directory of one run. *results* is a directory of the host's, beside the mount, that the user may write to."""

    where: Where
    user: str
    base: Path

    @property
    def work(self) -> Path:
        return self.base / "work"

    @property
    def results(self) -> Path:
        return self.base / "results"

    def command(self, *command: str | Path) -> list[str | Path]:
        if self.where is Where.NATIVE:
            return [*become(self.user), *command]
        return [*become(self.user), UMVIEW, "--", "bash", "-c", ENTER[self.where], self.work, *command]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        return kept | {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            "HOME": str(self.work),
            "TMPDIR": str(self.work),
            "BEHIND": str(self.base / "behind"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "TERM": "dumb",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, *command: str | Path, timeout: float) -> tuple[int, str]:
        """Exit status (124 when the time was up and everything was killed) and what it printed last."""
        log = self.base / "log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(*command),
                cwd=self.work,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                status = 124
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
                process.wait()
        return status, log.read_bytes()[-4000:].decode(errors="replace")


@contextlib.contextmanager
def place(where: Where, user: str, name: str) -> Iterator[Place]:
    """A place to run a suite in; everything is removed at the end."""
    parent = Path(tempfile.gettempdir()) / f"suites-{os.getpid()}"
    base = parent / f"{name}-{user}"
    base.mkdir(parents=True)
    uid, gid = pwd.getpwnam(user)[2:4]
    try:
        for each in ("work", "results", "behind"):
            (base / each).mkdir()
            if os.geteuid() == 0:
                os.chown(base / each, uid, gid)
        yield Place(where, user, base)
    finally:
        shutil.rmtree(base, ignore_errors=True)
        with contextlib.suppress(OSError):
            parent.rmdir()
