"""What /proc says of a process with a thread, and of its descriptors, on the tree of view_tree.py. Run as `view_proc.py TREE`.

Numbers of processes, devices and mounts differ from run to run: only whether they agree with each other is printed.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import sys
import threading
from pathlib import Path

T = sys.argv[1]
os.chdir(T + "/deep/a")
file, directory = os.open(T + "/big", os.O_RDONLY), os.open(T + "/deep", os.O_RDONLY | os.O_DIRECTORY)
named = os.open(T + "/deep/a/b/c/name with spaces", os.O_RDONLY)
link = os.open(T + "/deep/link", os.O_PATH | os.O_NOFOLLOW)
low = os.dup2(file, 77)
mapped = mmap.mmap(named, 0, prot=mmap.PROT_READ)
pid = os.getpid()


def tell(base: str) -> None:
    for name in ("cwd", "root", f"fd/{file}", f"fd/{directory}", f"fd/{link}", "fd/77"):
        print(os.readlink(f"{base}/{name}"))
    print(os.listdir(base + "/cwd"), os.stat(base + "/cwd").st_ino == os.stat(T + "/deep/a").st_ino)
    print(Path(f"{base}/cwd/../f1").read_bytes()[:6], Path(f"{base}/root{T}/deep/f2").read_bytes()[:6])
    print(os.path.getsize(f"{base}/fd/{file}"), Path(f"{base}/fd/77").read_bytes() == Path(T + "/big").read_bytes())
    print(sorted(os.listdir(f"{base}/fd/{directory}"))[:3], os.readlink(f"{base}/fd/{directory}/link"))
    for name in ("maps", "smaps", "numa_maps"):
        try:
            text = Path(f"{base}/{name}").read_bytes()
        except FileNotFoundError:  # not built in
            continue
        print(name, sorted({line.split(b" ", 5)[-1].strip() for line in text.splitlines() if T.encode() in line}))
        print(re.findall(rb"memfd[^ ]*", text), text.endswith(b"\n"))
    found = os.stat(T + "/deep/a/b/c/name with spaces")
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x} {found.st_ino} "
    maps = Path(f"{base}/maps").read_text()
    (line,) = [line for line in maps.splitlines() if line.endswith("name with spaces")]
    print(place in line, line.index("/"), line.split()[1:3])
    for number in (file, directory, 77):
        text = Path(f"{base}/fdinfo/{number}").read_text()
        ino, mount = (int(re.search(rf"^{name}:\t(\d+)$", text, re.M)[1]) for name in ("ino", "mnt_id"))
        tables = Path(f"{base}/mountinfo").read_text()
        print(
            number == 77,
            ino == os.stat(f"{base}/fd/{number}").st_ino,
            re.search(rf"^{mount} .* {re.escape(T)} ", tables, re.M) is not None,
        )
        print(*(line for line in text.splitlines() if line.startswith("pos")))


for base in ("/proc/self", "/proc/thread-self", f"/proc/{pid}", f"/proc/{pid}/task/{pid}"):
    print(base.replace(str(pid), "PID"))
    tell(base)


def in_thread() -> None:
    print("a thread")
    tell(f"/proc/self/task/{threading.get_native_id()}")
    tell(f"/proc/{pid}/task/{threading.get_native_id()}")
    tell("/proc/thread-self")


thread = threading.Thread(target=in_thread)
thread.start()
thread.join()

child = os.fork()
if not child:
    print("a child")
    tell(f"/proc/{pid}")
    os._exit(0)
os.waitpid(child, 0)

fcntl.flock(file, fcntl.LOCK_SH)
inode = os.fstat(file)
lock = f" {os.major(inode.st_dev):02x}:{os.minor(inode.st_dev):02x}:{inode.st_ino} "
print([lock in line for line in Path(f"/proc/self/fdinfo/{file}").read_text().splitlines() if line.startswith("lock")])
print(lock in Path("/proc/locks").read_text())

with open("/proc/self/mounts") as text:
    print(os.readlink(f"/proc/self/fd/{text.fileno()}") == f"/proc/{pid}/mounts")
    again = Path(f"/proc/self/fd/{text.fileno()}").read_text()
    print(again == text.read(), T in again, oct(os.fstat(text.fileno()).st_mode))
for name in ("mounts", "maps", "fdinfo/0"):
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_DIRECTORY):
        try:
            print(name, os.close(os.open("/proc/self/" + name, flags)))
        except OSError as error:
            print(name, error.strerror)
