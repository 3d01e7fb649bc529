"""What bench/view.py works on: the files, and the programs that are timed on them."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Program:
    """A shell command that is timed in the tree. *clean*: what undoes it, not timed. *writes*: the tree must be writable."""

    command: str
    clean: str = ""
    writes: bool = False
    peers: bool = True
    """Whether proot does it too; what takes it long and has no limit against it is left out."""


PROGRAMS = {
    "find -ls, 1000 files": Program("find many -ls"),
    "grep -r, 1000 files": Program("grep -rc needle many"),
    "tar c, 1000 files": Program("tar -c many | cat"),
    "tar x, 1000 files": Program("tar -xf many.tar -C out", "rm -rf out/many", writes=True),
    "cp -r, 1000 files": Program("cp -r many out", "rm -rf out/many", writes=True),
    "sha256sum 24 MiB": Program("sha256sum big"),
    # The image has other inode numbers and change times than the tree it was made of: git must not take that for changes.
    "git status, 5000 files": Program("git -C repository -c core.checkStat=minimal -c core.trustctime=false status"),
    "make -j2, 50 C files": Program("make -s -j2 -C project", "make -s -C project clean", writes=True, peers=False),
}

UNIT = """
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "common.h"
int part_{n}(const char *text) {{
  char copy[64];
  snprintf(copy, sizeof copy, "%s {n}", text);
  return errno ? -1 : (int)strlen(copy) + BASE;
}}
"""
MAKEFILE = """
objects = $(patsubst %.c,%.o,$(wildcard *.c))
all: program
program: $(objects)
\tgcc -o $@ $^
%.o: %.c common.h
\tgcc -O1 -c -o $@ $<
clean:
\trm -f *.o program
"""


def make_tree(tree: Path) -> None:
    """The files: few for single calls, 1000 for programs, a repository of 5000, a C project of 50."""
    (tree / "many").mkdir(parents=True)
    for index in range(1000):
        directory = tree / "many" / f"d{index // 50}"
        directory.mkdir(exist_ok=True)
        (directory / f"f{index}").write_text(f"needle {index}\n" * (index % 300))
    for name, size in (("small", 4096), ("medium", 1 << 20), ("big", 24 << 20)):
        (tree / name).write_bytes(os.urandom(size))
    subprocess.run(["tar", "-cf", "many.tar", "many"], cwd=tree, check=True)
    (tree / "out").mkdir()
    make_repository(tree / "repository")
    make_project(tree / "project")


def make_repository(repository: Path) -> None:
    for index in range(5000):
        directory = repository / f"d{index // 100}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"f{index}").write_text(f"content {index}\n")
        # Older than the index: else git, not trusting times, reads every file each time where it cannot write the index anew.
        os.utime(directory / f"f{index}", (10**9, 10**9))
    git = ["git", "-C", str(repository), "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["update-index", "-q", "--refresh"]):
        subprocess.run([*git, *command], check=True)


def make_project(project: Path) -> None:
    project.mkdir()
    (project / "common.h").write_text("#define BASE 1\n")
    for number in range(49):
        (project / f"part{number}.c").write_text(UNIT.format(n=number))
    calls = " + ".join(f'part_{number}("x")' for number in range(49))
    declared = "".join(f"int part_{number}(const char *text);\n" for number in range(49))
    (project / "main.c").write_text(f"{declared}int main(void) {{ return {calls} < 0; }}\n")
    (project / "Makefile").write_text(MAKEFILE)


def make_image(tree: Path, image: Path) -> None:
    """An ext4 image of the tree."""
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image], check=True)


def make_worker(worker: Path) -> None:
    subprocess.run(["gcc", "-O2", "-o", worker, HERE / "view_worker.c"], check=True)
