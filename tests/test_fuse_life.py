"""How a kernel mount begins and ends, and what is said when it cannot begin."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.ext import image
from tests.command import PROJECT, VFS, complaint, unprivileged, vfs
from tests.fuse_mounts import LIMIT, alive, foreground, is_mounted, mounted, needs_fuse, place, processes, run, until

pytestmark = needs_fuse()


def refused(*arguments: str | Path) -> str:
    """The one line of a `vfs mount` that fails with status 1 and leaves nothing behind."""
    done = vfs("mount", *arguments, timeout=LIMIT)
    assert done.returncode == 1
    assert done.stdout == b""
    line = complaint(done)
    assert not is_mounted(Path(arguments[-1]).resolve())
    return line


# ---------------------------------------------------------------- beginnings


def test_returns_when_usable() -> None:
    with place() as directory:
        before = os.stat(directory).st_dev
        # `capture_output` also proves that the serving process keeps none of our descriptors open.
        assert vfs("mount", image("ext4_4k"), directory, timeout=LIMIT).returncode == 0
        assert os.stat(directory).st_dev != before
        assert len(processes(directory)) == 1


def test_serving_process_leaves_terminal_and_directory() -> None:
    with mounted(image("ext4_4k")) as directory:
        (pid,) = processes(directory)
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
        assert {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)} == {"/dev/null"}
        assert os.getsid(pid) == pid


def test_relative_names(tmp_path: Path) -> None:
    shutil.copy(image("ext2_1k"), tmp_path / "a.img")
    with place() as directory:
        command = [*VFS, "mount", "a.img", os.path.relpath(directory, tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
        subprocess.run(command, cwd=tmp_path, check=True, timeout=LIMIT, env=environment)
        assert is_mounted(directory)
        assert run("findmnt", "-n", "-o", "SOURCE,FSTYPE", directory).split() == [str(tmp_path / "a.img"), "fuse.ext2"]
        os.listdir(directory)
        pids = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _opened(pid, tmp_path / "a.img")]
        subprocess.run(["umount", directory], check=True, timeout=LIMIT)
        assert until(lambda: not any(map(alive, pids)))


def _opened(pid: int, path: Path) -> bool:
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{number}") == str(path) for number in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def test_any_name_of_a_source(tmp_path: Path) -> None:
    strange = os.fsdecode(b"a, b\\c=\xff\xc3\xa9 'd\"!e.img")
    shutil.copy(image("ext2_1k"), tmp_path / strange)
    with mounted(tmp_path / strange) as directory:
        table = Path("/proc/self/mountinfo").read_bytes()
        (line,) = [line for line in table.splitlines() if b" " + os.fsencode(directory) + b" " in line]
        shown = line.split(b" - ")[1].split()[1]
        # As in all mount tables, blanks and backslashes are octal.
        wanted = os.fsencode(tmp_path / strange).replace(b"\\", rb"\134").replace(b" ", rb"\040")
        assert shown == wanted
        assert len(os.listdir(directory)) > 5


def test_foreground_stays() -> None:
    with place() as directory:
        process = foreground(image("ext4_4k"), directory)
        assert process.poll() is None
        os.listdir(directory)
        assert vfs("umount", directory, timeout=LIMIT).returncode == 0
        assert process.communicate(timeout=LIMIT) == (b"", b"")
        assert process.returncode == 0


def test_debug_stays_and_logs_requests() -> None:
    with place() as directory:
        process = foreground(image("ext4_4k"), directory, "-d")
        os.listdir(directory)
        assert vfs("umount", directory, timeout=LIMIT).returncode == 0
        _, log = process.communicate(timeout=LIMIT)
        assert b"READDIRPLUS" in log


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(
    "command", [["umount"], ["fusermount3", "-u"], [*VFS, "umount"], ["umount", "-l"], [*VFS, "umount", "-l"]]
)
def test_unmounting_ends_the_process(command: list[str]) -> None:
    if command[0] == "umount" and os.geteuid() != 0:
        pytest.skip("umount(8) of a FUSE mount needs root")
    with mounted(image("ext4_4k")) as directory:
        os.listdir(directory)
        (pid,) = processes(directory)
        assert run(*command, directory) == ""
        assert not is_mounted(directory)
        assert until(lambda: not alive(pid))
        assert os.listdir(directory) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it(number: signal.Signals) -> None:
    with mounted(image("ext4_4k")) as directory:
        (pid,) = processes(directory)
        os.kill(pid, number)
        assert until(lambda: not alive(pid))
        assert not is_mounted(directory)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_the_foreground_with_status_0(number: signal.Signals) -> None:
    with place() as directory:
        process = foreground(image("ext4_4k"), directory)
        process.send_signal(number)
        assert process.communicate(timeout=LIMIT) == (b"", b"")
        assert process.returncode == 0
        assert not is_mounted(directory)


def test_signal_while_busy_with_requests() -> None:
    walk = (
        "import os, sys\nwhile True:\n    for path, _, names in os.walk(sys.argv[1]): [os.lstat(path + '/' + n) for n in names]"
    )
    with mounted(image("htree_half_md4")) as directory:
        (pid,) = processes(directory)
        walkers = [subprocess.Popen([sys.executable, "-c", walk, directory], stderr=subprocess.DEVNULL) for _ in range(2)]
        try:
            assert until(lambda: len(os.listdir(directory)) > 0)
            os.kill(pid, signal.SIGTERM)
            assert until(lambda: not alive(pid))
            assert not is_mounted(directory)
        finally:
            for walker in walkers:
                walker.kill()
                walker.wait(LIMIT)


def test_signal_while_a_file_is_open() -> None:
    with mounted(image("ext4_4k")) as directory:
        (pid,) = processes(directory)
        file = next(path for path in sorted(directory.rglob("*")) if path.is_file() and path.stat().st_size)
        descriptor = os.open(file, os.O_RDONLY)
        os.kill(pid, signal.SIGTERM)
        assert until(lambda: not alive(pid))
        assert not is_mounted(directory)
        with contextlib.suppress(OSError):  # nobody is there to be told of it
            os.close(descriptor)


def test_in_use_is_refused_and_lazy_waits() -> None:
    with mounted(image("ext4_4k")) as directory:
        (pid,) = processes(directory)
        file = next(path for path in sorted(directory.rglob("*")) if path.is_file() and path.stat().st_size)
        with file.open("rb", buffering=0) as opened:
            line = complaint(vfs("umount", directory, timeout=LIMIT))
            assert "in use" in line and str(directory) in line
            assert is_mounted(directory)
            assert vfs("umount", "-l", directory, timeout=LIMIT).returncode == 0
            assert not is_mounted(directory)
            # It goes on for who has it open.
            assert opened.read()
            assert alive(pid)
        assert until(lambda: not alive(pid))


def test_killed_mount_can_be_cleaned_up_and_mounted_again() -> None:
    with mounted(image("ext4_4k")) as directory:
        (pid,) = processes(directory)
        os.kill(pid, signal.SIGKILL)
        assert until(lambda: not alive(pid))
        with pytest.raises(OSError, match="not connected"):
            os.listdir(directory)
        assert "vfs umount" in complaint(vfs("mount", image("ext4_4k"), directory, timeout=LIMIT))
        assert vfs("umount", directory, timeout=LIMIT).returncode == 0
        assert not is_mounted(directory)
        assert vfs("mount", image("ext4_4k"), directory, timeout=LIMIT).returncode == 0
        os.listdir(directory)


def test_many_mounts_of_one_image_at_once() -> None:
    """Readers share the image; each mount has its process."""
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(place()) for _ in range(8)]
        starting = [subprocess.Popen([*VFS, "mount", image("ext4_4k"), directory]) for directory in places]
        assert [process.wait(LIMIT) for process in starting] == [0] * len(places)
        assert len({tuple(sorted(os.listdir(directory))) for directory in places}) == 1


# ---------------------------------------------------------------- refusals


def test_missing_image() -> None:
    with place() as directory:
        line = refused("/nowhere/none.img", directory)
        assert "/nowhere/none.img" in line and "No such file" in line


def test_missing_mountpoint() -> None:
    line = refused(image("ext4_4k"), "/nowhere/none")
    assert "/nowhere/none" in line and "No such file" in line


def test_mountpoint_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "not a directory" in refused(image("ext4_4k"), tmp_path / "file")


def test_not_an_image(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not an image\n" * 1000)
    with place() as directory:
        assert "not an image of any known format" in refused(tmp_path / "text", directory)
        assert str(tmp_path / "text") in refused("-t", "ext2", tmp_path / "text", directory)


def test_unknown_type() -> None:
    with place() as directory:
        line = refused("-t", "nosuchfs", image("ext4_4k"), directory)
        assert "nosuchfs" in line and "ext2" in line


def test_foreign_feature() -> None:
    with place() as directory:
        assert "compression" in refused("-t", "ext2", image("compression"), directory)


def test_source_may_not_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with place() as directory:
        assert "not a file or a block device" in refused(tmp_path / "fifo", directory)


def test_writing_is_refused_with_a_sentence() -> None:
    with place() as directory:
        for option in ("rw", "rw+"):
            assert refused("-o", option, image("ext4_4k"), directory)


def test_the_same_source_twice_on_one_place() -> None:
    with mounted(image("ext4_4k")) as directory:
        line = complaint(vfs("mount", image("ext4_4k"), directory, timeout=LIMIT))
        assert "already mounted" in line


def test_another_source_is_stacked() -> None:
    with mounted(image("ext4_4k")) as directory:
        below = sorted(os.listdir(directory))
        assert vfs("mount", image("symlinks"), directory, timeout=LIMIT).returncode == 0
        assert sorted(os.listdir(directory)) != below
        assert vfs("umount", directory, timeout=LIMIT).returncode == 0
        assert sorted(os.listdir(directory)) == below


def test_unmounting_what_is_not_ours(tmp_path: Path) -> None:
    assert "not mounted" in complaint(vfs("umount", tmp_path, timeout=LIMIT))
    assert "No such file" in complaint(vfs("umount", tmp_path / "none", timeout=LIMIT))
    line = complaint(vfs("umount", "/proc", timeout=LIMIT))
    assert "proc" in line and "not one of vfs" in line


def test_no_fuse_in_this_host(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("hiding /dev/fuse needs root")
    (tmp_path / "m").mkdir()
    script = f"mount -t tmpfs none /dev; exec {' '.join(VFS)} mount {image('ext4_4k')} {tmp_path / 'm'}"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, timeout=LIMIT, cwd=Path(__file__).parent.parent
    )
    assert done.returncode == 1
    assert "/dev/fuse: no FUSE in this kernel or container" in complaint(done)


def test_no_fusermount_for_a_user(tmp_path: Path) -> None:
    prefix = [*unprivileged(), "env", f"PATH={tmp_path}"]
    with place() as directory:
        done = vfs("mount", image("ext4_4k"), directory, prefix=prefix, timeout=LIMIT)
        assert done.returncode == 1
        assert "fusermount3 is not installed" in complaint(done)


def test_the_process_dies_before_it_is_ready() -> None:
    from vfs.fuse.background import launch

    def dies(ready: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(OSError, match="SIGKILL"):
        launch(dies)


def test_an_error_of_ours_is_one_line_too() -> None:
    from vfs.fuse.background import launch

    def fails(ready: object) -> None:
        raise ZeroDivisionError("oops")

    with pytest.raises(OSError, match="ZeroDivisionError: oops"):
        launch(fails)
