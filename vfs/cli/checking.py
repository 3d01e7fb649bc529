"""`vfs check`."""

from __future__ import annotations

import argparse
import errno
import os
from typing import Any

from vfs.api.device import Device
from vfs.api.devicetree import DeviceTree
from vfs.api.module import ERROR, Module, Source
from vfs.api.stack import Image, open_image
from vfs.cli import printing
from vfs.cli.opening import Report, Run, image_arguments, json_argument
from vfs.cli.printing import shown


def check(parser: argparse.ArgumentParser) -> Run:
    image_arguments(
        parser,
        "  vfs check disk.qcow2\n  vfs check --json disk.vmdk | jq -r 'select(.kind == \"error\") | .finding'\n"
        "Exit code 1 when there is an error; room that is merely lost is told and no error.\n",
    )
    json_argument(parser)
    return run_check


def run_check(arguments: argparse.Namespace) -> int:
    checker = _Checker(Report(arguments.image), arguments.json)
    given = arguments.image, arguments.type, arguments.options
    with open_image(*given, partition=arguments.partition, patient=True, visit=checker.layer) as image:
        if image.failure is not None:
            checker.report.broken(image.failure)
        else:
            checker.parts(image)
    if not (checker.checked or checker.report.status):
        raise OSError(errno.EOPNOTSUPP, f"nothing can be checked: {', '.join(checker.types)}", arguments.image)
    return checker.report.status


class _Checker:
    """Checks each layer before it is mounted: what is damaged often cannot be."""

    def __init__(self, report: Report, json: bool) -> None:
        self.report, self.json = report, json
        self.checked = 0
        self.types: list[str] = []

    def layer(self, module: Module, source: Source, options: Any, name: str) -> None:
        self.types.append(module.name)
        try:
            findings = module.check(source, options)
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                self.report.failed(os.fsencode(name), error)
            return
        self.checked += 1
        for kind, sentence in findings:
            if kind == ERROR:
                self.report.status = 1
            if self.json:
                printing.print_json({"source": name, "type": module.name, "kind": kind, "finding": sentence})
            else:
                print(f"{shown(name)}: {module.name}: {kind}: {shown(sentence)}")
        if not (findings or self.json):
            print(f"{shown(name)}: {module.name}: nothing wrong")

    def parts(self, image: Image) -> None:
        """The file systems in the parts of the last layer, where it is a device."""
        mounted = image.layers[-1].mounted
        if not isinstance(mounted, Device) or mounted.character:
            return
        tree = image.filesystem
        assert isinstance(tree, DeviceTree)
        for number in tree.parts():
            module = tree.content(number)
            assert module is not None
            name = f"{image.layers[-1].source}!/p{number}"
            self.layer(module, mounted.storage(number), module.options(ro=True), name)
