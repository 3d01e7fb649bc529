"""vfs/view/permissions.py against the host's kernel: the same files, the same users, the same answers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import PROJECT, open_to_all
from tests.views import shown
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
