# ruff: noqa: E501 (a script reads best on one line)
"""mount and umount in a view: tables, nesting, what is busy, what is refused; the life of a view."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fixtures.ext import image
from tests.command import unprivileged

UMVIEW = Path(sys.executable).parent / "umview"


def view(script: str, *arguments: object, prefix: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a bash script in a view; $1, $2 … are the arguments."""
    command = [*(prefix or []), UMVIEW, "bash", "-c", script, "script", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")


def shown(script: str, *arguments: object) -> str:
    """What a script prints when all is well."""
    done = view(script, *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mnt").mkdir()
    return tmp_path / "mnt"


DISK = "ext4_4k"


def test_tables_tell_of_it(place: Path) -> None:
    out = shown(
        'mount -t umfuseext2 -o ro,nosuid "$1" "$2"; tail -n1 /proc/mounts; tail -n1 /proc/self/mountinfo; tail -n1 /etc/mtab;'
        'findmnt -n -o SOURCE,FSTYPE,OPTIONS "$2"; mountpoint "$2"; mountpoint -d "$2"; stat -c "%Hd:%Ld" "$2"; df --output=target "$2"',
        image(DISK),
        place,
    )
    lines = out.splitlines()
    assert lines[0] == lines[2] == f"{image(DISK)} {place} umfuseext2 ro,nosuid 0 0"
    fields = lines[1].split()
    assert fields[3:] == ["/", str(place), "ro,nosuid", "-", "umfuseext2", str(image(DISK)), "ro"]
    assert lines[3].split() == [str(image(DISK)), "umfuseext2", "ro,nosuid"]
    assert lines[4] == f"{place} is a mountpoint"
    assert lines[5] == lines[6] == fields[2]
    assert lines[8] == str(place)


def test_umount_shows_what_was_there_before(place: Path) -> None:
    (place / "below").touch()
    script = 'mount -t umfuseext2 -o ro "$1" "$2"; ls "$2" | grep below; umount "$2"; ls "$2"'
    assert shown(script, image(DISK), place) == "below\n"


@pytest.mark.parametrize(
    "use",
    ["exec 7<$2/docs", "cd $2/docs", "exec 7<$2/README", "sleep 9 < $2/README & sleep 0.1"],
)
def test_busy(place: Path, use: str) -> None:
    done = view(
        f'mount -t umfuseext2 -o ro "$1" "$2"; {use}; umount "$2"; echo $?; umount -l "$2"; echo $?; kill %1 2>/dev/null; ls "$2"',
        image(DISK),
        place,
    )
    assert done.stdout == "32\n0\n"
    assert "in use by process" in done.stderr


def test_not_busy_after_use(place: Path) -> None:
    out = shown(
        'mount -t umfuseext2 -o ro "$1" "$2"; cat "$2/README" >/dev/null; ls -R "$2" >/dev/null; (cd "$2/docs"); umount "$2"; echo $?',
        image(DISK),
        place,
    )
    assert out == "0\n"


def test_a_mount_in_a_mount_and_an_image_in_an_image(tmp_path: Path, place: Path) -> None:
    tree, outer = tmp_path / "tree", tmp_path / "outer.img"
    (tree / "empty").mkdir(parents=True)
    (tree / "inner.img").write_bytes(image("ext4_1k").read_bytes())
    with outer.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, outer], check=True, timeout=60)
    script = """
        mount -t umfuseext2 -o ro "$1" "$2" && cd "$2" && mount -t umfuseext2 -o ro inner.img empty || exit
        ls -R empty | sha256sum; cd empty/docs; /bin/pwd; ls ../../inner.img; cd ..; ls -d ../lost+found
        cd /; umount "$2"; echo $?; umount "$2/empty"; umount "$2"; echo $?; ls -A "$2" | wc -l
    """
    done = view(script, outer, place)
    lines = done.stdout.splitlines()
    alone = shown(
        'cd /; mount -t umfuseext2 -o ro "$1" "$2"; cd "$2/.."; ls -R mnt | sed "s/^mnt/empty/" | sha256sum',
        image("ext4_1k"),
        place,
    )
    assert lines == [alone.strip(), f"{place}/empty/docs", "../../inner.img", "../lost+found", "32", "0", "0"]
    assert done.stderr.splitlines()[0].endswith(f"busy: the mount on {place}/empty depends on it")


def test_a_later_mount_hides_an_earlier_one(place: Path) -> None:
    script = """
        mount -t umfuseext2 -o ro "$1" "$3"; mount -t umfuseext2 -o ro "$2" "$3/docs"; mount -t umfuseext2 -o ro "$2" "$3"
        ls -d "$3"/docs; umount "$3"; ls -d "$3"/docs; umount "$3/docs"; umount "$3"
    """
    done = view(script, image(DISK), image("symlinks"), place)
    assert done.stdout == f"{place}/docs\n" and done.stderr == f"ls: cannot access '{place}/docs': No such file or directory\n"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["-o", "ro,colour=red", "IMAGE"], 32, "unknown option 'colour' (known: "),
        (["-o", "ro,sb=x", "IMAGE"], 32, "option 'sb' wants a whole number, not 'x'"),
        (["-o", "rw+", "IMAGE"], 32, "only reads"),
        (["-o", "ro", "/etc/passwd"], 32, ""),
        (["-o", "ro", "/nowhere.img"], 32, "No such file or directory"),
        (["-o", "ro", "/etc"], 32, "wants an image file"),
    ],
)
def test_refusals_name_the_reason(place: Path, arguments: list[str], status: int, sentence: str) -> None:
    words = [str(image(DISK)) if word == "IMAGE" else word for word in arguments]
    done = view('mount -t umfuseext2 "${@:2}" "$1"', place, *words)
    assert done.returncode == status
    first = done.stderr.splitlines()[0]
    assert first.startswith(f"umview: {place}: {words[-1]}: ") and sentence in first


def test_not_on_a_file_nor_on_nothing(place: Path) -> None:
    (place / "file").touch()
    done = view('mount -t umfuseext2 -o ro "$1" "$2/file"; mount -t umfuseext2 -o ro "$1" "$2/none"', image(DISK), place)
    assert "a directory can only be mounted on a directory" in done.stderr
    assert done.returncode != 0


def test_noexec_and_nodev(place: Path) -> None:
    script = 'mount -t umfuseext2 -o ro,noexec,nodev "$1" "$2"; [ -x "$2/bin/script" ]; echo $?; head -c1 "$2/dev/null"; echo $?'
    done = view(script, image(DISK), place)
    assert done.stdout == "1\n1\n"


def test_as_an_ordinary_user() -> None:
    done = view(
        'id -u; mount -t umfuseext2 -o ro "$1" /mnt && ls /mnt | wc -l; umount /mnt; ls -A /mnt | wc -l',
        image(DISK),
        prefix=unprivileged(),
    )
    uid, inside, outside = done.stdout.split()
    assert (int(uid) != 0 or os.geteuid() != 0) and int(inside) > 3 and int(outside) == len(os.listdir("/mnt"))


@pytest.mark.parametrize(("script", "status"), [("exit 5", 5), ("kill -TERM $$", 143), ("true", 0), ("nosuchcommand", 127)])
def test_status(script: str, status: int) -> None:
    assert view(script).returncode == status


def test_killed_it_takes_its_tree_along(tmp_path: Path) -> None:
    script = "setsid sleep 1000 & (sleep 1000 & disown) ; echo $! > $1/pid; touch $1/ready; wait"
    process = subprocess.Popen([UMVIEW, "bash", "-c", script, "x", tmp_path], start_new_session=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}").exists()
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, "a process of the view lives on"
        time.sleep(0.01)


def test_it_leaves_no_scratch_directory(tmp_path: Path, place: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [
        UMVIEW,
        "bash",
        "-c",
        'mount -t umfuseext2 -o ro "$1" "$2"; cd "$2"; ls -R >/dev/null; ls "$3"',
        "x",
        image(DISK),
        place,
        tmp_path,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert "umview-" in done.stdout
    assert sorted(os.listdir(tmp_path)) == ["mnt"]


ODD = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
image, place = sys.argv[1].encode(), sys.argv[2].encode()
kind, n = b"umfuseext2", None
rows = [(image, place, kind, 1, b"ro"), (n, place, kind, 1, n), (image, n, kind, 1, n), (image, place, 1, 1, n), (1, place, kind, 1, n)]
rows += [(image, 1, kind, 1, n), (image, place, kind, 1, 1), (image, place, kind, 1, b"x" * 9000), (image, place, kind, 1, b",,ro,")]
rows += [(image, place, kind, 1, b"=,\\xff=\\n"), (image, b"", kind, 1, n), (b"", place, kind, 1, n), (b"x" * 5000, place, kind, 1, n)]
rows += [(image, place, kind, 1 << 40, n), (image, place, kind, 0xC0ED0001, n), (b"/dev/zero", place, kind, 1, n)]
rows += [(b"/proc/self/mem", place, kind, 1, n), (place, place, kind, 1, n), (image, place + b"/x" * 200, kind, 1, n)]
for row in rows:
    words = [ctypes.c_void_p(word) if isinstance(word, int) else word for word in row]
    words[3] = ctypes.c_ulong(row[3])
    failed = libc.mount(*words)
    print(errno.errorcode[ctypes.get_errno()] if failed else "ok", end=" ")
    while libc.umount2(place, 0) == 0: pass
"""


def test_absurd_arguments(place: Path) -> None:
    """mount(2) with bad pointers, a page and more of options, absurd flags and sources."""
    done = view('python3 -c "$1" "$2" "$3"', ODD, image(DISK), place)
    results = "ok EINVAL EFAULT EFAULT EFAULT EFAULT EFAULT EINVAL ok EINVAL ENOENT ENOENT ENAMETOOLONG ok ok EINVAL EINVAL EINVAL ENOENT"
    assert done.stdout.strip() == results
    assert "umview[" not in done.stderr


@pytest.mark.parametrize("user", ["root", "nobody"])
@pytest.mark.parametrize("options", ["ro,user", "ro,x-note=1"])
def test_libmounts_notes_stay_in_the_view(user: str, options: str) -> None:
    """What mount(8) writes into utab is the view's, and findmnt finds it; the host's is not touched."""
    notes = Path("/run/mount")
    before = [(path.name, path.stat().st_mtime_ns) for path in notes.glob("*")]
    script = 'mount -t umfuseext2 -o "$2" "$1" /mnt; grep -c TARGET=/mnt /run/mount/utab; umount /mnt; grep -c TARGET=/mnt /run/mount/utab'
    done = view(script, image(DISK), options, prefix=unprivileged() if user == "nobody" else None)
    assert (done.stdout, done.stderr) == ("1\n0\n", "")
    assert [(path.name, path.stat().st_mtime_ns) for path in notes.glob("*")] == before


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full", "2>/dev/null", "2> >(:)"])
def test_nobody_need_read_the_reason(place: Path, stream: str) -> None:
    script = (
        f'exec {stream}; mount -t umfuseext2 -o ro,bad "$1" "$2"; echo $?; mount -t umfuseext2 -o ro "$1" "$2"; ls "$2" | wc -l'
    )
    status, entries = view(script, image(DISK), place).stdout.split()
    assert status != "0" and int(entries) > 3


def test_debug_into_a_pipe_that_nobody_reads(place: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    script = 'mount -t umfuseext2 -o ro,bad "$0" "$1"; mount -t umfuseext2 -o ro "$0" "$1"; ls "$1" | wc -l; umount "$1"'
    command = [UMVIEW, "--debug", "bash", "-c", script, image(DISK), place]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=writer, text=True, timeout=30)
    os.close(writer)
    assert (done.returncode, int(done.stdout) > 3) == (0, True)


def test_the_scratch_directory_is_made_again(tmp_path: Path, place: Path) -> None:
    """A cleaner of /tmp may take it away from a view that lives long."""
    script = 'mount -t umfuseext2 -o ro "$1" "$2"; ls "$2" >/dev/null; rm -rf "$3"/umview-*; cd "$2" && ls | wc -l; "$2"/bin/script 2>&1 | head -1'
    command = [UMVIEW, "bash", "-c", script, "x", image(DISK), place, tmp_path]
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=30)
    assert int(done.stdout.split()[0]) > 3 and "No such file" not in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["mnt"]


def test_a_file_in_flight_outlives_its_mount(place: Path, tmp_path: Path) -> None:
    """A socket holds it: umount does not see it, and the receiver still reads the content."""
    tree, disk = tmp_path / "tree", tmp_path / "disk"
    tree.mkdir()
    (tree / "big").write_bytes(b"content " * 400_000)
    disk.write_bytes(bytes(8 << 20))
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, disk], check=True, timeout=30)
    program = """
import os, socket, subprocess, sys
ours, theirs = socket.socketpair()
fd = os.open(sys.argv[1] + "/big", os.O_RDONLY)
socket.send_fds(ours, [b"x"], [fd])
os.close(fd)
print(subprocess.run(["umount", sys.argv[1]]).returncode, os.listdir(sys.argv[1]))
_, (fd,), _, _ = socket.recv_fds(theirs, 1, 1)
print(len(os.pread(fd, 10_000_000, 0)), os.pread(fd, 8, 800_000))
"""
    out = shown('mount -t umfuseext2 -o ro "$2" "$3"; python3 -c "$1" "$3"', program, disk, place)
    assert out == "0 []\n3200000 b'content '\n"


def test_nor_when_its_supervisor_is_killed(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([UMVIEW, "sh", "-c", "echo ready; sleep 60"], env=environment, stdout=subprocess.PIPE) as front:
        assert front.stdout is not None and front.stdout.readline() == b"ready\n"
        assert os.listdir(tmp_path) != []
        (supervisor,) = Path(f"/proc/{front.pid}/task/{front.pid}/children").read_text().split()
        os.kill(int(supervisor), signal.SIGKILL)
        assert front.wait(20) != 0
    assert os.listdir(tmp_path) == []


def test_a_mount_that_fails_late_leaves_the_image_free(tmp_path: Path, place: Path) -> None:
    broken = tmp_path / "broken.img"
    with broken.open("wb") as file:
        file.truncate(2 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext2", broken], check=True, timeout=30)
    subprocess.run(["debugfs", "-w", "-R", "sif <2> mode 0100644", broken], check=True, timeout=30, capture_output=True)
    done = view('mount -t umfuseext2 -o ro "$1" "$2"; flock -n -x "$1" echo free', broken, place)
    assert "the root is no directory" in done.stderr
    assert done.stdout == "free\n"


@pytest.mark.parametrize("use", ["exec 5<f", "exec 5>>new", "cp /bin/sleep . && { ./sleep 9 & p=$!; sleep 0.2; }", "cd ."])
def test_files_of_the_host_keep_a_mount_busy(tmp_path: Path, place: Path, use: str) -> None:
    """Those that were opened by it; the same directory may be in use elsewhere."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_text("x")
    (tmp_path / "source" / "other").write_text("x")
    script = f"""
exec 6<"$1/other"; mount --bind "$1" "$2" && cd "$2" && {use}
test "$PWD" = "$2" && [ "{use}" != "cd ." ] && cd /
umount "$2" 2>/dev/null; echo $?
cd /; exec 5<&-; kill $p 2>/dev/null; wait; umount "$2"; echo $?"""
    done = subprocess.run(
        [UMVIEW, "bash", "-c", script, "x", tmp_path / "source", place], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("32\n0\n", ""), done


def test_a_virtual_directory_is_no_root_of_a_namespace(place: Path) -> None:
    script = 'mount -t ramfs none "$1"; mkdir "$1/old"; pivot_root "$1" "$1/old"'
    done = subprocess.run([UMVIEW, "bash", "-c", script, "x", place], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("Invalid argument" if os.geteuid() == 0 else "Operation not permitted")


def test_mount_finds_the_modules_before_the_first_mount() -> None:
    done = subprocess.run([UMVIEW, "cat", "/proc/filesystems"], capture_output=True, text=True, timeout=30)
    assert "\tumfuseext2\n" in done.stdout


def test_a_small_soft_limit_is_one(place: Path) -> None:
    script = """
mount -t ramfs none "$1"; touch "$1/f"; exec python3 -c '
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = []
try:
    for _ in range(100):
        held.append(os.open(sys.argv[1], os.O_RDONLY))
except OSError as error:
    print(error.strerror, len(held) + len(os.listdir("/dev/fd" if os.close(held.pop()) else "/proc/self/fd")) >= 40)' "$1/f" """
    done = subprocess.run([UMVIEW, "bash", "-c", script, "x", place], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("Too many open files True\n", "")
