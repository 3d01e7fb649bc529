"""pyfuse3, imported without trio, and without what it asks for its own version.

pyfuse3 imports both whether they will be used or not, which takes longer than all the rest of a mount. Most mounts are served by
`vfs.fuse.loop`: while pyfuse3 is imported something else has their names. `vfs.fuse.threaded` gives it the real trio.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

__all__ = ["pyfuse3"]


def no_version(name: str) -> str:
    return "unknown"


@contextmanager
def stand_ins() -> Iterator[None]:
    trio, metadata = ModuleType("trio"), ModuleType("importlib.metadata")
    vars(metadata).update(version=no_version, PackageNotFoundError=ModuleNotFoundError)
    ours = {module.__name__: module for module in (trio, metadata) if module.__name__ not in sys.modules}
    sys.modules.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del sys.modules[name]


with stand_ins():
    import pyfuse3
