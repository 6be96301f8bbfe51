"""pyproject.toml, environment.yml, binder/ and constraints.txt must ask for the same environment."""

import re
import tomllib
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = set(PROJECT["dependencies"])
TESTS = set(PROJECT["optional-dependencies"]["test"])
EXTRAS = next(found for found in TESTS if found.startswith("sammed3d-nb["))  # what the tests draw of the others
TESTS.remove(EXTRAS)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def pip_part(path: Path) -> list[str]:
    return re.findall(r"^      - (.+)$", path.read_text(), re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_conda_environment_lists_the_project_and_test_requirements() -> None:
    requirements = pip_part(ROOT / "environment.yml")
    assert requirements[0] == "--constraint constraints.txt"
    assert requirements[-1] == EXTRAS.replace("sammed3d-nb", "--editable .")
    assert set(requirements[1:-1]) == NEEDED | TESTS


def test_binder_lists_the_project_requirements() -> None:
    assert set(pip_part(ROOT / "binder" / "environment.yml")) == NEEDED
    assert (
        "pytorch-cpu" + next(r for r in NEEDED if r.startswith("torch"))[5:]
        in (ROOT / "binder" / "environment.yml").read_text()
    )


def test_python_versions_agree() -> None:
    assert f"- python{PROJECT['requires-python']}\n" in (ROOT / "environment.yml").read_text()


@pytest.mark.parametrize("requirement", sorted(NEEDED | TESTS))
def test_every_requirement_has_a_tested_version_inside_its_range(requirement: str) -> None:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    pinned = {normal(name): version for name, version in pins.items()}
    assert normal(wanted.name) in pinned
    assert wanted.specifier.contains(pinned[normal(wanted.name)])


@pytest.mark.parametrize(
    ("name", "unsafe"),
    [("torch", "2.9.1"), ("jupyter_server", "2.17.0"), ("tornado", "6.5.4"), ("pydicom", "3.0.1")],
)
def test_no_version_that_is_known_to_be_unsafe_is_allowed(name: str, unsafe: str) -> None:
    from packaging.requirements import Requirement

    (wanted,) = [found for found in map(Requirement, NEEDED) if found.name == name]
    assert not wanted.specifier.contains(unsafe)


def test_the_tests_that_docs_security_names_are_there() -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    lacking = [
        f"{path}::{test}"
        for path, test in named
        if f"\ndef {test}(" not in (ROOT / "tests" / path).read_text(encoding="utf-8")
    ]
    assert lacking == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_are_stored_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        assert not cell.get("outputs"), f"{path.name} has outputs; clear them before the commit"
        assert cell.get("execution_count") is None, f"{path.name} has execution counts; clear them before the commit"
    assert any("assert " in cell.source for cell in cells if cell.cell_type == "code"), f"{path.name} asserts nothing"


def test_every_public_name_loads() -> None:
    import sammed3d_nb

    for name in sammed3d_nb.__all__:
        assert getattr(sammed3d_nb, name) is not None
