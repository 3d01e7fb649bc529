# ruff: noqa: E501 (a script reads best on one line)
"""Devices in a view: stock tools on virtual disks, numbers and names, who is alone with one, descriptors wherever they are."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.command import open_to_all
from tests.views import both, shown, view


@pytest.fixture
def place(tmp_path: Path) -> Path:
    open_to_all(tmp_path)
    tmp_path.chmod(0o777)
    return tmp_path


@both
def test_a_ramdisk_is_partitioned_formatted_checked_and_mounted(place: Path, user: str) -> None:
    """The first real life of issue 6, with every tool as it comes."""
    script = r"""cd "$1"; mkdir m
mount -t umdevramdisk -o size=64M,mbr none /dev/hdx
printf 'o\nn\np\n1\n\n+20M\nn\np\n2\n\n\nw\n' | fdisk /dev/hdx >log 2>&1
ls /dev/hdx*; fdisk -l /dev/hdx | tail -2 | awk '{print $1, $2, $3}'
mkfs.ext4 -q -d /etc/alternatives /dev/hdx1; e2fsck -fn /dev/hdx1 2>&1 | tail -1 | sed 's/(.*//'
mount -t umfuseext2 -o ro /dev/hdx1 m; ls m | grep -c .; findmnt -no SOURCE,FSTYPE m
umount m; umount /dev/hdx; ls /dev/hdx 2>&1; true"""
    out = shown(script, place, user=user).splitlines()
    assert out[:3] == ["/dev/hdx", "/dev/hdx1", "/dev/hdx2"]
    assert out[3:5] == ["/dev/hdx1 2048 43007", "/dev/hdx2 43008 131071"]
    assert re.match(r"/dev/hdx1: \d+/5112 files", out[5])
    assert int(out[6]) > 3
    assert out[7].split() == ["/dev/hdx1", "umfuseext2"]
    assert out[8] == "ls: cannot access '/dev/hdx': No such file or directory"


@both
@pytest.mark.parametrize("kind", ["qcow2", "vdi", "vmdk", "vpc"])
def test_a_virtual_disk_holds_what_tools_wrote(place: Path, user: str, kind: str) -> None:
    """vd, mbr and ext2 stacked by paths under /dev; qemu then finds the same."""
    script = r"""cd "$1"; mkdir m; qemu-img create -q -f "$2" disk 60M
mount -t umdevvd disk /dev/hdx; mount -t umdevmbr /dev/hdx /dev/hdy
sgdisk -n 1:2048:+10M -n 2:0:0 -c 2:data /dev/hdy >log; ls /dev/hdy*
parted -s /dev/hdy print | awk '/^ [12]/ {print $1, $2, $4}'
mkfs.vfat /dev/hdy1 >log; fsck.fat -n /dev/hdy1 | tail -1 | sed 's/, .*//'; mkfs.ext4 -q -d /etc/alternatives /dev/hdy2
blkid -p -s TYPE -o value /dev/hdy1 /dev/hdy2
mount -t umfuseext2 -o ro /dev/hdy2 m; umount /dev/hdx 2>&1 | tail -1; ls m | grep -c .; umount m /dev/hdy /dev/hdx"""
    done = view(script, place, kind, user=user)
    assert done.returncode == 0, done
    out = done.stdout.splitlines()
    assert out[:3] == ["/dev/hdy", "/dev/hdy1", "/dev/hdy2"]
    assert out[3:5] == ["1 1049kB 10.5MB", "2 11.5MB 51.4MB"], out
    assert out[5] == "/dev/hdy1: 0 files"
    assert out[6:8] == ["vfat", "ext4"]
    assert "busy" in out[8]
    raw = place / "raw"
    subprocess.run(["qemu-img", "convert", "-f", kind, "-O", "raw", place / "disk", raw], check=True)
    start = 2048 * 512 + (10 << 20)
    with open(raw, "rb") as disk:
        disk.seek(start)
        Path(place / "part").write_bytes(disk.read(os.path.getsize(raw) - start - 33 * 512))
    assert subprocess.run(["e2fsck", "-fn", place / "part"], capture_output=True).returncode == 0
    if kind in ("qcow2", "vdi"):
        assert subprocess.run(["qemu-img", "check", "-q", place / "disk"]).returncode == 0


@both
def test_at_low_numbers(place: Path, user: str) -> None:
    """dd and redirections: what has a device at 0, 1 or 3 reads and writes the device."""
    script = r"""cd "$1"; head -c 1000000 /dev/urandom >rnd; mount -t umdevramdisk -o size=4M none rd
dd if=rnd of=rd bs=4k status=none; dd if=rd bs=1000 count=1000 status=none | cmp - rnd && echo read
head -c 1000000 <rd | cmp - rnd && echo redirected; sha1sum <rnd >sum; cat rnd >rd; head -c 1000000 rd | sha1sum | cmp - sum && echo written
exec 3<>rd; echo -n hello >&3; (echo -n child >&3); head -c 10 rd; echo; bash -c 'exec 3<&-; read x <rd 2>/dev/null'; head -c 2 <&3 | cmp -n 2 - <(tail -c +11 rnd) && echo positioned
exec 3>&-; dd if=/dev/zero of=rd bs=1M 2>&1 | grep -c 'No space'
python3 -c '
import os, subprocess, threading
fd = os.open("rd", os.O_RDWR); os.dup2(fd, 9); os.close(fd); os.pwrite(9, b"threads!", 0); got = []
all = [threading.Thread(target=lambda i=i: got.append(os.pread(9, 1, i))) for i in range(8)]; [t.start() for t in all]; [t.join() for t in all]
print(b"".join(sorted(got)).decode(), subprocess.run(["head", "-c", "3"], stdin=9, capture_output=True).stdout.decode())'
sleep 1; umount rd && echo gone"""
    out = shown(script, place, user=user).splitlines()
    assert out == ["read", "redirected", "written", "hellochild", "positioned", "1", "!adehrst thr", "gone"]


def test_signals_and_stops_reach_who_is_followed(place: Path) -> None:
    script = r"""cd "$1"; mount -t umdevramdisk none rd; exec 3<>rd
trap 'echo caught' USR1; kill -USR1 $$; (sleep 0.3; kill -CONT $$) & kill -STOP $$; wait; echo continued
sleep 9 & kill $!; wait $!; echo $?; timeout 0.2 bash -c 'while :; do read -n1 x <&3; done'; echo $?"""
    done = view(script, place)
    assert done.stdout == "caught\ncontinued\n143\n124\n", done


@both
def test_numbers(place: Path, user: str) -> None:
    """Any node with the type and numbers reaches the device; over a node, its own are taken; no two devices have the same."""
    script = r"""cd "$1"; mkdir r; mount -t umfuseramfs none r; mount -t umdevtrivhd -o major=200,minor=7,mode=600,char none a
mknod r/n c 200 7; echo -n through >r/n; stat -c '%F %t:%T %a' a r/n; head -c 7 a; echo
mknod r/b b 201 3; mount -t umdevramdisk none r/b; stat -c '%t:%T' r/b; umount r/b
mount -t umdevramdisk -o major=200,minor=7,char none c 2>&1 | head -1; mount -t umdevramdisk -o nonsense none c 2>&1 | grep -o "unknown option 'nonsense'"
mount -t umdevramdisk -o major=202,nsubdev=4 none d; mount -t umdevramdisk -o major=202,nsubdev=4 none e; stat -c '%t:%T' d e; grep -c umdev /proc/mounts"""
    done = view(script, place, user=user)
    assert done.stdout.splitlines() == [
        "character special file c8:7 600",
        "character special file c8:7 644",
        "through",
        "c9:3",
        "umview: " + str(place / "c") + ": none: another mounted device has the numbers 200:7 to 7",
        "unknown option 'nonsense'",
        "ca:0",
        "ca:4",
        "3",
    ], done


IOCTLS = r"""
import errno, fcntl, os, struct, sys
def get(fd, request, form):
    try: return struct.unpack(form, fcntl.ioctl(fd, request, bytes(struct.calcsize(form))))
    except OSError as error: return errno.errorcode[error.errno]
fd = os.open(sys.argv[1], os.O_RDWR)
print(get(fd, 0x80081272, "Q"), get(fd, 0x1260, "Q"), get(fd, 0x1268, "i"), get(fd, 0x127b, "i"), get(fd, 0x1278, "i"), get(fd, 0x127a, "i"), get(fd, 0x125e, "i"))
print(get(fd, 0x301, "BBH4xQ"), get(fd, 0x5326, "i"), get(fd, 0xC0101282, "QQ"), get(fd, 0x125f, ""), get(fd, 0x1261, ""), get(fd, 0x5401, "60s"), get(fd, 0x1234, "i"))
os.pwrite(fd, b"x" * 8192, 0)
fcntl.ioctl(fd, 0x1277, struct.pack("QQ", 0, 4096)); fcntl.ioctl(fd, 0x127f, struct.pack("QQ", 4096, 4096))
print(set(os.pread(fd, 8192, 0)), get(fd, 0x127d, "QQ"))
for pair in (512, 100), (1 << 30, 512):
    try: fcntl.ioctl(fd, 0x1277, struct.pack("QQ", *pair)); print("no")
    except OSError as error: print(errno.errorcode[error.errno])
print(os.lseek(fd, 0, 2), os.read(fd, 1), os.pread(fd, 9, (4 << 20) - 2))
for call in (lambda: os.pwrite(fd, b"x", 4 << 20), lambda: os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY), lambda: os.pwrite(os.open(sys.argv[1], os.O_RDONLY), b"x", 0),
             lambda: os.mkdir(sys.argv[1] + "/d"), lambda: os.ftruncate(fd, 0), lambda: os.listdir(sys.argv[1])):
    try: call(); print("no")
    except OSError as error: print(errno.errorcode[error.errno])
os.close(fd)
one = os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)
try: os.open(sys.argv[1], os.O_RDONLY | os.O_EXCL); print("no")
except OSError as error: print(errno.errorcode[error.errno])
os.close(os.open(sys.argv[1], os.O_RDONLY)); os.close(one); print(os.open(sys.argv[1], os.O_RDWR | os.O_EXCL | os.O_DIRECT) > 2)
"""


@both
def test_what_a_disk_answers(place: Path, user: str) -> None:
    out = shown('cd "$1"; mount -t umdevramdisk -o size=4M none rd; python3 -c "$2" rd', place, IOCTLS, user=user)
    assert out.splitlines() == [
        "(4194304,) (8192,) (512,) (512,) (512,) (0,) (0,)",
        "(255, 63, 0, 0) ENOTTY ENOTTY EINVAL () ENOTTY ENOTTY",
        "{0} ENOTSUP",
        "EINVAL",
        "EINVAL",
        "4194304 b'' b'\\x00\\x00'",
        *("ENOSPC", "ENOTDIR", "EBADF", "ENOTDIR", "EINVAL", "ENOTDIR", "EBUSY", "True"),
    ]


def test_a_mount_and_an_exclusive_opener_keep_each_other_out(place: Path) -> None:
    script = r"""cd "$1"; mkdir m; mount -t umdevramdisk -o size=4M none rd; mkfs.ext4 -q rd; mount -t umfuseext2 -o ro rd m
python3 -c 'import os
try: os.open("rd", os.O_RDONLY | os.O_EXCL)
except OSError as e: print(e.strerror)'
umount rd; echo $?; umount m; exec 5<rd; umount rd; echo $?; exec 5<&-; sleep 0.1; umount rd; echo $?"""
    done = view(script, place)
    assert done.stdout.splitlines() == ["Device or resource busy", "32", "32", "0"], done


def test_partitions_follow_the_table(place: Path) -> None:
    """By BLKRRPART, by BLKPG, and when who wrote has closed; a partition in use stays."""
    script = r"""cd "$1"; mount -t umdevramdisk -o size=64M,mbr none nvme0n1
printf ',10M\n,10M\n' | sfdisk -q nvme0n1; ls; sfdisk -q --delete nvme0n1 2; ls; addpart nvme0n1 9 40960 2048; ls; delpart nvme0n1 9
dd if=/dev/zero of=nvme0n1 bs=512 count=1 status=none conv=fsync; sleep 1.2; ls
printf ',10M\n' | sfdisk -q nvme0n1; mkfs.ext4 -q nvme0n1p1; mkdir m; mount -t umfuseext2 -o ro nvme0n1p1 m
sfdisk -q --no-reread -f --delete nvme0n1 2>/dev/null; ls -d nvme*; ls m; umount m; blockdev --rereadpt nvme0n1; ls -d nvme*"""
    done = view(script, place)
    out = done.stdout.split()
    disk = "nvme0n1"
    expected = [
        disk,
        f"{disk}p1",
        f"{disk}p2",
        disk,
        f"{disk}p1",
        disk,
        f"{disk}p1",
        f"{disk}p9",
        disk,
        disk,
        f"{disk}p1",
        "lost+found",
        disk,
    ]
    assert out == expected, done


def test_a_directory_lists_what_the_view_adds(place: Path) -> None:
    """In host directories and in mounted ones, however they are opened; outside nothing is there."""
    (place / "plain").write_text("")
    script = r"""cd "$1"; mkdir r; mount -t umfuseramfs none r; mount -t umdevramdisk none "$1/disk"; mount -t umdevramdisk none r/inner
ls; ls "$1" | wc -l; find . -maxdepth 1 -type b; (cd r && ls; echo inn*); python3 -c 'import os; print(sorted(os.listdir(".")), sorted(e.name for e in os.scandir("/dev/../" + os.getcwd()) if not e.is_dir()))'
cp disk /dev/null; cat disk | wc -c; test -b disk && echo block; rm disk 2>&1; mv disk other 2>&1; ln disk other 2>&1"""
    done = view(script, place)
    out = done.stdout.splitlines()
    assert out[:3] == ["disk", "plain", "r"]
    assert out[3:7] == ["3", "./disk", "inner", "inner"]
    assert out[7] == "['disk', 'plain', 'r'] ['disk', 'plain']"
    assert out[8:10] == [str(16 << 20), "block"]
    assert all("busy" in line or "cross-device" in line for line in out[10:]) and len(out) == 13, out
    assert sorted(os.listdir(place)) == ["plain", "r"]


@both
def test_tools_that_look_into_sys(place: Path, user: str) -> None:
    """lsblk, fdisk and parted list a device as they list the host's; when it is gone, so is all of it."""
    script = r"""cd "$1"; mount -t umdevramdisk -o size=64M,mbr none /dev/hdx
printf 'label: dos\n,20M\n,,\n' | sfdisk -q /dev/hdx; mkfs.ext4 -q -L hello /dev/hdx1
lsblk -rno NAME,SIZE,TYPE /dev/hdx; lsblk -rno NAME | grep hdx; tail -3 /proc/partitions | awk '{print $3, $4}'; fdisk -l 2>/dev/null | grep -c ^/dev/hdx
cat /sys/dev/block/$(lsblk -no MAJ:MIN /dev/hdx2 | tr -d ' ')/start; partx -so NR,START,SECTORS -g /dev/hdx | tr -s " "; mkdir m; mount -t umfuseext2 -o ro /dev/hdx1 m; lsblk -rno MOUNTPOINTS /dev/hdx1; umount m /dev/hdx
(lsblk -n; ls -lR /sys/block /sys/dev/block; cat /proc/partitions) | grep -c hdx || echo gone"""
    assert shown(script, place, user=user).splitlines() == [
        *("hdx 64M disk", "hdx1 20M part", "hdx2 43M part", "hdx", "hdx1", "hdx2"),
        *("65536 hdx", "20480 hdx1", "44032 hdx2", "2", "43008", " 1 2048 40960", " 2 43008 88064", f"{place}/m", "0", "gone"),
    ]


def test_nested_views_have_their_own(place: Path) -> None:
    script = r"""cd "$1"; mount -t umdevramdisk -o size=1M none a; echo -n outer >a
umview bash -c 'head -c 5 a; echo; mount -t umdevramdisk none b; ls; umount a'; ls; head -c 5 a"""
    assert shown(script, place).split() == ["outer", "a", "b", "a", "outer"]


def test_human_mode(place: Path) -> None:
    """Mode and owner of a node count, and only who may mount reads a table anew."""
    script = r"""cd "$1"; mount -t umdevramdisk -o mode=600 none rd; mount -t umdevramdisk -o mode=666,mbr none rw; viewsu -s /bin/sh nobody -c 'head -c 1 rd; blockdev --rereadpt rw; head -c 3 rw | od -An -tx1; mount -t umdevnull none x' 2>&1"""
    out = view(script, place, options=["-s"]).stdout
    assert "rd' for reading: Permission denied" in out
    assert "BLKRRPART: Operation not permitted" in out or "Permission denied" in out
    assert "00 00 00" in out
    assert "must be superuser to use mount" in out


def test_the_end_is_stored(place: Path) -> None:
    """What was written is in the image when the view has ended, and when it was killed after a sync."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", place / "disk", "8M"], check=True)
    shown('cd "$1"; mount -t umdevvd disk d; echo -n kept >d', place)
    script = 'cd "$1"; mount -t umdevvd disk d; printf synced | dd of=d bs=6 seek=1 conv=fsync status=none; kill -9 $(ps -o ppid= $$); sleep 5'
    assert view(script, place).returncode != 0
    out = subprocess.run(
        ["qemu-img", "dd", "-O", "raw", f"if={place / 'disk'}", f"of={place / 'raw'}", "bs=512", "count=1"], capture_output=True
    )
    assert out.returncode == 0 and (place / "raw").read_bytes()[:12] == b"kept\0\0synced"


def test_refusals(place: Path) -> None:
    (place / "junk").write_bytes(os.urandom(4096))
    script = r"""cd "$1"; mkdir d; for i in "umdevvd junk x" "umdevvd none x" "umdevvd missing x" "umdevramdisk none d" "umdevramdisk none no/x" "umdevmbr d x"; do set -- $i; mount -t $1 $2 $3; done 2>&1 | grep umview"""
    out = view(script, place).stdout.splitlines()
    assert len(out) >= 4 and all(line.startswith("umview: ") for line in out), out
