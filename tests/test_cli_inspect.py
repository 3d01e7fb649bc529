"""`vfs ls`, `tree`, `cat`, `stat`, `find`, `df`, `info`, `modules`: their answers on real images, compared with the oracle's."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command import complaint, output, records, vfs
from oracle import Entry, Listing, content_digest, oracle

from fixtures.ext import image
from fixtures.ext_images.build import Build
from fixtures.tree import directory, file, symlink

TYPES = {"dir": "directory", "char": "character"}
KEYS = ["path", "type", "mode", "uid", "gid", "size", "mtime", "nlink", "ino"]
DISK = image("ext4_4k")


def as_expected(fields: dict[str, Any], expected: Listing) -> bool:
    """Whether one JSON object says of its path what the oracle says."""
    entry = expected[os.fsencode(fields["path"])]
    said = (fields["mode"], fields["uid"], fields["gid"], fields["size"], fields["mtime"], fields["nlink"], fields["ino"])
    # ext reports no size of its own for devices.
    known = (f"{entry.mode:04o}", entry.uid, entry.gid, entry.size, entry.mtime / 10**9, entry.nlink, entry.ino)
    target = os.fsencode(fields["target"]) if "target" in fields else None
    return said == known and target == entry.target and TYPES.get(fields["type"], fields["type"]) == entry.type


# ------------------------------------------------------------------------------------------------------------------ ls


@pytest.mark.parametrize("name", ["rev0", "ext2_1k", "ext3_1k", "ext4_1k", "ext4_4k", "inline_data"])
def test_ls_recursive_json_tells_everything(name: str) -> None:
    expected = oracle(image(name))
    found = records("ls", "-R", "--json", image(name))
    assert sorted(os.fsencode(fields["path"]) for fields in found) == sorted(set(expected) - {b"/"})
    for fields in found:
        assert list(fields) == KEYS + (["target"] if fields["type"] == "symlink" else [])
        assert as_expected(fields, expected), fields
    (root,) = records("ls", "-d", "--json", image(name), "/")
    assert as_expected(root, expected)


def test_ls_plain() -> None:
    lines = output("ls", DISK).decode().splitlines()
    assert lines == sorted(lines) and "README" in lines and "docs" in lines
    assert output("ls", DISK, "/docs") == b"".join(b"chapter-%d.txt\n" % number for number in range(6))
    assert output("ls", DISK, "docs/") == output("ls", DISK, "/docs") == output("ls", DISK, "/links/../docs")
    assert output("ls", DISK, "/void") == b""


def test_ls_of_several_paths_is_titled_files_first() -> None:
    assert output("ls", DISK, "/links/directory", "/README", "/void") == b"/README\n\n/links/directory:\nd\n\n/void:\n"


def test_ls_follows_a_named_link_as_ls_does() -> None:
    assert output("ls", DISK, "/links/directory") == b"d\n"
    assert output("ls", "-l", DISK, "/links/directory").endswith(b" /links/directory -> ../a/b/c\n")
    assert output("ls", "-l", DISK, "/links/directory/").endswith(b" d\n")
    assert output("ls", "-d", DISK, "/links/directory") == b"/links/directory\n"
    assert records("ls", "--json", DISK, "/links/directory")[0]["path"] == "/a/b/c/d"


def test_ls_hides_dots_from_people_only() -> None:
    assert b".hidden" not in output("ls", DISK, "/names")
    assert b".hidden\n" in output("ls", "-a", DISK, "/names")
    assert "/names/.hidden" in [fields["path"] for fields in records("ls", "--json", DISK, "/names")]


def test_ls_long() -> None:
    lines = output("ls", "-l", DISK, "/dev", env=os.environ | {"TZ": "UTC"}).decode().splitlines()
    # Columns are as wide as their widest entry.
    assert lines[0] == "prw-r----- 1 12 0             0 2023-11-14 22:13 fifo"
    assert lines[1] == "brw------- 1  0 0 4095, 1048575 2023-11-14 22:13 largest"
    assert output("ls", "-l", DISK, "/modes").decode().splitlines()[9].startswith("-rwsrwsrwt 1 0 0    5 ")


def test_ls_recursive_has_titles() -> None:
    text = output("ls", "-R", DISK, "/a/b/c/d/e").decode()
    assert text == "/a/b/c/d/e:\nf\n\n/a/b/c/d/e/f:\ng\n\n/a/b/c/d/e/f/g:\nh\n\n/a/b/c/d/e/f/g/h:\nleaf\n"


def test_names_reach_people_escaped_and_programs_whole() -> None:
    expected = {path.rpartition(b"/")[2] for path in oracle(DISK) if path.startswith(b"/names/") and path.count(b"/") == 2}
    text = output("ls", "-a", DISK, "/names")
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", text), "a control character reaches the terminal"
    text.decode("utf-8")
    for shown in (
        rb"bell\aand\x1b[31mescape",
        rb"tab\there",
        rb"caf\xe9",
        rb"\xff\xfe\xfd",
        rb"back\\slash",
        "日本語".encode(),
        b"caf\xc3\xa9",
    ):
        assert shown in text.splitlines()
    # What is shown is not ambiguous: the escapes can be read back.
    assert {line.decode("utf-8").encode("latin-1", "backslashreplace") for line in text.splitlines()}
    assert len(set(text.splitlines())) == len(expected)
    assert {os.fsencode(each["path"])[7:] for each in records("ls", "--json", DISK, "/names")} == expected


def test_targets_are_escaped_too() -> None:
    assert b"latin -> caf\\xe9/\\xff\n" in output("ls", "-l", DISK, "/links")


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.UTF-8", "en_US.ISO-8859-1"])
def test_the_locale_does_not_matter(locale: str) -> None:
    environment = {"PATH": os.environ["PATH"], "LC_ALL": locale}
    assert output("ls", "-R", "--json", DISK, env=environment) == output("ls", "-R", "--json", DISK)
    assert output("cat", DISK, b"/names/caf\xe9", env=environment) == b"caf\xe9"
    assert len(output("ls", "-a", DISK, "/names", env=environment).splitlines()) == 28


# ---------------------------------------------------------------------------------------------------------------- tree


def test_tree() -> None:
    text = output("tree", DISK, "/a").decode()
    assert text.startswith("/a\n├── b\n│   └── c\n│       └── d\n│           └── e\n")
    assert text.endswith("└── third\n\n7 directories, 2 files\n")
    assert output("tree", "-L", "1", DISK, "/a").decode() == "/a\n├── b\n└── third\n\n1 directory, 1 file\n"
    assert "├── absolute -> /README\n" in output("tree", DISK, "/links").decode()
    everything = output("tree", "-a", DISK).decode().splitlines()
    assert len(everything) == len(oracle(DISK)) + 2


# ----------------------------------------------------------------------------------------------------------------- cat


@pytest.mark.parametrize("name", ["ext2_1k", "ext4_4k", "inline_data"])
def test_cat_gives_every_byte(name: str) -> None:
    expected = oracle(image(name))
    files = [path for path, entry in expected.items() if entry.type == "file"]
    together = output("cat", image(name), *files)
    for path in files:
        entry = expected[path]
        content, together = together[: entry.size], together[entry.size :]
        assert content_digest(lambda offset, count: content[offset : offset + count], entry.size)[0] == entry.digest, path  # noqa: B023
    assert together == b""


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b"])
def test_cat_into_a_file(tmp_path: Path, mode: str) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"before\n")
    with open(out, mode) as opened:
        output("cat", DISK, "/sizes/300000", "/holes/middle", stdout=opened, capture_output=False, stderr=subprocess.PIPE)
    before = b"before\n" if mode == "ab" else b""
    assert out.read_bytes() == before + output("cat", DISK, "/sizes/300000", "/holes/middle")


def test_cat_goes_on_after_a_failure() -> None:
    done = vfs("cat", DISK, "/nothing", "/script.sh", "/docs")
    assert done.returncode == 1
    assert done.stdout == output("cat", DISK, "/script.sh")
    assert done.stderr.decode().splitlines() == [
        f"vfs: {DISK}: /nothing: No such file or directory",
        f"vfs: {DISK}: /docs: Is a directory",
    ]


# ---------------------------------------------------------------------------------------------------------------- stat


def test_stat_json_is_complete() -> None:
    expected = oracle(DISK)
    paths = sorted(expected)
    for path, fields in zip(paths, records("stat", "--json", DISK, *paths), strict=True):
        entry: Entry = expected[path]
        assert list(fields)[: len(KEYS)] == KEYS and as_expected(fields, expected)
        times = (entry.atime, entry.mtime, entry.ctime, entry.btime)
        assert tuple(fields[f"{name}time_ns"] for name in "amcb") == times, path
        assert (fields["blocks"], os.makedev(*fields["rdev"])) == (entry.blocks, entry.rdev), path
        assert {os.fsencode(key): base64.b64decode(value) for key, value in fields["xattrs"].items()} == dict(entry.xattrs), path


def test_stat_for_people() -> None:
    lines = output("stat", DISK, "/attr/one", "/dev/wide", "/links/up", env=os.environ | {"TZ": "UTC"}).decode().splitlines()
    assert lines[:6] == [
        "  Path: /attr/one",
        "  Type: file",
        "  Size: 4   Blocks: 8   IO Block: 4096",
        f" Inode: {oracle(DISK)[b'/attr/one'].ino}   Links: 1",
        "  Mode: 0644 (-rw-r--r--)   Uid: 0   Gid: 0",
        "Access: 2023-11-14 22:13:20.000000000 +0000",
    ]
    assert ' Xattr: user.one = "1"' in lines
    assert "  Type: char   Device: 260, 70000" in lines
    assert "  Path: /links/up -> ../docs/chapter-2.txt" in lines
    assert output("stat", "-L", DISK, "/links/up").splitlines()[0] == b"  Path: /docs/chapter-2.txt"


# ---------------------------------------------------------------------------------------------------------------- find


def found(*arguments: str) -> set[str]:
    return set(output("find", DISK, *arguments).decode().splitlines())


def test_find_meets_everything() -> None:
    expected = oracle(DISK)
    assert {os.fsencode(each["path"]) for each in records("find", "--json", DISK)} == set(expected)
    assert all(as_expected(fields, expected) for fields in records("find", "--json", DISK))


@pytest.mark.parametrize(
    ("arguments", "test"),
    [
        (["-type", "d"], lambda path, entry: entry.type == "directory"),
        (["-type", "l,s"], lambda path, entry: entry.type in ("symlink", "socket")),
        (["-name", "chapter-[2-4].*"], lambda path, entry: path.startswith(b"/docs/chapter-") and path[14:15] in b"234"),
        (["-name", "upper"], lambda path, entry: path == b"/names/upper"),
        (["-iname", "upper"], lambda path, entry: path.lower() == b"/names/upper"),
        (["-size", "+64k", "-type", "f"], lambda path, entry: entry.type == "file" and entry.size > 65536),
        (["-size", "-2", "-type", "f"], lambda path, entry: entry.type == "file" and entry.size <= 512),
        (["-size", "-10k", "-type", "f"], lambda path, entry: entry.type == "file" and entry.size <= 9 * 1024),
        (["-size", "128c"], lambda path, entry: entry.size == 128),
        (["-maxdepth", "1"], lambda path, entry: path.count(b"/") == 1),
        (["-maxdepth", "0"], lambda path, entry: path == b"/"),
    ],
)
def test_find_tests(arguments: list[str], test: Any) -> None:
    expected = {path for path, entry in oracle(DISK).items() if test(path, entry)}
    assert {os.fsencode(each["path"]) for each in records("find", "--json", DISK, *arguments)} == expected
    assert len(found(*arguments)) == len(expected) > 0


def test_find_starts_where_it_is_told() -> None:
    assert found("/docs", "-name", "*5*") == {"/docs/chapter-5.txt"}
    assert found("a/b", "-type", "f") == {"/a/b/c/d/e/f/g/h/leaf"}
    assert found("/README") == {"/README"}
    assert found("/links/directory") == {"/links/directory"}


# ---------------------------------------------------------------------------------------------------- df, info, modules


def test_df() -> None:
    (fields,) = records("df", "--json", DISK)
    assert fields["image"] == str(DISK) and fields["size"] <= DISK.stat().st_size
    assert fields["used"] + fields["available"] <= fields["size"] and fields["files"] > len(oracle(DISK))
    title, line = output("df", DISK).decode().splitlines()
    assert title.split() == ["Filesystem", "Type", "1K-blocks", "Used", "Available", "Use%"]
    assert line.split()[:5] == [str(DISK), "ext2", *(str(fields[key] // 1024) for key in ("size", "used", "available"))]
    assert re.search(r" [0-9.]+M +[0-9.]+M +[0-9.]+M +\d+%$", output("df", "-h", DISK).decode().splitlines()[1])
    assert output("df", "-i", DISK).decode().split()[-4] == str(fields["files"])


def nested(tmp_path: Path) -> Path:
    inner = Build(tmp_path / "inner")
    inner.mke2fs("128K", "-t", "ext2", "-b", "1024", "-N", "16", "-L", "in\x1b[1mside")
    inner.fill([file(b"here", b"inside\n")])
    outer = Build(tmp_path / "outer.img")
    outer.mke2fs("1M", "-t", "ext2", "-b", "1024", "-N", "16", "-L", "outside")
    outer.fill([directory(b"images"), file(b"images/inner.img", inner.path.read_bytes()), symlink(b"link", b"images/inner.img")])
    return outer.path


def test_info_shows_the_layers(tmp_path: Path) -> None:
    outer = nested(tmp_path)
    spec = f"{outer}!images/inner.img"
    lines = output("info", spec).decode().splitlines()
    assert lines[0] == f"{outer}: ext2" and f"  {spec}: ext2" in lines
    assert any("outside" in line for line in lines)
    assert any(r"in\x1b[1mside" in line for line in lines), "a label reaches the terminal raw"
    one, two = records("info", "--json", spec)
    assert list(one) == ["layer", "source", "kind", "type", "details"]
    assert (one["layer"], one["source"], one["kind"], one["type"]) == (0, str(outer), "filesystem", "ext2")
    assert (two["layer"], two["source"]) == (1, spec)


def test_everything_works_inside_an_inner_image(tmp_path: Path) -> None:
    spec = f"{nested(tmp_path)}!/link"
    assert output("ls", spec) == b"here\nlost+found\n"
    assert output("cat", spec, "here") == b"inside\n"
    done = vfs("cat", spec, "there")
    assert complaint(done) == f"vfs: {spec}: /there: No such file or directory"


def test_modules() -> None:
    text = output("modules").decode()
    assert text.startswith("ext2 (filesystem; also umfuseext2, ext3, ext4): ")
    assert re.search(r"^    sb  +\S", text, re.M)
    assert text.startswith(output("modules", "umfuseext2").decode())


# ------------------------------------------------------------------------------------------------- the command itself


def test_help_and_version() -> None:
    from importlib.metadata import version

    assert output("--version").decode() == f"vfs {version('vfs')}\n"
    text = output("--help").decode()
    commands = re.findall(r"^  (\w+) ", text, re.M)
    assert {"ls", "tree", "cat", "stat", "cp", "extract", "find", "df", "info", "mount", "umount", "modules"} <= set(commands)
    for name in ("ls", "tree", "cat", "stat", "cp", "extract", "find", "df", "info", "mount", "umount", "modules"):
        lines = output(name, "--help").decode().splitlines()
        assert lines[0].startswith(f"usage: vfs {name} ")
        assert "examples:" in lines and lines[-1].startswith(f"  vfs {'umount' if name == 'mount' else name} ")
        assert output("help", name) == output(name, "--help")


def test_a_command_imports_only_what_it_needs() -> None:
    """Start-up is most of what `vfs ls` costs."""
    program = "import sys; from vfs.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program, "ls", str(DISK)], capture_output=True, text=True, timeout=60)
    imported = set(done.stderr.split())
    assert "vfs.cli.listing" in imported
    heavy = {"importlib.metadata", "tarfile", "json", "rich", "asyncio", "trio", "pyfuse3", "socket", "email", "vfs.cli.copying"}
    assert not imported & heavy
