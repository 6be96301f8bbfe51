from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the extra [slicer] is not installed")
pytest.importorskip("nnInteractive.inference.remote", reason="the extra [slicer] is not installed")

from serving import running


@pytest.fixture
def server(tmp_path: Path):
    with running(tmp_path / "kept") as one:
        yield one
