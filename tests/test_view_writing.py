# ruff: noqa: E501 (a script reads best on one line)
"""Writing in a view: what stands between processes and the module (the cache), and the rules of mounting what can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import open_to_all, unprivileged

UMVIEW = Path(sys.executable).parent / "umview"
USERS = pytest.mark.parametrize("user", ["root", "nobody"])


class Bench:
    """A directory to mount on, and one to show, for a user."""

    def __init__(self, directory: Path, user: str) -> None:
        self.prefix = unprivileged() if user == "nobody" else []
        self.place, self.source = directory / "mnt", directory / "source"
        for each in (self.place, self.source):
            each.mkdir()
            each.chmod(0o777)
        open_to_all(directory)

    def run(self, script: str, *arguments: object, status: int = 0) -> list[str]:
        """Run a bash script in a view, with $P the mount point and $S the source; the lines it prints, errors among them."""
        environment = {**os.environ, "P": str(self.place), "S": str(self.source), "HOME": str(self.source)}
        command = [*self.prefix, UMVIEW, "bash", "-c", script, "script", *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, cwd="/"
        )
        assert done.returncode == status, done.stdout
        return done.stdout.splitlines()

    def python(self, program: str, mount: str = "mount -t ramfs none $P") -> list[str]:
        """Run a Python program in a view, its cwd a new mount."""
        return self.run(f'{mount} && cd "$P" && exec "$1" -c "$2"', sys.executable, program)


@pytest.fixture
def bench(tmp_path: Path, user: str) -> Bench:
    return Bench(tmp_path, user)


# -------------------------------------------------------------------- the cache


@USERS
def test_all_see_what_one_writes(bench: Bench) -> None:
    """Through write, a mapping and truncate; by descriptors of other openers, stat and mappings, before anything is written back."""
    program = """
import mmap, os
w = os.open("f", os.O_RDWR | os.O_CREAT, 0o644)
r = os.open("f", os.O_RDONLY)
os.write(w, b"a" * 5000)
print(os.pread(r, 3, 4998), os.stat("f").st_size, os.fstat(r).st_size)
m = mmap.mmap(w, 5000)
m[:3] = b"map"
other = os.open("f", os.O_RDONLY)
print(os.pread(r, 4, 0), os.pread(other, 4, 0), open("f", "rb").read(4))
if not os.fork():
    fd = os.open("f", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"end")
    os._exit(0)
os.wait()
print(os.pread(r, 9, 4999), os.stat("f").st_size)
os.truncate("f", 2)
print(os.pread(r, 9, 0), os.fstat(w).st_size)
m.close(); os.close(w)
print(open("f", "rb").read(), os.stat("f").st_size)
"""
    assert bench.python(program) == [
        "b'aa' 5000 5000",
        "b'mapa' b'mapa' b'mapa'",
        "b'aend' 5003",
        "b'ma' 2",
        "b'ma' 2",
    ]


@USERS
def test_a_mapping_alone_is_written_back(bench: Bench) -> None:
    """A shared mapping, of a descriptor that is closed, changes the file without a new time of the memfd."""
    program = """
import mmap, os
open("f", "wb").write(b"x" * 100_000)
fd = os.open("f", os.O_RDWR); m = mmap.mmap(fd, 0); os.close(fd)
m[50_000:50_003] = b"yyy"; m.close()
for n in range(20): open(f"n{n}", "w").write("n")  # others are opened for writing: those nobody writes are written back
os.sync()
print(open("f", "rb").read()[49_999:50_004], os.stat("f").st_size)
"""
    assert bench.python(program) == ["b'xyyyx' 100000"]


@USERS
def test_times_are_of_one_clock(bench: Bench) -> None:
    """What is made, written and touched, one after the other, has times in that order, as make(1) needs them."""
    program = """
import os
seen = []
for n in range(300):
    kind = n % 3
    if kind == 0: os.close(os.open(f"f{n}", os.O_CREAT | os.O_WRONLY)); name = f"f{n}"
    elif kind == 1: open(f"f{n}", "w").write("x"); name = f"f{n}"
    else: os.utime("f0"); name = "f0"
    seen.append(os.stat(name).st_mtime_ns)
print(seen == sorted(seen))
"""
    assert bench.python(program) == ["True"]


@USERS
def test_no_room(bench: Bench) -> None:
    """write(2) and fallocate(2) say it when the file system is full, not only memory; what fits is there."""
    program = """
import errno, os
fd = os.open("f", os.O_RDWR | os.O_CREAT)
written = 0
try:
    while True: written += os.write(fd, b"x" * 65536)
except OSError as error: print(errno.errorcode[error.errno], written == 1 << 20)
try: os.posix_fallocate(fd, 0, 1 << 21)
except OSError as error: print(errno.errorcode[error.errno])
os.fsync(fd); os.close(fd)
print(os.stat("f").st_size == written, os.statvfs(".").f_bavail)
os.unlink("f")
open("g", "wb").write(b"y" * 500_000)
print(os.stat("g").st_size)
"""
    assert bench.python(program, "mount -t ramfs -o size=1M none $P") == ["ENOSPC True", "ENOSPC", "True 0", "500000"]


@USERS
def test_removed_files_live_until_they_are_closed(bench: Bench) -> None:
    program = """
import os
fd = os.open("t", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
os.unlink("t")
os.write(fd, b"temporary")
print(os.pread(fd, 20, 0), os.fstat(fd).st_nlink, os.listdir("."), os.readlink(f"/proc/self/fd/{fd}").endswith("/t (deleted)"))
again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
print(os.read(again, 9))
new = os.open("t", os.O_RDWR | os.O_CREAT); os.write(new, b"new")
print(os.pread(fd, 20, 0), os.pread(new, 20, 0), os.fstat(fd).st_ino != os.fstat(new).st_ino)
os.mkdir("d"); os.chdir("d"); os.rmdir("../d")
try: os.getcwd()
except FileNotFoundError: print("gone")
try: open("x", "w")
except FileNotFoundError: print("gone")
"""
    assert bench.python(program) == ["b'temporary' 0 [] True", "b'temporary'", "b'temporary' b'new' True", "gone", "gone"]


@USERS
def test_directories_that_move_take_their_cwds_along(bench: Bench) -> None:
    program = """
import os
os.makedirs("a/b/c"); os.chdir("a/b/c")
place = os.path.dirname(os.path.dirname(os.path.dirname(os.getcwd())))
fd = os.open("f", os.O_CREAT | os.O_RDWR)
os.rename(place + "/a", place + "/z")
print(os.getcwd() == place + "/z/b/c", os.readlink(f"/proc/self/fd/{fd}") == place + "/z/b/c/f", os.path.exists("../../b"))
os.mkdir(place + "/a"); print(os.listdir(place + "/a"), sorted(os.listdir(place)))
"""
    assert bench.python(program) == ["True True True", "[] ['a', 'z']"]


@USERS
def test_who_closes_a_standard_descriptor_gets_its_number(bench: Bench) -> None:
    program = """
import os
open("in", "w").write("input")
os.close(0); print(os.open("in", os.O_RDONLY), os.read(0, 9)); kept = os.dup(1)
os.close(1); first = os.open("out", os.O_WRONLY | os.O_CREAT); os.set_inheritable(1, True); os.system("echo hello"); os.close(1); os.dup2(kept, 1)
os.close(0); directory = os.open(".", os.O_RDONLY)
print(first, open("out").read().strip(), directory, sorted(os.listdir(directory)), os.fstat(0).st_ino == os.stat(".").st_ino)
"""
    assert bench.python(program) == ["0 b'input'", "1 hello 0 ['in', 'out'] True"]


@USERS
def test_more_files_than_fit(bench: Bench) -> None:
    """More than 10,000 open in the view, more than 1,000 in each process, all of them distinct and right."""
    program = """
import os, resource, sys
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
children = []
for child in range(7):
    r, w = os.pipe(); go, start = os.pipe()
    if not os.fork():
        fds = []
        for n in range(1500):
            fd = os.open(f"f{child}.{n}", os.O_RDWR | os.O_CREAT)
            os.write(fd, b"%d.%d" % (child, n)); fds.append(fd)
        os.write(w, b"."); os.read(go, 1)
        ok = len(set(fds)) == 1500 and all(os.pread(fd, 20, 0) == b"%d.%d" % (child, n) for n, fd in enumerate(fds))
        os._exit(0 if ok else 1)
    children.append((r, start))
for r, _ in children: os.read(r, 1)
for _, start in children: os.write(start, b".")
print([os.waitstatus_to_exitcode(os.wait()[1]) for _ in children])
print(all(open(f"f{c}.{n}").read() == f"{c}.{n}" for c in range(7) for n in range(0, 1500, 50)))
"""
    assert bench.python(program) == ["[0, 0, 0, 0, 0, 0, 0]", "True"]


@USERS
def test_sockets(bench: Bench) -> None:
    program = """
import errno, os, socket, stat
place = os.getcwd()
def refused(call):
    try: call()
    except OSError as error: return errno.errorcode[error.errno]
stream = lambda: socket.socket(socket.AF_UNIX); datagram = lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
a = stream(); a.bind(place + "/s"); a.listen()
c = stream(); c.connect("s"); x, _ = a.accept(); c.send(b"hi")
print(x.recv(9), stat.S_ISSOCK(os.stat("s").st_mode), refused(lambda: stream().bind("s")))
g = datagram(); g.bind("g"); h = datagram()
h.sendto(b"one", place + "/g"); h.sendmsg([b"two"], [], 0, "g"); print(g.recv(9), g.recv(9))
os.rename("s", "t"); d = stream(); d.connect("t"); os.unlink("t")
open("f", "w"); os.mkdir("d")
print(refused(lambda: stream().connect("t")), refused(lambda: stream().connect("f")), refused(lambda: stream().bind("no/s")))
"""
    wanted = ["b'hi' True EADDRINUSE", "b'one' b'two'", "ENOENT ECONNREFUSED ENOENT"]
    assert bench.python(program) == wanted
    assert bench.python(program, "mount --bind $S $P") == wanted


@USERS
@pytest.mark.parametrize("mount", ["mount -t ramfs none $P", "mount --bind $S $P"])
def test_watches(bench: Bench, mount: str) -> None:
    """inotify on a directory and on a file: the same events as on the host."""
    program = """
import ctypes, os, struct, sys, time
libc = ctypes.CDLL(None)
CREATE, DELETE, FROM, TO, SELF, CLOSE, MODIFY = 0x100, 0x200, 0x40, 0x80, 0x400, 8, 2
os.mkdir("d"); open("d/old", "w").close(); time.sleep(1)
fd = libc.inotify_init1(0o4000)
libc.inotify_add_watch(fd, b"d", CREATE | DELETE | FROM | TO | SELF | CLOSE)
open("d/new", "w").close(); os.mkdir("d/sub"); os.rename("d/new", "d/newer"); os.rename("d/newer", "out"); os.rename("out", "d/in")
os.unlink("d/old"); os.symlink("x", "d/l"); os.unlink("d/in"); os.unlink("d/l"); os.rmdir("d/sub"); os.rmdir("d")
f = libc.inotify_init1(0o4000); open("f", "w").close(); libc.inotify_add_watch(f, b"f", MODIFY | CLOSE)
with open("f", "w") as o: o.write("x")
time.sleep(1.5)
def events(fd):
    text, at = os.read(fd, 65536), 0
    while at < len(text):
        _, mask, _, size = struct.unpack_from("iIII", text, at)
        if mask != CLOSE: print(hex(mask), text[at + 16 : at + 16 + size].rstrip(b"\\0").decode())  # its time is the cache's affair
        at += 16 + size
events(fd); print(os.read(f, 99)[4])
"""
    lines = bench.python(program, mount)
    assert lines[:11] == [
        *["0x100 new", "0x40000100 sub", "0x40 new", "0x80 newer", "0x40 newer", "0x80 in", "0x200 old", "0x100 l"],
        *["0x200 in", "0x200 l", "0x40000200 sub"],
    ]
    # The end of a directory of the host is told when our descriptor of it goes.
    assert lines[11:] == ["0x400 ", "0x8000 ", "2"] or ("bind" in mount and lines[11:] == ["2"])


# -------------------------------------------------------------------- mounting


@USERS
def test_a_directory_of_the_host_is_the_host_itself(bench: Bench) -> None:
    """Its files are handed over: device, inode, content and times are the host's, and stay there."""
    script = """
mount --bind "$S" "$P" && cd "$P"
echo one > f; echo two >> "$S/f"; cat f; stat -c '%d %i %Y %s %h' f > 1; stat -c '%d %i %Y %s %h' "$S/f" | cmp - 1 && echo same
"$1" -c 'import os; fd = os.open("f", os.O_RDONLY); a, b = os.fstat(fd), os.stat("f"); print(fd < 100, (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino))'
mkdir -p d/e; cp /bin/true d/prog; d/prog && echo runs; cd d/e; pwd; cd ../..; ls; cd ..; pwd
"""
    lines = bench.run(script, sys.executable)
    assert lines == ["one", "two", "same", "True True", "runs", f"{bench.place}/d/e", "1", "d", "f", str(bench.place.parent)]
    assert (bench.source / "f").read_text() == "one\ntwo\n"
    assert not list(bench.place.iterdir())


@USERS
def test_binds_of_what_is_virtual(bench: Bench) -> None:
    script = """
mount -t ramfs none "$P" && cd "$P"; mkdir in out; echo inner > in/a
mount --bind in out; cat out/a; echo b > out/b; cat in/b; mv in/b in/c; ls out; umount out; ls out | wc -l
mount --bind -o ro in out; touch out/x 2>/dev/null || echo read-only; touch in/y; ls out
mount -o remount,rw out; touch out/x && echo writable; umount out
touch f; mount --bind in/a f; cat f; umount f; mount --bind in/a out 2>/dev/null || echo "no directory"
"""
    assert bench.run(script) == ["inner", "b", "a", "c", "0", "read-only", "a", "c", "y", "writable", "inner", "no directory"]


@USERS
def test_mounts_that_depend_on_others_keep_them_busy(bench: Bench) -> None:
    script = """
mount -t ramfs none "$P"; mkdir "$P/in"; echo covered > "$P/in/a"
mount -t ramfs none "$P/in"; ls "$P/in" | wc -l; umount "$P" 2>/dev/null || echo busy; umount "$P/in"; cat "$P/in/a"
exec 5<"$P/in/a"; umount "$P" 2>/dev/null || echo busy; exec 5<&-
mount --move "$P" "$S"; ls "$P" | wc -l; cat "$S/in/a"; cd "$S/in"; umount "$S" 2>/dev/null || echo busy; umount -l "$S"; cat a; cd /; ls "$S" | wc -l
"""
    assert bench.run(script) == ["0", "busy", "covered", "busy", "0", "covered", "busy", "covered", "0"]


@USERS
def test_showcall(bench: Bench) -> None:
    script = 'mount -t ramfs -o showcall none "$P"; echo x > "$P/f"; cat "$P/f"; mkdir "$P/d"; mv "$P/f" "$P/d"; ls "$P"; cd /; umount "$P"'
    lines = [line.partition(": ")[2] for line in bench.run(script) if ": ramfs: " in line]
    calls = {tuple(line.split()[1:3]) for line in lines}
    assert {("openat", f"{bench.place}/f"), ("mkdir", f"{bench.place}/d"), ("getdents64", str(bench.place))} <= calls
    assert any(name.startswith("rename") and path == f"{bench.place}/f" for name, path in calls)


@USERS
def test_holes(bench: Bench) -> None:
    """except=: the earlier view shows there, for reading, writing, cwds and links, of the host or of a mount below."""
    (bench.place / "keep").mkdir()
    (bench.place / "keep").chmod(0o777)
    (bench.place / "keep" / "k").write_text("kept\n")
    (bench.place / "sub").mkdir()
    (bench.place / "sub" / "deep").write_text("deep\n")
    script = """
mount -t ramfs -o except=keep,except=sub/deep,permanent none "$P"
cat "$P/keep/k"; cd "$P/keep"; pwd; echo new > "$P/keep/n"; cat n; ls .. | wc -l; cd ..; pwd; mkdir sub; cat sub/deep
ln -s keep/k link; cat link; touch x; ls; grep -o "except=.*" /proc/mounts; umount "$P" 2>/dev/null || echo permanent
mkdir m; mount -t ramfs none m; echo below > m/b; mount -t ramfs -o except=b none m; cat m/b; ls m | wc -l
"""
    place = str(bench.place)
    assert bench.run(script) == [
        *["kept", f"{place}/keep", "new", "0", place, "deep"],
        *["kept", "link", "sub", "x", "except=keep,except=sub/deep 0 0", "permanent", "below", "0"],
    ]
    assert (bench.place / "keep" / "n").read_text() == "new\n"


@USERS
def test_the_whole_root(bench: Bench) -> None:
    """hostfs over /, with holes: programs start, relative names and /proc work, and all is still there."""
    script = """
mount -t hostfs -o except=proc,except=dev,except=sys / /
cd "$S"; echo here > f; cat f; ls -A /; pwd; cd /usr/..; pwd; test -e /proc/self/status && echo proc; (cd /usr && ls -d lib)
bash -c 'echo $((1 + 1)); cat < <(echo substituted)'; echo x > /dev/null && echo dev
"""
    lines = bench.run(script)
    root = sorted(os.listdir("/"))
    assert lines[0] == "here" and sorted(lines[1 : 1 + len(root)]) == root
    assert lines[1 + len(root) :] == [str(bench.source), "/", "proc", "lib", "2", "substituted", "dev"]
