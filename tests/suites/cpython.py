"""CPython's own tests, a module a suite."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.suites.places import Place
from tests.suites.suite import Outcome, Outcomes, Suite

RUNNER = Path(__file__).with_name("cpython_run.py")
INTERPRETER = "/usr/bin/python3"  # the system's: what lies below somebody's home could not be run by other users
RESTARTS = 12  # a case that hangs or kills the process costs one

# module -> only the cases that match
MODULES = {
    "test_os": "",
    "test_posix": "",
    "test_posixpath": "",
    "test_shutil": "",
    "test_pathlib": "",
    "test_glob": "",
    "test_tempfile": "",
    "test_mmap": "",
    "test_fcntl": "",
    "test_subprocess": "",
    "test_socket": "Unix|UNIX|SocketPair|FDPass|SCM|Sendfile|SendFile|Interrupted|GeneralModule|BasicTCP|NonBlocking",
    "test_zipfile": "",
    "test_tarfile": "",
    "test_sqlite3": "",
    "test_import": "",
    "test_threading": "",
}


@functools.cache
def tests_directory(module: str) -> str:
    """The directory of a package `test` that has *module*: the interpreter's, or that of another of its version; "" if none.

    Debian leaves some modules out of its package.
    """
    code = "import sys, sysconfig; print(*sys.version_info[:2]); print(sysconfig.get_path('stdlib'))"
    wanted = None
    for python in (
        INTERPRETER,
        shutil.which("python3"),
        shutil.which("python3.11"),
    ):
        if python is None or not Path(python).exists():
            continue
        version, library = subprocess.run(
            [python, "-c", code], capture_output=True, text=True, timeout=30, check=True
        ).stdout.split("\n")[:2]
        wanted = wanted or version
        for name in (module, f"{module}.py"):
            if version == wanted and Path(library, "test", name).exists():
                return f"{library}/test"
    return ""


class CPythonSuite(Suite):
    def __init__(self, module: str) -> None:
        self.name = module
        self.module = module
        self.seconds = 400

    def missing(self) -> str:
        return "" if tests_directory(self.module) else f"no Python here has test.{self.module} (Debian: libpython3.N-testsuite)"

    def run(self, place: Place, cases: list[str]) -> Outcomes:
        records = place.results / "records"
        package = Path(tests_directory(self.module))
        if not str(package).startswith("/usr/"):
            # It may lie where the user who runs the tests may not look.
            copied = place.base / "test"
            if not copied.exists():
                copied.mkdir()
                shutil.copytree(package / self.module, copied / self.module)
            package = copied
        pattern = "|".join(re.escape(case) + "$" for case in cases) or MODULES[self.module]
        end = time.monotonic() + self.seconds
        log, status = "", 0
        for _ in range(RESTARTS):
            left = end - time.monotonic()
            if left < 1:
                break
            status, log = place.run(INTERPRETER, RUNNER, self.module, package, records, pattern, timeout=left)
            outcomes, finished = self.read(records)
            if finished:
                return outcomes
        outcomes, _ = self.read(records)
        outcomes["(the whole module)"] = Outcome("hung" if status == 124 else "error", "", log)
        return outcomes

    @staticmethod
    def read(records: Path) -> tuple[Outcomes, bool]:
        """Records: [case, status, told, detail]; status `start` is followed by another unless the case hung; `done` ends all."""
        outcomes: Outcomes = {}
        for line in records.read_text(errors="replace").splitlines() if records.exists() else ():
            case, status, told, detail = json.loads(line)
            if status == "done":
                return outcomes, True
            outcomes[case] = Outcome("hung" if status == "start" else status, told, detail)
        return outcomes, False
