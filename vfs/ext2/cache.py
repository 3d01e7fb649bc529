"""A bounded cache in two generations.

What is used goes to the young generation; when that is full it becomes the old one, and the old one is dropped. That is nearly
LRU and costs two dictionary look-ups at most, with no list to reorder and no lock: each step is one atomic dictionary
operation, so that readers in several threads can at worst put the same thing twice.
"""

from __future__ import annotations

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Holds between *limit* and twice *limit* things once it is full."""

    __slots__ = ("limit", "old", "young")

    def __init__(self, limit: int) -> None:
        self.limit = max(1, limit)
        self.young: dict[K, V] = {}
        self.old: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """What is held under *key*, or `None`."""
        found = self.young.get(key)
        if found is None:
            found = self.old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, value: V) -> None:
        """Hold *value*, for as long as it is used."""
        young = self.young
        if len(young) >= self.limit:
            self.old = young
            self.young = young = {}
        young[key] = value

    def clear(self) -> None:
        """Hold nothing."""
        self.young, self.old = {}, {}
