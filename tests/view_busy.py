"""A busy tree of processes for test_view_faults.py: `python view_busy.py DIRECTORY` (with `file`, `program`, `sub` in DIRECTORY).

Twelve loops of eight kinds, each in processes of its own: some in the background, some in sessions of their own, some orphans.
Prints "ready" and goes on until it is killed.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time

os.chdir(sys.argv[1])


def calls() -> None:
    while True:
        os.stat("file")
        os.close(os.open("file", os.O_RDONLY))
        os.listdir("sub")


def moves() -> None:
    while True:
        os.chdir("sub")
        os.chdir("..")


def execs() -> None:
    while True:
        subprocess.run(["./program"], check=False)


def forks() -> None:
    while True:
        pid = os.fork()
        if not pid:
            os.stat("file")
            os._exit(0)
        os.waitpid(pid, 0)


def threads() -> None:
    for _ in range(4):
        threading.Thread(target=calls).start()
    while True:
        os.stat("sub")


def orphans() -> None:
    while True:
        if not os.fork():
            if not os.fork():
                os.setsid()
                os.stat("file")
                time.sleep(0.05)
                os.stat("file")
            os._exit(0)
        os.wait()


def sleeps() -> None:
    subprocess.run(["sleep", "1000"], check=False)


def ignores() -> None:
    import signal

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    while True:
        os.stat("file")
        time.sleep(0.001)


KINDS = [calls, moves, execs, forks, threads, orphans, sleeps, ignores]

for index in range(12):
    if not os.fork():
        if index % 3 == 1:
            os.setsid()
        if index % 3 == 2 and os.fork():
            os._exit(0)
        with contextlib.suppress(BaseException):
            KINDS[index % len(KINDS)]()
        os._exit(1)
print("ready", flush=True)
while True:
    with contextlib.suppress(OSError):
        os.stat("file")
    time.sleep(0.01)
