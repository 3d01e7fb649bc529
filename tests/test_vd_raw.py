"""Raw images under the common campaigns: they also say that the campaigns find nothing where nothing is wrong."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings

from tests import vd_campaign as campaign
from tests.vd_campaign import Operation
from vfs.vd.formats import KINDS

SIZE = 300_001


@given(todo=campaign.operations(SIZE))
@settings(max_examples=20, deadline=None)
def test_against_a_flat_model(todo: list[Operation]) -> None:
    flat = bytearray(campaign.content(1, SIZE))
    directory = {b"disk": bytearray(flat)}

    def open_it() -> campaign.Device:
        storage = campaign.MemoryFile(directory, b"disk", True)
        return campaign.opened(storage, rw=True, format="raw")

    campaign.against_model(open_it, flat, todo)


def test_on_a_file(tmp_path: Path) -> None:
    flat = bytearray(campaign.make_raw(tmp_path / "disk", 2, SIZE))
    todo = campaign.random_operations(campaign.random.Random(3), SIZE, 40)
    campaign.against_model(lambda: campaign.opened_file(tmp_path / "disk", True, format="raw"), flat, todo)
    assert (tmp_path / "disk").read_bytes() == flat
    assert KINDS["raw"].format.endings == (".raw", ".img")
