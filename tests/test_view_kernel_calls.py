"""Single calls of real processes under the small supervisor: let through, answered, made in the process's place."""

import errno
import os
import shutil
import subprocess

import pytest

from tests.view_kernel_run import PRELUDE, QUICK, SUPERVISOR, python, shell, view
from tests.view_kernel_supervisor import CONTENT, HIGH


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
