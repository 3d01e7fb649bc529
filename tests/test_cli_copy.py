"""`vfs cp` and `vfs extract`: what comes out, with which attributes, and that nothing is ever written elsewhere."""

from __future__ import annotations

import dataclasses
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from command import NOBODY, complaint, open_to_all, output, unprivileged, vfs
from oracle import Listing, differences, listing, oracle

from fixtures.ext import image
from fixtures.ext_images.build import Build
from fixtures.tree import Item, directory, file, link, special, symlink

DISK = image("ext4_4k")
# What a copy cannot or need not have: numbers and places on the host's disk, the moments of change, birth and access.
OWN = {"ino", "blocks", "atime", "ctime", "btime"}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices and gives files away")


def made(path: Path, items: list[Item], size: str = "1M", *options: str) -> Path:
    build = Build(path)
    build.mke2fs(size, "-t", "ext2", "-b", "1024", *options)
    build.fill(items)
    return path


def atimes(top: Path, paths: Iterable[bytes]) -> dict[bytes, int]:
    """Times of access of a copy. To be asked before anything is read there."""
    return {path: os.lstat(os.fsencode(top) + path).st_atime_ns for path in paths}


def compared(expected: Listing, found: Listing, *ignore: str) -> list[str]:
    """Differences between an image and its copy; a directory's size is the host's affair."""
    lines = differences(expected, found, OWN | set(ignore))
    folders = {repr(path) for path, entry in expected.items() if entry.type == "directory"}
    return [line for line in lines if not (": size is" in line and line.partition(": ")[0] in folders)]


# ------------------------------------------------------------------------------------------------ extract, to a directory


@needs_root
@pytest.mark.parametrize("name", ["rev0", "ext2_1k", "ext4_1k", "ext4_4k", "inline_data"])
def test_extract_keeps_everything(name: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = vfs("extract", image(name), out)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = oracle(image(name))
    assert atimes(out, expected) == {path: entry.atime for path, entry in expected.items()}
    assert compared(expected, listing(out)) == []


@needs_root
def test_holes_stay_holes(tmp_path: Path) -> None:
    output("extract", DISK, "/holes", tmp_path / "out")
    for path, entry in oracle(DISK).items():
        if path.startswith(b"/holes/"):
            assert os.stat(os.fsencode(tmp_path / "out") + path[6:]).st_blocks * 512 <= -(-entry.blocks * 512 // 4096) * 4096, (
                path
            )


def test_extract_a_part(tmp_path: Path) -> None:
    output("extract", DISK, "/docs", tmp_path / "docs")
    assert sorted(os.listdir(tmp_path / "docs")) == [f"chapter-{number}.txt" for number in range(6)]
    (tmp_path / "there").mkdir()
    output("extract", DISK, "/README", tmp_path / "there")
    output("extract", DISK, "/links/directory/d/e", tmp_path / "there")
    assert sorted(os.listdir(tmp_path / "there")) == ["README", "f"]


def test_extract_again_over_the_first(tmp_path: Path) -> None:
    for _ in range(2):
        output("extract", DISK, "/links", tmp_path / "out")
        (tmp_path / "out" / "first").write_bytes(b"changed since")
        os.unlink(tmp_path / "out" / "loop")
    output("extract", DISK, "/links", tmp_path / "out")
    expected = {b"/" + path[7:]: entry for path, entry in oracle(DISK).items() if path.startswith(b"/links")}
    ignore = () if os.geteuid() == 0 else ("uid", "gid")
    # One of the three names of `first` is elsewhere.
    lines = compared(expected, listing(tmp_path / "out"), "nlink", *ignore)
    assert not [line for line in lines if not line.startswith("b'/': ")]
    assert os.stat(tmp_path / "out" / "first").st_ino == os.stat(tmp_path / "out" / "second").st_ino
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith(".vfs-")]


def test_an_existing_directory_keeps_its_own_attributes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir(mode=0o711)
    output("extract", DISK, "/docs", tmp_path / "out")
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o711
    output("extract", DISK, "/docs", tmp_path / "new")
    assert (tmp_path / "new").stat().st_mtime_ns == oracle(DISK)[b"/docs"].mtime


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read all that an ordinary user has made")
def test_as_an_ordinary_user(tmp_path: Path) -> None:
    """Everything but owners, devices and what belongs to root's namespaces; the devices are counted."""
    prefix = unprivileged()
    open_to_all(tmp_path)
    os.chmod(tmp_path, 0o777)
    out = tmp_path / "out"
    done = vfs("extract", DISK, out, prefix=prefix, umask=0o077)
    assert done.returncode == 0
    devices = [path for path, entry in oracle(DISK).items() if entry.type in ("character", "block")]
    lines = done.stderr.decode().splitlines()
    assert f"vfs: {DISK}: warning: devices left out, which only root can make: {len(devices)}" in lines
    assert all("warning: " in line for line in lines)
    expected = {path: entry for path, entry in oracle(DISK).items() if path not in devices}
    # As root: the user may not read all that he has made.
    found = listing(out)
    # Set-id bits would give away rights that the file's owner did not have.
    without = {path: dataclasses.replace(entry, mode=entry.mode & 0o1777) for path, entry in expected.items()}
    assert compared(without, found, "uid", "gid", "xattrs") == []
    for path, entry in expected.items():
        own = {name: value for name, value in entry.xattrs.items() if name.startswith((b"user.", b"system.posix_acl"))}
        if entry.type in ("file", "directory"):
            assert found[path].xattrs == own, path
    assert {entry.uid for entry in found.values()} == {NOBODY}


# -------------------------------------------------------------------------------------------------------------------- cp


def test_cp_one_file(tmp_path: Path) -> None:
    content = output("cat", DISK, "/script.sh")
    output("cp", DISK, "/script.sh", tmp_path)
    assert (tmp_path / "script.sh").read_bytes() == content
    output("cp", DISK, "script.sh", tmp_path / "run", umask=0o027)
    assert (tmp_path / "run").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    (tmp_path / "run").write_bytes(b"old")
    output("cp", DISK, "/links/absolute", "run", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])})
    assert (tmp_path / "run").read_bytes() == output("cat", DISK, "/README")


def test_cp_follows_links_unless_they_are_kept(tmp_path: Path) -> None:
    output("cp", DISK, "/links/relative", tmp_path)
    assert (tmp_path / "first").stat().st_size == 3000, "the name is that of the file it leads to"
    output("cp", "-r", DISK, "/links/relative", tmp_path)
    assert os.readlink(tmp_path / "relative") == "first"


def test_cp_recursive_makes_files_as_the_user_would(tmp_path: Path) -> None:
    output("cp", "-r", DISK, "/modes", "/docs", tmp_path, umask=0o022)
    for name in os.listdir(tmp_path / "modes"):
        mode = int(name.removeprefix("d"), 8)
        assert stat.S_IMODE((tmp_path / "modes" / name).lstat().st_mode) == mode & 0o777 & ~0o022
    assert (tmp_path / "docs").stat().st_mtime_ns != oracle(DISK)[b"/docs"].mtime
    assert (tmp_path / "docs" / "chapter-3.txt").stat().st_size == 2740


@needs_root
def test_cp_archive_keeps_everything(tmp_path: Path) -> None:
    output("cp", "-a", DISK, "/modes", "/owners", "/attr", "/times", tmp_path)
    for name in (b"/modes", b"/owners", b"/attr", b"/times"):
        expected = {path[len(name) :] or b"/": entry for path, entry in oracle(DISK).items() if path.startswith(name)}
        assert compared(expected, listing(os.fsencode(tmp_path) + name)) == []
    output("cp", "-a", DISK, "/docs", tmp_path / "renamed")
    assert len(os.listdir(tmp_path / "renamed")) == 6


def test_cp_the_root(tmp_path: Path) -> None:
    output("cp", "-r", made(tmp_path / "disk", [file(b"one", b"1"), directory(b"two")]), "/", tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["disk", "lost+found", "one", "two"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["/docs", "{tmp}"], "vfs: {disk}: /docs: is a directory (-r copies it)"),
        (["/nothing", "{tmp}"], "vfs: {disk}: /nothing: No such file or directory"),
        (["/README", "/script.sh", "{tmp}/new"], "vfs: {tmp}/new: is not a directory"),
        (["/README", "{tmp}/new/"], "vfs: {tmp}/new/: is not a directory"),
        (["/README", "{tmp}/no/where"], "vfs: {tmp}/no: No such file or directory"),
        (["/README", "{tmp}/fifo"], "vfs: {tmp}/fifo: exists and is not a regular file"),
        (["/README", "/dev/null"], "vfs: /dev/null: exists and is not a regular file"),
        (["-r", "/docs", "{tmp}/file"], "vfs: {disk}: /docs: something that is no directory is in its place"),
    ],
)
def test_cp_refuses(tmp_path: Path, arguments: list[str], line: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"kept")
    done = vfs("cp", DISK, *(each.format(tmp=tmp_path) for each in arguments))
    assert (done.returncode, complaint(done)) == (1, line.format(tmp=tmp_path, disk=DISK))
    assert (tmp_path / "file").read_bytes() == b"kept" and stat.S_ISCHR(os.stat("/dev/null").st_mode)


# ----------------------------------------------------------------------------------------------------------------- links


def test_hard_links_are_links(tmp_path: Path) -> None:
    items = [file(b"one", b"shared\n"), directory(b"d"), link(b"d/two", b"one"), link(b"three", b"one")]
    items += [special(b"fifo", stat.S_IFIFO), link(b"d/fifo", b"fifo"), symlink(b"sym", b"one"), link(b"d/sym", b"sym")]
    disk = made(tmp_path / "disk", items)
    output("extract", disk, tmp_path / "out")
    for names in (("one", "d/two", "three"), ("fifo", "d/fifo"), ("sym", "d/sym")):
        found = {(tmp_path / "out" / name).lstat().st_ino for name in names}
        assert len(found) == 1 and (tmp_path / "out" / names[0]).lstat().st_nlink == len(names)
    (tmp_path / "plain").mkdir()
    output("cp", "-r", disk, "/", tmp_path / "plain")
    assert (tmp_path / "plain" / "one").stat().st_nlink == 1


# --------------------------------------------------------------------------------------------------------------- hostile


def renamed(disk: Path, old: bytes, new: bytes) -> None:
    """Give entries other names, of the same length, behind every tool's back."""
    assert len(old) == len(new)
    content = disk.read_bytes()
    assert old in content
    disk.write_bytes(content.replace(old, new))


@pytest.mark.parametrize("kind", ["directory", "tar"])
@pytest.mark.parametrize("name", [b"../../x", b"/tmp/xx", b"a/../..", b"..", b".", b"a/b"])
def test_names_that_lead_elsewhere(tmp_path: Path, name: bytes, kind: str) -> None:
    """In a real image, whose module may refuse them first; test_cli_odd.py has what comes through."""
    old = b"Q" * len(name)
    items = [file(b"before", b"x"), directory(b"dir"), file(b"dir/" + old, b"evil"), directory(b"dirs")]
    items += [directory(b"dirs/" + old), file(b"dirs/" + old + b"/inside", b"evil"), file(b"dirs/last", b"x")]
    disk = made(tmp_path / "disk", items)
    renamed(disk, old, name)
    cage = tmp_path / "1" / "2" / "3"
    cage.mkdir(parents=True)
    out = cage / ("out" if kind == "directory" else "out.tar")
    done = vfs("extract", disk, out)
    assert done.returncode in (0, 1) and b"Traceback" not in done.stderr
    assert os.listdir(cage) == [out.name]
    assert os.listdir(tmp_path / "1") == ["2"] and os.listdir(tmp_path / "1" / "2") == ["3"]
    if kind == "directory":
        found = {str(path.relative_to(out)) for path in out.rglob("*")}
    else:
        with tarfile.open(out) as tar:
            found = set(tar.getnames()) - {"."}
    assert found - {"dirs/last"} == {"before", "dir", "dirs", "lost+found"}


def test_a_link_and_a_directory_of_one_name(tmp_path: Path) -> None:
    """The classical attack: first a link that leads out, then a directory of the same name with a file in it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    items = [symlink(b"AAAA", os.fsencode(outside)), directory(b"BBBB"), file(b"BBBB/evil", b"evil")]
    disk = made(tmp_path / "disk", items, "1M", "-O", "^dir_index")
    renamed(disk, b"BBBB", b"AAAA")
    done = vfs("extract", disk, tmp_path / "out")
    assert done.returncode == 1 and "no directory is in its place" in complaint(done)
    assert os.listdir(outside) == []
    assert os.readlink(tmp_path / "out" / "AAAA") == str(outside)


def test_links_that_are_there_already_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "victim").write_bytes(b"mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "dir").symlink_to(outside)
    (out / "file").symlink_to(outside / "victim")
    (out / "new").symlink_to(outside / "made")
    disk = made(
        tmp_path / "disk", [directory(b"dir"), file(b"dir/evil", b"x"), file(b"file", b"theirs"), file(b"new", b"theirs")]
    )
    done = vfs("extract", disk, out)
    assert done.returncode == 1 and complaint(done).endswith("/dir: something that is no directory is in its place")
    assert os.listdir(outside) == ["victim"] and (outside / "victim").read_bytes() == b"mine"
    assert (out / "file").read_bytes() == (out / "new").read_bytes() == b"theirs" and not (out / "file").is_symlink()


def test_the_destination_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    output("extract", DISK, "/docs", tmp_path / "link")
    assert len(os.listdir(tmp_path / "real")) == 6


@pytest.mark.parametrize("kind", ["directory", "tar"])
def test_a_damaged_file_does_not_spoil_the_others(tmp_path: Path, kind: str) -> None:
    items = [file(b"a", b"first\n"), file(b"b", bytes(range(256)) * 400), file(b"c", b"last\n")]
    build = Build(made(tmp_path / "disk", items))
    build.commands("set_inode_field /b block[1] 0xFFFFFF")
    done = vfs("extract", build.path, tmp_path / ("out" if kind == "directory" else "out.tar"))
    assert done.returncode == 1 and complaint(done).startswith(f"vfs: {build.path}: /b: ")
    if kind == "directory":
        # Whole or not at all.
        assert sorted(os.listdir(tmp_path / "out")) == ["a", "c", "lost+found"]
        return
    with tarfile.open(tmp_path / "out.tar") as tar:
        assert tar.extractfile("c").read() == b"last\n"  # type: ignore[union-attr]
        assert tar.getnames() == [".", "lost+found", "a", "c"]


def test_a_full_disk_ends_the_work_with_one_line(tmp_path: Path) -> None:
    done = vfs("extract", "--tar", DISK, "/dev/full")
    assert (done.returncode, complaint(done)) == (1, "vfs: /dev/full: No space left on device")


@needs_root
def test_a_full_file_system_ends_the_work_with_one_line(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], capture_output=True).returncode:
        pytest.skip("this process may not mount a tmpfs")
    try:
        done = vfs("extract", DISK, small / "out")
        assert done.returncode == 1 and complaint(done) == f"vfs: {small / 'out'}: No space left on device"
        assert not [name for _, _, names in os.walk(small) for name in names if name.startswith(".vfs-")]
    finally:
        subprocess.run(["umount", small], check=True)


# ------------------------------------------------------------------------------------------------------------------- tar


def gnu_tar(archive: Path, out: Path) -> None:
    out.mkdir()
    command = [
        "tar",
        "-x",
        "-f",
        archive,
        "-C",
        out,
        "-p",
        "--same-owner",
        "--numeric-owner",
        "--warning=no-timestamp",
        "--xattrs",
        "--xattrs-include=*",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@needs_root
@pytest.mark.parametrize("name", ["ext2_1k", "ext4_4k"])
def test_tar_keeps_everything(name: str, tmp_path: Path) -> None:
    if shutil.which("tar") is None:
        pytest.skip("GNU tar is not installed")
    done = vfs("extract", image(name), tmp_path / "out.tar")
    assert done.stderr.decode() == f"vfs: {image(name)}: warning: sockets left out, which tar has no form for: 1\n"
    gnu_tar(tmp_path / "out.tar", tmp_path / "out")
    expected = {path: entry for path, entry in oracle(image(name)).items() if entry.type != "socket"}
    assert compared(expected, listing(tmp_path / "out")) == []
    for path, entry in expected.items():
        if path.startswith(b"/holes/"):
            assert os.stat(os.fsencode(tmp_path / "out") + path).st_blocks <= -(-entry.blocks // 8) * 8, path


def test_tar_is_read_by_python_too(tmp_path: Path) -> None:
    output("extract", "--tar", DISK, "/names", tmp_path / "names")
    output("extract", DISK, "/holes", tmp_path / "holes.tar")
    with tarfile.open(tmp_path / "names") as tar:
        expected = {path[7:] for path in oracle(DISK) if path.startswith(b"/names/")}
        assert {os.fsencode(name) for name in tar.getnames()} == expected | {b"."}
    with tarfile.open(tmp_path / "holes.tar") as tar:
        for member in tar.getmembers()[1:]:
            assert tar.extractfile(member).read() == output("cat", DISK, f"/holes/{member.name}")  # type: ignore[union-attr]
        assert tar.getmember("only").issparse() and tar.getmember("comb").issparse()


def test_tar_streams(tmp_path: Path) -> None:
    """To standard output, which is a pipe here, a whole number of records."""
    streamed = output("extract", "--tar", DISK, "/docs", "-")
    assert len(streamed) % 10240 == 0
    assert streamed == output("extract", DISK, "/docs", "-")
    output("extract", DISK, "/docs", tmp_path / "docs.tar")
    assert (tmp_path / "docs.tar").read_bytes() == streamed
    assert os.listdir(tmp_path) == ["docs.tar"]


def test_tar_of_one_file(tmp_path: Path) -> None:
    output("extract", DISK, "/links/first", tmp_path / "one.tar")
    with tarfile.open(tmp_path / "one.tar") as tar:
        (member,) = tar.getmembers()
        assert (member.name, member.size, member.uid, member.mode) == ("first", 3000, 7, 0o640)


def test_tar_of_large_numbers(tmp_path: Path) -> None:
    """What ustar's fields do not hold: 32-bit owners, times before 1970 and after 2242, fractions, a file above 8 GiB."""
    moments = (-1_500_000_000, -1, 1, 2**33 * 10**9 + 1, 1_700_000_000_123_456_789)
    items = [file(b"t%d" % number, b"", mtime=moment, uid=4_294_967_294) for number, moment in enumerate(moments)]
    build = Build(tmp_path / "disk")
    build.mke2fs("1M", "-t", "ext4", "-b", "1024", "-O", "^has_journal")
    build.fill(items)
    build.commands("write /dev/null huge", "set_inode_field /huge size 0x300000000")
    output("extract", build.path, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as tar:
        for number, moment in enumerate(moments):
            member = tar.getmember(f"t{number}")
            assert member.uid == 4_294_967_294 and abs(float(member.mtime) - moment / 10**9) < 1e-6
        assert tar.getmember("huge").size == 0x300000000
    assert (tmp_path / "out.tar").stat().st_size < 1 << 20


def test_tar_is_not_written_to_a_terminal(tmp_path: Path) -> None:
    import pty

    parent, child = pty.openpty()
    done = vfs("extract", DISK, "-", stdout=child, stderr=subprocess.PIPE, capture_output=False)
    os.close(child)
    os.close(parent)
    assert done.returncode == 1 and "terminal" in complaint(done)


def test_an_unfinished_archive_leaves_nothing(tmp_path: Path) -> None:
    done = vfs("extract", DISK, "/nothing", tmp_path / "out.tar")
    assert done.returncode == 1 and os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------------------------ the destination


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["/no/where/out"], "vfs: /no/where/out: No such file or directory"),
        (["/no/where/out.tar"], "vfs: /no/where/out.tar: No such file or directory"),
        (["{tmp}/file"], "vfs: {tmp}/file: File exists"),
        (["--tar", "{tmp}"], "vfs: {tmp}: Is a directory"),
    ],
)
def test_extract_names_a_destination_that_fails(tmp_path: Path, arguments: list[str], line: str) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    done = vfs("extract", DISK, *(each.format(tmp=tmp_path) for each in arguments))
    assert (done.returncode, complaint(done)) == (1, line.format(tmp=tmp_path))
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"kept"


def test_what_fails_on_this_side_is_told_apart(tmp_path: Path) -> None:
    prefix = unprivileged()
    open_to_all(tmp_path)
    tmp_path.chmod(0o555)
    done = vfs("cp", DISK, "/README", tmp_path, prefix=prefix)
    assert done.returncode == 1 and complaint(done) == f"vfs: {DISK}: /README: Permission denied (in the destination)"
