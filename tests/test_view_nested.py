# ruff: noqa: E501 (a script reads best on one line)
"""Views inside views: apart from the moment they begin; their ends; contexts, which are what tasks carry."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.command import open_to_all
from tests.views import ENVIRONMENT, UMVIEW, both, shown, view

DISK = "ext4_4k"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    open_to_all(tmp_path)
    tmp_path.chmod(0o777)
    for name in "abcdefg":
        (tmp_path / name).mkdir()
    return tmp_path


@both
def test_each_has_its_own_mounts(place: Path, user: str) -> None:
    """Five deep: each sees what the outer ones had when it began, and nothing that came later, on either side."""
    script = r"""
level() {
    cd "$1"
    mount -t ramfs none "$2" && echo "$2" >"$2/mark"
    case $2 in
        a) next=b;; b) next=c;; c) next=d;; d) next=e;; e) next=;;
    esac
    [ -z "$next" ] || umview bash -c "$(declare -f level); level $1 $next"
    echo "$2:" ?/mark
    umount "$2"
}
level "$1" a; cd "$1"; echo ?/mark
"""
    marks = [
        "e: a/mark b/mark c/mark d/mark e/mark",
        "d: a/mark b/mark c/mark d/mark",
        "c: a/mark b/mark c/mark",
        "b: a/mark b/mark",
        "a: a/mark",
        "?/mark",
    ]
    assert shown(script, place, user=user).splitlines() == marks


@both
def test_later_changes_stay_apart(place: Path, user: str) -> None:
    script = r"""
cd "$1"; mkfifo in out
mount -t ramfs none a; echo outer >a/file
umview bash -c 'echo began >out; read line <in; cat a/file; ls b; mount -t ramfs none c; echo >c/inner; umount a; ls a; grep -c "$PWD" /proc/self/mounts; echo did >out; read line <in; ls c' &
read line <out
umount a; mount -t ramfs none b; echo >b/later; ls a
echo go >in; read line <out
ls b c; grep "$PWD" /proc/mounts | cut -d" " -f2
echo go >in; wait; ls c
"""
    out = shown(script, place, user=user)
    assert out == f"outer\n1\nb:\nlater\n\nc:\n{place}/b\ninner\n"


def test_files_and_cwd_are_shared_where_the_mount_is(place: Path) -> None:
    script = r"""
cd "$1"; mount -t ramfs none a; echo one >a/file
umview bash -c 'echo two >>a/file; cd a; mkdir dir; cat <file; exec 7<file; mv file new' ; cat a/new; ls a
cd a/dir && umview bash -c 'pwd; cd ..; pwd; ls'
"""
    assert shown(script, place) == f"one\ntwo\none\ntwo\ndir\nnew\n{place}/a/dir\n{place}/a\ndir\nnew\n"


def test_busy_is_who_uses_it_in_this_view(place: Path) -> None:
    script = r"""
cd "$1"; mkfifo in out; mount -t ramfs none a; echo content >a/file
umview bash -c 'exec 7<a/file; echo began >out; read line <in; cat <&7; cat a/file; umount a || echo busy; exec 7<&-; umount a && echo gone' 2>/dev/null &
read line <out; umount a && echo outer gone; echo >in; wait
"""
    assert shown(script, place) == "outer gone\ncontent\ncontent\nbusy\ngone\n"


def test_what_it_wrote_is_stored_when_it_ends(place: Path) -> None:
    disk = place / "disk"
    script = r"""
cd "$1"; echo >note; umview bash -c 'mount -t hostfs "$PWD/b" c; echo text >c/file; cat c/file'; cat b/file; ls c
"""
    assert not disk.exists()
    assert shown(script, place) == "text\ntext\n"


def test_remount_and_move_of_a_shared_mount(place: Path) -> None:
    """What one view does with a mount that two have, shows in no other; only who is in it keeps it from being changed."""
    script = r"""
cd "$1"; mount -t ramfs none a; echo 1 >a/one
umview bash -c '
  mount -o remount,ro a && touch a/x; mount --move a b && cat b/one; touch b/y; mount -o remount,rw b; echo 2 >b/two; ls a
  (cd b; mount -o remount,ro "$PWD" && echo its own now)'
cat a/two; touch a/z; mount | grep -c "$PWD/b"
umview bash -c 'cd a; mount --move "$PWD" ../b; touch in'
mount -o remount,ro a && echo alone again; touch a/no; ls a
"""
    done = view(script, place)
    assert done.stdout == "1\nits own now\n2\n0\nalone again\nin\none\ntwo\nz\n"
    complaints = [line.partition(": ")[2] for line in done.stderr.splitlines() if "touch" in line or "another" in line]
    assert [next(word for word in ("a/x", "b/y", "another view", "a/no") if word in line) for line in complaints] == [
        "a/x",
        "b/y",
        "another view",
        "a/no",
    ]


# -------------------------------------------------------------------- ends


@pytest.mark.parametrize("command, status", [("exit 7", 7), ("kill -KILL $$", 137), ("kill -TERM $$", 143), ("exec /nonexistent", 127), ("exec /etc/passwd", 126)])  # fmt: skip
def test_the_status_is_the_commands(command: str, status: int) -> None:
    assert (
        shown('umview bash -c "$1" 2>/dev/null; echo $?; umview umview bash -c "$1" 2>/dev/null; echo $?', command)
        == f"{status}\n{status}\n"
    )


def test_not_found() -> None:
    done = view("umview nonsense; echo $?; umview /etc; echo $?")
    assert (done.stdout, done.stderr) == (
        "127\n126\n",
        "umview: nonsense: No such file or directory\numview: /etc: Permission denied\n",
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(place: Path, number: int) -> None:
    script = r"""
cd "$1"; mkfifo in; umview bash -c 'trap "echo caught; exit 5" TERM HUP USR1; echo ready >in; while :; do sleep 0.05; done' & front=$!
read line <in; kill -$2 $front; wait $front; echo $?
"""
    assert shown(script, place, number) == "caught\n5\n"


@both
def test_when_its_front_is_killed_the_inner_tree_ends(place: Path, user: str) -> None:
    """Background processes and views inside it as well; and what only it had is closed."""
    script = r"""
cd "$1"; mkfifo in
umview bash -c 'mount -t ramfs none a; setsid sleep 611 & umview setsid sleep 611 & (cd a; sleep 611) & sleep 0.5; echo ready >in; sleep 611' & front=$!
read line <in; echo $(pgrep -c -f "^sleep 611"); kill -KILL $front; wait $front; echo $?
for i in $(seq 100); do pgrep -f "^sleep 611" >/dev/null || break; sleep 0.05; done; pgrep -f "^sleep 611"; viewname -p >/dev/null && echo alive
"""
    done = view(script, place, user=user)
    assert done.stdout == "4\n137\nalive\n", done


def test_background_processes_are_waited_for() -> None:
    assert shown("umview sh -c '(sleep 0.5; echo late) & echo early'; echo after") == "early\nlate\nafter\n"


def test_stop_and_continue(place: Path) -> None:
    """Job control of the outer shell holds and continues the inner view."""
    script = r"""
set -m; cd "$1"; mkfifo in
umview bash -c 'echo ready >in; kill -STOP $$; echo went on' &
read line <in; sleep 0.5; jobs | grep -c Stopped; fg >/dev/null; echo $?
"""
    done = view(script, place)
    assert done.stdout == "1\nwent on\n0\n" and done.stderr.count("\n") == 2


def test_umshutdown_ends_only_the_inner_view() -> None:
    assert (
        shown(
            "umview bash -c 'sleep 600 & umshutdown 5; sleep 600'; echo $?; umview sh -c 'umview sleep 600 & umshutdown 5; sleep 600'; echo $?"
        )
        == "143\n143\n"
    )


# -------------------------------------------------------------------- names


@both
def test_names_and_numbers(user: str) -> None:
    script = "viewname one; vuname -VN; umview bash -c 'vuname -VN; viewname two; vuname -VN; umview -V three vuname -VN'; vuname -VN; umview vuname -V"
    assert shown(script, user=user) == "0 one\n1 one\n1 two\n2 three\n0 one\n3\n"


def test_services_are_apart() -> None:
    script = "um_add_service umdev; umview -p umfuse bash -c 'um_ls_service; um_del_service umdev; um_add_service ummisc'; um_ls_service"
    assert shown(script).replace(": virtual", "").split() == ["umdev", "devices", "umfuse", "file", "systems", "umdev", "devices"]


# -------------------------------------------------------------------- contexts


def test_more_views_than_there_are_contexts_one_after_another() -> None:
    """Numbers are given again: with few of them it shows soon."""
    program = r"""
import sys
from collections import deque
from vfs.view import contexts
from vfs.view.commands import umview
kept = contexts.Contexts.__init__
def few(self, *rest):
    kept(self, *rest)
    self.free = deque(range(1, 4))
contexts.Contexts.__init__ = few
sys.exit(umview.main(sys.argv[1:]))
"""
    import sys

    script = "for i in 1 2 3 4 5 6; do umview viewname -p; done; umview umview umview viewname -p; umview umview umview umview true; echo $?; umview viewname -p"
    command = [sys.executable, "-c", program, "bash", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    numbers = [line.rpartition(":")[2] for line in done.stdout.splitlines()]
    assert numbers == ["1]", "2]", "3]", "4]", "5]", "6]", "9]", "1", "14]"]
    assert done.stderr == "umview: no view is possible: no more than 8192 views, identities and roots are possible at a time\n"


def test_personality_hides_the_context() -> None:
    program = r"""
import ctypes, os
c = ctypes.CDLL(None, use_errno=True)
query = lambda: c.personality(ctypes.c_ulong(0xFFFFFFFF)) & 0xFFFFFFFF
print(hex(query()), hex(c.personality(0x0040000)), hex(query()), hex(c.personality(ctypes.c_ulong(0xF001FF00 | 0x0020000))), hex(query()), os.uname().release[:2])
os.system("viewname -p | sed 's/.*://'")
"""
    expected = "0x0 0x0 0x40000 0x40000 0x20000 2.\n"
    assert (
        shown('python3 -c "$1"; umview python3 -c "$1"; umview viewsu -p -c "python3 -c \'$1\'" 2>&1', program).count(expected)
        == 3
    )


@both
def test_threads_and_forks_stay_in_their_view(place: Path, user: str) -> None:
    program = r"""
import os, subprocess, sys, threading
found = []
def look():
    found.append(os.listdir("a"))
    found.append(subprocess.run(["ls", "a"], capture_output=True, text=True).stdout.split())
threads = [threading.Thread(target=look) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(found), {tuple(f) for f in found})
"""
    script = 'cd "$1"; mount -t ramfs none a; touch a/outer; umview bash -c \'mount -t ramfs none a; touch a/inner; python3 -c "$1" & sleep 0.1; wait\' x "$2" & python3 -c "$2"; wait'
    assert sorted(shown(script, place, program, user=user).splitlines()) == ["16 {('inner',)}", "16 {('outer',)}"]


def test_many_at_a_time() -> None:
    start = time.monotonic()
    script = "for i in $(seq 12); do umview bash -c 'viewname -p; sleep 0.2' & done | sed 's/.*://' | sort | uniq -c | wc -l; wait; umview viewname -p | sed 's/.*://'"
    assert shown(script) == "12\n13]\n"
    assert time.monotonic() - start < 60


def test_umview_is_not_surprised_by_stale_bits() -> None:
    """Started by somebody who plays with his personality."""
    program = "import ctypes, os, sys; ctypes.CDLL(None).personality(0x1FF00); os.execvp(sys.argv[1], sys.argv[1:])"
    command = ["python3", "-c", program, UMVIEW, "bash", "-c", "umview true; viewname -p"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=ENVIRONMENT)
    assert done.stdout.endswith(":0]\n")
