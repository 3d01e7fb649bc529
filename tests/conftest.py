"""What all tests share: the option --slow, and an honest count of what was skipped."""

from __future__ import annotations

import sys

import pytest

pytest.register_assert_rewrite("command")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the long campaigns too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --slow the campaigns are not selected. They are not *skipped*: a skip says that this host lacks something."""
    if config.getoption("--slow"):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


def pytest_report_header(config: pytest.Config) -> str:
    wrong = "" if sys.flags.bytes_warning > 1 else "not "
    return f"comparing bytes with text is {wrong}an error (python -bb -m pytest); slow tests: {bool(config.getoption('--slow'))}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"skipped: {skipped}")
