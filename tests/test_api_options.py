"""Mount options: text to dataclass, and what a person is told of a wrong one."""

from __future__ import annotations

import errno
from dataclasses import dataclass, fields
from typing import Any

import pytest

from vfs.api.options import MountOptions, Options, flag, known, number, octal, option, parse, parse_all, size, split, string


@dataclass
class Every(Options):
    """One option of each kind."""

    plain: bool = option(flag, "a flag")
    count: int | None = option(number, "a number")
    mode: int | None = option(octal, "permission bits")
    room: int | None = option(size, "a size")
    label: str | None = option(string, "a text")
    holes: list[str] = option(string, "a path", name="except", many=True)  # noqa: RUF009


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("defaults", {}),
        ("plain", {"plain": True}),
        ("ro,plain", {"ro": True, "plain": True}),
        ("rw+", {"rw_plus": True}),
        (",plain,,", {"plain": True}),
        ("count=0", {"count": 0}),
        ("count=010", {"count": 10}),
        ("count=0x20", {"count": 32}),
        ("count=0o20", {"count": 16}),
        ("count=1,count=2", {"count": 2}),
        ("mode=0755", {"mode": 0o755}),
        ("mode=1777", {"mode": 0o1777}),
        ("room=512", {"room": 512}),
        ("room=4k", {"room": 4096}),
        ("room=10M", {"room": 10 << 20}),
        ("room=2G", {"room": 2 << 30}),
        ("room=1T", {"room": 1 << 40}),
        ("label=a=b", {"label": "a=b"}),
        (r"label=a\,b,plain", {"label": "a,b", "plain": True}),
        (r"label=a\\b", {"label": r"a\b"}),
        ("except=/tmp,except=/var", {"holes": ["/tmp", "/var"]}),
    ],
)
def test_parse(text: str, values: dict[str, Any]) -> None:
    expected = {field.name: [] if field.name == "holes" else getattr(Every(), field.name) for field in fields(Every)} | values
    read = parse(text, Every)
    assert {field.name: getattr(read, field.name) for field in fields(Every)} == expected


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ("nonsense", "nonsense", "unknown option"),
        ("nonsense=1", "nonsense", "unknown option"),
        ("holes=/tmp", "holes", "unknown option"),  # the field's name is not the option's
        ("plain=1", "plain", "takes no value"),
        ("ro=yes", "ro", "takes no value"),
        ("count", "count", "whole number"),
        ("count=-1", "count", "whole number"),
        ("count=1.5", "count", "whole number"),
        ("count=0x", "count", "whole number"),
        ("count= 1", "count", "whole number"),
        ("mode=8", "mode", "octal"),
        ("mode=0777777", "mode", "octal"),
        ("room=4Q", "room", "size"),
        ("room=K", "room", "size"),
        ("label=", "label", "wants a value"),
        ("except", "except", "wants a value"),
        ("defaults=1", "defaults", "unknown option"),
    ],
)
def test_wrong_option_is_named_in_one_line(text: str, name: str, reason: str) -> None:
    with pytest.raises(OSError) as caught:
        parse(text, Every)
    assert caught.value.errno == errno.EINVAL
    sentence = caught.value.strerror
    assert f"'{name}'" in sentence and reason in sentence and "\n" not in sentence


def test_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(OSError) as caught:
        parse("nonsense", Every)
    assert all(name in caught.value.strerror for name in ("count", "except", "rw+", "ro"))


def test_digits_of_other_scripts_are_not_numbers() -> None:
    for text in ("count=٣", "room=٣"):
        with pytest.raises(OSError):
            parse(text, Every)


def test_a_front_end_takes_its_own_from_the_same_text() -> None:
    module, front = parse_all("noexec,count=3,ro", Every, MountOptions)
    assert (module.count, module.ro, front.noexec, front.nosuid) == (3, True, True, False)


def test_defaults_are_not_shared() -> None:
    parse("except=/tmp", Every).holes.append("/more")
    assert parse("", Every).holes == []


def test_split() -> None:
    assert split(r"a,b=c,d=e\,f") == [("a", ""), ("b", "c"), ("d", "e,f")]
    assert split("") == []
    assert split("trailing\\") == [("trailing", "")]


def test_every_option_is_explained() -> None:
    for name, (_, field) in known(Every, MountOptions).items():
        assert field.metadata["explanation"], name
