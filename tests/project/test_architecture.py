"""docs/architecture.md names files, modules and functions: each must be there, and each room must be named."""

import re
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest

import sammed3d_nb

ROOT = Path(__file__).parents[2]
PACKAGE = Path(sammed3d_nb.__file__).parent
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
COMMANDS = {"make lint"}  # what a reader may type


def drawing(page: str) -> str:
    return page.split("```")[1]


def names(page: str) -> list[str]:
    """What stands in backticks, but for the drawing."""
    return re.findall(r"`([^`\n]+)`", page.replace(f"```{drawing(page)}```", ""))


def there(name: str) -> bool:
    """Whether a file of this path, or a module, class, function or attribute of this dotted name, exists."""
    if "/" in name or name == "pyproject.toml":
        return any((folder / name).is_file() for folder in (ROOT, PACKAGE))
    try:
        resolve_name(f"sammed3d_nb.{name.removeprefix('sammed3d_nb')}".rstrip("."))
    except (ImportError, AttributeError):
        return False
    return True


def missing(page: str) -> list[str]:
    return [name for name in names(page) if name not in COMMANDS and not there(name)]


def test_every_name_on_the_page_is_there() -> None:
    assert len(names(PAGE)) > 100, "the page's names were not found"
    assert missing(PAGE) == []


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("session.making.Maker.say", "session.baking.Maker.say"),
        ("session/making.py", "session/baking.py"),
        ("session.steps.History.undo", "session.steps.History.unmake"),
        ("session.record.text_of", "session.record.texts_of"),
        ("`measure`", "`measures`"),
    ],
)
def test_a_module_or_function_that_was_renamed_is_noticed(name: str, renamed: str) -> None:
    assert name in PAGE
    assert missing(PAGE.replace(name, renamed))


def test_every_room_is_on_the_page_and_drawn_in_the_order_of_the_linter() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    rooms |= {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    assert rooms <= set(names(PAGE))
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    drawn = [word for word in re.findall(r"\w+(?=  )", drawing(PAGE)) if word in rooms]
    assert list(dict.fromkeys(drawn)) == [layer for layer in layers if layer in drawn]
    assert set(drawn) == rooms
