# ruff: noqa: SIM115 (what the file says matters here, not its end)
"""Calls of one process on the tree of view_tree.py, to be run under strace; results are printed. Run as `view_traced.py TREE`."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

T = sys.argv[1]


def show(*what: object) -> None:
    print(*what, flush=True)


def attempt(call: object, *arguments: object) -> None:
    try:
        show(call(*arguments))  # type: ignore[operator]
    except OSError as error:
        show(error.strerror)


# Directories: by long names, by names that are shorter than ours, by name literals, from threads.
for name in (T, "deep", "a/b", "..", "../..", "/", T + "/dirlink", "../../../m", ".", T + "/none", T + "/big", "src"):
    attempt(os.chdir, name)
    show(os.getcwd(), os.path.exists("f1"))
os.chdir(T + "/..")
attempt(os.chdir, "m")
show(os.getcwd(), os.readlink("/proc/self/cwd"))
thread = threading.Thread(target=os.chdir, args=("deep",))
thread.start()
thread.join()
show(os.getcwd(), sorted(os.listdir())[:3])

# Names that lead out of the mount.
show(open("out").read()[:5], os.stat("out").st_size == os.stat("/etc/passwd").st_size)
show(os.path.islink("out"), os.readlink("out"), os.access("../deep/out", os.R_OK), os.access("out", os.X_OK))
outside = os.path.dirname(T)
os.chdir(outside)
for name in ("one", "two"):
    os.chdir(T + "/deep")
    with open(f"../../{name}", "w") as file:
        file.write(name)
    os.chmod(f"../../{name}", 0o640)
    os.link(f"../../{name}", f"../../{name}.hard")
    os.symlink("target", f"../../{name}.link")
    os.mkdir(f"../../{name}.d")
    os.rename(f"../../{name}.hard", f"../../{name}.moved")
    show(os.readlink(f"../../{name}.link"), os.lstat(f"../../{name}.link").st_size, oct(os.stat(f"../../{name}").st_mode))
    os.utime(f"../../{name}", ns=(1, 2))
    os.truncate(f"../../{name}", 2)
    show(open(f"../../{name}.moved").read())
    for each in ("", ".moved", ".link"):
        os.unlink(f"../../{name}{each}")
    os.rmdir(f"../../{name}.d")
    attempt(os.rmdir, f"../../{name}.d")
show(sorted(name for name in os.listdir("../..") if name.startswith(("one", "two"))))

# Programs.
for command in (
    [T + "/bin/dyn", "x"], ["../bin/static", "y"], [T + "/bin/ownld"], [T + "/bin/script", "a", "b c"], ["../bin/script"],
    [T + "/bin/py", "p", "q"], [T + "/bin/nested", "z"], [T + "/bin/none"], [T + "/src/main.c"], ["../bin/inc.sh"],
):  # fmt: skip
    for vfork in (True, False):  # subprocess uses vfork where it can
        subprocess._USE_VFORK = vfork
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            show(command[1:], done.returncode, done.stdout)
        except OSError as error:
            show(command[1:], error.strerror)
show(subprocess.run(["dyn", "found"], env={"PATH": T + "/none:" + T + "/bin"}, stdout=subprocess.PIPE))
show(subprocess.run("cd ../src && ls | wc -l; cd $OLDPWD; pwd; ../bin/script $PWD", shell=True, stdout=subprocess.PIPE).stdout)
os.execv("../bin/dyn", ["name of its own", "the", "end"])
