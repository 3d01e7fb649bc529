# ruff: noqa: E501 (a case reads best on one line)
"""Names across the borders of mounts, compared with the kernel's own: hidden directories, links, `..`, /proc, odd mount points."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.view_compare import Comparison
from tests.view_tree import can_mount

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and loop devices for the kernel's mounts to compare with")

CASES = {
    "a cwd that the mount hides": "cd m; touch old; mnt ../img .; ls -a; cat old; stat -c %n old; head -1 $PWD/deep/f1; ls $PWD | head -3; cat ./old; ls ../m | head -2; cd ../m; ls | head -3",
    "far below what it hides": "mkdir -p m/s/t; echo o > m/s/t/f; cd m/s/t; mnt ../../../img ../..; cat f ../t/f; cat ../../s/t/f; ls ../.. | head -2; /bin/pwd; cat $PWD/f; cd ..; ls; cat t/f; cd ..; ls | head -3",
    "a descriptor of what is hidden": "mnt img m; exec 5<m/deep; mkdir m2; touch m2/x; ls /proc/self/fd/5/a; exec 6<n; mnt img n; ls /proc/self/fd/6/; ls n | wc -l",
    "links made before": "ln -s m/deep l; ln -s l/f1 l2; ln -s ../w/l l3; ln -s $PWD/m/dirlink/../f3 l4; mnt img m; cat l2 l3/f2 l4 | wc -l; cat l/../big | wc -c; cd l; /bin/pwd; cd -P ..; /bin/pwd; readlink ../l; readlink -f ../l2; cat ../l3/../deep/f3 | wc -l",
    "links made after": "mnt img m; cat l2; ln -s m/deep l; cat l/f1 | wc -l; ln -s l/f1 l2; cat l2 | wc -l; rm l; cat l2; ln -sfn n l; cat l2; echo hi > n/f1; cat l2; rm l; ln -s m/deep l; cat l2 | wc -l; mv l k; cat l2; cat k/f2 | wc -l; ln l2 l5; ln -s m/deep l; cat l5 | wc -l",
    "a hard link to a link": "mnt img m; ln -s m/deep/f1 l; cat k 2>&1; ln l k; cat k | wc -l",
    "a link as mount point": "ln -s m mm; mnt img mm; ls mm/deep | wc -l; ls m | wc -l; umount mm; ls m mm",
    "a mount point behind a link": "mkdir -p real/p; ln -s real link; mnt img link/p; ls real/p | wc -l; ls link/p | wc -l; cat link/p/../p/deep/f1 | wc -l; umount real/p; ls link/p",
    "dot dot": "mnt img m; ls m/..; ls -d m/../n; ls m/deep/../../n/; stat -c %i m/.. . | uniq | wc -l; cd m; ls ../n -d; cat deep/../../m/deep/f1 | wc -l; ls m/big/..; ls n/../m/big/../",
    "through what is no directory": "touch f; mnt img m; cat f/../m/deep/f1; cat f/.; ls f/..; cat none/../m/deep/f1; cat m/none/../deep/f1; cat m/deep/out/; cat m/deep/out/..; cat m/big/.. m/big/.; cat m/deep/f1/",
    "slashes behind": "mnt img m; ls -d m/ m/. m//; stat -c %F m/dirlink m/dirlink/; readlink m/dirlink/; readlink m/dirlink; ls -d m/dirlink/; rm m/dirlink/; rmdir m/dirlink; rmdir m; mkdir m/ m/new/ m/deep/; touch m/x/",
    "/proc": "mnt img m; cd m/deep; cat /proc/self/cwd/f1 | wc -l; cat /proc/$$/cwd/f1 | wc -l; ls /proc/$$/cwd/a; cat /proc/self/root$PWD/f2 | wc -l; cat /proc/thread-self/cwd/f1 | wc -l; cat /proc/$$/task/$$/cwd/f1 | wc -l; ls -d /proc/self/cwd/../big; readlink /proc/self/cwd; exec 7<f1 8<../big 9<.; cat /proc/self/fd/7 | wc -l; wc -c </dev/fd/8; ls /proc/self/fd/9/a /dev/fd/9/a; stat -L -c %s /proc/self/fd/8; readlink /proc/self/fd/[789]; find /proc/self/fd/9/ -maxdepth 1 | wc -l; [ /dev/fd/7 -ef f1 ] && echo same",
    "/proc is another for each": "mnt img m; echo host > n/f1; (cd n; cat /proc/self/cwd/f1); (cd m/deep; cat /proc/self/cwd/f1 | wc -l); (cd n; cat /proc/self/cwd/f1); cat /dev/stdin < n/f1; cat /dev/stdin < m/deep/f1 | wc -l; cat /dev/stdin < n/f1",
    "odd bytes in a mount point": r"""d=$'a b\tc\nd\\e#f\xff\xc3\xa9'; mkdir "$d"; mnt img "$d"; ls "$d" | wc -l; tail -1 /proc/mounts | cut -d' ' -f2 ; tail -1 /proc/self/mountinfo | cut -d' ' -f5; mountpoint "$d"; df --output=target "$d" | tail -1; umount "$d"; ls "$d" | wc -l""",
    "over /tmp": "mnt img /tmp; ls /tmp | head -3; cat /tmp/deep/f1 | wc -l; cd /tmp/bin; ./dyn x; /tmp/bin/static; cd /; umount /tmp; ls -d /tmp/deep",
    "over /etc": "mnt img /etc; ls /etc | wc -l; id -un; ls -l /etc/deep/f1 | cut -c1-10; cat /etc/passwd; umount /etc; id -un",
    "over /usr": "mnt img /usr; ls; echo $?; /bin/ls; cd /usr; echo *; read x < deep/f1; echo $x",
    "over the image": "mnt img $PWD; ls $PWD | wc -l; cd $PWD; cat deep/f1 | wc -l; md5sum big",
    "one image at two places": "mnt img m; mnt img n; cmp m/big n/big && echo same; umount m; ls m; ls n | wc -l; umount n; ls n",
    "twenty mounts": "for i in $(seq 20); do mkdir d$i; mnt img d$i; done; for i in $(seq 20); do wc -l < d$i/deep/f1; done; cat d*/deep/f* | md5sum; for i in $(seq 20 -1 1); do umount d$i; done; ls d*/; ls",
    "mounts in mounts": "mnt img m; mnt img m/lib; ls m/lib | wc -l; mnt img m/lib/deep; ls m/lib/deep/a m/lib/deep | wc -l; cd m/lib/deep/deep/a; ls ../../..; cd ../../../..; /bin/pwd; umount lib/deep; umount lib; ls lib; cd ..; umount m",
    "changes of a mount point": "mnt img m; mv m k; ls m | wc -l; rmdir m; mv n m; mv -T n m; mkdir m; touch m; echo $?; mkdir -p a/b/p; mnt img a/b/p; rmdir a/b/p a/b; echo; ls a/b",
    "detached, with files open": "mnt img m; exec 3<m/big 4<m/deep 5<m/deep/f1; cd m/deep; umount -l ../../m; md5sum <&3; cat <&5 | wc -l; cat f1 | wc -l; cat ./a/b/c/*spaces | wc -c; ls -d ../big; ls; cat ../deep/f3 | wc -l; ls /proc/self/fd/4 | wc -l; ../bin/static; wc -c /proc/self/fd/3",
    "detached, and another there": "W=$PWD; mnt img m; cd m/deep; umount -l $W/m; mkdir -p $W/m/deep; echo x > $W/m/deep/host; ls $W/m/deep; cat $W/m/deep/host; cat f1 | wc -l; cat host; stat -c %s f2; cat $W/m/deep/f1",
    "changes on the host from inside": "mnt img m; cd m/deep; echo hi > ../../new; cat ../../new; mkdir ../../nd; touch ../../nd/q; mv ../../nd/q ../../nd/r; ln ../../nd/r ../../nd/s; ln -s x ../../nd/t; ls ../../nd; chmod 600 ../../nd/r; stat -c %a ../../nd/r; rm -r ../../nd; cp f1 ../../nf; cat ../../nf | wc -l; truncate -s 3 ../../nf; mkfifo ../../ff; stat -c %F ../../ff; rm ../../ff ../../nf; ls ../..; mkdir ../../m; rmdir ../../m ../../.; touch ../../m/x",
    "another root": 'mkdir -p j/usr/bin j/lib64 j$PWD/m; ln -s usr/bin j/bin; cp /bin/ls j/bin; for l in $(ldd /bin/ls | grep -o "/lib[^ ]*"); do mkdir -p j${l%/*}; cp $l j$l; done; touch j$PWD/m/jail; mnt img m; chroot j /bin/ls $PWD/m; ls m | wc -l',
    "other namespaces": 'mnt img m; unshare -m ls m | wc -l; unshare -m bash -c "mount -t tmpfs x n; touch n/q; ls n; ls m | wc -l"; unshare -mpf --mount-proc bash -c "ls m | wc -l; cd m/deep; cat f1 | wc -l; ../bin/static; cat /proc/self/cwd/f2 | wc -l"; ls n',
    "sockets": "mnt img m; python3 -c \"\nimport socket\nfor p in ('m/sock', 'm/deep/f1', 'n/s'):\n  for to in ('m/deep/f2', 'm/fifo', 'm/none', 'n/none'):\n    s = socket.socket(socket.AF_UNIX)\n    try: s.bind(p); print('bound')\n    except OSError as e: print(e.errno)\n    try: s.connect(to)\n    except OSError as e: print(e.errno)\n\"; ls -A n; umount m; ls -A m",
    "tables": 'mnt img m; T=$PWD/m; for t in mounts self/mounts $$/mounts self/mountinfo $$/task/$$/mounts self/mountstats thread-self/mounts; do grep -c " $T " /proc/$t; done; grep -c " $T " /etc/mtab; (cd /proc/self; grep -c " $T " mounts); grep -c " $T " < /proc/mounts; stat -c %s /proc/mounts; findmnt -T m/deep/f1 -no TARGET; df m/deep | tail -1 | wc -w',
}


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Comparison]:
    yield Comparison(Path(tmp_path_factory.mktemp("names")))


@pytest.mark.parametrize("name", CASES)
def test_as_the_kernel_has_it(comparison: Comparison, name: str) -> None:
    comparison.check(CASES[name])
