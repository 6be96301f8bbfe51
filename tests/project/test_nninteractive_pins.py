"""What `make nninteractive` installs: the same versions as everything else, and inside the extras' ranges."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_versions_agree() -> None:
    here, all_else = pins(ROOT / "tests" / "nninteractive.txt"), pins(ROOT / "constraints.txt")
    assert len(here) > 20
    assert {name: version for name, version in here.items() if all_else.get(name, version) != version} == {}
    assert "torch" not in here
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra in ("remote", "nninteractive"):
        for text in extras[extra]:
            wanted = Requirement(text)
            assert wanted.specifier.contains(here[wanted.name.lower()])
