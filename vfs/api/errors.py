"""Errors: every failure that a caller can meet is an `OSError` with an errno and one sentence.

Three kinds are kept apart, since a person reacts differently to each:

* **damaged**: the image contradicts its format. `EUCLEAN` ("structure needs cleaning"), as Linux gives for ext4 and xfs.
* **unsupported**: the image is right, we cannot do it. `EOPNOTSUPP`; the sentence names the feature.
* **storage failed**: the bytes could not be had. The errno of the call that failed, usually `EIO`.

The sentence names the structure, its number and the limit that it breaks ("inode 12: extent depth 9, at most 5").
"""

import errno
import os
from typing import NoReturn


def fail(number: int, sentence: str = "") -> NoReturn:
    """Raise `OSError(number)` with *sentence*, or with the system's own words when there is nothing to add."""
    raise OSError(number, sentence or os.strerror(number))


def damaged(sentence: str) -> OSError:
    """An image that contradicts its own format: `raise damaged("group 3: inode table outside the device")`."""
    return OSError(errno.EUCLEAN, sentence)


def unsupported(sentence: str) -> OSError:
    """A correct image with something that we do not read or write; the sentence names it."""
    return OSError(errno.EOPNOTSUPP, sentence)


def message(error: BaseException) -> str:
    """The sentence of an error, without Python's "[Errno 2]" and quoted names: what a person is shown."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
