"""Whole trees of real processes under the small supervisor: signals, exit status, kill -9, what the command gets."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.view_kernel_run import NOBODY, PRELUDE, QUICK, SUPERVISOR, VIEW, python, shell, started, view
from tests.view_kernel_supervisor import CONTENT, HIGH
from vfs.view.kernel import processes


# ---------------------------------------------------------------- signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGINT])
def test_signals_are_passed_on(number):
    name = number.name[3:]
    script = f"trap 'echo got; exit 5' {name}; echo ready; while :; do sleep 0.02; done"
    with started("sh", "-c", script, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.readline() == "got\n"
        assert process.wait(20) == 5


def test_a_signal_ends_what_the_command_left_behind(marker):
    """Ctrl-C too: a shell would have given its prompt already."""
    for number in (signal.SIGTERM, signal.SIGINT):
        script = f"trap '' TERM HUP INT; sleep {marker} & echo ready; exit 6"
        with started("sh", "-c", script) as process:
            assert process.stdout.readline() == "ready\n"
            while True:  # until the command has ended, signals are its own affair
                process.send_signal(number)
                try:
                    assert process.wait(0.05) == 6
                    break
                except subprocess.TimeoutExpired:
                    continue
        assert not running(marker)


# ---------------------------------------------------------------- the end of it all
@pytest.fixture
def marker():
    """An argument of sleep by which processes are found again; none may be left."""
    number = f"7{time.time_ns() % 10**6:06}.{os.getpid()}"
    yield number
    for pid in running(number):
        os.kill(pid, signal.SIGKILL)


def running(marker, program=b""):
    """The processes (not zombies) that have the marker in their command line, and the program's name before."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line and line.startswith(program):
                found.append(int(name))
    return found


def gone(marker):
    """Wait until no process with the marker is left; what is left when that takes too long."""
    for _ in range(500):
        if not running(marker):
            return []
        time.sleep(0.01)
    return running(marker)


DAEMONS = """
sleep {0} &
setsid sleep {0} &
(setsid sh -c '(sleep {0} & sleep {0}) &' &)
nohup sleep {0} > /dev/null 2>&1 &
(trap '' TERM HUP INT; sleep {0}) &
echo ready
while :; do test -e /virtual/file; sleep 0.01; done
"""


@pytest.mark.parametrize("victim", ["front", "supervisor", "guardian", "front and supervisor", "supervisor and guardian"])
def test_kill_9_ends_the_whole_tree(victim, marker):
    script = DAEMONS.format(marker)
    with started("sh", "-c", script, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        pids = {"front": process.pid}
        pids["supervisor"] = processes.children(process.pid)[0]
        pids["guardian"] = processes.children(pids["supervisor"])[0]
        while len(running(marker, b"sleep\0")) < 6:
            time.sleep(0.01)
        for name in victim.split(" and "):
            os.kill(pids[name], signal.SIGKILL)
        assert gone(marker) == []
        process.wait(20)
        for pid in pids.values():
            for _ in range(500):
                if processes.stat_fields(pid)[:1] in ([], [b"Z"]):
                    break
                time.sleep(0.01)
            else:
                pytest.fail(f"{pid} is left")


def test_what_a_killed_supervisor_leaves_is_cleaned_up(tmp_path):
    environment = {**os.environ, "CLEANED": str(tmp_path / "cleaned")}
    with started("sh", "-c", "echo ready; read x", stderr=subprocess.PIPE, stdin=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(processes.children(process.pid)[0], signal.SIGKILL)
        assert process.wait(20) == 137
        assert process.stderr.read() == "umview: the supervisor was killed (signal 9): all processes were ended\n"
    assert (tmp_path / "cleaned").exists()
    assert view("true", env={**environment, "CLEANED": str(tmp_path / "other")}).returncode == 0
    assert not (tmp_path / "other").exists()


def test_the_supervisor_ends_the_tree(marker):
    done = shell(f"trap '' TERM; setsid sleep {marker} & test -e /virtual/end; sleep {marker}")
    assert done.returncode == 137
    assert not running(marker)


def test_messages_that_no_one_can_read():
    done = subprocess.run(["bash", "-c", '"$@" 2>&-', "bash", *VIEW, "no-such-command"], timeout=20, check=False)
    assert done.returncode == 127
    done = subprocess.run(["bash", "-c", '"$@" 2>&-', "bash", *VIEW, "true"], timeout=20, check=False)
    assert done.returncode == 0


def test_kill_9_of_the_process_group(marker):
    """As CI runners do it: daemons in sessions of their own end too."""
    script = DAEMONS.format(marker)
    with started("sh", "-c", script, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGKILL)
        assert gone(marker) == []


@pytest.mark.parametrize(
    "command, status",
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "kill -9 $$"], 137),
        (["sh", "-c", "kill -TERM $$"], 143),
        (["sh", "-c", "kill -PIPE $$"], 141),
    ],
)
def test_exit_status(command, status):
    done = view(*command)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")


@pytest.mark.parametrize(
    "command, status, sentence",
    [
        ("no-such-command", 127, "No such file or directory"),
        ("/no/such/command", 127, "No such file or directory"),
        ("/etc/passwd/x", 126, "Not a directory"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/etc", 126, "Permission denied"),
        ("", 127, "No such file or directory"),
    ],
)
def test_a_command_that_can_not_be_executed(command, status, sentence):
    done = view(command)
    assert (done.returncode, done.stdout, done.stderr) == (status, "", f"umview: {command}: {sentence}\n")


def test_a_command_is_searched(tmp_path):
    """PATH in order; what may not be executed is passed over; scripts without `#!` are the shell's."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"echo {name} $1\n")
    path = f"{tmp_path}/none:{SUPERVISOR}:{tmp_path}/first:{tmp_path}/second"
    environment = {**os.environ, "PATH": path}
    done = view("tool", "x", env=environment)
    assert (done.returncode, done.stderr) == (126, "umview: tool: Permission denied\n")
    (tmp_path / "second" / "tool").chmod(0o755)
    assert view("tool", "x", env=environment).stdout == "second x\n"
    (tmp_path / "first" / "tool").chmod(0o755)
    assert view("tool", "x", env=environment).stdout == "first x\n"


def test_processes_left_behind_are_served_until_they_end():
    done = shell("(sleep 0.3; cat /virtual/file; echo late) & exit 4")
    assert (done.returncode, done.stdout, done.stderr) == (4, CONTENT.decode() + "late\n", "")


# ---------------------------------------------------------------- what the command gets
def test_no_descriptor_leaks():
    code = (
        "print([(int(n), os.readlink(f'/proc/self/fd/{n}')[:4]) for n in os.listdir('/proc/self/fd')"
        " if os.path.exists(f'/proc/self/fd/{n}')])"
    )
    done = python(code)
    assert done.stdout == "[(0, '/dev'), (1, 'pipe'), (2, 'pipe')]\n"


def test_descriptors_are_the_commands_alone():
    """Whoever waits for the end of a pipe sees it when the command closes it, not when the view ends."""
    release, hold = os.pipe()
    extra, extra_write = os.pipe()
    script = f"exec 3<&{release} {release}<&- {extra_write}>&-; exec 0<&- 1>&-; read x <&3"
    options = {"stdin": subprocess.PIPE, "bufsize": 0, "text": False, "pass_fds": (release, extra_write)}
    with started("bash", "-c", script, **options) as process:
        os.close(extra_write)
        os.close(release)
        assert process.stdout.read() == b""
        assert os.read(extra, 1) == b""
        with pytest.raises(BrokenPipeError):
            while True:
                process.stdin.write(b"x" * 4096)
        assert process.poll() is None
        os.close(hold)
        assert process.wait(20) == 1
    os.close(extra)


def test_closed_standard_descriptors_stay_closed():
    done = subprocess.run(
        ["bash", "-c", '"$@" <&- >&-', "bash", *VIEW, "bash", "-c", "ls /proc/self/fd/0 /proc/self/fd/1 | cat >&2; exit 9"],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 9
    assert "/proc/self/fd/0" in done.stderr and "cannot access" in done.stderr


def test_signals_of_the_command():
    """Nothing blocked; ignored is what was ignored before, and not what Python ignores."""
    done = shell("grep -E 'Sig(Blk|Ign)' /proc/self/status")
    assert done.stdout == "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
    done = subprocess.run(
        ["bash", "-c", "trap '' INT HUP CHLD; \"$@\"", "bash", *VIEW, "grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    ignored = 1 << signal.SIGINT - 1 | 1 << signal.SIGHUP - 1 | 1 << signal.SIGCHLD - 1
    assert done.stdout == f"SigBlk:\t0000000000000000\nSigIgn:\t{ignored:016x}\n"


def test_environment_directory_and_group(tmp_path):
    done = view("sh", "-c", "echo $A; pwd; umask; ps -o pgid= -p $$", env={**os.environ, "A": "b"}, cwd=tmp_path,
                start_new_session=True)  # fmt: skip
    assert done.stdout.splitlines()[:3] == ["b", str(tmp_path), "0022"]


# ---------------------------------------------------------------- users and hosts
def test_an_ordinary_user():
    """The main cases once more, without privilege."""
    if os.geteuid():
        pytest.skip("needs root, to become someone else (as an ordinary user all other tests are this one)")
    code = PRELUDE + (
        "print(os.getuid(), os.stat('/virtual/file').st_size, open('/virtual/file').read(), end='')\n"
        "os.chdir('/virtual/dir'); print(os.getcwd(), os.open('/virtual/high', 0))\n"
        "print(subprocess.run(['/virtual/echo', 'ok'], capture_output=True).stdout)\n"
    )
    with tempfile.TemporaryDirectory() as where:
        os.chmod(where, 0o755)
        readable = shutil.copyfile(SUPERVISOR, where + "/supervisor.py")
        done = subprocess.run(
            [*NOBODY, *VIEW[:-1], readable, *QUICK, "-c", code],
            capture_output=True, text=True, timeout=20, check=False, cwd="/",
        )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout == f"65534 26 {CONTENT.decode()}/usr {HIGH}\nb'ok\\n'\n"


def test_inside_another_view():
    done = view(*VIEW, "true")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("umview: no view is possible: ") and done.stderr.count("\n") == 1


CONFINED = """
import ctypes, errno, os, struct, sys
from vfs.view.kernel import libc
from vfs.view.kernel.filter import Filter
made = Filter()
made.refuse(int(sys.argv[1]), sys.argv[2])
text = made.program()
body = ctypes.create_string_buffer(text, len(text))
libc.prctl(38, 1)
libc.syscall(made.machine.calls["seccomp"], 1, 0, struct.pack("<H6xQ", len(text) // 8, ctypes.addressof(body)))
os.execv(sys.argv[3], sys.argv[3:])
"""


@pytest.mark.parametrize(
    "call, number, words",
    [
        ("seccomp", errno.EPERM, "filter may not be installed"),
        ("seccomp", errno.ENOSYS, "no seccomp filters"),
        ("seccomp", errno.EINVAL, "Linux 5.19"),
        ("process_vm_readv", errno.EPERM, "forbidden"),
    ],
)
def test_hosts_that_refuse(call, number, words):
    """As a container's own filter would: one sentence, and nothing was executed."""
    done = subprocess.run([sys.executable, "-c", CONFINED, str(number), call, *VIEW, "echo", "executed"],
                          capture_output=True, text=True, timeout=20, check=False)  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("umview: no view is possible: ") and done.stderr.count("\n") == 1
    assert words in done.stderr
