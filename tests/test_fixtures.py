"""The test images and the oracle, tested on their own: the package under test has no part in this.

That an image carries what it says it does, that e2fsck likes the ones it should, that the kernel and debugfs tell the same of
every image both can read, that damage is the same for a seed.
"""

from __future__ import annotations

import collections
import dataclasses
import errno
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from oracle import (
    UNIT,
    Entry,
    content_digest,
    debugfs_oracle,
    differences,
    from_json,
    kernel_can_mount,
    kernel_oracle,
    listing,
    oracle,
    seek_runs,
    to_json,
)

from fixtures import dirhash, mutate, tree
from fixtures.anatomy import Anatomy
from fixtures.debugfs import ask, environment
from fixtures.ext import IMAGES, LARGE, PROJECT, image
from fixtures.ext_images.build import HASH_SEED

needs_kernel = pytest.mark.skipif(not kernel_can_mount(), reason="needs root, loop devices and a kernel with ext4")
DIRTY = [name for name, spec in IMAGES.items() if "needs_recovery" in spec.features]
every_image = pytest.mark.parametrize("name", list(IMAGES))


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), env=environment(), capture_output=True, text=True, errors="replace", timeout=120, cwd=PROJECT
    )


# --- the images --------------------------------------------------------------------------------------------------------


def test_there_are_enough_and_each_has_a_point() -> None:
    assert len(IMAGES) >= 24
    points = collections.Counter(spec.point for spec in IMAGES.values())
    assert all(count == 1 and len(point) > 10 for point, count in points.items())
    done = run(sys.executable, "-m", "fixtures.ext", "--list")
    assert len(done.stdout.splitlines()) == len(IMAGES) + len(LARGE)


def test_an_unknown_name_is_refused_in_one_line() -> None:
    done = run(sys.executable, "-m", "fixtures.ext", "no-such-image")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@every_image
def test_size(name: str) -> None:
    status = image(name).stat()
    assert status.st_blocks * 512 <= 20 << 20
    assert status.st_size <= 32 << 20 or name == "block_64k"
    assert not status.st_mode & 0o222


@every_image
def test_features(name: str) -> None:
    spec = IMAGES[name]
    options = ["-o", f"superblock={_backup(spec.options)}"] if spec.options.startswith("sb=") else []
    if options:
        options += ["-o", f"blocksize={1024 if name.endswith('1k') else 4096}"]
    done = run("dumpe2fs", "-h", *options, image(name))
    features = re.search(r"^Filesystem features: *(.*)$", done.stdout, re.MULTILINE)
    reported = set(features[1].split()) if features else set()
    # One bit, and two names of it.
    reported |= {"uninit_bg"} if "gdt_csum" in reported or "uninit_bg" in done.stdout else set()
    assert spec.features <= reported


def _backup(options: str) -> int:
    return {"sb=8193": 8193, "sb=8192": 2048}[options]


@every_image
def test_clean(name: str, tmp_path: Path) -> None:
    """As e2fsck sees it, after the journal has been replayed."""
    path = image(name)
    if name in DIRTY:
        path = Path(shutil.copy(path, tmp_path / "copy.img"))
        path.chmod(0o600)
        run("e2fsck", "-y", "-E", "journal_only", path)
    done = run("e2fsck", "-fn", path)
    assert (done.returncode == 0) == IMAGES[name].clean, done.stdout


POINTS = [
    # Image, a question to debugfs, and what must be in the answer.
    ("ext2_1k", "stat sizes/300000", r"\(DIND\)"),
    ("indirect", "stat triple", r"\(TIND\)"),
    ("indirect", "stat triple-only", r"\(TIND\)"),
    ("extents_deep", "ex three-thousand", r"\n +2/ 2 "),
    ("extents_deep", "ex three-hundred", r"\n +1/ 1 +300/|\n +1/ 1 +\d+/"),
    ("extents_deep", "stat unwritten-middle", r"\(10-49\[u\]\)"),
    ("extents_hand", "ex deepest", r"\n +5/ 5 "),
    ("htree_half_md4", "htree deep", r"Indirect levels: 1"),
    ("htree_half_md4", "htree wide", r"Indirect levels: 0"),
    ("htree_tea_unsigned", "htree deep", r"Hash Version: 2"),
    ("htree_legacy", "htree deep", r"Hash 0x[0-9a-f]+\(\*\*\)|Hash 0x[0-9a-f]+ \(\*\*\)"),
    ("casefold", "stat Folded/Many", r"Flags: 0x40081000"),
    ("shared_xattrs", "stat d/third", r"File ACL: [1-9]"),
    ("inline_data", "stat README", r"Size of inline data"),
    ("inline_xattrs", "stat by-size/099", r"Size of inline data: 99"),
    ("huge_file", "stat huge", r"Flags: 0xc0000"),
    ("verity", "stat sealed", r"Flags: 0x180000"),
    ("quota_project", "stat docs", r"Project: +77 "),
    ("dir_nlink", "stat many", r"Links: 1 "),
    ("kernel_encrypted", "stat <13>", r"Flags: 0x[0-9a-f]*8[0-9a-f]{2}\b"),
    ("kernel_fast_commit", "logdump", r"Fast Commit Area"),
    ("kernel_crash_orphans", "features", r"orphan_present"),
    ("block_64k", "stats -h", r"Block size: +65536"),
    ("csum_seed", "stats -h", r"99999999-8888"),
    ("flex_bg", "stats -h", r"Flex block group size: +8"),
    ("meta_bg_late", "stats -h", r"First meta block group: +1"),
]


@pytest.mark.parametrize(("name", "question", "answer"), POINTS)
def test_the_point_is_there(name: str, question: str, answer: str) -> None:
    said = ask(image(name), question, options=["-c"] if name == "kernel_crash_orphans" else []).decode(errors="replace")
    assert re.search(answer, said), said[:3000]


@pytest.mark.parametrize("algorithm", dirhash.ALGORITHMS)
def test_equal_hashes_cross_blocks(algorithm: str) -> None:
    """In the index, a hash that is odd says that the block before it ends with the same one."""
    said = ask(image(f"htree_{algorithm}"), "htree deep").decode(errors="replace")
    continued = [line for line in said.splitlines() if re.match(r"Entry #\d+: Hash 0x[0-9a-f]*[13579bdf]\b", line)]
    assert continued


@pytest.mark.parametrize("algorithm", dirhash.ALGORITHMS)
@pytest.mark.parametrize("text", ["a", "hello", "x" * 31, "y" * 32, "z" * 33, "w" * 255])
def test_hashes(algorithm: str, text: str) -> None:
    said = run("debugfs", "-R", f"dx_hash -h {algorithm} -s {HASH_SEED} {text}").stdout
    assert f"is 0x{dirhash.dirhash(algorithm, text.encode(), HASH_SEED):08x}" in said


@pytest.mark.parametrize("name", DIRTY)
def test_a_journal_matters(name: str) -> None:
    """Who does not replay it sees something else, or nothing."""
    try:
        unreplayed = debugfs_oracle(image(name), replay=False)
    except OSError:
        return
    assert IMAGES[name].refused or differences(debugfs_oracle(image(name)), unreplayed)


@pytest.mark.parametrize("name", ["rev0", "ext4_4k", "htree_legacy", "inline_data", "journal_csum3", "casefold", "tiny_csum"])
def test_the_same_bytes_every_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = image(name).read_bytes()
    monkeypatch.setenv("VFS_FIXTURES", str(tmp_path))
    assert image(name).read_bytes() == first


def test_made_without_privilege(tmp_path: Path) -> None:
    """Nobody makes the same images as root does."""
    command = [sys.executable, "-m", "fixtures.ext", "ext4_1k", "extents_deep", "backup_4k", "kernel_crash", "mmp"]
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
        for parent in (tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
        command = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *command]
    command = ["env", f"VFS_FIXTURES={tmp_path}", "PYTHONDONTWRITEBYTECODE=1", *command]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    for name in ("ext4_1k", "extents_deep", "backup_4k", "kernel_crash"):
        assert (tmp_path / f"{name}.img").read_bytes() == image(name).read_bytes()


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("ext2_1k", tree.standard(block_size=1024, wide_times=False)),
        ("ext4_4k", tree.standard()),
        ("block_64k", tree.standard(block_size=65536)),
        ("times", tree.times(last=tree.LAST)),
    ],
)
def test_an_image_has_the_content_that_was_described(name: str, items: list[tree.Item]) -> None:
    entries = oracle(image(name))
    counts = collections.Counter(item.link_to for item in items if item.link_to)
    paths = {b"/" + item.path for item in items}
    assert {path for path in entries if path != b"/" and path != b"/lost+found"} == paths
    for item in items:
        entry = entries[b"/" + item.path]
        if item.link_to:
            assert entry == entries[b"/" + item.link_to]
            continue
        assert (entry.mode, entry.uid, entry.gid) == (stat.S_IMODE(item.mode), item.uid, item.gid), item.path
        assert (entry.atime, entry.mtime, entry.ctime) == (item.atime, item.mtime, item.ctime), item.path
        assert entry.btime in (None, item.btime)
        assert entry.xattrs == item.xattrs
        assert entry.target == item.target
        assert entry.rdev == (os.makedev(*item.rdev) if item.rdev else 0)
        if item.content is not None:
            content = bytearray(item.content.size)
            for offset, piece in item.content.pieces:
                content[offset : offset + len(piece)] = piece
            assert (entry.digest, entry.size) == (content_digest(_reader(bytes(content)), len(content))[0], len(content))
            assert entry.nlink == 1 + counts[item.path]


INODES = {"many_files": 10_100, "big_directory": 100_012, "million_inodes": 1_001_000, "big_file": 1, "repository": 5000}
"""At least so many are in use beside the file system's own."""


def test_the_large_ones_are_known() -> None:
    assert set(LARGE) == set(INODES)
    assert not set(LARGE) & set(IMAGES)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(INODES))
def test_large(name: str) -> None:
    path = image(name)
    done = run("e2fsck", "-fn", path)
    assert done.returncode == 0, done.stdout
    used = int(re.search(r": (\d+)/\d+ files", done.stdout)[1])  # type: ignore[index]
    assert INODES[name] <= used - 11 <= INODES[name] * 1.1 + 1
    assert path.stat().st_blocks * 512 <= 1200 << 20
    if name == "big_directory":
        assert b"Indirect levels: 1" in ask(path, "htree big")


def test_demo(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "fixtures.demo", tmp_path / "demo.img")
    assert done.returncode == 0, done.stderr
    assert run("e2fsck", "-fn", tmp_path / "demo.img").returncode == 0
    entries = debugfs_oracle(tmp_path / "demo.img")
    assert {entry.type for entry in entries.values()} == {"file", "directory", "symlink", "character", "block", "fifo", "socket"}
    assert entries[b"/sparse.bin"].size == 4 << 30 > 1000 * 512 * entries[b"/sparse.bin"].blocks
    assert entries[b"/bin/hello"].mode == 0o755
    assert entries[b"/docs/poem.txt"] == entries[b"/docs/the-same-poem.txt"]
    assert run(sys.executable, "-m", "fixtures.demo").returncode == 2


# --- the oracle --------------------------------------------------------------------------------------------------------


@needs_kernel
@pytest.mark.parametrize("name", [name for name, spec in IMAGES.items() if spec.kernel and spec.debugfs])
def test_kernel_and_debugfs_agree(name: str) -> None:
    path, options = image(name), IMAGES[name].options
    before = _hash(path)
    kernel, debugfs = kernel_oracle(path, options), debugfs_oracle(path, options)
    if name == "verity":
        # Where the kernel has no fs-verity it does not open the one sealed file.
        unopened = {path for path, entry in kernel.items() if entry.error == errno.EOPNOTSUPP}
        assert unopened <= {b"/sealed"}
        for one in unopened:
            sealed = debugfs[one]
            kernel[one] = dataclasses.replace(kernel[one], error=None, digest=sealed.digest, runs=sealed.runs)
    assert differences(kernel, debugfs) == []
    assert len(kernel) > 1
    assert _hash(path) == before


@pytest.mark.parametrize("name", [name for name, spec in IMAGES.items() if spec.same_as])
def test_an_image_with_the_same_content(name: str) -> None:
    assert differences(oracle(image(IMAGES[name].same_as)), oracle(image(name))) == []


@pytest.mark.parametrize("name", [name for name, spec in IMAGES.items() if spec.refused])
def test_what_is_to_be_refused_is_refused_by_others(name: str) -> None:
    with pytest.raises(OSError):
        oracle(image(name), IMAGES[name].options)


@needs_kernel
def test_encrypted_names_and_content() -> None:
    entries = kernel_oracle(image("kernel_encrypted"))
    secret = [entry for path, entry in entries.items() if path.startswith(b"/secret/")]
    assert {entry.error for entry in secret if entry.type == "file"} == {errno.ENOKEY}
    assert sum(entry.type == "symlink" for entry in secret) == 3


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _reader(content: bytes):  # type: ignore[no-untyped-def]
    return lambda offset, count: content[offset : offset + count]


def test_a_hole_and_zeros_have_one_digest() -> None:
    content = b"\1" * 5000 + bytes(3 << 20) + b"\2"
    whole = content_digest(_reader(content), len(content))
    sparse = content_digest(_reader(content), len(content), seek_runs([(0, 8192), (len(content) - 1, 1)], len(content)))
    assert whole == sparse
    assert whole[1] == ((0, 2 * UNIT), ((len(content) - 1) // UNIT * UNIT, (len(content) - 1) % UNIT + 1))


@pytest.mark.parametrize(
    "other",
    [
        b"\1" * 5000 + bytes(100_000),
        b"\1" * 5000 + bytes(100_001) + b"\2",
        bytes(UNIT) + b"\1" * 5000 + bytes(100_000 - UNIT) + b"\2",
        b"\1" * 4999 + bytes(100_001) + b"\2",
        b"",
    ],
)
def test_different_contents_have_different_digests(other: bytes) -> None:
    content = b"\1" * 5000 + bytes(100_000) + b"\2"
    assert content_digest(_reader(content), len(content))[0] != content_digest(_reader(other), len(other))[0]


def test_a_short_read_is_an_error() -> None:
    with pytest.raises(OSError):
        content_digest(_reader(b"123"), 4)


def test_known_runs_are_looked_at_with_their_surroundings() -> None:
    runs = [(8 * UNIT, UNIT), (1000 * UNIT, 2 * UNIT)]
    seek = seek_runs(runs, 5000 * UNIT)
    looked_at, position = set(), 0
    while (found := seek(position)) is not None:
        looked_at |= set(range(found[0] // UNIT, (found[0] + found[1]) // UNIT))
        position = found[0] + found[1]
    assert {0, 7, 8, 9, 999, 1000, 1001, 1002, 4999} <= looked_at
    assert len(looked_at) < 20


def test_a_listing_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(mode=0o750)
    (tmp_path / "d" / os.fsdecode(b"\xff\n")).write_bytes(b"content")
    (tmp_path / "link").symlink_to("d")
    os.mkfifo(tmp_path / "fifo", 0o600)
    found = listing(tmp_path)
    assert set(found) == {b"/", b"/d", b"/d/\xff\n", b"/link", b"/fifo"}
    assert found[b"/d/\xff\n"].digest == content_digest(_reader(b"content"), 7)[0]
    assert (found[b"/link"].target, found[b"/fifo"].type, found[b"/d"].mode) == (b"d", "fifo", 0o750)
    done = run(sys.executable, PROJECT / "tests" / "oracle.py", tmp_path)
    # Listing a directory is an access to it.
    assert differences(found, from_json(done.stdout), ignore=["atime"]) == []
    assert from_json(to_json(found)) == found


@pytest.mark.parametrize("field", [each.name for each in dataclasses.fields(Entry)])
def test_every_difference_is_told(field: str) -> None:
    entry = Entry("file", 0o644, 1, 2, 1, 5, 0, 12, 2, 3, 4, 5, 6, {b"user.a": b"b"}, b"t", "digest", ((0, 5),), 0)
    changed = {"type": "fifo", "xattrs": {}, "target": b"u", "digest": "other", "runs": (), "btime": 7}
    value = changed.get(field, 99)
    found = differences({b"/f": entry}, {b"/f": dataclasses.replace(entry, **{field: value})})  # type: ignore[arg-type]
    assert len(found) == 1 and field in found[0]
    assert len(differences({b"/f": entry}, {})) == len(differences({}, {b"/f": entry})) == 1


# --- damage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", mutate.IMAGES)
def test_mutations(name: str) -> None:
    path = image(name)
    original = path.read_bytes()
    assert len(original) <= 2 << 20
    mutations = list(mutate.mutations(path, 7, 200))
    assert mutations == list(mutate.mutations(path, 7, 200))
    assert mutations[150] == mutate.mutation(Anatomy(original), 7, 150)
    assert len({mutation.name for mutation in mutations}) == 200
    for mutation in mutations:
        damaged = bytearray(original)
        mutation.apply(damaged)
        assert damaged != original, mutation.name
        assert len(damaged) <= len(original)


def test_all_kinds_of_damage_occur() -> None:
    names = " ".join(mutation.name for name in mutate.IMAGES for mutation in mutate.mutations(image(name), 1, 300))
    kinds = ["superblock", "group 0", "extent node", "indirect", "rec_len", "b'/'", r"b'\x00'", "lead to directory", "index of"]
    kinds += [
        "attribute at",
        "attribute block",
        "ACL",
        "inline",
        "journal block",
        "cut off",
        "bytes of block",
        "becomes",
        "flags",
    ]
    assert [kind for kind in kinds if kind not in names] == []


def test_a_mutation_can_be_made_again(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "fixtures.mutate", "tiny_ext4", "3:17", tmp_path / "out.img")
    wanted = list(mutate.mutations(image("tiny_ext4"), 3, 18))[17]
    assert done.stdout.strip() == wanted.name
    expected = bytearray(image("tiny_ext4").read_bytes())
    wanted.apply(expected)
    assert (tmp_path / "out.img").read_bytes() == expected


def test_three_levels() -> None:
    anatomy = Anatomy(image("large_dir").read_bytes())
    (indexed,) = anatomy.indexed
    levels = anatomy.image[indexed.blocks[0] * anatomy.block_size + 0x1E]
    assert levels == 2, "counted without the root"


def test_the_anatomy_finds_what_there_is() -> None:
    anatomy = Anatomy(image("tiny_ext4").read_bytes())
    assert anatomy.indexed and anatomy.attribute_bases and len(anatomy.extent_nodes) > 40
    assert any(inode.map_blocks for inode in anatomy.inodes.values())
    assert Anatomy(image("tiny_journal").read_bytes()).journal_blocks
