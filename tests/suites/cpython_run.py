"""Runs one module of CPython's tests in the current directory: `cpython_run.py MODULE DIRECTORY RECORDS PATTERN`.

DIRECTORY is a package `test` that has the module. RECORDS gets a line of JSON for each case that begins and ends; it is opened
for each, as tests close and count descriptors. Cases that are in it already are not run again: after a hang the caller simply
starts anew. Only cases that match PATTERN run. Stands alone: the interpreter is the system's.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import sys
import unittest

HANG = 60  # seconds of one case


def record(case: str, status: str, told: str = "", detail: str = "") -> None:
    with open(RECORDS, "a") as file:
        file.write(json.dumps([case, status, told, detail[-3000:]]) + "\n")


class Recorder(unittest.TestResult):
    """Subtests count for their case: the first that fails decides."""

    def __init__(self) -> None:
        super().__init__()
        self.outcome: tuple[str, str, str] | None = None

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.outcome = None
        record(test.id(), "start")
        faulthandler.dump_traceback_later(HANG, exit=True)

    def stopTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        super().stopTest(test)
        record(test.id(), *(self.outcome or ("ok", "", "")))

    def settle(self, status: str, told: str = "", detail: str = "") -> None:
        if self.outcome is None or self.outcome[0] == "skip":
            self.outcome = (status, told, detail)

    def addFailure(self, test, err) -> None:  # type: ignore[no-untyped-def]
        self.settle("fail", "", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addError(self, test, err) -> None:  # type: ignore[no-untyped-def]
        text = self._exc_info_to_string(err, test)  # type: ignore[attr-defined]
        if not hasattr(test, "_testMethodName"):  # setUpClass, setUpModule
            record(test.id(), "error", "", text)
        self.settle("error", "", text)

    def addSubTest(self, test, subtest, err) -> None:  # type: ignore[no-untyped-def]
        if err is not None:
            failure = issubclass(err[0], test.failureException)
            self.settle("fail" if failure else "error", "", f"{subtest}\n{self._exc_info_to_string(err, test)}")  # type: ignore[attr-defined]

    def addSkip(self, test, reason) -> None:  # type: ignore[no-untyped-def]
        if not hasattr(test, "_testMethodName"):
            record(test.id(), "skip", reason)
        self.settle("skip", reason)

    def addExpectedFailure(self, test, err) -> None:  # type: ignore[no-untyped-def]
        self.settle("ok", "expected failure")

    def addUnexpectedSuccess(self, test) -> None:  # type: ignore[no-untyped-def]
        self.settle("fail", "unexpected success")


def cases(suite: unittest.TestSuite | unittest.TestCase) -> list[unittest.TestCase]:
    if isinstance(suite, unittest.TestCase):
        return [suite]
    return [case for each in suite for case in cases(each)]


def names(module: str, directory: str) -> list[str]:
    """What to load. Parts of a package by themselves: discovery refuses those outside of the interpreter's own directory."""
    parts = sorted(os.listdir(f"{directory}/{module}")) if os.path.isdir(f"{directory}/{module}") else []
    return [f"test.{module}.{part[:-3]}" for part in parts if part.startswith("test_") and part.endswith(".py")] or [
        f"test.{module}"
    ]


def main(module: str, directory: str, pattern: str) -> None:
    import test  # type: ignore[import-not-found,unused-ignore]
    import test.support  # type: ignore[import-not-found,unused-ignore]

    if directory not in test.__path__:
        test.__path__.append(directory)
    test.support.use_resources = ["subprocess", "network-not"]
    test.support.verbose = False
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    sys.argv[1:] = []
    try:
        with open(RECORDS) as file:
            known = {json.loads(line)[0] for line in file}
    except FileNotFoundError:
        known = set()
    try:
        found = cases(unittest.defaultTestLoader.loadTestsFromNames(names(module, directory)))
    except unittest.SkipTest as skip:
        record(module, "skip", str(skip))
        found = []
    chosen = [case for case in found if case.id() not in known and re.search(pattern, case.id())]
    unittest.TestSuite(chosen).run(Recorder())
    record("", "done")


if __name__ == "__main__":
    RECORDS = os.path.abspath(sys.argv[3])
    main(sys.argv[1], sys.argv[2], sys.argv[4])
    sys.stdout.flush()
    os._exit(0)  # what tests left behind (threads) is no matter
