"""Real processes under the small supervisor of view_kernel_supervisor.py."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.view_kernel_supervisor import CONTENT, HIGH
from vfs.view.kernel import processes

SUPERVISOR = Path(__file__).with_name("view_kernel_supervisor.py")
# Python without site: it starts in a fifth of the time.
QUICK = [sys.executable, "-S"]
VIEW = [shutil.which("env") or "env", f"PYTHONPATH={SUPERVISOR.parent.parent}", *QUICK, str(SUPERVISOR)]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]


def view(*command, timeout=30, **options):
    """Run a command under the supervisor below."""
    options.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([*VIEW, *map(str, command)], capture_output=True, text=True, timeout=timeout, check=False, **options)


@contextmanager
def started(*command, **options):
    """The same, while the test goes on.  Nothing of it is left when the test fails."""
    options = {"stdout": subprocess.PIPE, "text": True, **options}
    process = subprocess.Popen([*VIEW, *map(str, command)], **options)
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise
    finally:
        process.kill()


def shell(script, *arguments, **options):
    return view("sh", "-c", script, "sh", *arguments, **options)


def python(code, *arguments, **options):
    """A Python program in the view; it must print nothing to standard error."""
    done = view(*QUICK, "-c", PRELUDE + code, *arguments, **options)
    assert done.stderr == "", done.stderr
    return done


PRELUDE = """
import errno, fcntl, os, resource, signal, socket, subprocess, sys, threading, time
def tried(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
"""


# ---------------------------------------------------------------- single calls
def test_calls_are_let_through(tmp_path):
    (tmp_path / "file").write_text("real\n")
    done = shell('cat "$1/file"; ls "$1"; cat "$1/none"', tmp_path)
    assert done.stdout == "real\nfile\n"
    assert "No such file" in done.stderr and "umview" not in done.stderr


def test_stat_of_what_is_not_there():
    done = view("stat", "-c", "%s %a %F", "/virtual/file")
    assert (done.stdout, done.stderr) == ("26 640 regular file\n", "")
    done = python("s = os.stat('/virtual/file'); print(s.st_size, oct(s.st_mode), s.st_mtime_ns, s.st_ino)")
    assert done.stdout == "26 0o100640 1234567890123456789 77\n"


def test_errors():
    done = python("print(tried(os.stat, '/virtual/none'), tried(os.stat, '/virtual/file/'), tried(os.open, '/virtual/none', 0))")
    assert done.stdout == "ENOENT ENOTDIR ENOENT\n"


def test_a_mistake_in_a_handler_is_eio_and_a_traceback():
    for name in ("bug", "text", "huge"):
        done = view("stat", f"/virtual/{name}")
        assert done.returncode == 1 and "Input/output error" in done.stderr
        assert done.stderr.count("Traceback") == 1 and "umview: statx of process" in done.stderr


def test_bad_addresses():
    done = python(
        "import ctypes\n"
        "l = ctypes.CDLL(None, use_errno=True)\n"
        "for name in (None, ctypes.c_void_p(4096), ctypes.c_void_p(-1)):\n"
        "    print(l.open(name, 0), errno.errorcode[ctypes.get_errno()])\n"
        "print(tried(os.stat, '/' + 'x' * 4095), tried(os.stat, '/' + 'x' * 5000))\n"
    )
    assert done.stdout == "-1 EFAULT\n" * 3 + "ENAMETOOLONG ENAMETOOLONG\n"


def test_a_descriptor_is_handed_over():
    assert view("cat", "/virtual/file").stdout == CONTENT.decode()
    done = python(
        "a = os.open('/virtual/file', os.O_RDONLY); b = os.open('/virtual/high', os.O_RDONLY)\n"
        "print(a, b, os.get_inheritable(a), os.read(b, 7), os.lseek(b, 0, 1), os.lseek(a, 0, 1))\n"
        "import ctypes\n"
        "l = ctypes.CDLL(None)\n"
        "c = l.open(b'/virtual/file', 0); print(fcntl.fcntl(c, fcntl.F_GETFD), c)\n"
    )
    assert done.stdout == f"3 {HIGH} False b'content' 7 0\n0 4\n"


def test_a_descriptor_above_the_soft_limit():
    code = "print(tried(os.open, '/virtual/high', 0), resource.getrlimit(resource.RLIMIT_NOFILE))"
    done = shell('ulimit -Sn 64; ulimit -Hn 1000; exec "$@"', *QUICK, "-c", PRELUDE + code)
    assert (done.stdout, done.stderr) == (f"{HIGH} (64, 1000)\n", "")
    done = shell(f'ulimit -n {HIGH}; exec "$@"', *QUICK, "-c", PRELUDE + code)
    assert (done.stdout, done.stderr) == (f"EBADF ({HIGH}, {HIGH})\n", "")


def test_a_descriptor_is_fetched():
    """The supervisor moves the offset of the program's own descriptor."""
    done = python(
        "fd = os.open(sys.argv[1], os.O_RDONLY)\n"
        "print(os.lseek(fd, 5, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_CUR), tried(os.lseek, 999, 5, os.SEEK_DATA))\n",
        str(SUPERVISOR),
    )
    assert done.stdout == "1005 1005 EBADF\n"


def test_passed_descriptors_are_seen():
    done = view(
        *QUICK,
        "-c",
        PRELUDE + "a, b = socket.socketpair(); socket.send_fds(a, [b'x'], [0, 2]); print(socket.recv_fds(b, 1, 2)[0])",
    )
    assert (done.stdout, done.stderr) == ("b'x'\n", "passed [0, 2]\n")


def test_a_call_is_answered_later():
    """A parked call stalls nobody."""
    done = python(
        "log = []\n"
        "def slow(): os.stat('/virtual/later'); log.append('slow')\n"
        "t = threading.Thread(target=slow); t.start()\n"
        "while not os.path.exists('/virtual/parked'): time.sleep(0.001)\n"
        "for _ in range(100): os.stat('/virtual/file')\n"
        "log.append('quick'); os.path.exists('/virtual/release'); t.join(); print(log)\n"
    )
    assert done.stdout == "['quick', 'slow']\n"


# ---------------------------------------------------------------- calls made in the process's place
def test_chdir_elsewhere():
    done = python(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])\n"
        "before = open('/proc/self/maps').read().count('\\n')\n"
        "os.chdir('/virtual/dir'); print(os.getcwd(), signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGUSR2})\n"
        "for _ in range(50): os.chdir('/virtual/dir')\n"
        "print(abs(open('/proc/self/maps').read().count('\\n') - before) < 3)\n"
        "print(tried(os.chdir, '/virtual/nodir'), tried(os.chdir, '/virtual/bugdir'), os.getcwd())\n"
    )
    assert done.stdout == "/usr True\nTrue\nENOENT ENOTDIR /usr\n"


def test_registers_survive(tmp_path):
    """All but the result: some programs (musl) rely on the argument registers after a call."""
    if os.uname().machine != "x86_64" or not shutil.which("gcc"):
        pytest.skip("needs gcc on x86_64")
    source = r"""
    #include <stdio.h>
    #include <string.h>
    int main(void) {
      char red[512]; memset(red, 7, sizeof red);
      register long a1 asm("rdi") = (long)"/virtual/dir", a2 asm("rsi") = 11, a3 asm("rdx") = 12, a4 asm("r10") = 13,
        a5 asm("r8") = 14, a6 asm("r9") = 15, result asm("rax") = 80;
      long want = a1;
      asm volatile("syscall" : "+r"(result), "+r"(a1), "+r"(a2), "+r"(a3), "+r"(a4), "+r"(a5), "+r"(a6)
                   :: "rcx", "r11", "memory");
      long same = a1 == want;
      printf("%ld %ld %ld %ld %ld %ld %ld\n", result, same, a2, a3, a4, a5, a6);
      for (unsigned i = 0; i < sizeof red; i++) if (red[i] != 7) puts("stack");
    }
    """
    subprocess.run(["gcc", "-O1", "-x", "c", "-o", tmp_path / "program", "-"], input=source, text=True, check=True)
    assert view(tmp_path / "program").stdout == "0 1 11 12 13 14 15\n"


def test_exec_of_something_else():
    done = view("/virtual/echo", "a", "b")
    assert (done.stdout, done.stderr, done.returncode) == ("a b\n", "", 0)
    done = python("os.execv('/virtual/echo', ['x', 'from', 'python'])")
    assert done.stdout == "from python\n"
    done = python("print(tried(os.execv, '/virtual/none', ['x']))")
    assert done.stdout == "ENOENT\n"


def test_vfork():
    """posix_spawn and subprocess: the child shares its parent's memory until it executes."""
    done = python(
        "for i in range(20):\n"
        "    done = subprocess.run(['/virtual/echo', str(i)], capture_output=True, cwd='/virtual/dir')\n"
        "    print(done.stdout.decode(), end='', flush=True)\n"
        "pid = os.posix_spawn('/virtual/echo', ['e', 'spawned'], {}); print(os.waitpid(pid, 0)[1], flush=True)\n"
    )
    assert done.stdout == "".join(f"{i}\n" for i in range(20)) + "spawned\n0\n"


def test_threads():
    done = python(
        "def work(out):\n"
        "    for _ in range(40):\n"
        "        out.append((os.stat('/virtual/file').st_size, tried(os.stat, '/virtual/none'), os.path.exists('/etc')))\n"
        "        os.chdir('/virtual/dir')\n"
        "        with open('/virtual/file') as f: out.append(f.read())\n"
        "        if len(out) % 20 == 0: out.append(subprocess.run(['/virtual/echo', 'x'], capture_output=True).stdout)\n"
        "outs = [[] for _ in range(8)]\n"
        "ts = [threading.Thread(target=work, args=(o,)) for o in outs]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "print(len(outs[0]) > 80, all(o == outs[0] for o in outs), os.getcwd())\n"
    )
    assert done.stdout == "True True /usr\n"


def test_a_traced_process_can_not_be_redirected():
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    done = view("strace", "-f", "-o", "/dev/null", "sh", "-c", "cat /virtual/file; cd /virtual/dir")
    assert done.stdout == CONTENT.decode()
    assert "can't cd" in done.stderr and "Traceback" not in done.stderr


def test_other_calling_conventions():
    """int 0x80 means 32-bit calls: ENOSYS, whatever the number."""
    if os.uname().machine != "x86_64":
        pytest.skip("needs an x86_64 machine")
    done = python(
        "import ctypes, mmap\n"
        "code = mmap.mmap(-1, 4096, prot=7)\n"
        "code.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')  # mov $20, %eax (getpid); int $0x80; ret\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))())\n"
        "l = ctypes.CDLL(None, use_errno=True)\n"
        "print(l.syscall(0x40000000 | 39), errno.errorcode[ctypes.get_errno()])\n"
    )
    assert done.stdout == f"-{errno.ENOSYS}\n-1 ENOSYS\n"


# ---------------------------------------------------------------- signals
STORM = """
ticks = [0]
def tick(*_): ticks[0] += 1
signal.signal(signal.SIGALRM, tick); signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
good = True
for i in range(300):
    good = good and os.stat('/virtual/file').st_size == 26 and tried(os.stat, '/virtual/none') == 'ENOENT'
    os.chdir('/virtual/dir')
    good = good and os.getcwd() == '/usr'
    os.chdir('/')
    fd = os.open('/virtual/file', 0)
    good = good and fd == 3 and os.read(fd, 100) == %r
    os.close(fd)
    if i %% 20 == 0: good = good and os.waitpid(os.posix_spawn('/virtual/echo', ['e'], {}), 0)[1] == 0
signal.setitimer(signal.ITIMER_REAL, 0)
print(good, ticks[0] > 100)
"""


def test_signals_in_the_middle_of_calls():
    done = python(STORM % CONTENT)
    assert done.stdout.strip("\n") == "True True"


def test_stopping_and_continuing_in_the_middle_of_calls():
    """SIGSTOP and SIGCONT at any moment, also while a process is held by ptrace."""
    done = python(
        "pid = os.fork()\n"
        "if not pid:\n"
        "    for _ in range(400): os.chdir('/virtual/dir'); os.stat('/virtual/file')\n"
        "    os._exit(7 if os.getcwd() == '/usr' else 1)\n"
        "n = 0\n"
        "while True:\n"
        "    done, status = os.waitpid(pid, os.WNOHANG)\n"
        "    if done: break\n"
        "    os.kill(pid, signal.SIGSTOP); time.sleep(0.0007); os.kill(pid, signal.SIGCONT); time.sleep(0.0007); n += 1\n"
        "print(os.waitstatus_to_exitcode(status), n > 10)\n"
    )
    assert done.stdout == "7 True\n"


def test_a_killed_process_disturbs_no_one():
    """Killed while it waits for an answer, and while it works."""
    done = python(
        "for i in range(30):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        if i % 3 == 0: os.stat('/virtual/never')\n"
        "        while True: os.chdir('/virtual/dir'); os.close(os.open('/virtual/file', 0))\n"
        "    time.sleep(0.001 * (i % 7)); os.kill(pid, signal.SIGKILL); print(os.waitpid(pid, 0)[1], end=' ')\n"
        "print(os.stat('/virtual/file').st_size)\n"
    )
    assert done.stdout == "9 " * 30 + "26\n"


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
        ("pidfd_getfd", errno.EPERM, "forbidden"),
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
