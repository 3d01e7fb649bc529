# ruff: noqa: E501 (a script reads best on one line)
"""Virtual credentials: viewsu, human mode's root, the calls that tell and change them, set-user-ID programs, whose new files are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import PROJECT, open_to_all, unprivileged
from tests.views import ENVIRONMENT, UMVIEW, both, shown, view

WALKS = [sys.executable, str(PROJECT / "tests" / "view_identity.py")]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    open_to_all(tmp_path)
    (tmp_path / "mnt").mkdir()
    return tmp_path / "mnt"


@pytest.mark.skipif(os.geteuid() != 0, reason="what root sees on the host is to be compared")
@pytest.mark.parametrize("first", [0, 1000])
def test_all_is_as_on_the_host(first: int) -> None:
    """What the calls give and leave behind, also over exec, where a virtual root makes them and where a real one does."""
    assert walks([], first) == walks([*unprivileged(), str(UMVIEW), "-s"], first)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="what root sees on the host is to be compared")
def test_all_is_as_on_the_host_for_long() -> None:
    for first in range(10_000, 14_000, 200):
        assert walks([], first, 200) == walks([*unprivileged(), str(UMVIEW), "-s"], first, 200)


def walks(prefix: list[str], first: int, count: int = 60) -> list[str]:
    command = [*prefix, *WALKS, str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, cwd="/", env=ENVIRONMENT, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) > 13 * count
    return lines


# -------------------------------------------------------------------- viewsu


@both
def test_viewsu(user: str) -> None:
    script = """
viewsu -c 'id -u; whoami; id -G'; viewsu -c 'echo $0 $1 $HOME' root name
viewsu - -c 'pwd; echo $0 $USER $OUTSIDE'; viewsu -s /bin/bash nobody -c 'id -un; id -gn; echo $USER; sleep 0 & wait; bash -c "id -un"'
viewsu -p -s /bin/sh -c 'echo $OUTSIDE'; viewsu -s /bin/sh nobody -c 'viewsu -c whoami'; viewsu --shell=/bin/sh --command='exit 9'; echo $?
"""
    done = view("export OUTSIDE=kept;" + script, user=user)
    home = Path("~root").expanduser()
    expected = [
        "0",
        "root",
        "0",
        f"name {home}",
        str(home),
        "-bash root",
        "nobody",
        "nogroup",
        "nobody",
        "nobody",
        "kept",
        "root",
        "9",
    ]
    assert done.stderr == "" or "root" in done.stderr
    out = done.stdout.splitlines()
    if user == "nobody":  # who cannot go home, stays
        out = [line for line in out if "Permission denied" not in line and line != "/"]
        expected.remove(str(home))
    assert out == expected


def test_viewsu_complains() -> None:
    done = view("viewsu nix; viewsu -s /nonexistent; viewsu --what; viewsu -c; echo here")
    assert done.stdout == "here\n"
    lines = done.stderr.splitlines()
    assert lines[:3] == [
        "viewsu: user nix does not exist",
        "viewsu: /nonexistent: No such file or directory",
        "viewsu: unknown option '--what'",
    ]


@both
def test_identity_belongs_to_the_processes_that_took_it(user: str) -> None:
    """Neither the outer shell's nor that of other views."""
    script = "me=$(id -un); viewsu -s /bin/sh nobody -c 'umview id -un; umview viewsu -c whoami; id -un'; [ $(id -un) = $me ] && echo mine"
    assert shown(script, user=user) == "nobody\nroot\nnobody\nmine\n"


def test_threads_and_their_processes() -> None:
    program = """
import os, threading
os.setresgid(7, 8, 9); os.setgroups([3, 2]); os.setresuid(4, 5, 4)
def look(): print(os.getresuid(), os.getresgid(), os.getgroups(), flush=True)
threads = [threading.Thread(target=look) for _ in range(2)]
[t.start() or t.join() for t in threads]
if not os.fork(): look(); os._exit(0)
os.wait()
try: os.setuid(0)
except PermissionError: print("no")
"""
    assert shown("viewsu -p -c \"python3 -c '$1'\"", program, user="nobody").splitlines() == [
        "(4, 5, 4) (7, 8, 9) [2, 3]"
    ] * 3 + ["no"]


# -------------------------------------------------------------------- files


@both
def test_new_files_in_a_mount_are_the_virtual_users(place: Path, user: str) -> None:
    script = r"""
mount -t ramfs -o mode=1777 none "$1"; cd "$1"
viewsu -s /bin/sh nobody -c 'touch f; mkdir d; ln -s x l; mkfifo p; mkdir d/e'; viewsu -c 'touch r'; stat -c '%n %u %g' f d l p d/e r
"""
    assert shown(script, place, user=user).splitlines() == [
        "f 65534 65534",
        "d 65534 65534",
        "l 65534 65534",
        "p 65534 65534",
        "d/e 65534 65534",
        "r 0 0",
    ]


@both
def test_set_user_id_programs(place: Path, user: str) -> None:
    script = r"""
mount -t ramfs -o "$2" none "$1"; cp /usr/bin/id "$1/id"; cp /bin/sh "$1/sh"; cd "$1"; chown 4:5 id sh; chmod 6755 id sh
./id -u; ./id -g; ./id -ru; viewsu -p -c './id -u; ./id -ru; id -u'; viewsu -s /bin/sh nobody -c './id -u; /usr/bin/id -un; ./sh -p -c "./id -ru; /usr/bin/id -u"'
printf '#!/usr/bin/env sh\nid -u\n' >script; chown 4 script; chmod 4755 script; viewsu -p -c ./script
"""
    mine = "0" if user == "root" else "65534"
    assert shown(script, place, "size=64M", user=user).split() == [
        "4",
        "5",
        mine,
        "4",
        "0",
        "0",
        "4",
        "nobody",
        "65534",
        "4",
        "0",
    ]
    nosuid = shown(script, place, "size=64M,nosuid", user=user).split()
    assert nosuid == [mine, mine, mine, "0", "0", "0", "65534", "nobody", "65534", "65534", "0"]


# -------------------------------------------------------------------- human mode


@both
def test_human_mode_begins_as_root(user: str) -> None:
    script = "id -u; grep -c . /proc/self/status >/dev/null; viewsu -s /bin/sh nobody -c 'id -un'; umview id -u"
    assert shown(script, options=["-s"], user=user) == "0\nnobody\n0\n"


@both
def test_what_an_unprivileged_user_may_not(place: Path, user: str) -> None:
    script = r"""
mount -t ramfs none "$1" && echo root may
exec viewsu -s /bin/bash nobody -c '
mount -t ramfs none "$0" || python3 -c "
import ctypes, sys
c = ctypes.CDLL(None, use_errno=True)
print(c.mount(b\"none\", sys.argv[1].encode(), b\"ramfs\", 0, None), ctypes.get_errno(), c.umount2(sys.argv[1].encode(), 0), ctypes.get_errno())" "$0"
um_add_service umdev; um_del_service umfuse; um_fsalias a ramfs; viewsu; umview true; umshutdown; um_ls_service' "$1"
"""
    done = view(script, place, options=["-s"], user=user)
    assert done.stdout == "root may\n-1 1 -1 1\numfuse: virtual file systems\n"
    lines = [line for line in done.stderr.splitlines() if not line.startswith("mount:") and line.strip()]
    refused = "Operation not permitted"
    assert [line.rpartition(": ")[2] for line in lines if "dmesg" not in line] == [refused] * 6


CAPABLE = r"""
cd "$1"; umask 022
python3 -c '
import os, shutil, struct
for number, (flag, permitted, inheritable) in enumerate([(0, 1 << 13, 0), (1, 1 << 13, 0), (1, 0, 3 << 12), (0, 1 << 32, 1 << 13), (1, 1 << 5, 0)]):
    shutil.copy("/bin/grep", f"g{number}")
    os.chmod(f"g{number}", 0o4755 if number == 3 else 0o755)
    words = [each >> shift & 0xFFFFFFFF for shift in (0, 32) for each in (permitted, inheritable)]
    os.setxattr(f"g{number}", "security.capability", struct.pack("<5I", 0x02000000 | flag, *words))
'
for who in "--reuid=0" "--reuid=1000 --clear-groups" "--reuid=1000 --clear-groups --inh-caps=+net_raw,+net_admin" "--ruid=1000 --euid=0 --clear-groups" \
  "--reuid=1000 --clear-groups --inh-caps=+net_raw --ambient-caps=+net_raw" "--reuid=1000 --clear-groups --bounding-set=-net_raw,-kill"
do for g in 0 1 2 3 4; do setpriv $who ./g$g -E 'Uid|Cap(Inh|Prm|Eff|Amb)' /proc/self/status 2>/dev/null || echo $who $g refused; done; done
printf x >> g1; setpriv --reuid=1000 --clear-groups ./g1 CapEff /proc/self/status
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give programs capabilities")
@both
def test_capabilities_of_programs(place: Path, user: str) -> None:
    """security.capability, at exec: as on the host; and lost when the program is written to."""
    host = ["unshare", "-m", "bash", "-c", f'mount -t tmpfs none "$1"; {CAPABLE}', "x", str(place)]
    done = subprocess.run(host, capture_output=True, text=True, timeout=60, check=True)
    assert "0000000000002000" in done.stdout and "refused" in done.stdout
    bounding = int(re.findall(r"CapBnd:\s*(\w+)", Path("/proc/self/status").read_text())[0], 16)  # virtual root has all
    told = shown('mount -t ramfs none "$1"' + CAPABLE, place, options=["-s"], user=user)
    masked = re.sub(r"\b[0-9a-f]{16}\b", lambda match: f"{int(match[0], 16) & bounding:016x}", told)
    assert masked.splitlines() == done.stdout.splitlines()
