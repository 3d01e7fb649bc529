# ruff: noqa: E501 (a script reads best on one line)
"""The commands of a view: names, services, shutdown; umview's own options; what they say outside."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.ext import image
from tests.command import NOBODY, open_to_all, unprivileged
from tests.views import BIN, ENVIRONMENT, UMVIEW, both, shown, view

COMMANDS = {
    "um_add_service": ["umfuse"],
    "um_ls_service": [],
    "um_del_service": ["umfuse"],
    "um_fsalias": ["x", "ext2"],
    "umshutdown": [],
    "viewname": [],
    "vuname": ["-a"],
    "viewsu": ["-c", "true"],
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    open_to_all(tmp_path)
    target = tmp_path / "mnt"
    target.mkdir()
    return target


# -------------------------------------------------------------------- outside


@pytest.mark.parametrize("name", COMMANDS)
def test_outside_a_view_each_says_so(name: str) -> None:
    done = subprocess.run([BIN / name, *COMMANDS[name]], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{name}: this is not a view (see umview)\n")


def test_viewname_is_silent_on_request() -> None:
    done = subprocess.run([BIN / "viewname", "-pq"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_usage(name: str) -> None:
    done = subprocess.run([BIN / name, "--nonsense"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and done.stderr.startswith(f"{name}: unknown option '--nonsense'\nusage: {name}")
    done = subprocess.run([BIN / name, "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and done.stdout.startswith(f"usage: {name}")


# -------------------------------------------------------------------- names


@both
def test_viewname(user: str) -> None:
    out = shown("viewname; viewname -p; echo $PPID; viewname mine; viewname; viewname -p", user=user).split("\n")
    host = os.uname().nodename
    assert out[0] == "" and re.fullmatch(re.escape(host) + r"\[\d+:0\]", out[1]) and out[3:] == ["mine", "mine", ""]


def test_vuname() -> None:
    out = shown(
        'uname -a; vuname -a; vuname; vuname -mo; vuname -U --viewid; viewname "a name"; vuname -N; vuname -a'
    ).splitlines()
    assert out[1].startswith(out[0] + "/View-OS ") and out[1].endswith(" 0")
    assert out[2:4] == ["Linux", f"{os.uname().machine} GNU/Linux/View-OS"]
    server, number = out[4].split()
    assert number == "0" and out[1].split()[-2] == server
    assert out[5] == "a name" and out[6] == out[1] + " a name"


def test_the_name_given_at_the_start() -> None:
    assert shown("viewname", options=["-V", "first"]) == "first\n"


# -------------------------------------------------------------------- services


@both
def test_services(user: str) -> None:
    script = "um_ls_service; echo -; um_add_service umfuse; um_add_service ext2; um_add_service umdev; um_ls_service; um_del_service umfuse; um_del_service umfuseext2; um_ls_service"
    before, after = shown(script, user=user).split("-\n", 1)
    assert before == ""
    lines = after.splitlines()
    assert lines[0] == "umfuse: virtual file systems" and lines[1].startswith("ext2: ") and lines[3] == "umdev: virtual devices"
    assert lines[2] == "umdev: virtual devices" or len(lines) == 4


def test_mounting_loads_what_it_needs_and_removing_it_forbids(place: Path) -> None:
    script = """
mount -t umfuseext2 -o ro "$1" "$2"; um_ls_service
um_del_service umfuse; echo $?
umount "$2"; um_del_service umfuse; um_ls_service
mount -t umfuseext2 -o ro "$1" "$2" 2>/dev/null || echo refused
um_add_service ext2; mount -t umfuseext2 -o ro "$1" "$2" && echo mounted; um_ls_service | cut -d: -f1
"""
    done = view(script, image("ext4_4k"), place)
    assert done.stdout == "umfuse: virtual file systems\n1\nrefused\nmounted\next2\n"
    assert done.stderr == "um_del_service: umfuse: busy: a mount of type ext2 needs it\n"


def test_permanent_services_stay(place: Path) -> None:
    done = view(
        "um_add_service -p umfuse; um_del_service umfuse; um_del_service umdev; um_add_service umfuse; um_add_service nix"
    )
    assert done.stderr.splitlines() == [
        "um_del_service: umfuse: permanent: it stays as long as the view",
        "um_del_service: umdev: not loaded",
        "um_add_service: umfuse: loaded already",
        "um_add_service: nix: no such service (known: umfuse, umdev, ummisc, " + known() + ")",
    ]


def known() -> str:
    from vfs.api import registry

    return ", ".join(sorted(registry.modules()))


def test_preloaded_with_options_for_every_mount(place: Path) -> None:
    script = 'um_ls_service; mount -t ramfs none "$1" && findmnt -n -o OPTIONS "$1"'
    out = shown(script, place, options=["-p", "ramfs,size=1M,nosuid", "-p", "umdev"])
    assert out.splitlines()[0].startswith("ramfs: ") and out.splitlines()[1].startswith("umdev: ")
    assert "nosuid" in out.splitlines()[2]
    done = subprocess.run([UMVIEW, "-p", "ramfs,colour=red", "true"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and "colour" in done.stderr and done.stderr.count("\n") == 1


def test_fsalias(place: Path) -> None:
    script = (
        'um_fsalias linux umfuseext2; um_fsalias other linux; mount -t other -o ro "$1" "$2"; ls "$2" | wc -l; um_fsalias a nix'
    )
    done = view(script, image("ext4_4k"), place)
    assert int(done.stdout) > 3 and done.stderr == f"um_fsalias: nix: no such type (known: {known()})\n"


# -------------------------------------------------------------------- the end


@both
def test_umshutdown(user: str) -> None:
    script = """trap '' TERM; sh -c 'trap "echo told; exit" TERM; echo ready; while :; do sleep 0.05; done' | { read line; umshutdown 0.3; cat; }; sleep 30; echo not reached"""
    done = view(script, user=user)
    assert done.returncode == 137 and done.stdout in ("", "told\n")


def test_umshutdown_need_not_wait_for_who_goes() -> None:
    assert view("umshutdown 600; sleep 600").returncode == 143


@pytest.mark.parametrize("seconds", ["x", "-1", "nan", "inf", "1 2"])
def test_umshutdown_wants_a_number(seconds: str) -> None:
    done = view(f"umshutdown {seconds}; echo here")
    assert done.stdout == "here\n" and done.stderr != ""


# -------------------------------------------------------------------- umview's own options


def test_rc_files(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".viewosrc").write_text("viewname from-rc; echo rc; cat; exit 3\n")
    environment = {**ENVIRONMENT, "HOME": str(home)}
    command = [UMVIEW, "sh", "-c", 'viewname; cat; umview viewname; exit "$0"', "7"]
    done = subprocess.run(command, env=environment, input="text\n", capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (7, "rc\nfrom-rc\ntext\nfrom-rc\n", "")
    other = tmp_path / "other"
    other.write_text("#!/bin/bash\n[[ $0 == */other ]] && echo other\n")
    other.chmod(0o755)
    command = [UMVIEW, "-f", "other", "umview", "--rc", other, "echo", "done"]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("other\nother\ndone\n", "")
    done = subprocess.run([UMVIEW, "-f", tmp_path / "none", "echo"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (1, "umview: No such file or directory\n")


def test_cache_and_other_options(place: Path) -> None:
    out = shown(
        'mount -t umfuseext2 -o ro "$1" "$2"; cat "$2"/* 2>/dev/null | wc -c; viewname -p',
        image("ext4_4k"),
        place,
        options=["-u", "--cache", "64K"],
    )
    assert int(out.split()[0]) > 0
    done = subprocess.run([UMVIEW, "--cache", "lots", "true"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and "wants a size" in done.stderr
    assert view("umview --cache 1M true").stderr == "umview: --cache: views inside another share its cache\n"


# -------------------------------------------------------------------- login shells

NEW = "testum:{password}:{uid}:{uid}:test:{home}:{shell}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the host another passwd, in a mount namespace")
@pytest.mark.parametrize("line, words, expected", [
    ("testum:sh -c 'BIN/viewname -p; id -un; pwd; echo $0' -x", [], r".*\[\d+:0\]\ntestum\n{home}\n-x\n"),
    ("#comment\n\nother:true\ntestum:-V named -- BIN/viewname", [], r"named\n"),
    ("testum:/bin/sh", ["-c", "echo said; BIN/viewname -p"], r"said\n.*:0\]\n"),
])  # fmt: skip
def test_login(tmp_path: Path, line: str, words: list[str], expected: str) -> None:
    done = login(tmp_path, line, words)
    assert done.stderr == "" and re.fullmatch(expected.format(home=tmp_path), done.stdout), done


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give the host another passwd, in a mount namespace")
@pytest.mark.parametrize("line, reason", [
    ("other:true", "/etc/viewospasswd has no line of testum"),
    ("testum:sh -c 'open", "/etc/viewospasswd: the line of testum: No closing quotation"),
    (None, "/etc/viewospasswd: No such file or directory"),
])  # fmt: skip
def test_login_refused(tmp_path: Path, line: str | None, reason: str) -> None:
    done = login(tmp_path, line, [])
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"umview: {reason}\n")


def login(directory: Path, line: str | None, words: list[str]) -> subprocess.CompletedProcess[str]:
    """`su -` to a user whose shell is umview, on a host (a mount namespace of it) that knows him."""
    open_to_all(directory)
    entry = NEW.format(password="*", uid=NOBODY - 1000, home=directory, shell=UMVIEW)
    for name in ("upper", "work"):
        (directory / name).mkdir()
    (directory / "new").write_text(Path("/etc/passwd").read_text() + entry + "\n")
    if line is not None:
        (directory / "table").write_text(line.replace("BIN", str(BIN)) + "\n")
    script = """
mount -t overlay -o "lowerdir=/etc,upperdir=$1/upper,workdir=$1/work" none /etc && cat "$1/new" >/etc/passwd
[ ! -e "$1/table" ] || cat "$1/table" >/etc/viewospasswd
chmod 644 /etc/viewospasswd 2>/dev/null; cd "$1"; shift
exec su - testum "$@" </dev/null
"""
    mount = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "x", str(directory)]
    words = [word.replace("BIN", str(BIN)) for word in words]
    return subprocess.run([*mount, *words], capture_output=True, text=True, timeout=60, cwd="/", env=ENVIRONMENT)


def test_the_channel_is_not_open_outside() -> None:
    """The kernel itself says that it knows no such option."""
    program = "import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.prctl(0x76696577, 0, 0, 0, 0), ctypes.get_errno())"
    done = subprocess.run([*unprivileged(), sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stdout == "-1 22\n"


def test_bad_requests() -> None:
    """Whoever calls it by himself gets an errno or a reply, never more."""
    program = r"""
import ctypes, json
c = ctypes.CDLL(None, use_errno=True)
def ask(text, room=4096):
    reply = ctypes.create_string_buffer(max(room, 1))
    size = c.prctl(0x76696577, text, ctypes.c_ulong(len(text)), reply, ctypes.c_ulong(room))
    return ctypes.get_errno() if size < 0 else json.loads(reply.raw[:size])
for text in (b"", b"[", b"1", b"null", b'{"ask": 3}', b'{"ask": []}', b"[" * 60000, b'{"ask": "name", "name": "a\\nb"}', b'{"ask": "nested", "services": 3}',
             b'{"ask": "identity", "uid": -1, "gid": 0}', b'{"ask": "identity", "uid": true, "gid": 0}', b'{"ask": "add"}', b"\xff", b'{"ask": "shutdown", "seconds": 1e400}', b'{"ask": "identity", "uid": 1, "gid": 1, "groups": [1, "x"]}'):
    found = ask(text)
    assert found["errno"] in (22, 38) and found["error"], (text, found)
assert ask(b'{"ask": "view"}', 3) == 90
assert c.prctl(0x76696577, 8, 9, 8, 9) == -1 and ctypes.get_errno() == 14
assert c.prctl(0x76696577, 8, ctypes.c_ulong(1 << 40), 8, 9) == -1 and ctypes.get_errno() == 90
print("well")
"""
    assert shown('python3 -c "$1"', program) == "well\n"
