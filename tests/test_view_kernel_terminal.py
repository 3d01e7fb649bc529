"""Job control: an interactive shell on a pseudo terminal starts the small supervisor of view_kernel_supervisor.py."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vfs.view.kernel import processes

SUPERVISOR = Path(__file__).with_name("view_kernel_supervisor.py")
VIEW = [sys.executable, "-S", str(SUPERVISOR)]
PATIENCE = 20  # seconds


class Terminal:
    """A program on a terminal of its own, as its session's leader."""

    def __init__(self, *argv: str) -> None:
        self.text = ""
        self.pid, self.fd = pty.fork()
        if not self.pid:
            environment = {
                **os.environ,
                "PYTHONPATH": str(SUPERVISOR.parent.parent),
                "PS1": "prompt> ",
                "TERM": "dumb",
                "HISTFILE": "",
            }
            os.execve(argv[0], argv, environment)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def expect(self, pattern: str) -> re.Match[str]:
        """Read until the pattern appears; what came up to its end is used up."""
        end = time.monotonic() + PATIENCE
        while not (match := re.search(pattern, self.text)):
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            assert ready, f"{pattern!r} does not come: {self.text!r}"
            self.text += os.read(self.fd, 4096).decode()
        self.text = self.text[match.end() :]
        return match

    def press(self, key: str, program: str = "") -> None:
        """A key that means a signal, as soon as the shell has given the terminal away (to that program)."""
        for _ in range(100 * PATIENCE):
            group = os.tcgetpgrp(self.fd)
            if group != self.pid and program in Path(f"/proc/{group}/comm").read_text():
                return self.type(key)
            time.sleep(0.01)
        pytest.fail("the shell keeps the terminal")

    def close(self) -> None:
        os.close(self.fd)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@pytest.fixture
def shell():
    terminal = Terminal("/bin/bash", "--norc", "--noediting", "-i")
    terminal.expect("prompt> ")
    terminal.type(f"stty -echo; v='{' '.join(VIEW)}'\n")
    terminal.expect("prompt> ")
    yield terminal
    terminal.close()


def wait_for_state(pid, *states):
    for _ in range(100 * PATIENCE):
        state = (processes.stat_fields(pid) or [b"Z"])[0]
        if state in states:
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} is {state!r}")


def begin(shell, command):
    shell.type(f"$v {command}; echo status=$?\n")


def test_control_c_is_the_commands(shell):
    begin(shell, """sh -c 'trap "echo got it; exit 5" INT; echo ready; while :; do sleep 0.02; done'""")
    shell.expect("ready")
    shell.press("\x03")
    shell.expect("got it")
    shell.expect("status=5")


@pytest.mark.parametrize("key, status", [("\x03", 130), ("\x1c", 131)])
def test_keys_that_kill(shell, key, status):
    shell.type("ulimit -c 0\n")
    shell.type("$v sh -c 'echo ready; exec cat'\n")
    shell.expect("ready")
    shell.press(key)
    shell.expect("prompt> ")
    shell.type("echo status=$?\n")
    shell.expect(f"status={status}")


def test_control_c_in_a_shell_inside(shell):
    """The view's own interactive shell goes on."""
    begin(shell, "bash --norc --noediting -i")
    shell.expect("prompt> ")
    shell.type("sleep 1000\n")
    shell.press("\x03", "sleep")
    shell.expect("prompt> ")
    shell.type("echo inner$((40 + 2))\n")
    shell.expect("inner42")
    shell.type("exit 3\n")
    shell.expect("status=3")


def test_control_z_and_fg(shell):
    begin(shell, "cat")
    shell.type("one\n")
    shell.expect("one\r\n")
    shell.press("\x1a")
    shell.expect("Stopped")
    shell.type("echo outer$((40 + 2))\n")
    shell.expect("outer42")
    shell.type("fg\n")
    shell.expect("cat")
    shell.type("two\n")
    shell.expect("two\r\n")
    shell.press("\x1a")
    shell.expect("Stopped")
    shell.type("fg\n")
    shell.expect("cat")
    shell.type("\x04")
    shell.expect("prompt> ")
    shell.type("jobs; echo end=$?\n")
    assert "Stopped" not in shell.text
    shell.expect("end=0")


def test_a_background_job_is_continued(shell, tmp_path):
    """bg: the command, which has a process group of its own, runs on while the shell does other things."""
    begin(shell, f"sh -c 'echo ready; read a; echo woken > {tmp_path}/file; kill -STOP $$; echo again > {tmp_path}/file'")
    shell.expect("ready")
    shell.type("go\n")
    shell.expect("Stopped")
    shell.type("bg\n")
    shell.expect("prompt> ")
    for _ in range(1000):
        if (tmp_path / "file").read_text() == "again\n":
            break
        time.sleep(0.01)
    assert (tmp_path / "file").read_text() == "again\n"


def test_suspend_in_a_shell_inside(shell):
    """Its background jobs run on while it is suspended: the supervisor never stops."""
    begin(shell, "bash --norc --noediting -i")
    shell.expect("prompt> ")
    shell.type("(sleep 0.3; cat /virtual/file; echo served) & suspend\n")
    shell.expect("Stopped")
    shell.expect("content of a virtual file")
    shell.expect("served")
    shell.type("fg\n")
    shell.type("echo back$((40 + 2)); exit 4\n")
    shell.expect("back42")


def test_a_background_read_stops(shell):
    """A shell says so only before a prompt."""
    shell.type("$v sh -c 'read x; echo read $x' &\n")
    shell.expect("prompt> ")
    job = processes.children(shell.pid)[0]
    wait_for_state(job, b"T")
    shell.type("\n")
    shell.expect("Stopped")
    shell.type("fg\n")
    shell.type("text\n")
    shell.expect("read text")


def test_the_terminal_is_hung_up():
    """The session's leader is killed and the terminal goes: the view ends."""
    shell = Terminal("/bin/bash", "--norc", "--noediting", "-i")
    shell.type(f"PYTHONPATH={SUPERVISOR.parent.parent} {' '.join(VIEW)} sh -c 'echo rea''dy; sleep 1000'\n")
    shell.expect("ready\r")
    below = processes.descendants(shell.pid)
    assert len(below) >= 4
    shell.close()
    for pid in below:
        wait_for_state(pid, b"Z", b"X")


def test_the_front_alone_is_continued():
    environment = {**os.environ, "PYTHONPATH": str(SUPERVISOR.parent.parent)}
    script = "kill -STOP $$; echo resumed; exit 4"
    with subprocess.Popen([*VIEW, "sh", "-c", script], stdout=subprocess.PIPE, env=environment, text=True) as process:
        wait_for_state(process.pid, b"T")
        process.send_signal(signal.SIGCONT)
        assert process.stdout.read() == "resumed\n"
        assert process.wait(PATIENCE) == 4


def test_a_command_continued_from_inside():
    """It stops itself, and a child of it, whose calls are served, wakes it up."""
    script = "(sleep 0.1; test -e /virtual/file; kill -CONT $$) & kill -STOP $$; echo resumed; exit 4"
    environment = {**os.environ, "PYTHONPATH": str(SUPERVISOR.parent.parent)}
    with subprocess.Popen([*VIEW, "sh", "-c", script], stdout=subprocess.PIPE, env=environment, text=True) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert process.stdout.read() == "resumed\n"
        assert process.wait(PATIENCE) == 4
