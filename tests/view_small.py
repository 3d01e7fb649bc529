"""`umview` with limits so small that everything is evicted soon: the program that tests run in its place.

A program of its own: the view forks from it.
"""

import sys

from vfs.view.commands.umview import run
from vfs.view.files import OpenFiles

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], files=OpenFiles(fill_at_open=100, cache_bytes=300_000, cache_descriptors=3, sweep=5)))
