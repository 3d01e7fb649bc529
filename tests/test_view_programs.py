# ruff: noqa: E501 (a case reads best on one line)
"""Stock programs in a view, on an ext4 image, against the same programs on the kernel's mount of the same image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.command import reachable
from tests.view_tree import can_mount, kernel_mount, make_image

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mount to compare with")

UMVIEW = Path(sys.executable).parent / "umview"
HERE = Path(__file__).resolve().parent
CALLS = HERE / "view_calls.py"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"]

# name -> command of bash; $T is the tree, $O an empty directory for output.
CASES = {
    "ls -laR": "cd /; ls -laRi --time-style=full-iso $T | grep -v ' \\.\\.$'",
    "ls of a parent": "ls -lai $T/deep/.. | grep -v ' \\.\\.$'",
    "find -printf": 'find $T -printf "%P %y %m %U %G %s %b %T@ %n %l %i\\n" | sort',
    "find -L, -exec": "find -L $T/deep $T/dirlink -type f -size +100k -exec wc -c {} + 2>/dev/null | sort",
    "stat": "stat -c '%n %F %s %b %B %a %h %i %u %g %x %y %z' $T $T/* $T/deep/*; stat -L -c %s $T/deep/link",
    "cat": "cat $T/deep/f* $T/big $T/empty | sha256sum; cat $T/none; cat $T/deep; cat $T/loop; cat $T/deep/dangling; cat $T/big/x",
    "sparse": "sha256sum $T/sparse; cp --sparse=auto $T/sparse $O/s; cmp $O/s $T/sparse; du -k $O/s; tar -Scf $O/t -C $T sparse; wc -c $O/t",
    "grep -r": "grep -rc needle $T --exclude=fifo -D skip | sort; grep -rl . $T/deep | sort; grep -c . $T/zeros",
    "tar c | tar t": 'tar -C $T -c --sort=name . | tar -tv | tr -s " " | sort; tar -C $T -c --sort=name . | sha256sum',
    "cp -a, diff -r": "cp -a $T $O/copy; rm $O/copy/fifo; diff -r --no-dereference --exclude=fifo $T $O/copy && echo equal",
    "sha256sum": "find $T -type f | sort | xargs -d '\\n' sha256sum",
    "sha256sum, 8 at once": "find $T -type f | sort | xargs -d '\\n' -P8 -n4 sha256sum | sort",
    "bash script": "$T/bin/script 1 '2 3'; cd $T; bin/script x; cd bin; ./script; PATH=$T/bin:$PATH script p; bash script q",
    "env script": "$T/bin/py a b; cd $T/deep; ../bin/py",
    "dynamic binary": '$T/bin/dyn one; cd $T/bin; ./dyn two; readlink -f ./dyn; ldd $T/bin/dyn | grep priv | sed "s/(.*//"',
    "static binary": "$T/bin/static; exec $T/bin/static e",
    "loader inside": "$M/bin/ownld x",
    "interpreter inside": "$M/bin/nested y; printf '#!%s/bin/dyn opt\\n' $M > $O/outer; chmod +x $O/outer; $O/outer z",
    "comm": "cp /bin/sleep $O/; $T/bin/py > /dev/null; bash -c 'exec -a other $T/bin/dyn' ; (cd $T/bin; ./script >/dev/null); cat /proc/self/comm",
    "exec refused": "$T/src/main.c; $T/deep; $T/none; $T/empty",
    "git log, status": "git -C $T/repo log --stat --format=%s; git -C $T/repo status; cd $T/repo && git diff && git fsck",
    "git clone": "git clone -q --no-hardlinks $T/repo $O/clone && git -C $O/clone log --oneline | wc -l",
    "python import": 'cd /; PYTHONPATH=$T python3 -B -c "import pkg; print(pkg.value, pkg.__file__)"; cd $T; python3 -Bc "import pkg.sub as s; print(s.value)"',
    "python compileall": "PYTHONPYCACHEPREFIX=$O python3 -m compileall -q $T/pkg; find $O -name '*.pyc' | wc -l",
    "gcc": "gcc -o $O/p $T/src/main.c $T/lib/priv.c && $O/p; cd $T/src && gcc -c main.c -o $O/m.o; gcc $T/src/main.c -o $O/q -L$T/lib -lpriv -Wl,-rpath,$T/lib && $O/q",
    "make -C": "make -C $T/src O=$O; make -s -C $T/src O=$O; ls $O",
    "cd, relative names": "cd $T/deep/a; pwd; /bin/pwd; cat ../f1; cd ..; ls a/b; cat ./../deep//f2; cd ../dirlink; /bin/pwd; cd -P .; pwd; (cd b/c; wc -c *); cd ../..; ls -d deep; cat deep/f3",
    "cd out again": "cd $T/deep; wc -l out; ls ../../../../../../../../../etc/hostname; cd $T/..; cd /; cat $T/../../../../../../../etc/hostname; realpath $T/deep/link $T/deep/out",
    "descriptors of bash": "exec 5<$T/deep/f1; read a <&5; (read b <&5; echo $b); echo $a; exec 6<&5; cat <&6; wc -c <$T/big; while read l; do echo $l; done < $T/deep/f7; mapfile -t x < $T/deep/f2; echo ${x[1]}",
    "/proc names": "cat /proc/self/fd/0 < $T/deep/f4; readlink /proc/self/fd/0 < /dev/null; exec 7<$T/big; sha256sum < /proc/$$/fd/7; cat /dev/stdin < $T/deep/f5; cd $T/deep; readlink /proc/self/cwd; cat /proc/self/cwd/f6",
    "stat of standard input": "stat -L -c '%i %s %a %h' - < $T/deep/f1; stat -c %i $T/deep/f1",
    "host links into the mount": "ln -s $T/deep $O/l; ln -s l/f1 $O/m; cat $O/l/f2 $O/m; ls $O/l/a; cd $O/l; /bin/pwd; readlink -f $O/m; stat -L -c %i $O/m",
    "small RLIMIT_NOFILE": "ulimit -n 64; ulimit -n; cat $T/deep/f1 $T/big | sha256sum; ls $T/deep | wc -l; cd $T/deep && cat f2",
    "hard RLIMIT_NOFILE": "ulimit -Hn 64; cat $T/deep/f1 $T/big | sha256sum; ls $T/deep | wc -l; cd $T/deep && cat f2",
    "dd, head, tail, od": "dd if=$T/big bs=7001 skip=9 count=50 2>/dev/null | sha256sum; tail -c 1234 $T/big | od -c | tail -2; head -n1 $T/deep/f9; cmp $T/big $T/deep/link",
    "cpio": "cd $T && find deep -type f | sort | cpio -o --quiet 2>&1 | wc -c",
    "pipes and jobs": "sleep 0.2 & cat $T/deep/f1 | tee >(wc -c >$O/n) | tac; jobs; wait; cat $O/n; kill %1 2>/dev/null; (cat $T/big | head -c 100000) | wc -c",
    "fifo": "timeout 5 cat $T/fifo & sleep 0.1; echo through > $T/fifo; wait",
    "tail -f": "tail -f $T/deep/f1 2>&1 & sleep 0.3; kill %1; wait",
    "exit statuses": 'bash -c "exit 3"; echo $?; (exec 2>/dev/null; bash -c "kill -9 \\$\\$"; echo $?); exit 9',
    "killed children": "for i in 1 2 3 4 5 6; do (while :; do cat $T/big $T/deep/* >/dev/null; done) 2>/dev/null & p=$!; disown $p; sleep 0.0$i; kill -9 $p; done; sleep 0.2; cat $T/deep/f1",
    "timeout, SIGTERM": 'timeout 0.3 bash -c "while :; do $T/bin/static >/dev/null; done"; echo $?',
    "seldom calls": f"python3 -B {CALLS} $T",
    "errors": f"mkdir $O/other; python3 -B {HERE}/view_errors.py $T $O/other {HERE.parent}",
    "changes refused": "cd $T; for c in 'touch new' 'mkdir new' 'rm big' 'mv big b' 'ln big b' 'chmod 0 big' 'truncate -s0 big' 'ln -s x y' 'rmdir lib' 'mkfifo p' 'touch big' 'mkdir lib' 'tee big'; do $c </dev/null 2>&1; done | sed 's/for .*: R/R/'",
    "across the border": "cd $T; ln big $O/hl; mv big $O/ ; ln $O/../case.sh x; mv $O/../case.sh $T/",
}
# nobody's copy has other owners: nothing to compare; what nobody may do with the mount point, the host decides
ROOT_ONLY = {"cp -a, diff -r", "errors"}


@dataclass
class Trees:
    image: Path
    kernel: Path
    mountpoint: Path
    work: Path


@pytest.fixture(scope="module")
def trees() -> Iterator[Trees]:
    with reachable() as work:
        mountpoint = work / "mountpoint"
        mountpoint.mkdir()
        image = make_image(work, mountpoint)
        with kernel_mount(image, work / "kernel") as kernel:
            yield Trees(image, kernel, mountpoint, work)


def outcome(trees: Trees, command: str, tree: Path, prefix: list[str]) -> str:
    """What a case prints, with the tree's place taken out."""
    output, script = trees.work / "output", trees.work / "case.sh"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    output.chmod(0o777)
    script.write_text(command)
    home = trees.work / "home"
    home.mkdir(exist_ok=True)
    (home / ".gitconfig").write_text("[safe]\n\tdirectory = *\n")
    environment = {**os.environ, "T": str(tree), "M": str(tree), "O": str(output), "HOME": str(home), "LC_ALL": "C"}
    environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    done = subprocess.run(
        [*prefix, "bash", script], env=environment, cwd="/", timeout=60, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    text = done.stdout.decode(errors="backslashreplace").replace(str(tree), "$T")
    return f"{text}status {done.returncode}\n"


def in_view(trees: Trees, user: list[str]) -> list[str]:
    mount = f'mount -t umfuseext2 -o ro {trees.image} {trees.mountpoint} && exec "$@"'
    return [*user, str(UMVIEW), "bash", "-c", mount, "in-view"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_same_as_on_the_kernel_mount(trees: Trees, name: str, user: str) -> None:
    prefix = NOBODY if user == "nobody" else []
    if user == "nobody" and name in ROOT_ONLY:
        return
    command = CASES[name]
    if name in ("loader inside", "interpreter inside"):
        # These name the mount point itself, where only the view has something: compare with what is known.
        got = outcome(trees, command, trees.mountpoint, in_view(trees, prefix))
        assert re.search(r"main [xy] 42 \d\n", got), got
        assert name == "loader inside" or re.search(r"main z 42 4\n", got), got
        return
    want = outcome(trees, command, trees.kernel, prefix)
    got = outcome(trees, command, trees.mountpoint, in_view(trees, prefix))
    assert got.splitlines() == want.splitlines()


def test_nobody_outside_sees_it(trees: Trees) -> None:
    command = [*in_view(trees, []), "bash", "-c", f"ls {trees.mountpoint}; echo ready; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "ready\n":
            assert process.poll() is None
        assert list(trees.mountpoint.iterdir()) == []
        assert str(trees.mountpoint) not in Path("/proc/mounts").read_text()
        process.communicate("go\n", timeout=10)
    assert process.returncode == 0
