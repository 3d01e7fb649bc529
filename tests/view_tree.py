# ruff: noqa: E501 (shell reads best as it is)
"""The tree that the view's tests work on: programs, scripts, a repository, links; as an ext4 image, mounted by the kernel for comparison."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

MAKE = r"""
set -e
D=$1 M=$2
mkdir -p $D/bin $D/lib $D/src $D/pkg/sub $D/deep/a/b/c
for i in $(seq 1 40); do printf 'line %s\nneedle %s\n' $i $i > $D/deep/f$i; done
head -c 3000001 /dev/urandom > $D/big; head -c 70000 /dev/zero > $D/zeros; : > $D/empty
truncate -s 5M $D/sparse; printf tail >> $D/sparse
head -c 200000 /dev/urandom > "$D/deep/a/b/c/name with spaces"
ln -s ../big $D/deep/link; ln -s /etc/passwd $D/deep/out; ln -s nowhere $D/deep/dangling; ln -s loop $D/loop; ln -s deep/a $D/dirlink
ln $D/deep/f1 $D/deep/hard; mkfifo -m 666 $D/fifo
printf '#!/bin/bash\necho "script $0 $# $*"; . "$(dirname "$0")/inc.sh"\n' > $D/bin/script; echo 'echo included $inc' > $D/bin/inc.sh
printf '#!/usr/bin/env python3\nimport sys; print(sys.argv[1:], __file__)\n' > $D/bin/py
printf 'int answer(void) { return 42; }\n' > $D/lib/priv.c
cat > $D/src/main.c <<'C'
#include <stdio.h>
#include "main.h"
int answer(void);
int main(int c, char **v) { printf("%s %s %d %d\n", NAME, v[c - 1], answer(), c); return 7; }
C
echo '#define NAME "main"' > $D/src/main.h
printf 'VPATH=%s\n$(O)/prog: main.c main.h priv.c\n\tgcc -O1 -o $@ main.c ../lib/priv.c\n\t$@ made || true\n' ../lib > $D/src/Makefile
gcc -shared -fPIC -o $D/lib/libpriv.so $D/lib/priv.c
gcc -o $D/bin/dyn $D/src/main.c -L$D/lib -lpriv -Wl,-rpath,'$ORIGIN/../lib'
gcc -static -o $D/bin/static $D/src/main.c $D/lib/priv.c
cp "$(readlink -f /lib64/ld-linux-x86-64.so.2)" $D/lib/ld.so
gcc -o $D/bin/ownld $D/src/main.c $D/lib/priv.c -Wl,--dynamic-linker=$M/lib/ld.so
printf '#!%s/bin/dyn opt\n' $M > $D/bin/nested
chmod +x $D/bin/*
printf 'from .sub import value\n' > $D/pkg/__init__.py; printf 'value = "imported"\n' > $D/pkg/sub/__init__.py
cd $D; git init -q repo; cd repo
for i in 1 2 3 4 5; do echo $i > f$i; git add f$i; git -c user.name=a -c user.email=a@b commit -qm "c$i"; done
git gc -q; echo dirty >> f2; echo new > f9; git update-index -q --refresh || true
chmod -R a+rX $D
"""


def make_image(work: Path, mountpoint: Path) -> Path:
    """An ext4 image of the tree; programs in it that name their own place take it to be *mountpoint*."""
    tree, image = work / "tree", work / "tree.img"
    subprocess.run(["bash", "-c", MAKE, "make", tree, mountpoint], check=True, timeout=120)
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", tree, image], check=True, timeout=60)
    # The view does not enforce permissions, the kernel's mount does: nothing in the image may be closed to others.
    subprocess.run(["debugfs", "-w", "-R", "sif lost+found mode 040755", image], check=True, timeout=30, capture_output=True)
    shutil.rmtree(tree)
    return image


@contextlib.contextmanager
def kernel_mount(image: Path, where: Path) -> Iterator[Path]:
    """The image mounted by the kernel: the truth to compare with. Needs root."""
    where.mkdir()
    subprocess.run(["mount", "-o", "ro,loop", image, where], check=True, timeout=30)
    try:
        yield where
    finally:
        subprocess.run(["umount", where], check=True, timeout=30)


def can_mount() -> bool:
    return os.geteuid() == 0 and os.path.exists("/dev/loop-control")
