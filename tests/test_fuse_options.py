"""Mount options of kernel mounts, and mounts made by an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fixtures.ext import image
from tests.command import PROJECT, VFS, complaint, unprivileged, vfs
from tests.fuse_mounts import LIMIT, is_mounted, mounted, needs_fuse, place, run
from tests.oracle import differences, from_json, oracle
from vfs.fuse import mounts

pytestmark = needs_fuse()
BEFORE = {mount.mountpoint for mount in mounts.table()}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: changes to another user")


def options_of(directory: Path) -> set[str]:
    """All options that the kernel's table shows for the mount, of the mount point and of the file system."""
    mount = mounts.at(os.fsencode(directory))
    assert mount is not None
    return {*mount.options, *mount.super_options}


def test_shown_in_the_mount_table() -> None:
    path = image("ext4_4k")
    with mounted(path) as directory:
        mount = mounts.at(os.fsencode(directory))
        assert mount is not None
        assert (mount.type, os.fsdecode(mount.source)) == ("fuse.ext2", str(path))
        assert {"ro", "nosuid", "nodev"} <= options_of(directory)
        assert not {"noexec", "allow_other", "default_permissions"} & options_of(directory)


@needs_root
def test_suid_dev_and_noexec_are_honoured() -> None:
    with mounted(image("ext4_4k"), "-o", "suid,dev,noexec,noatime") as directory:
        assert {"ro", "noexec", "noatime"} <= options_of(directory)
        assert not {"nosuid", "nodev"} & options_of(directory)


def test_no_wins_over_its_opposite() -> None:
    with mounted(image("ext4_4k"), "-o", "suid,nosuid,dev,nodev,exec") as directory:
        assert {"nosuid", "nodev"} <= options_of(directory)


def test_names_shown_can_be_chosen() -> None:
    with mounted(image("ext4_4k"), "-o", r"fsname=my\, disk,subtype=old") as directory:
        assert run("findmnt", "-n", "-r", "-o", "FSTYPE", directory).strip() == "fuse.old"
        mount = mounts.at(os.fsencode(directory))
        assert mount is not None and mount.source == b"my, disk"


def test_unknown_option_names_all_known() -> None:
    with place() as directory:
        done = vfs("mount", "-o", "ro,allow_othr", image("ext4_4k"), directory, timeout=LIMIT)
        line = complaint(done)
        assert done.returncode == 1
        assert "'allow_othr'" in line
        assert {"allow_other", "noxattr", "nosuid", "sb", "ro"} <= set(line.replace(",", " ").replace(")", " ").split())


def test_malformed_option() -> None:
    with place() as directory:
        assert "'sb'" in complaint(vfs("mount", "-o", "sb=x", image("ext4_4k"), directory, timeout=LIMIT))
        assert "'noxattr'" in complaint(vfs("mount", "-o", "noxattr=1", image("ext4_4k"), directory, timeout=LIMIT))


def test_noxattr() -> None:
    with mounted(image("ext4_xattrs"), "-o", "noxattr") as directory:
        file = str(directory / "attr" / "one")
        for _ in range(2):
            with pytest.raises(OSError, match="not supported"):
                os.getxattr(file, "user.one")
            with pytest.raises(OSError, match="not supported"):
                os.listxattr(file)


def test_everything_is_read_only() -> None:
    with mounted(image("ext4_4k")) as directory:
        file = next(path for path in sorted(directory.rglob("*")) if path.is_file())
        attempts: list[Callable[[], object]] = [
            lambda: os.open(file, os.O_WRONLY),
            lambda: os.open(directory / "new", os.O_WRONLY | os.O_CREAT, 0o600),
            lambda: os.unlink(file),
            lambda: os.mkdir(directory / "new"),
            lambda: os.rename(file, directory / "new"),
            lambda: os.chmod(file, 0o600),
            lambda: os.utime(file),
            lambda: os.setxattr(file, "user.x", b"y"),
            lambda: os.truncate(file, 0),
            lambda: os.symlink("x", directory / "new"),
        ]
        for attempt in attempts:
            with pytest.raises(OSError, match="Read-only file system"):
                attempt()
        assert not os.access(file, os.W_OK)


# ---------------------------------------------------------------- permissions


@needs_root
def test_others_get_in_with_allow_other_only() -> None:
    prefix = unprivileged()
    with mounted(image("ext4_4k")) as directory:
        done = subprocess.run([*prefix, "ls", directory], capture_output=True, timeout=LIMIT)
        assert b"Permission denied" in done.stderr
    with mounted(image("ext4_4k"), "-o", "allow_other") as directory:
        assert "lost+found" in run(*prefix, "ls", directory)


@needs_root
def test_allow_other_enforces_permission_bits_and_acls(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, mode in (("secret", 0o600), ("open", 0o644), ("listed", 0o600), ("closed", 0o644)):
        (tree / name).write_text(name)
        (tree / name).chmod(mode)
    run("setfacl", "-m", "u:65534:r", tree / "listed")
    run("setfacl", "-m", "u:65534:-", tree / "closed")
    path = tmp_path / "a.img"
    # mke2fs -d takes attributes along, ACLs among them, since 1.47; the kernel does in any case.
    run("mke2fs", "-q", "-t", "ext4", path, "4M")
    (tmp_path / "k").mkdir()
    run("mount", "-o", "loop", path, tmp_path / "k")
    try:
        run("cp", "-a", *tree.iterdir(), tmp_path / "k")
    finally:
        run("umount", tmp_path / "k")

    def readable(directory: Path) -> set[str]:
        command = [*unprivileged(), "cat", *(str(directory / name) for name in ("secret", "open", "listed", "closed"))]
        done = subprocess.run(command, capture_output=True, timeout=LIMIT)
        return {name for name in ("secret", "open", "listed", "closed") if name.encode() in done.stdout}

    with mounted(path, "-o", "allow_other") as directory:
        assert {"allow_other", "default_permissions"} <= options_of(directory)
        assert readable(directory) == {"open", "listed"}


def script(directory: Path, *lines: str) -> subprocess.CompletedProcess[bytes]:
    """A shell script run by an ordinary user, in *directory*; `vfs` is our command. Where /dev/fuse is for root only, which udev
    changes on every ordinary host, the script sees one that is not."""
    command = f'vfs() {{ {" ".join(VFS)} "$@"; }}; cd {directory}\n' + "\n".join(lines)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    if os.geteuid() != 0:
        return subprocess.run(["sh", "-c", command], capture_output=True, timeout=LIMIT, env=environment)
    node = directory.parent / f"{directory.name}.fuse"
    os.mknod(node, 0o020666, os.stat("/dev/fuse").st_rdev)
    node.chmod(0o666)
    try:
        open_device = f'mount --make-rprivate / && mount --bind {node} /dev/fuse && exec "$@"'
        inside = ["unshare", "-m", "sh", "-c", open_device, "sh", *unprivileged(), "sh", "-c", command]
        return subprocess.run(inside, capture_output=True, timeout=LIMIT, env=environment)
    finally:
        node.unlink()


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of the ordinary user, with an image `a.img` and a mount point `m` in it."""
    with place() as directory:
        (directory / "m").mkdir()
        shutil.copy(image("ext4_4k"), directory / "a.img")
        (directory / "a.img").chmod(0o400)
        for path in (directory, directory / "m", directory / "a.img"):
            if os.geteuid() == 0:
                os.chown(path, 65534, 65534)
        yield directory
        shutil.rmtree(directory)
        directory.mkdir()


def test_ordinary_user(home: Path) -> None:
    """The whole content, root's files of mode 0600 included: it is the user's own image."""
    done = script(
        home,
        "set -e",
        "vfs mount a.img m",
        "grep -q ' fuse.ext2 ro,nosuid,nodev,' /proc/mounts",
        f"python3 {PROJECT}/tests/oracle.py m",
        "vfs umount m",
        "! grep -q ' fuse.ext2 ' /proc/mounts",
    )
    assert (done.returncode, done.stderr) == (0, b"")
    # trusted.* is for those with CAP_SYS_ADMIN, as on a disk.
    expected = oracle(image("ext4_4k"))
    found = from_json(done.stdout)
    hidden = {name for entry in expected.values() for name in entry.xattrs if name.startswith(b"trusted.")}
    assert not any(hidden & set(entry.xattrs) for entry in found.values())
    assert differences(expected, found, ["btime", "xattrs"]) == []
    for path, entry in expected.items():
        assert found[path].xattrs == {name: value for name, value in entry.xattrs.items() if name not in hidden}


def test_ordinary_user_ends_it_with_fusermount(home: Path) -> None:
    done = script(
        home, "vfs mount a.img m && fusermount3 -u m && ! grep -q fuse.ext2 /proc/mounts && vfs mount a.img m && vfs umount m"
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_ordinary_user_cleans_up_after_a_kill(home: Path) -> None:
    done = script(
        home,
        f"{' '.join(VFS)} mount -f a.img m & p=$!",
        "for i in 1 2 3 4 5 6 7 8 9; do grep -q fuse.ext2 /proc/mounts && break; sleep 0.3; done; ls m >/dev/null",
        "kill -9 $p; wait $p 2>/dev/null",
        "ls m 2>&1 | grep -q 'not connected' || exit 3",
        "vfs umount m || exit 4",
        "! grep -q fuse.ext2 /proc/mounts",
    )
    assert (done.returncode, done.stderr.replace(b"Killed\n", b"")) == (0, b"")


def test_ordinary_user_may_not_everything(home: Path) -> None:
    done = script(home, "vfs mount a.img /etc; vfs mount /etc/shadow m; vfs mount -o allow_other a.img m; true")
    lines = done.stderr.decode().splitlines()
    allowed = any(line.strip() == "user_allow_other" for line in Path("/etc/fuse.conf").read_text().splitlines())
    assert "/etc: fusermount3: " in lines[0] and "no write access" in lines[0]
    assert lines[1] == "vfs: /etc/shadow: Permission denied"
    assert len(lines) == (2 if allowed else 3)
    if not allowed:
        assert "user_allow_other" in lines[2]


def test_kept_mount_points() -> None:
    """Nothing of this file stays mounted. (What a killed run of others left is not ours.)"""
    assert not [mount for mount in mounts.table() if b"vfs-mount-" in mount.mountpoint and mount.mountpoint not in BEFORE]
    assert not is_mounted(Path("/etc"))
