"""What a person is told when something is wrong: one line, the right exit code, never a traceback."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import PROJECT, VFS, complaint, open_to_all, output, unprivileged, vfs

from fixtures.ext import image
from fixtures.ext_images.build import Build
from fixtures.tree import Content, file

DISK = image("ext4_4k")
COMMANDS = {
    "ls": ["ls", "{}"],
    "ls -lR": ["ls", "-lR", "{}"],
    "tree": ["tree", "{}"],
    "cat": ["cat", "{}", "/README"],
    "stat": ["stat", "{}", "/README"],
    "cp": ["cp", "-a", "{}", "/README", "{tmp}"],
    "extract": ["extract", "{}", "{tmp}/out"],
    "extract --tar": ["extract", "--tar", "{}", "-"],
    "find": ["find", "{}"],
    "df": ["df", "{}"],
    "info": ["info", "{}"],
}
each_command = pytest.mark.parametrize("command", COMMANDS)


def run(command: str, disk: Path | str, tmp_path: Path, *options: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    name, *arguments = COMMANDS[command]
    return vfs(name, *options, *(each.format(disk, tmp=tmp_path) for each in arguments), **more)


# ------------------------------------------------------------------------------------------------------- no such image


@each_command
def test_a_missing_image(command: str, tmp_path: Path) -> None:
    done = run(command, tmp_path / "none.img", tmp_path)
    assert (done.returncode, done.stdout) == (1, b"")
    assert complaint(done) == f"vfs: {tmp_path}/none.img: No such file or directory"


NOT_IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "not an image of any known format"),
    "text": (lambda path: path.write_text("hello\n" * 1000), "not an image of any known format"),
    "zeros": (lambda path: path.write_bytes(bytes(100_000)), "not an image of any known format"),
    "fifo": (lambda path: os.mkfifo(path), "not a file or a block device"),
    "character device": (lambda path: path.symlink_to("/dev/zero"), "not a file or a block device"),
    "link to nothing": (lambda path: path.symlink_to("none"), "No such file or directory"),
    "link to itself": (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("kind", NOT_IMAGES)
@pytest.mark.parametrize("command", ["ls", "cat", "extract", "df", "info"])
def test_not_an_image(command: str, kind: str, tmp_path: Path) -> None:
    make, sentence = NOT_IMAGES[kind]
    path = tmp_path / "thing"
    make(path)
    done = run(command, path, tmp_path)
    assert (done.returncode, complaint(done)) == (1, f"vfs: {path}: {sentence}")
    assert not (tmp_path / "out").exists()


@each_command
def test_no_permission(command: str, tmp_path: Path) -> None:
    prefix = unprivileged()
    path = tmp_path / "private.img"
    path.write_bytes(DISK.read_bytes())
    path.chmod(0)
    open_to_all(tmp_path)
    done = run(command, path, tmp_path, prefix=prefix)
    assert (done.returncode, complaint(done)) == (1, f"vfs: {path}: Permission denied")


@each_command
def test_a_name_with_control_characters_is_escaped(command: str, tmp_path: Path) -> None:
    done = run(command, "no\x1b[31m\nsuch\udcff", tmp_path)
    assert (done.returncode, complaint(done)) == (1, r"vfs: no\x1b[31m\nsuch\xff: No such file or directory")


# ------------------------------------------------------------------------------------------------- damaged and foreign


@each_command
def test_a_foreign_feature_is_named(command: str, tmp_path: Path) -> None:
    path = tmp_path / "foreign.img"
    content = bytearray(DISK.read_bytes())
    # Linux, Documentation/filesystems/ext4/super.rst: s_feature_incompat at 0x60; its highest bit means nothing yet.
    content[1024 + 0x63] |= 0x80
    path.write_bytes(content)
    done = run(command, path, tmp_path)
    line = complaint(done)
    assert done.returncode == 1 and line.startswith(f"vfs: {path}: ") and "feature" in line


@each_command
@pytest.mark.parametrize("size", [1500, 3000, 10_000, 200_000])
def test_a_truncated_image(command: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / "short.img"
    path.write_bytes(DISK.read_bytes()[:size])
    done = run(command, path, tmp_path)
    lines = done.stderr.decode().splitlines()
    assert done.returncode in (0, 1) and all(line.startswith("vfs: ") and "internal error" not in line for line in lines)
    assert len(lines) >= 1 or done.returncode == 0
    # df and info may get by with a superblock.
    if size < 2048 or (size < 4096 and command not in ("df", "info")):
        assert done.returncode == 1 and len(lines) == 1


def test_some_damage_lets_the_rest_be_seen(tmp_path: Path) -> None:
    build = Build(tmp_path / "disk")
    build.mke2fs("1M", "-t", "ext2", "-b", "1024")
    build.fill([file(b"good", b"fine\n"), file(b"bad", b"x" * 5000)])
    build.commands("set_inode_field /bad block[0] 0xFFFFFF")
    done = vfs("cat", build.path, "/bad", "/good")
    assert (done.returncode, done.stdout) == (1, b"fine\n")
    assert complaint(done).startswith(f"vfs: {build.path}: /bad: ")
    assert b"bad\ngood\n" in output("ls", build.path)


# ------------------------------------------------------------------------------------------------------ wrong arguments


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "vfs: no command given (see 'vfs --help')"),
        ([""], "vfs: no command given (see 'vfs --help')"),
        (["nonsense"], "vfs: unknown command 'nonsense' (see 'vfs --help')"),
        (["-x"], "vfs: unknown command '-x' (see 'vfs --help')"),
        (["no\x1b\nsense"], r"vfs: unknown command 'no\x1b\nsense' (see 'vfs --help')"),
        (["help", "nonsense"], "vfs: unknown command 'nonsense' (see 'vfs --help')"),
        (["ls"], "vfs ls: the following arguments are required: IMAGE (see 'vfs ls --help')"),
        (["cat", "x"], "vfs cat: the following arguments are required: PATH (see 'vfs cat --help')"),
        (["ls", "--nonsense", "x"], "vfs ls: unrecognized arguments: --nonsense (see 'vfs ls --help')"),
        (["df", "x", "y"], "vfs df: unrecognized arguments: y (see 'vfs df --help')"),
        (["tree", "-L", "two", "x"], "vfs tree: argument -L/--levels: invalid int value: 'two' (see 'vfs tree --help')"),
        (["mount", "x"], "vfs mount: the following arguments are required: MOUNTPOINT (see 'vfs mount --help')"),
    ],
)
def test_usage(arguments: list[str], line: str) -> None:
    done = vfs(*arguments)
    assert (done.returncode, done.stdout, complaint(done)) == (2, b"", line)


@pytest.mark.parametrize("arguments", [["-size", "ten"], ["-size", "+"], ["-type", "x"], ["-maxdepth", "x"]])
def test_wrong_tests_of_find(arguments: list[str]) -> None:
    done = vfs("find", DISK, *arguments)
    assert done.returncode == 2 and f"argument {arguments[0]}: " in complaint(done)


@each_command
def test_a_partition_of_what_has_none(command: str, tmp_path: Path) -> None:
    done = run(command, DISK, tmp_path, "--partition", "1")
    assert (done.returncode, done.stdout) == (1, b"")
    assert complaint(done) == f"vfs: {DISK}: has no partitions: its content is ext2"
    for number in ("0", "-1", "x", "1" * 20):
        done = run(command, DISK, tmp_path, f"--partition={number}")
        assert (done.returncode, done.stdout) == (2, b"")
        assert f"argument --partition: '{number}' is not the number of a partition" in complaint(done)


@each_command
def test_unknown_type_and_option(command: str, tmp_path: Path) -> None:
    done = run(command, DISK, tmp_path, "-t", "nonsense")
    assert done.returncode == 1 and complaint(done).startswith(f"vfs: {DISK}: unknown type 'nonsense' (known: ")
    done = run(command, DISK, tmp_path, "-o", "ro,nonsense=1")
    assert done.returncode == 1 and complaint(done).startswith(f"vfs: {DISK}: unknown option 'nonsense' (known: ")
    done = run(command, DISK, tmp_path, "-o", "sb=x")
    assert done.returncode == 1 and complaint(done).startswith(f"vfs: {DISK}: option 'sb' wants a whole number")


def test_both_names_of_a_type() -> None:
    assert output("ls", "-t", "ext2", DISK) == output("ls", "-t", "umfuseext2", "-o", "ro", DISK) == output("ls", DISK)


def test_a_writer_elsewhere(tmp_path: Path) -> None:
    from vfs.api import FileStorage

    path = tmp_path / "disk"
    path.write_bytes(DISK.read_bytes())
    with FileStorage(path, writable=True):
        done = vfs("ls", path)
    assert complaint(done) == f"vfs: {path}: is being written by another mount; unmount it first"


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/nothing", "No such file or directory"),
        ("/README/x", "Not a directory"),
        ("/links/loop/x", "Too many levels of symbolic links"),
        ("/" + "x" * 256, "File name too long"),
        ("/no\nsuch", "No such file or directory"),
    ],
)
@pytest.mark.parametrize("command", ["ls", "tree", "cat", "stat", "find", "cp", "extract"])
def test_paths_that_are_not_there(command: str, path: str, sentence: str, tmp_path: Path) -> None:
    more = [str(tmp_path / "out")] if command in ("cp", "extract") else []
    done = vfs(command, DISK, path, *more)
    shown = path.replace("\n", "\\n")
    assert (done.returncode, complaint(done)) == (1, f"vfs: {DISK}: {shown}: {sentence}")


# ------------------------------------------------------------------------------------------------- the other end fails


@pytest.mark.parametrize("arguments", [["ls", "-R"], ["find"], ["cat"], ["extract", "--tar"]])
def test_a_reader_that_has_enough_ends_it_silently(arguments: list[str], tmp_path: Path) -> None:
    more = {"cat": ["/sizes/300000"] * 20, "extract": ["-"]}.get(arguments[0], [])
    with subprocess.Popen(
        [*VFS, *arguments, DISK, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        # What fits into the pipe may all have been written by then.
        assert process.wait(60) in (-signal.SIGPIPE, 0)


def test_head() -> None:
    command = f"{' '.join(VFS)} cat '{DISK}' {'/sizes/300000 ' * 20} | head -c 5 | wc -c; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=PROJECT, timeout=60)
    assert (done.stdout, done.stderr) == ("5\n141\n", "")


@pytest.mark.parametrize("command", ["ls", "cat", "find", "info", "tree", "stat"])
def test_a_full_disk(command: str, tmp_path: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = run(command, DISK, tmp_path, stdout=full, capture_output=False, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert complaint(done).endswith(": No space left on device")


def test_help_into_a_full_disk() -> None:
    with open("/dev/full", "wb") as full:
        done = vfs("--help", stdout=full, capture_output=False, stderr=subprocess.PIPE)
    assert (done.returncode, complaint(done)) == (1, "vfs: standard output: No space left on device")


def test_closed_standard_streams() -> None:
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["bash", "-c", f"{' '.join(VFS)} cat '{DISK}' /README /nothing {closed}"], capture_output=True, cwd=PROJECT
        )
        assert done.returncode == 1 and b"Traceback" not in done.stderr and b"internal" not in done.stderr


@pytest.mark.parametrize("command", ["cat", "extract"])
def test_interrupted(command: str, tmp_path: Path) -> None:
    """Ctrl-C while it waits for whoever reads its output."""
    build = Build(tmp_path / "disk")
    build.mke2fs("1M", "-t", "ext2", "-b", "1024")
    build.fill([file(b"big", Content(16 << 20, ((0, b"x"),)))])
    arguments = (
        ["cat", str(build.path), "/big"] if command == "cat" else ["extract", str(build.path), str(tmp_path / "fifo"), "--tar"]
    )
    os.mkfifo(tmp_path / "fifo")
    with subprocess.Popen([*VFS, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=PROJECT) as process:
        assert process.stdout is not None and process.stderr is not None
        if command == "cat":
            process.stdout.read(1)
        else:
            wait_until_blocked(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"vfs: interrupted\n"
        assert process.wait(60) == 130


def wait_until_blocked(pid: int) -> None:
    """Until the process sleeps in the kernel's opening of a fifo."""
    for _ in range(1000):
        if "fifo" in Path(f"/proc/{pid}/wchan").read_text() or "wait_for_partner" in Path(f"/proc/{pid}/wchan").read_text():
            return
        time.sleep(0.01)
    pytest.fail("the process never waited for a reader")


# ------------------------------------------------------------------------------------------------------- our own mistakes


def test_a_mistake_of_ours_is_one_line_and_says_how_to_see_more(tmp_path: Path) -> None:
    """A module that raises what no module may raise."""
    (tmp_path / "faulty.py").write_text(
        "from vfs.api import *\n"
        "class Faulty(Module):\n"
        "    name = 'faulty'; description = 'breaks'\n"
        "    def mount(self, source, options): return {}['a\\n\\x1bkey']\n"
    )
    (tmp_path / "faulty-1.dist-info").mkdir()
    (tmp_path / "faulty-1.dist-info" / "entry_points.txt").write_text("[vfs.filesystems]\nfaulty = faulty:Faulty\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = vfs("ls", "-t", "faulty", DISK, env=environment)
    assert done.returncode == 1
    assert complaint(done) == r"vfs: internal error: KeyError: 'a\\n\\x1bkey' (set VFS_TRACEBACK=1 to see where)"
    done = vfs("ls", "-t", "faulty", DISK, env=environment | {"VFS_TRACEBACK": "1"})
    assert done.returncode == 1 and b"Traceback" in done.stderr


# ------------------------------------------------------------------------------------------------------------- progress


def on_a_terminal(arguments: list[str], tmp_path: Path) -> tuple[int, bytes]:
    """Run `vfs` with a terminal for standard error; exit code and what appeared there."""
    parent, child = pty.openpty()
    program = "import sys; from vfs.cli import main, progress; progress.INTERVAL = 0; sys.exit(main.main(sys.argv[1:]))"
    command = [sys.executable, "-bb", "-c", program, *arguments]
    with subprocess.Popen(command, stderr=child, stdout=subprocess.DEVNULL, cwd=PROJECT) as process:
        os.close(child)
        seen = b""
        while True:
            select.select([parent], [], [], 60)
            try:
                piece = os.read(parent, 65536)
            except OSError:  # EIO: the other side is closed
                break
            if not piece:
                break
            seen += piece
        os.close(parent)
        return process.wait(60), seen


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    status, seen = on_a_terminal(["extract", str(DISK), "/names", str(tmp_path / "out")], tmp_path)
    assert status == 0
    lines = seen.decode().split("\r")
    assert any(line.startswith("20 files, ") and line.endswith("\x1b[K") for line in lines), lines[:30]
    assert lines[-1] == "\x1b[K", "the line is taken away in the end"
    assert "\n" not in seen.decode()
    # A name in the image must not reach the terminal raw here either.
    assert "\x1b[31m" not in seen.decode() and "\\x1b[31m" in seen.decode()


def test_a_message_is_not_mixed_into_the_progress(tmp_path: Path) -> None:
    status, seen = on_a_terminal(["extract", str(DISK), str(tmp_path / "out.tar")], tmp_path)
    assert status == 0
    assert f"\r\x1b[Kvfs: {DISK}: warning: sockets left out" in seen.decode()


def test_no_progress_in_a_pipe(tmp_path: Path) -> None:
    done = vfs("extract", DISK, tmp_path / "out")
    assert b"\r" not in done.stderr and b" files, " not in done.stderr
