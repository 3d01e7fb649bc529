"""The submodule API: what modules implement and front ends use. It knows nobody.

Read in this order: `node` (Node, Handle: the contract), `storage`, `filesystem`, `device`, `module`, `options`, `registry`,
`walk`, `stack` (open an image through its layers).
"""

from vfs.api.device import Device, Partition, StorageHandle
from vfs.api.errors import damaged, fail, message, unsupported
from vfs.api.filesystem import Filesystem, StatFs
from vfs.api.module import CERTAIN, ERROR, LEAK, LIKELY, NO, POSSIBLE, WARNING, Finding, Format, Module, Source
from vfs.api.node import Change, Entry, Extent, Handle, Node, Stat, opened_wide
from vfs.api.options import MountOptions, Options, option, parse, parse_all
from vfs.api.stack import Image, Layer, open_image
from vfs.api.storage import FileStorage, HostDirectory, NodeStorage, Storage, SubStorage

__all__ = [
    "CERTAIN",
    "ERROR",
    "LEAK",
    "LIKELY",
    "NO",
    "POSSIBLE",
    "WARNING",
    "Change",
    "Device",
    "Entry",
    "Extent",
    "FileStorage",
    "Filesystem",
    "Finding",
    "Format",
    "Handle",
    "HostDirectory",
    "Image",
    "Layer",
    "Module",
    "MountOptions",
    "Node",
    "NodeStorage",
    "Options",
    "Partition",
    "Source",
    "Stat",
    "StatFs",
    "Storage",
    "StorageHandle",
    "SubStorage",
    "damaged",
    "fail",
    "message",
    "open_image",
    "opened_wide",
    "option",
    "parse",
    "parse_all",
    "unsupported",
]
