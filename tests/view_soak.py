"""Mixed work in one view, for `test_view_soak`: workers that run jobs, one after the other, and kill some of them at random.

    python view_soak.py work PLACES TREE SUMS LOG PHASES SECONDS SEED    in the view; PLACES are directories, separated by `:`
    python view_soak.py model DIRECTORY SEED                             one job: a file against a model of it

After each phase the workers rest, `quiet` is printed, and a line on standard input begins the next. What goes wrong is a line
in LOG.
"""

from __future__ import annotations

import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

WORKERS = 8
KILLED = 0.2
"""The part of jobs that is killed."""
PATIENCE = 180
"""Seconds after which a job hangs: none takes more than some ten, but eight of them share the machine."""
SETTLED = 3
"""Seconds in which all that was written is written back."""

# $1: an empty directory of the job's own, $2: a tree that nobody changes, $3: `sha256sum` of its files, $4: a seed
JOBS = {
    "find": 'cd "$2"; diff <(find . -type f | sort) <(cut -c67- "$3" | sort); test "$(find . -size +2M | wc -l)" = 1',
    "sums": 'cd "$2"; sha256sum --quiet -c "$3"',
    "grep": 'cd "$2"; test "$(grep -rl needle . | wc -l)" = 5; wc -c -- */* | tail -1 | grep -q total',
    "cp": 'cp -a "$2" "$1/copy"; cd "$1/copy"; sha256sum --quiet -c "$3"; mv d1 e1; rm -r d2 e1; test ! -e e1',
    "rsync": 'rsync -a "$2/" "$1/a/"; touch -d yesterday "$1/a/d1/f1"; rsync -a "$2/" "$1/a/"; rsync -a "$1/a/" "$1/b/"; '
    'cd "$1/b"; sha256sum --quiet -c "$3"',
    "tar": 'mkdir "$1/x"; tar -C "$2" -cf - . | tar -C "$1/x" -xf -; cd "$1/x"; sha256sum --quiet -c "$3"; '
    "tar -czf ../x.tgz .; tar -dzf ../x.tgz",
    "git": """
        export GIT_CONFIG_NOSYSTEM=1 HOME="$1"; cd "$1"; git config --global gc.auto 0; git config --global user.email a@b
        git config --global user.name a; git config --global init.defaultBranch main; git config --global safe.directory '*'
        git init -q r; cp -r "$2/d1" "$2/d3" r; cd r; git add .; git commit -qm one; git mv d1 d9; git commit -qm two
        test -z "$(git status --short)"; git gc -q; git fsck --strict --no-progress; git clone -q . ../c; diff -r d9 ../c/d9""",
    "make": """
        cd "$1"; for i in 1 2 3 4 5; do echo "int f$i(int x) { return x * $i; }" > f$i.c; done
        echo 'int f1(int), f2(int), f3(int), f4(int), f5(int); int main(void) { return f1(1)+f2(1)+f3(1)+f4(1)+f5(1); }' > main.c
        printf 'p: f1.o f2.o f3.o f4.o f5.o main.o\\n\\tgcc -o $@ $^\\n' > Makefile; make -s -j3; ! ./p; ./p || test $? = 15""",
    "python": 'cd "$1"; mkdir m; cp /usr/lib/python3*/json/*.py m; PYTHONPATH=m "$PYTHON" -m compileall -q m; '
    'PYTHONPATH="$1" "$PYTHON" -c "import m.decoder, sys; assert m.__file__.startswith(sys.argv[1]), m" "$1"',
    "model": '"$PYTHON" "$SOAK" model "$1" "$4"',
    "programs": 'cp -a /bin/bash /bin/cat /bin/sed "$1"; printf \'#!%s/bash\\nexec "%s/cat" "$0"\\n\' "$1" "$1" > "$1/s"; '
    'chmod +x "$1/s"; "$1/s" | cmp - "$1/s"; seq 2000 | "$1/sed" s/1/x/ | tail -1 | grep -qx 2000',
    "pipes": 'cd "$1"; mkfifo p; seq 20000 > p & sha256sum < p > a; wait; seq 20000 | tee >(sha256sum > b) | sha256sum > c; '
    'cmp a c; for i in 1 2 3 4; do (flock 9; echo $i >> n) 9> l & done; wait; test "$(wc -l < n)" = 4',
    "mount": 'mkdir "$1/m"; mount -t ramfs none "$1/m"; cp -r "$2/d2" "$1/m"; diff -r "$2/d2" "$1/m/d2"; '
    'umount "$1/m"; rmdir "$1/m"',
    "nested": 'mkdir "$1/m"; umview bash -ec \'mount -t ramfs none "$1/m"; cp -r "$2/d2" "$1/m"; '
    'diff -r "$2/d2" "$1/m/d2"\' x "$1" "$2"; rmdir "$1/m"',
    "watch": 'cd "$1"; for i in $(seq 30); do echo $i > f.new; mv f.new f; test "$(cat f)" = $i; ln f g; rm f; mv g f; done',
}


def work(places: list[str], tree: str, sums: str, log: str, phases: int, seconds: float, seed: int) -> None:
    for phase in range(phases):
        end = time.monotonic() + seconds / phases
        workers = []
        for number in range(WORKERS):
            pid = os.fork()
            if not pid:
                worker(random.Random(seed * 1000 + phase * WORKERS + number), number, places, tree, sums, log, end)
                os._exit(0)
            workers.append(pid)
        for pid in workers:
            os.waitpid(pid, 0)
        time.sleep(SETTLED)
        print("quiet", flush=True)
        sys.stdin.readline()


def worker(chance: random.Random, number: int, places: list[str], tree: str, sums: str, log: str, end: float) -> None:
    """Run jobs until *end*."""
    environment = {**os.environ, "PYTHON": sys.executable, "SOAK": __file__}
    ran = 0
    while time.monotonic() < end:
        ran += 1
        name, place, seed = chance.choice(list(JOBS)), chance.choice(places), chance.randrange(1 << 30)
        directory = f"{place}/w{number}.{ran}"
        os.mkdir(directory)
        command = ["bash", "-eo", "pipefail", "-c", JOBS[name], "job", directory, tree, sums, str(seed)]
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        killed = chance.random() < KILLED
        try:
            output, _ = process.communicate(timeout=chance.random() * 2 if killed else PATIENCE)
            wrong = process.returncode != 0
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
            wrong = not killed
        report(log, f"{name} {place} seed {seed}: {process.returncode}{' (killed)' if killed else ''}", wrong, output, started)
        if killed:
            subprocess.run(["umount", f"{directory}/m"], stdin=subprocess.DEVNULL, capture_output=True)
        cleaned = subprocess.run(["rm", "-r", directory], stdin=subprocess.DEVNULL, capture_output=True)
        if cleaned.returncode:
            report(log, f"{name} {place}: cannot be removed", True, cleaned.stderr, started)


def report(log: str, line: str, wrong: bool, output: bytes, started: float) -> None:
    word = "WRONG" if wrong else "done"
    with open(log, "a") as file:
        file.write(f"{word} {time.monotonic() - started:.1f} s {line}\n" + (output.decode(errors="replace") if wrong else ""))


def model(directory: Path, seed: int) -> None:
    """A file that is written, mapped, truncated, extended and renamed at random is what a bytearray says."""
    chance = random.Random(seed)
    path, content = directory / "f", bytearray()
    path.touch()
    for turn in range(150):
        length, at = chance.choice((1, 100, 5000, 200000)), chance.randrange(len(content) + 1)
        piece = chance.randbytes(length)
        action = chance.choice(("write", "append", "truncate", "map", "rename", "read", "copy"))
        if action in ("write", "append"):
            with open(path, "r+b" if action == "write" else "ab") as file:
                if action == "write":
                    file.seek(at)
                else:
                    at = len(content)
                file.write(piece)
            content[at : at + length] = piece
        elif action == "truncate":
            os.truncate(path, at)
            del content[at:]
        elif action == "map" and len(content):
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
                fitting = piece[: len(content) - at]
                mapped[at : at + len(fitting)] = fitting
                content[at : at + len(fitting)] = fitting
        elif action == "rename":
            path = path.rename(directory / f"f{turn}")
        elif action == "copy":
            shutil.copy(path, directory / "copy")
            os.replace(directory / "copy", path)
        if turn % 8 == 0 and path.read_bytes() != content:
            raise SystemExit(f"turn {turn}, after {action}: {len(content)} bytes expected, {path.stat().st_size} there")
    if path.read_bytes() != content:
        raise SystemExit("at the end: not what was written")


if __name__ == "__main__":
    if sys.argv[1] == "work":
        work(sys.argv[2].split(":"), *sys.argv[3:6], int(sys.argv[6]), float(sys.argv[7]), int(sys.argv[8]))
    else:
        model(Path(sys.argv[2]), int(sys.argv[3]))
