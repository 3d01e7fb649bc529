# ruff: noqa: E501 (shell reads best as it is)
"""chroot in a view, compared with the kernel's own: into a directory of the host, an ext4 image, and a file system in memory.

`make_jail` fills a directory with a small system (busybox, bash with its libraries, scripts). Every script runs as root in a mount
namespace, where the kernel mounts and changes roots, and in a view of root's and of nobody's; what is printed must be the same.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import open_to_all, unprivileged
from tests.view_tree import can_mount
from tests.views import UMVIEW, both, shown, view

pytestmark = pytest.mark.skipif(
    not can_mount() or not shutil.which("busybox"),
    reason="needs root, loop devices and busybox, to compare with the kernel's chroot",
)
KERNEL = ["unshare", "-m", "bash", "-c", 'kind=$2; memory() { mount -t tmpfs none "$1"; }; image() { mount -t ext4 -o ro,loop "$1" "$2"; }; . "$1"', "kernel"]  # fmt: skip
VIEW = [
    str(UMVIEW),
    "bash",
    "-c",
    'kind=$2; memory() { mount -t ramfs none "$1"; }; image() { mount -t umfuseext2 -o ro "$1" "$2"; }; . "$1"',
    "view",
]

PREPARE = r"""
fill() {
    mkdir -p $1/bin $1/lib64 $1/etc $1/proc $1/tmp $1/dev $1/usr $1/mnt $1/inner/bin $1/deep/a/b; ln -s ../bin $1/usr/bin
    cp /usr/bin/busybox /bin/bash /usr/sbin/chroot /bin/mount /bin/umount $1/bin
    for a in sh ls cat pwd echo ln mkdir rm rmdir mv cp stat readlink grep wc sort head tr env find touch cut sed true sleep kill; do ln -s busybox $1/bin/$a; done
    for p in bash busybox chroot mount; do ldd $1/bin/$p | grep -o "/lib[^ ]*"; done | sort -u | while read l; do mkdir -p $1${l%/*}; cp $l $1$l; done
    printf '#!/bin/sh\necho script "$0" "$@"\n' > $1/bin/script; printf '#!/bin/bash -e\necho "$0" "${BASH_VERSION%%%%.*}" $PWD\n' > $1/bin/bscript
    printf '#!/nowhere/sh\n' > $1/bin/badscript; chmod +x $1/bin/*script; cp /bin/true $1/bin/noloader; sed -i s,/lib64/ld,/lib65/ld, $1/bin/noloader
    : > $1/dev/null; echo jail > $1/etc/name; echo top > $1/inner/name; ln -s /etc/name $1/absolute; ln -s ../../../etc/name $1/etc/up; ln -s / $1/deep/root; ln -s /proc/self/fd $1/dev/fd; ln -s loop $1/loop
}
mkdir -p j other; echo outside > name; ln -s "$PWD/name" other/link
case $kind in
    directory) fill j;;
    memory) memory j; fill j;;
    image) fill tree; ln -s "$PWD/name" tree/out; truncate -s 24M disk; mke2fs -q -t ext4 -d tree disk 2>&1; image disk j;;
esac
[ $kind = image ] || ln -s "$PWD/name" j/out
W=$PWD
jail() { chroot j /bin/sh -c 'rl() { for l; do readlink $l; done; }; '"$1"; echo "status $?"; }
"""

CASES = {
    "names": "jail 'pwd; ls /; cat /etc/name /absolute etc/name ../../etc/name /../etc/name etc/up; cat /out; cat /loop; ls deep/root; cd deep/root/deep/a; pwd; /bin/pwd; cat ../../etc/name; ls ..; cd b; cd ../../../..; /bin/pwd; readlink absolute; stat -c %F / /absolute; ls nothing; cat etc/name/; cat etc/name/x'; cat name; pwd",
    "programs": 'jail \'script a b; bscript; ./bin/bscript; cd bin; ./script x; ../bin/bscript; /usr/bin/script; badscript; noloader; nothing; bash -c "echo \\$0; cd /deep; pwd; ../bin/script"; busybox echo hi; env -i /bin/bash -c "echo ok"\'',
    "written": "jail 'echo hi > /new; mkdir -p d/e; cat new; echo more >> /new; mv new d/e/moved; ln d/e/moved /hard; ln -s /d/e/moved soft; cat soft hard; rm /hard; cd d/e; mv moved ../x; cat ../x /d/x; rmdir /d/e; ls -A; cd /; ls d; echo > ../../../top; ls /top; cp bin/script s2; ./s2 z; rm s2; : > etc/made; stat -c %s etc/made'; cat j/d/x; ls j; rm j/top; cat j/etc/made",
    "children": 'jail \'for i in 1 2 3; do (cd /deep/a; bash -c "cat /etc/name; pwd") & done | sort; cat /etc/name | (cat; cat ../etc/name); echo $(cat /absolute); sleep 0.1 & wait; (exec bash -c "exec cat /etc/name"); find /deep | sort\'',
    "not a directory": "for d in j/etc/name j/none j/loop j/etc/name/x name j/absolute; do chroot $d /bin/true; echo $?; done; chroot j /none; echo $?; chroot j /etc; echo $?",
    "by link": "ln -s j k; chroot k /bin/cat /etc/name; chroot j/deep/root /bin/true; cd j; chroot . /bin/cat /etc/name; cd deep; chroot .. /bin/cat /etc/name; chroot ../../k/. /bin/cat /etc/name; chroot ../inner /none; cat ../../name",
    "nested": "jail 'cp /bin/busybox /inner/bin; cp -a /lib /lib64 /inner; ln -s /name /inner/link; chroot inner /bin/busybox cat /name link ../../../name; chroot /inner /bin/busybox ls /; chroot inner /bin/busybox sh -c \"busybox cat /etc/name; cd ..; busybox pwd\"; chroot /deep/a/../root /bin/cat /etc/name; chroot /deep/root/inner /bin/busybox pwd; chroot / /bin/cat etc/name; chroot . /bin/pwd; chroot .. /bin/pwd; pwd'",
    "the view's own root": "chroot / /bin/cat $W/name; cd j/..; chroot / /bin/bash -c 'pwd; ls /bin/bash'; chroot /.. /bin/echo ok",
    "mounts inside": "mkdir j/m2 2>/dev/null; memory j/mnt; echo in > j/mnt/file; jail 'cat /mnt/file; cd mnt; cat file ../etc/name; echo new > two; ls; cd ..; pwd; mkdir mnt/d; mv mnt/two etc/two; cat etc/two; rmdir mnt; cd mnt/d; cd ../../mnt/..; pwd'; ls j/mnt; umount j/mnt; ls j/mnt",
    "descriptors from before": 'exec 7<. 8<j/deep; jail \'ls /proc; echo $?\'; python3 -c \'\nimport os\nout, deep = os.open(".", os.O_RDONLY), os.open("j/deep", os.O_RDONLY)\nos.chroot("j")\nprint(open("name").read(), os.access("j/etc/name", os.R_OK))\nprint(os.access("/j", os.R_OK), sorted(os.listdir(deep)))\nos.fchdir(out)\nprint(open("name").read(), os.path.exists("/name"), open("j/etc/name").read(), open("other/../name").read())\ntry: print(open("other/link").read())\nexcept OSError as e: print(e)\ntry: print(os.getcwd())\nexcept OSError as e: print(e)\nos.chdir(".."); print(os.path.exists("w/name"), os.path.exists("/etc/passwd"))\nos.fchdir(deep); print(os.getcwd()); os.chdir("../../.."); print(os.getcwd(), open("etc/name").read())\nos.fchdir(out); os.chdir("j/deep"); print(os.getcwd()); os.chdir("../.."); print(os.getcwd())\nfd = os.open("..", os.O_RDONLY, dir_fd=out)\nprint(os.path.exists("/"), os.stat("w/name", dir_fd=fd).st_size, open(os.open("../../../etc/name", os.O_RDONLY, dir_fd=deep)).read())\n\'',
    "out by a second root": 'python3 -c \'\nimport os\nos.chroot("j"); os.chdir("/"); os.mkdir("away"); os.chroot("away")\nprint(os.path.exists("/etc"), open("etc/name").read())\nfor i in range(20): os.chdir("..")\nprint(os.path.exists("etc/passwd"))\nos.chroot("."); print(os.path.exists("/etc/passwd"), os.getcwd())\n\'',
    "what the process is": "jail 'cd /deep/a; exec bash -c \"read -r x < /etc/name; echo \\$x \\$0\"'; exec 9<name; chroot j /bin/sh -c 'cat <&9; cat /etc/name' ",
    "openat2": 'python3 -c \'\nimport ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\ndef open2(fd, name, resolve):\n    how = (ctypes.c_uint64 * 3)(0, 0, resolve)\n    r = libc.syscall(437, fd, name, how, 24)\n    return os.read(r, 20) if r >= 0 else ctypes.get_errno()\nos.chroot("j"); os.chdir("/deep")\nfd = os.open("/deep", os.O_RDONLY); top = os.open("/", os.O_RDONLY)\nfor name in b"../etc/name", b"/etc/name", b"root/etc/name", b"/absolute", b"../absolute":\n    for resolve in 0, 2, 4, 8, 16:\n        print(name, resolve, open2(fd, name, resolve), open2(top, name, resolve))\n\'',
    "sockets": 'python3 -c \'\nimport os, socket\nos.chroot("j"); os.chdir("/deep")\na, b, c = (socket.socket(socket.AF_UNIX) for _ in range(3))\na.bind("/tmp/s"); a.listen(); b.connect("../tmp/s"); print(a.getsockname(), b.getpeername(), os.path.exists("/tmp/s")); c.bind("x"); print(os.listdir("/deep"), os.listdir("/tmp"))\nb.send(b"hello"); print(a.accept()[0].recv(9))\n\'; ls j/tmp j/deep',
    "removed": 'python3 -c \'\nimport os\nos.mkdir("j/gone2"); os.chroot("j/gone2"); os.chdir("/"); print(os.getcwd(), os.listdir("/"))\nos.mkdir("x"); os.chdir("x"); os.rmdir("../x")\ntry: print(os.getcwd())\nexcept OSError as e: print(e)\nos.chroot("/"); os.chdir(".."); print(os.getcwd())\n\'',
    "proc": 'jail \'mount -t proc proc /proc || exit; exec 3<etc/name; rl /proc/self/root /proc/self/exe /proc/self/fd/3 /proc/$$/root /proc/$$/fd/3 /proc/self/cwd; cat /proc/self/root/etc/name /proc/self/fd/3 /dev/fd/3; cd /deep/a; rl /proc/self/cwd /proc/$$/cwd; (cd /proc/self; rl cwd root exe; cat root/absolute; grep -c Name status; cd root/deep; pwd -P; cd ../../..; pwd; ls -d etc); ls /proc/self/cwd /proc/self/root/deep /proc/self/root/../../deep; grep -o /.* /proc/self/maps | sort -u; cut -d" " -f2 /proc/mounts; cut -d" " -f5 /proc/self/mountinfo; cat /proc/$$/comm /proc/sys/kernel/ostype; tr "\\000" " " < /proc/self/cmdline; (cd /proc; ls -d self sys; cd ..; pwd; cat etc/name); echo new 2>&1 > /proc/self/comm; bash -c "readlink /proc/self/exe; exec -a x /proc/self/exe -c pwd"; umount /proc; ls /proc\'',
    "proc of others": "cd /; sleep 50 & S=$!; cd $W; jail \"mount -t proc proc /proc || exit; rl /proc/$S/cwd /proc/$S/exe; cat /proc/$S/cwd$W/name /proc/$S/root$W/name; cd /proc/$S/root && ls -d .$W; umount /proc\"; kill $S; cd j/deep; chroot .. /bin/sh -c 'cd /deep; echo > /tmp/up; sleep 60' & P=$!; cd $W; sleep 1.5; for l in root cwd exe; do readlink /proc/$P/$l; done; cat /proc/$P/root/etc/name; ls /proc/$P/cwd /proc/$P/cwd/..; cat /proc/$P/root/../name; cut -d' ' -f2 /proc/$P/mounts; grep -o '/.*' /proc/$P/maps | sort -u; chroot /proc/$P/root /bin/ls; (cd /proc/$P/root; pwd -P; cd ..; pwd -P); kill $P; pkill -P $P sleep",
    "mounts and roots": "jail 'mount -t proc none /proc; mount --bind /deep /mnt && ls /mnt; cd /mnt/a; pwd; cat ../../etc/name; cd b; pwd; cd /; cut -d\" \" -f2 /proc/mounts; umount /mnt; ls /mnt; mount --bind etc/name inner/name; cat inner/name; umount inner/name; cat inner/name; umount none; umount /etc; echo $?; umount /proc'; ls j/mnt; [ $kind = directory ] || { chroot j /bin/sh -c 'cd /etc; exec sleep 60' & P=$!; sleep 1.5; umount j 2>/dev/null; echo $?; kill $P; wait $P; umount j && ls j; }",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = Path(tmp_path_factory.mktemp("chroot"))
    open_to_all(made)
    made.chmod(0o755)
    yield made


def outcome(directory: Path, command: list[str], kind: str, script: str) -> list[str]:
    work = directory / "w"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    work.chmod(0o777)
    file = directory / "script"
    file.write_text(PREPARE + script)
    environment = {"LC_ALL": "C", "HOME": "/", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    done = subprocess.run(
        [*command, file, kind], cwd=work, env=environment | {k: v for k, v in os.environ.items() if k == "PYTHONPATH"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=100,
    )  # fmt: skip
    text = re.sub(r"/proc/\d+", "/proc/PID", done.stdout.decode(errors="backslashreplace"))
    return [*text.splitlines(), f"status {done.returncode}"]


@pytest.mark.parametrize("kind", ["directory", "memory", "image"])
@pytest.mark.parametrize("name", CASES)
def test_as_the_kernel_has_it(directory: Path, name: str, kind: str) -> None:
    want = outcome(directory, KERNEL, kind, CASES[name])
    for prefix in [], unprivileged():
        got = outcome(directory, [*prefix, *VIEW], kind, CASES[name])
        difference = difflib.unified_diff(want, got, "the kernel", f"a view {prefix[:1]}", lineterm="", n=2)
        assert got == want, "\n".join(["the outcomes differ", *difference])


# -------------------------------------------------------------------- what the kernel has no counterpart of


@both
def test_only_whose_root_it_is_sees_it(tmp_path: Path, user: str) -> None:
    """Others have their names, mount tables and speed; a view inside begins with the root it was started with."""
    open_to_all(tmp_path)
    (tmp_path / "j").mkdir()
    script = r"""
cd "$1/j"; python3 -c 'import os, time; os.chroot("."); os.mkfifo("/ready") if not os.path.exists("/ready") else 0; open("/ready", "w"); time.sleep(9)' & p=$!
while [ ! -p ready ]; do sleep 0.1; done; read x <ready
grep -c "$1" /proc/mounts; readlink /proc/$p/root; pwd; ls; viewname -p | sed 's/.*:/view /'; kill $p
umview python3 -c 'import os; os.chroot("."); print(os.listdir("/")); os.chdir("/"); print(os.getcwd())'
"""
    (tmp_path / "j").chmod(0o777)
    out = shown(script, tmp_path, user=user)
    assert out == f"0\n{tmp_path}/j\n{tmp_path}/j\nready\nview 0]\n['ready']\n/\n"


def test_who_may_in_human_mode(tmp_path: Path) -> None:
    """CAP_SYS_CHROOT of the virtual credentials decides."""
    open_to_all(tmp_path)
    (tmp_path / "j").mkdir()
    program = "import os\ntry: os.chroot('j'); print(os.listdir('/'), os.getuid())\nexcept OSError as e: print(e.strerror)"
    script = """cd "$1"; python3 -c "$2"; setpriv --bounding-set -sys_chroot python3 -c "$2"; viewsu -p -s /bin/sh nobody -c "python3 -c \\"$2\\"" """
    done = view(script, tmp_path, program, options=["-s"])
    assert done.stdout == "[] 0\nOperation not permitted\nOperation not permitted\n", done


def test_roots_without_end(tmp_path: Path) -> None:
    """Those that nobody has any more are let go: descriptors do not run out."""
    open_to_all(tmp_path)
    for number in range(300):
        (tmp_path / f"d{number}").mkdir()
    program = r"""
import os, sys
for number in range(300):
    if not os.fork():
        os.chroot(f"d{number}"); os.chdir("/"); os._exit(os.listdir("/") != [] or os.getcwd() != "/")
    assert os.wait()[1] == 0, number
held = sum(os.readlink(fd.path).startswith(os.getcwd()) for fd in os.scandir(f"/proc/{sys.argv[1]}/fd") if os.path.lexists(fd.path))
print(held < 150 or held)
"""
    assert shown('cd "$1"; python3 -c "$2" $(viewname -p | grep -o \\[[0-9]* | cut -c2-)', tmp_path, program) == "True\n"


def test_a_traced_process_cannot(tmp_path: Path) -> None:
    """It says so."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    done = view('cd "$1"; strace -f -o /dev/null chroot . /bin/true', tmp_path)
    assert (done.returncode, done.stderr) == (125, "chroot: cannot change root directory to '.': Operation not permitted\n")


def test_the_kernels_own_proc(directory: Path) -> None:
    """Mounted by real root before the root is changed."""
    script = "mount -t proc proc j/proc; jail 'rl /proc/self/exe /proc/self/root; cat /proc/self/comm /proc/$$/comm; cut -d\" \" -f2 /proc/self/mounts; ls -d /proc/self/cwd/etc; cd /proc/self; cat comm'"
    want = outcome(directory, KERNEL, "directory", script)
    assert outcome(directory, ["unshare", "-m", *VIEW], "directory", script) == want
    assert "/proc" in want
