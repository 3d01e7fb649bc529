"""vfs/view/permissions.py against the host's kernel: the same files, the same users, the same answers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import PROJECT, open_to_all, reachable
from tests.views import ENVIRONMENT, UMVIEW, both, shown
from vfs.api import Stat
from vfs.api.acl import ACCESS, GROUP, GROUP_OBJ, MASK, OTHER, USER, USER_OBJ, Acl, AclEntry, pack, unpack
from vfs.view.credentials import ALL, Credentials, Ids, user
from vfs.view.permissions import may

IDS = [0, 1000, 1001, 1002]
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be anybody")


def random_acl(chance: random.Random) -> Acl:
    named = [AclEntry(USER, chance.randrange(8), who) for who in sorted(chance.sample(IDS, chance.randrange(3)))]
    groups = [AclEntry(GROUP, chance.randrange(8), who) for who in sorted(chance.sample(IDS, chance.randrange(4)))]
    mask = [AclEntry(MASK, chance.randrange(8))] if named or groups or chance.random() < 0.5 else []
    own, group, other = (AclEntry(tag, chance.randrange(8)) for tag in (USER_OBJ, GROUP_OBJ, OTHER))
    return [own, *named, group, *groups, *mask, other]


@ROOT
def test_as_the_kernel(tmp_path: Path) -> None:
    """All of reading, writing and executing, for files and directories with modes and ACLs, for users in groups."""
    chance = random.Random(7)
    tmp_path.chmod(0o755)
    for directory in tmp_path.parents:
        if directory != Path("/") and directory.stat().st_mode & 0o001 == 0:
            directory.chmod(0o755)
    answers = 0
    for number in range(150):
        path = tmp_path / str(number)
        path.mkdir() if chance.random() < 0.3 else path.touch()
        os.chown(path, chance.choice(IDS), chance.choice(IDS))
        path.chmod(chance.randrange(0o1000))
        if chance.random() < 0.6:
            os.setxattr(path, ACCESS, pack(random_acl(chance)))
        found = path.stat()
        try:
            acl: Acl | None = unpack(os.getxattr(path, ACCESS))
        except OSError:
            acl = None
        what = Stat(ino=1, mode=found.st_mode, uid=found.st_uid, gid=found.st_gid)
        for uid in IDS:
            gid, groups = chance.choice(IDS), chance.sample(IDS, chance.randrange(3))
            told = as_user(uid, gid, groups, path)
            who = user(uid, gid, tuple(groups))
            ours = [may(who, what, acl, want) for want in range(1, 8)]
            assert ours == told, (uid, gid, groups, oct(found.st_mode), found.st_uid, found.st_gid, acl)
            answers += len(ours)
    assert answers == 4200


def as_user(uid: int, gid: int, groups: list[int], path: Path) -> list[bool]:
    """What access(2) tells somebody."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        os.write(writer, bytes(os.access(path, want) for want in range(1, 8)))
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    answer = os.read(reader, 7)
    os.close(reader)
    return [bool(byte) for byte in answer]


@pytest.mark.parametrize(
    "capability, kind, allowed",
    [
        (1, 0o100000, [2, 4, 6]),
        (2, 0o100000, [4]),
        (1, 0o040000, [1, 2, 3, 4, 5, 6, 7]),
        (2, 0o040000, [1, 4, 5]),
        (3, 0o040000, []),
    ],
)
def test_capabilities(capability: int, kind: int, allowed: list[int]) -> None:
    """CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, on what has no permission at all."""
    who = Credentials(Ids.all(5), Ids.all(5), (), ALL, 1 << capability)
    what = Stat(ino=1, mode=kind, uid=1, gid=1)
    assert [want for want in range(1, 8) if may(who, what, None, want)] == allowed


@ROOT
@pytest.mark.parametrize("first", [0, 500])
def test_human_mode_is_as_the_host(tmp_path: Path, first: int) -> None:
    """All kinds of calls in trees of random owners, modes and ACLs, as several users: on the host's tmpfs, and in a mount."""
    open_to_all(tmp_path)
    walk = f"'{sys.executable}' -S '{PROJECT}/tests/view_permissions.py' \"$1\" {first} 25"
    host = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o mode=755 none "$1" && {walk}', "x", str(tmp_path)]
    done = subprocess.run(host, capture_output=True, text=True, timeout=100, cwd="/", check=True)
    inside = shown(f'mount -t ramfs -o mode=755 none "$1" && {walk}', tmp_path, options=["-s"], user="nobody")
    assert len(inside.splitlines()) == 25 * 72
    assert inside.splitlines() == done.stdout.splitlines()


@ROOT
@pytest.mark.parametrize("first", [0, 500])
def test_the_host_in_human_mode(tmp_path: Path, first: int) -> None:
    """The same on the host's own files, without any mount: virtual users get there what the bits give them."""
    open_to_all(tmp_path)
    walk = [sys.executable, "-S", str(PROJECT / "tests/view_permissions.py"), str(tmp_path), str(first), "25"]
    told = []
    for command in (walk, [str(UMVIEW), "-s", *walk]):
        inside = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o mode=755 none "$0" && exec "$@"', str(tmp_path), *command]
        done = subprocess.run(inside, capture_output=True, text=True, timeout=100, cwd="/", env=ENVIRONMENT)
        assert (done.returncode, done.stderr) == (0, "")
        told.append(done.stdout.splitlines())
    assert len(told[0]) == 25 * 72
    assert told[0] == told[1]


AS_USER = 'exec setpriv --reuid=1000 --regid=1000 --clear-groups bash -c "$2" script "$1"'
"""Whoever starts the view: $2 is for a virtual user that he is not."""


@both
def test_what_a_virtual_user_makes_on_the_host(user: str) -> None:
    """It is his, whoever the real one is; and his programs run."""
    with reachable() as place:
        place.chmod(0o777)
        script = r"""
cd "$1"; umask 077; mkdir d; cd d; echo a > f; ln -s f l; mkfifo p; printf '#!/bin/cat\ntext\n' > s; chmod 755 s
stat -c '%n %u %g %a' . f l p s; chmod 640 f; cat l; ./s | tail -1; (echo through > p &); cat p; cat <(echo process)
cd ..; pwd; mkdir gone; cd gone; rmdir ../gone; ls; cd ../d; rm -r "$1"/d/*; cd ..; rmdir d
python3 -c '
import os, socket, tempfile
bound, to = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
bound.bind("socket"); bound.listen(); to.connect(os.path.abspath("socket")); print(os.stat("socket").st_uid)
os.unlink("socket")
with tempfile.TemporaryFile(dir=".") as file:
    os.fchmod(file.fileno(), 0o600); file.write(b"x"); file.flush(); print(open("/proc/self/fd/%d" % file.fileno()).read())
print(os.path.samestat(os.stat(".", dir_fd=os.open("/tmp", os.O_PATH)), os.stat("/tmp")))
open("/dev/null", "w").write("x")'"""
        expected = (
            ". 1000 1000 700\nf 1000 1000 600\nl 1000 1000 777\np 1000 1000 600\ns 1000 1000 755\n"
            f"a\ntext\nthrough\nprocess\n{place}\n1000\nx\nTrue\n"
        )
        assert shown(AS_USER, place, script, options=["-s"], user=user) == expected
        assert os.listdir(place) == []


@both
def test_what_a_virtual_user_may_not_on_the_host(user: str) -> None:
    """Not even by a descriptor, or by names of /proc that lead to it; and not more than the real one."""
    with reachable() as place:
        (place / "theirs").write_text("x")
        (place / "theirs").chmod(0o644)
        (place / "closed").mkdir(mode=0o700)
        os.chown(place / "closed", 65534, 65534) if os.geteuid() == 0 else None
        (place / "secret").touch(mode=0o600)
        script = r"""
cd "$1"; python3 -c '
import os
def refused(action, *arguments):
    try:
        print(action.__name__, action(*arguments))
    except OSError as error:
        print(action.__name__, error.strerror)
fd = os.open("theirs", os.O_RDONLY)
for name in (fd, "theirs", "/proc/self/fd/%d" % fd, "../%s/theirs" % os.path.basename(os.getcwd())):
    refused(os.chmod, name, 0o666)
refused(os.open, "/proc/self/fd/%d" % fd, os.O_WRONLY)
refused(os.utime, fd, (1, 2))
refused(os.setxattr, fd, "user.x", b"x")
refused(os.listdir, "closed")
refused(os.chdir, "closed")
refused(os.open, "secret", os.O_RDONLY)
refused(os.open, "/proc/1/environ", os.O_RDONLY)
refused(os.open, "/proc/%d/environ" % os.getppid(), os.O_RDONLY)
refused(os.unlink, "theirs")
refused(os.mkdir, "new")'"""
        denied, refused = "Permission denied", "Operation not permitted"
        expected = [f"chmod {refused}"] * 4 + [f"open {denied}", f"utime {refused}", f"setxattr {denied}"]
        expected += [
            f"listdir {denied}",
            f"chdir {denied}",
            f"open {denied}",
            f"open {denied}",
            "",
            f"unlink {denied}",
            f"mkdir {denied}",
        ]
        told = shown(AS_USER, place, script, options=["-s"], user=user).splitlines()
        told[11] = ""
        assert told == expected


@both
def test_protected_and_privileged_files(user: str) -> None:
    """fs.protected_hardlinks, and bits that are lost by writing, in a mount; whoever began to write first."""
    with reachable() as place:
        script = r"""
mount -t ramfs -o mode=777 none "$1"; cd "$1"; echo x > root; chmod 644 root
for f in written truncated cut kept set; do echo x > $f; chown 1000:1000 $f; chmod 6755 $f; done; chmod 666 set
exec setpriv --reuid=1000 --regid=1000 --clear-groups python3 -c '
import os
try:
    os.link("root", "link")
except OSError as error:
    print(error.strerror)
os.write(os.open("written", os.O_WRONLY), b"y")
os.open("truncated", os.O_WRONLY | os.O_TRUNC)
os.truncate("cut", 1)
os.open("kept", os.O_WRONLY)
fd = os.open("set", os.O_WRONLY)
os.write(fd, b"y"); os.chmod("set", 0o4755)
for name in ("written", "truncated", "cut", "kept", "set"):
    print(name, oct(os.stat(name).st_mode))'"""
        expected = "Operation not permitted\nwritten 0o100755\ntruncated 0o100755\ncut 0o100755\nkept 0o106755\nset 0o104755\n"
        if Path("/proc/sys/fs/protected_hardlinks").read_text() == "0\n":
            expected = expected.partition("\n")[2]
        assert shown(script, place, options=["-s"], user=user) == expected


@both
def test_devices_and_processes_for_virtual_users(user: str) -> None:
    """A virtual device is listed, and opened by its bits; whoever runs another's process does not look into it."""
    with reachable() as place:
        script = r"""
mount -t ramfs -o mode=755 none "$1"; cd "$1"; mount -t umdevramdisk -o size=1M,mode=666 none open
mount -t umdevramdisk -o size=1M,mode=600 none shut
mount -t umdevramdisk -o size=1M,mode=644 none /dev/umview-test
sleep 9 & export OTHER=$!
setpriv --reuid=1000 --regid=1000 --clear-groups bash -c '
ls; mke2fs -q open && echo made; head -c 1 shut; ls /dev | grep umview-test; head -c 512 /dev/umview-test | wc -c
true >/dev/umview-test
readlink /proc/$OTHER/exe; readlink /proc/$OTHER/cwd; cat /proc/$OTHER/maps; ls /proc/$OTHER/fd; cat /proc/$OTHER/comm
sleep 9 & readlink /proc/$!/cwd; kill $!' 2>&1 |
  sed "s/^[^ ]*: line [0-9]*: //; s,/proc/[0-9]*,PROC,; s/^\([a-z]*\): .*: /\1: /"
kill $OTHER"""
        denied = "Permission denied"
        expected = f"open\nshut\nmade\nhead: {denied}\numview-test\n512\n/dev/umview-test: {denied}\n"
        expected += f"cat: {denied}\nls: {denied}\nsleep\n{place}\n"
        assert shown(script, place, options=["-s"], user=user) == expected
