"""What a file system contains according to someone else: the kernel, or debugfs.

    oracle(image)          every name in an image with everything a program can see of it, by the kernel where this process may
                           mount and the kernel can, else by debugfs
    listing(directory)     the same of a mounted directory: a loop mount, a FUSE mount of ours, a mount inside a view
    differences(a, b)      the two compared, in words

As a program, `python tests/oracle.py DIRECTORY` prints the listing as JSON: it must also run where pytest does not (inside a
view, as another user, in another mount namespace). Paths are bytes from the root of the listed tree: b"/", b"/docs/a.txt".
This file needs the standard library only, and for debugfs its neighbour.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import errno
import functools
import hashlib
import json
import os
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Run = tuple[int, int]
"""Offset and length of a stretch of a file that is not all zeros, in whole UNITs (the last one may be short)."""

UNIT = 4096
PIECE = 1 << 20
LARGE = 256 << 20
"""Files above this size are read only where they have data, when a listing is given to go by."""


@dataclass(frozen=True)
class Entry:
    """One name. `None` where the type has no such thing or the source cannot tell it."""

    type: str
    """file, directory, symlink, character, block, fifo, socket"""
    mode: int
    """The permission bits with set-uid, set-gid, sticky."""
    uid: int
    gid: int
    nlink: int
    size: int
    rdev: int
    """As st_rdev (os.makedev)."""
    ino: int
    blocks: int
    """As st_blocks: units of 512 bytes."""
    atime: int
    mtime: int
    ctime: int
    btime: int | None = None
    """Times in nanoseconds since 1970."""
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    target: bytes | None = None
    digest: str | None = None
    """SHA-256 of a regular file's content as `content_digest` defines it."""
    runs: tuple[Run, ...] | None = None
    error: int | None = None
    """The errno with which the content (of a directory: the names) could not be read, or for type "unknown" the inode."""


Listing = dict[bytes, Entry]

TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


# --- content -----------------------------------------------------------------------------------------------------------


def content_digest(
    read: Callable[[int, int], bytes], size: int, seek_data: Callable[[int], Run | None] | None = None
) -> tuple[str, tuple[Run, ...]]:
    """The digest of a file's content, and its runs.

    `read(offset, count)` gives bytes, fewer than asked for only at the end; `seek_data(offset)` the next stretch that may hold
    data at or after an offset, or None when there is only a hole up to the end. What is hashed are the file's size and, with
    its offset, every aligned UNIT that is not all zeros: the same answer whether a hole is known as one or read as zeros.
    """
    digest = hashlib.sha256(b"size %d\n" % size)
    runs: list[list[int]] = []
    blank = bytes(PIECE)
    position = 0
    while position < size:
        limit = size
        if seek_data is not None:
            found = seek_data(position)
            if found is None:
                break
            position = max(position, found[0]) // UNIT * UNIT
            limit = min(size, -(-(found[0] + found[1]) // UNIT) * UNIT)
        while position < limit:
            count = min(PIECE, limit - position)
            piece = read(position, count)
            if len(piece) != count:
                raise OSError(errno.EIO, f"{len(piece)} bytes at {position} where {count} were asked for and {size} is the size")
            if piece != blank[:count]:
                _take(digest, runs, position, piece, blank)
            position += count
    return digest.hexdigest(), tuple((start, length) for start, length in runs)


def _take(digest: hashlib._Hash, runs: list[list[int]], position: int, piece: bytes, blank: bytes) -> None:
    view = memoryview(piece)
    for start in range(0, len(piece), UNIT):
        unit = view[start : start + UNIT]
        if unit == blank[: len(unit)]:
            continue
        offset = position + start
        digest.update(b"at %d\n" % offset)
        digest.update(unit)
        if runs and runs[-1][0] + runs[-1][1] == offset:
            runs[-1][1] += len(unit)
        else:
            runs.append([offset, len(unit)])


def seek_runs(runs: Iterable[Run], size: int) -> Callable[[int], Run | None]:
    """A `seek_data` from known runs, for files too large to be read whole: looks at the runs, one unit on each side of them, the
    file's last unit, and the middle of every hole."""
    wanted: list[Run] = []
    end = 0
    for offset, length in [*runs, (size, 0)]:
        if offset > end:
            wanted.append((end, UNIT))
            wanted.append(((end + offset) // 2 // UNIT * UNIT, UNIT))
            wanted.append((max(offset - 1, 0) // UNIT * UNIT, UNIT))
        if length:
            wanted.append((offset, length))
        end = offset + length
    wanted.sort()

    def seek_data(offset: int) -> Run | None:
        for start, length in wanted:
            if start + length > offset:
                return start, length
        return None

    return seek_data


def file_digest(path: bytes, known: Entry | None = None) -> tuple[str, tuple[Run, ...]]:
    """`content_digest` of a file by its path; `known`: what an oracle said, to know where a very large file has data."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(descriptor).st_size

        def seek(offset: int) -> Run | None:
            try:
                start = os.lseek(descriptor, offset, os.SEEK_DATA)
                return start, os.lseek(descriptor, start, os.SEEK_HOLE) - start
            except OSError as problem:
                if problem.errno == errno.ENXIO:
                    return None
                if problem.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    return offset, size - offset
                raise

        if known is not None and known.runs is not None and size > LARGE:
            return content_digest(functools.partial(_read, descriptor), size, seek_runs(known.runs, size))
        return content_digest(functools.partial(_read, descriptor), size, seek)
    finally:
        os.close(descriptor)


def _read(descriptor: int, offset: int, count: int) -> bytes:
    pieces = []
    while count:
        piece = os.pread(descriptor, count, offset)
        if not piece:
            break
        pieces.append(piece)
        offset += len(piece)
        count -= len(piece)
    return b"".join(pieces)


# --- a mounted directory -----------------------------------------------------------------------------------------------


def listing(directory: str | bytes | Path, known: Mapping[bytes, Entry] | None = None) -> Listing:
    """Everything below a directory, with system calls that any program makes. Stays on one file system.

    What cannot be read is an entry with an `error`; only a `directory` that is not there raises.
    """
    top = os.fsencode(directory)
    entries: Listing = {}
    pending = [b"/"]
    device = os.lstat(top).st_dev
    while pending:
        path = pending.pop()
        try:
            entry = _describe(top + path, (known or {}).get(path))
        except OSError as problem:
            entry = Entry("unknown", 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, error=problem.errno)
        entries[path] = entry
        if entry.type != "directory" or os.lstat(top + path).st_dev != device:
            continue
        try:
            names = os.listdir(top + path)
        except OSError as problem:
            entries[path] = dataclasses.replace(entry, error=problem.errno)
            continue
        if len(set(names)) != len(names):
            raise ValueError(f"{path!r} lists a name twice")
        prefix = path if path == b"/" else path + b"/"
        pending += [prefix + name for name in sorted(names, reverse=True)]
    return entries


def _describe(path: bytes, known: Entry | None) -> Entry:
    status = os.lstat(path)
    kind = TYPES[stat.S_IFMT(status.st_mode)]
    target = os.readlink(path) if kind == "symlink" else None
    digest, runs, error = None, None, None
    if kind == "file":
        try:
            digest, runs = file_digest(path, known)
        except OSError as problem:
            error = problem.errno
    return Entry(
        type=kind,
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        nlink=status.st_nlink,
        size=status.st_size,
        rdev=status.st_rdev,
        ino=status.st_ino,
        blocks=status.st_blocks,
        atime=status.st_atime_ns,
        mtime=status.st_mtime_ns,
        ctime=status.st_ctime_ns,
        btime=birth_time(path),
        xattrs=_attributes(path),
        target=target,
        digest=digest,
        runs=runs,
        error=error,
    )


def _attributes(path: bytes) -> dict[bytes, bytes]:
    values = {}
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as problem:
        if problem.errno == errno.EOPNOTSUPP:
            return {}
        raise
    for name in names:
        try:
            values[os.fsencode(name)] = os.getxattr(path, name, follow_symlinks=False)
        except OSError as problem:
            # user.* of anything but files and directories is listed and cannot be had: so says xattr(7).
            if problem.errno not in (errno.ENODATA, errno.EPERM):
                raise
    return values


@functools.cache
def _statx() -> Callable[..., int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "statx", None)
    return function


def birth_time(path: bytes) -> int | None:
    """The time of birth from statx(2), which os.stat does not give; None when the file system has none."""
    function = _statx()
    if function is None:
        return None
    buffer = ctypes.create_string_buffer(256)
    at_fdcwd, symlink_nofollow, wanted = -100, 0x100, 0x800
    if function(at_fdcwd, path, symlink_nofollow, wanted, buffer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", buffer, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer, 80)
    return seconds * 1_000_000_000 + nanoseconds if mask & wanted else None


# --- comparison --------------------------------------------------------------------------------------------------------


def differences(expected: Mapping[bytes, Entry], found: Mapping[bytes, Entry], ignore: Iterable[str] = ()) -> list[str]:
    """What differs, a line each. Fields in `ignore` are not looked at, nor is a time of birth that one side does not know."""
    lines = [f"{path!r}: missing" for path in expected if path not in found]
    lines += [f"{path!r}: should not be there" for path in found if path not in expected]
    fields = [each.name for each in dataclasses.fields(Entry) if each.name not in set(ignore)]
    for path, entry in expected.items():
        other = found.get(path)
        if other is None:
            continue
        for name in fields:
            one, two = getattr(entry, name), getattr(other, name)
            if one != two and not (name == "btime" and (one is None or two is None)):
                lines.append(f"{path!r}: {name} is {two!r}, should be {one!r}")
    return lines


# --- JSON --------------------------------------------------------------------------------------------------------------


def to_json(entries: Mapping[bytes, Entry]) -> str:
    """As text; bytes become strings of the code points 0-255."""

    def plain(entry: Entry) -> dict[str, object]:
        fields = {each.name: getattr(entry, each.name) for each in dataclasses.fields(Entry)}
        fields["xattrs"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in entry.xattrs.items()}
        fields["target"] = None if entry.target is None else entry.target.decode("latin-1")
        return {name: value for name, value in fields.items() if value is not None}

    return json.dumps({path.decode("latin-1"): plain(entry) for path, entry in entries.items()})


def from_json(text: str | bytes) -> Listing:
    entries: Listing = {}
    for path, fields in json.loads(text).items():
        fields["xattrs"] = {name.encode("latin-1"): value.encode("latin-1") for name, value in fields["xattrs"].items()}
        if fields.get("target") is not None:
            fields["target"] = fields["target"].encode("latin-1")
        if fields.get("runs") is not None:
            fields["runs"] = tuple((offset, length) for offset, length in fields["runs"])
        entries[path.encode("latin-1")] = Entry(**fields)
    return entries


# --- the kernel --------------------------------------------------------------------------------------------------------


def kernel_can_mount() -> bool:
    """This process may make loop mounts and the kernel knows ext4."""
    with contextlib.suppress(OSError):
        known = Path("/proc/filesystems").read_text().split()
        return os.geteuid() == 0 and "ext4" in known and os.path.exists("/dev/loop-control")
    return False


def superblock_of(image: Path, options: str) -> bytes:
    """The superblock that a mount with these options uses: sb= counts units of 1 KiB."""
    place = next((int(option[3:]) for option in options.split(",") if option.startswith("sb=")), 1)
    with open(image, "rb") as opened:
        opened.seek(place * 1024)
        return opened.read(1024).ljust(1024, b"\0")


def is_dirty(image: Path, options: str = "") -> bool:
    """A mount would have something to repair: a journal to replay, orphans to release."""
    superblock = superblock_of(image, options)
    (last_orphan,) = struct.unpack_from("<I", superblock, 0xE8)
    incompatible, read_only = struct.unpack_from("<II", superblock, 0x60)
    return bool(incompatible & 0x4 or last_orphan or read_only & 0x10000)


@contextlib.contextmanager
def _mountable(image: Path, options: str, directory: Path) -> Iterator[tuple[str, Path]]:
    """How to attach an image to a loop device: read-only, the image itself; or when mounting it means changing it, a copy in
    `directory`, writable. A fixture never changes."""
    if not is_dirty(image, options):
        yield "-r", image
        return
    copy = directory / "copy.img"
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(image), str(copy)], check=True, timeout=300)
    copy.chmod(0o600)
    yield "-f", copy


# losetup -d of a mounted device takes effect when it is unmounted. Options, -r or -f, the image, the mount point.
MOUNT = """
device=$(losetup -f --show $2 "$3") || exit 90
mount -t ext4 -o "$1" "$device" "$4"; status=$?
losetup -d "$device"
test $status = 0 || exit 90
"""


@contextlib.contextmanager
def loop_mount(image: Path, options: str = "") -> Iterator[Path]:
    """The image mounted read-only by the kernel at the path given, unmounted at the end. Needs root."""
    with tempfile.TemporaryDirectory(prefix="oracle-") as place:
        point = Path(place, "mount")
        point.mkdir()
        with _mountable(Path(image), options, Path(place)) as (access, source):
            command = ["sh", "-c", MOUNT, "mount", _options(options), access, str(source), str(point)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            if done.returncode:
                raise OSError(errno.EINVAL, f"the kernel does not mount {image}: {done.stderr.strip()}")
            try:
                yield point
            finally:
                subprocess.run(["umount", str(point)], check=True, timeout=120)


def _options(options: str) -> str:
    return "ro," + options if options else "ro"


def kernel_oracle(image: Path, options: str = "") -> Listing:
    """What the kernel says of an image, its journal replayed. OSError when the kernel does not mount it.

    Mounted in a mount namespace of its own, so that nothing stays behind whatever happens to this process.
    """
    with (
        tempfile.TemporaryDirectory(prefix="oracle-") as place,
        _mountable(Path(image), options, Path(place)) as (access, source),
    ):
        point = Path(place, "mount")
        point.mkdir()
        script = MOUNT + 'exec "$5" "$6" "$4"'
        arguments = [_options(options), access, str(source), str(point), sys.executable, str(Path(__file__).resolve())]
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "oracle", *arguments]
        done = subprocess.run(command, capture_output=True, timeout=300)
        if done.returncode == 90:
            raise OSError(errno.EINVAL, f"the kernel does not mount {image}: {done.stderr.decode(errors='replace').strip()}")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise OSError(errno.EUCLEAN, f"the kernel does not read all of {image}: {said}")
        return from_json(done.stdout)


# --- debugfs -----------------------------------------------------------------------------------------------------------


def debugfs_oracle(image: Path, options: str = "", *, replay: bool = True) -> Listing:
    """What debugfs says of an image. Needs no privilege, and knows features that the running kernel may lack.

    Cannot tell encrypted names, nor attribute names with a newline. `options` as for mount: sb= and noload.
    """
    with tempfile.TemporaryDirectory(prefix="oracle-") as place:
        source = Path(image)
        if replay and is_dirty(source, options):
            source = Path(place, "copy.img")
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(image), str(source)], check=True, timeout=300)
            source.chmod(0o600)
            # 1: "file system errors corrected", which is what replaying is.
            done = subprocess.run(["e2fsck", "-y", "-E", "journal_only", str(source)], capture_output=True, timeout=300)
            if done.returncode not in (0, 1):
                raise OSError(errno.EINVAL, f"e2fsck does not replay {image}: {done.stderr.decode(errors='replace').strip()}")
        from oracle_debugfs import DebugfsListing

        return DebugfsListing(source, Path(place), options).entries()


# --- the one or the other ----------------------------------------------------------------------------------------------


@functools.cache
def _remembered(image: Path, options: str, stamp: tuple[int, int, int]) -> Listing:
    if kernel_can_mount():
        with contextlib.suppress(OSError):
            entries = kernel_oracle(image, options)
            errors = {entry.error for entry in entries.values()}
            # A kernel built without fs-verity does not open sealed files, whose content is in plain sight.
            if errno.EOPNOTSUPP in errors:
                for path, other in debugfs_oracle(image, options).items():
                    if entries[path].error == errno.EOPNOTSUPP:
                        entries[path] = dataclasses.replace(entries[path], error=None, digest=other.digest, runs=other.runs)
            # Where the kernel gives up on a directory for its damaged index, debugfs searches the blocks.
            if errno.EUCLEAN not in errors:
                return entries
    return debugfs_oracle(image, options)


def oracle(image: Path, options: str = "") -> Listing:
    """What an image contains: by the kernel where that is possible, else by debugfs. Remembered; do not change the answer."""
    status = os.stat(image)
    return _remembered(Path(image), options, (status.st_ino, status.st_size, status.st_mtime_ns))


def main() -> int:
    parser = argparse.ArgumentParser(description="Print everything below a directory as JSON.")
    parser.add_argument("directory")
    parser.add_argument("--known", metavar="FILE", help="a listing in JSON: read very large files only where it has data")
    options = parser.parse_args()
    known = from_json(Path(options.known).read_bytes()) if options.known else None
    sys.stdout.write(to_json(listing(options.directory, known)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
