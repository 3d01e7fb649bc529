"""pyfuse3, imported without trio.

pyfuse3 imports trio whether it will be used or not, which takes longer than all the rest of a mount. Most mounts are served by
`vfs.fuse.loop`: while pyfuse3 is imported something else has trio's name. `vfs.fuse.threaded` gives it the real one.
"""

from __future__ import annotations

import sys
from types import ModuleType

if "trio" in sys.modules:
    import pyfuse3
else:
    sys.modules["trio"] = ModuleType("trio")
    try:
        import pyfuse3
    finally:
        del sys.modules["trio"]

__all__ = ["pyfuse3"]
