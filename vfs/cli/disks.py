"""`vfs info`, `vfs partitions`, `vfs read`: disks, and the layers that lead to them."""

from __future__ import annotations

import argparse
import errno
import os
import stat
import sys
from typing import Any

from vfs.api.device import Device, Partition, StorageHandle
from vfs.api.devicetree import DeviceTree
from vfs.api.errors import fail
from vfs.api.node import Stat
from vfs.api.options import size
from vfs.api.stack import Image, open_disk, open_image
from vfs.api.storage import SubStorage
from vfs.cli import printing
from vfs.cli.opening import Report, Run, image_arguments, json_argument
from vfs.cli.printing import shown

# ---------------------------------------------------------------------------------------------------------------- info


def info(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs info disk.vmdk\n  vfs info 'backup.img!/disk.img'\n  vfs info --json disk.img | jq .details\n",
    )
    json_argument(parser)
    return run_info


def run_info(arguments: argparse.Namespace) -> int:
    given = arguments.image, arguments.type, arguments.options
    # Of an image whose last layer is damaged the others are of interest all the more.
    with open_image(*given, partition=arguments.partition, patient=True) as image:
        report = Report(arguments.image)
        for depth, layer in enumerate(image.layers):
            with report.about(os.fsencode(layer.source)):
                partitions = layer.mounted.partitions() if isinstance(layer.mounted, Device) else []
                kind = "device" if isinstance(layer.mounted, Device) else "filesystem"
                _tell(arguments.json, depth, layer.source, kind, layer.type, layer.mounted.details(), partitions)
        if image.failure is not None:
            report.broken(image.failure)
        elif isinstance(image.layers[-1].mounted, Device) and not image.layers[-1].mounted.character:
            _tell_parts(arguments.json, image, report)
        return report.status


def _tell_parts(json: bool, image: Image, report: Report) -> None:
    """The file systems in the parts of the last layer."""
    tree = image.filesystem
    if not isinstance(tree, DeviceTree):
        return
    for number in tree.parts():
        with report.about(b"/p%d" % number):
            found = tree.mounted(number)
            source = f"{image.layers[-1].source}!/p{number}"
            _tell(json, len(image.layers), source, "filesystem", found.type, found.details(), [])


def _tell(
    json: bool, depth: int, source: str, kind: str, type: str, details: dict[str, str | int], partitions: list[Partition]
) -> None:
    """One layer."""
    if json:
        fields: dict[str, Any] = {"layer": depth, "source": source, "kind": kind, "type": type, "details": details}
        if partitions:
            fields["partitions"] = [_record(row) for row in partitions]
        printing.print_json(fields)
        return
    indent = "  " * depth
    print(f"{indent}{shown(source)}: {type}")
    for name, fact in details.items():
        large = isinstance(fact, int) and fact >= 1024 and name.endswith(("size", "allocated"))
        print(f"{indent}  {name}: {shown(str(fact))}{f' ({printing.amount(int(fact))})' if large else ''}")
    for row in partitions:
        words = [f"{printing.amount(row.size)} at {printing.amount(row.start)}", row.type_name or f"type {row.type}"]
        words += [f"'{row.name}'"] if row.name else []
        words += ["bootable"] if row.bootable else []
        print(f"{indent}  p{row.number}: {shown(', '.join(words))}")


# ---------------------------------------------------------------------------------------------------------- partitions


def partitions(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs partitions disk.qcow2\n"
        "  vfs partitions --json disk.vdi | jq -r 'select(.bootable) | .number'\n"
        "  vfs partitions 'backup.img!/images/disk.vmdk'\n",
    )
    json_argument(parser)
    return run_partitions


def run_partitions(arguments: argparse.Namespace) -> int:
    given = arguments.image, arguments.type, arguments.options
    # The table counts, not what is wrong with a file system beside it.
    with open_image(*given, partition=arguments.partition, patient=True) as image:
        mounted = image.layers[-1].mounted
        tables = isinstance(mounted, Device) and bool(mounted.sub_devices > 1 or mounted.partitions())
        if not (tables and isinstance(mounted, Device)):
            what = f": {image.layers[-1].type}" if image.failure is None else ""
            raise OSError(errno.EINVAL, f"has no table of partitions{what}", image.layers[-1].source)
        rows = mounted.partitions()
        if arguments.json:
            for row in rows:
                printing.print_json(_record(row))
            return 0
        table = [["Number", "Start", "Size", "Boot", "Type", "Name", "UUID"]]
        for row in rows:
            boot = "*" if row.bootable else ""
            cells = [str(row.number), str(row.start), str(row.size), boot, row.type_name or row.type, row.name, row.uuid]
            table.append([shown(cell) or "-" for cell in cells])
        widths = [max(map(len, column)) for column in zip(*table)]
        for line in table:
            cells = [cell.rjust(width) if at < 3 else cell.ljust(width) for at, (cell, width) in enumerate(zip(line, widths))]
            print("  ".join(cells).rstrip())
        return 0


def _record(row: Partition) -> dict[str, Any]:
    return {**dict(row), "attributes": row.attributes}


# ---------------------------------------------------------------------------------------------------------------- read


def read(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs read disk.vmdk > disk.raw\n"
        "  vfs read --partition 1 disk.qcow2 | file -\n"
        "  vfs read --offset 1M --length 512 disk.vdi | xxd\n",
    )
    parser.add_argument("--offset", metavar="O", type=_bytes, default=0, help="begin at this byte (K, M, G: units of 1024)")
    parser.add_argument("--length", metavar="L", type=_bytes, help="this many bytes (default: all that follow)")
    return run_read


def _bytes(text: str) -> int:
    try:
        return size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'{text}': {error}") from None


def run_read(arguments: argparse.Namespace) -> int:
    from vfs.cli.transfer import to_file, to_stream

    sys.stdout.flush()
    out = sys.stdout.fileno()
    given = arguments.image, arguments.type, arguments.options
    with open_disk(*given, partition=arguments.partition) as disk:
        try:
            room = disk.storage.size - arguments.offset
            if room < 0:
                fail(errno.EINVAL, f"--offset {arguments.offset} is beyond the end at {disk.storage.size}")
            length = room if arguments.length is None else min(arguments.length, room)
            with StorageHandle(SubStorage(disk.storage, arguments.offset, length)) as handle:
                if _is_new(out):
                    to_file(handle, Stat(0, stat.S_IFREG, size=length, blocks=-(-length // 512)), out)
                else:
                    to_stream(handle, length, out)
        except OSError as error:
            raise OSError(error.errno, error.strerror, error.filename or arguments.image) from error
        return 0


def _is_new(out: int) -> bool:
    """Whether *out* is an empty file, in which holes can be left."""
    import fcntl

    found = os.fstat(out)
    appending = fcntl.fcntl(out, fcntl.F_GETFL) & os.O_APPEND
    return stat.S_ISREG(found.st_mode) and not found.st_size and not appending and not os.lseek(out, 0, os.SEEK_CUR)
