"""Names without case, as in Linux's fs/unicode: UTF-8, normalised (NFD), folded, ignorable code points left out.

Linux has the tables of Unicode 12.1, Python those of its release. They differ only in letters that are newer: with Python 3.11
(Unicode 14) in 44 of 144,634 code points. Who finds no such name by its hash looks through the directory instead (`directory`).
"""

from __future__ import annotations

import re
import unicodedata

# Unicode 12.1, DerivedCoreProperties.txt: Default_Ignorable_Code_Point.
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f-\u1160\u17b4-\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def fold(name: bytes) -> bytes | None:
    """The form in which two names that differ only in case are equal; `None`: not UTF-8."""
    if name.isascii():
        return name.lower()
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError:
        return None
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", text).casefold())
    return _IGNORABLE.sub("", folded).encode("utf-8")
