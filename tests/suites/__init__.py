"""Real suites, run natively and in a view: the cases that end differently are what a view does wrong.

    python -m tests.suites [--where host,hostfs,ramfs] [--user root,nobody] [--markdown] [--list] [SUITE[/CASE]…]

A suite is either a module of CPython's own tests (`cpython.py`, run by `cpython_run.py`) or a file of shell functions
(`cases/*.sh`, run by `run_cases.sh`), whose output and exit status are compared as a whole. Reading order: `places.py`
(where a suite's work directory lies), `suite.py` (what a suite is and what came out), `cpython.py`, `shell.py`,
`comparison.py` (what differs), `known.py` (and why), `__main__.py`. `tests/test_suites.py` runs a quick subset with
pytest, and everything with `--slow`.
"""
