"""`make audit` is green only where every version was looked up."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "audit.py"


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SAFE = {"name": "numpy", "version": "2.0.0", "vulns": []}
SKIPPED = {
    "name": "tornado", "skip_reason": "Dependency not found on PyPI and could not be audited: tornado (6.5.4)"
}  # fmt: skip
UNSAFE = {
    "name": "tornado", "version": "6.5.4",
    "vulns": [{"id": "GHSA-1", "aliases": ["CVE-2026-31958"], "fix_versions": ["6.5.5"], "description": "…"}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("found", "asked", "status", "words"),
    [
        ([SAFE], 1, 0, "1 packages were looked up; none is known"),
        ([SAFE, UNSAFE], 2, 1, "tornado 6.5.4: GHSA-1, CVE-2026-31958; mended in 6.5.5."),
        ([SAFE, SKIPPED], 2, 3, "NOT AUDITED: 1 of 2"),
        ([SKIPPED, UNSAFE], 2, 1, "NOT AUDITED: 1 of 2"),
        ([], 4, 3, "NOT AUDITED: 4 of 4"),
    ],
)
def test_what_is_said(audit, found, asked, status, words) -> None:
    said, lines = audit.verdict({"dependencies": found}, asked)
    assert said == status
    assert any(words in line for line in lines)
    assert status != 3 or not any("none is known" in line for line in lines)


@pytest.mark.parametrize(
    ("printed", "code", "status", "words"),
    [
        (json.dumps({"dependencies": [SKIPPED]}), 0, 3, "NOT AUDITED: 1 of 1"),  # as behind a mirror of PyPI
        (json.dumps({"dependencies": [UNSAFE]}), 1, 1, "CVE-2026-31958"),
        ("", 1, 3, "NOT AUDITED: 1 of 1 packages could not be looked up in the database"),  # as without the internet
    ],
)
def test_the_command(tmp_path: Path, printed: str, code: int, status: int, words: str) -> None:
    """pip-audit's part is played: its database is not everywhere."""
    (tmp_path / "pip_audit.py").write_text(f"import sys\nprint({printed!r})\nprint('no way', file=sys.stderr)\n"
                                           f"sys.exit({code})\n")  # fmt: skip
    (tmp_path / "versions.txt").write_text("# exact\ntornado==6.5.4\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "versions.txt")], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == status
    assert words in done.stdout
    assert done.stderr == ""


def test_without_pip_audit_nothing_passes(tmp_path: Path) -> None:
    (tmp_path / "pip_audit.py").write_text("raise ImportError('No module named pip_audit')\n")
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 3
    assert "No module named pip_audit" in done.stdout
