"""The layers hold: who may import whom, read from the source."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "vfs"
FRONT_ENDS = {"fuse", "view", "cli", "fsspec"}
PARTS = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"} - {"__init__", "__pycache__"}
MODULES = PARTS - FRONT_ENDS - {"api"}


def files(part: str) -> list[Path]:
    place = PACKAGE / part
    return sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]


def imported(file: Path) -> set[str]:
    """The parts of the package that a file imports, anywhere in it."""
    parts = set()
    for statement in ast.walk(ast.parse(file.read_text())):
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{file}: relative import"
            names = [statement.module or ""]
            if statement.module == "vfs":
                names = [f"vfs.{alias.name}" for alias in statement.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("vfs.")}
    return parts


def test_the_parts_are_what_is_expected() -> None:
    assert FRONT_ENDS | {"api", "ext2"} <= PARTS
    assert imported(PACKAGE / "cli" / "listing.py") == {"api", "cli"}


@pytest.mark.parametrize("part", sorted(PARTS))
def test_imports(part: str) -> None:
    allowed = {part, "api"}
    if part == "cli":
        allowed |= {"fuse"}  # `vfs mount` starts the kernel front end
    for file in files(part):
        assert imported(file) <= allowed, file.relative_to(PROJECT)


@pytest.mark.parametrize("part", sorted(FRONT_ENDS | {"api"}))
def test_no_module_is_known_by_name(part: str) -> None:
    """Nothing outside a module's folder is decided by the module's name."""
    points = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]
    registered = {name for group in ("filesystems", "devices", "misc") for name in points[f"vfs.{group}"]}
    assert "ext2" in registered
    for file in files(part):
        for found in ast.walk(ast.parse(file.read_text())):
            if isinstance(found, ast.Compare):
                constants = {each.value for each in ast.walk(found) if isinstance(each, ast.Constant)}
                assert not constants & registered, f"{file.relative_to(PROJECT)}:{found.lineno}"
