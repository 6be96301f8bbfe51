"""Fetching published checkpoints, from a local server that speaks the hub's protocol, by the real client."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import parity_weights
import pytest
from hub_server import Hub
from small_models import save, weights

from sammed3d_nb.models.hub import KNOWN

TURBO = KNOWN["sam-med3d-turbo"]
FETCH = """
import resource, sys
from dataclasses import replace
from sammed3d_nb.models import checkpoints
from sammed3d_nb.models import hub
from sammed3d_nb.errors import DownloadError
name, sha256, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
hub.KNOWN["sam-med3d-turbo"] = replace(hub.KNOWN["sam-med3d-turbo"], sha256=sha256)
try:
    path = hub.fetch(name)
except DownloadError as error:
    print(error)
    sys.exit(2)
print(path)
"""


def checksum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ranges(hub: Hub) -> list[int]:
    """Where the GETs that asked for the rest of the file began."""
    return [
        int(asked.removeprefix("bytes=").rstrip("-")) for method, asked in hub.requests if asked and method == "GET"
    ]


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("hub") / TURBO.filename, {"model_state_dict": weights()})


def fetch(
    hub: Hub | str, cache: Path, sha256: str, *, name: str = "sam-med3d-turbo", limit: int = 0, **env: str
) -> "subprocess.CompletedProcess[str]":
    """Run `hub.fetch` in a process of its own, whose environment the client reads when it starts."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    clean |= {"HF_HOME": str(cache), "HF_ENDPOINT": hub if isinstance(hub, str) else hub.url, "no_proxy": "127.0.0.1"}
    clean["TQDM_POSITION"] = "-1"  # a progress bar although standard error is no terminal
    return subprocess.run(
        [sys.executable, "-c", FETCH, name, sha256, str(limit)],
        env=clean | env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def sentence(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 2, done.stderr
    text = done.stdout.strip()
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_fetched_once_then_found_in_the_cache(small_file: Path, tmp_path: Path) -> None:
    good = checksum(small_file)
    with Hub(TURBO.repository, small_file) as hub:
        done = fetch(hub, tmp_path, good)
        assert done.returncode == 0, done.stderr
        path = Path(done.stdout.strip())
        assert path.name == TURBO.filename
        assert checksum(path) == good
        assert "100%" in done.stderr  # the progress bar
        gets = [method for method, _ in hub.requests].count("GET")
        assert Path(fetch(hub, tmp_path, good).stdout.strip()) == path
        assert [method for method, _ in hub.requests].count("GET") == gets
        asked = len(hub.requests)
        offline = fetch(hub, tmp_path, good, HF_HUB_OFFLINE="1")
        assert Path(offline.stdout.strip()) == path
        assert len(hub.requests) == asked


def test_wrong_checksum_is_deleted_unopened(small_file: Path, tmp_path: Path) -> None:
    good = checksum(small_file)
    with Hub(TURBO.repository, small_file, corrupt=True) as hub:
        text = sentence(fetch(hub, tmp_path, good))
        assert "instead of " + good in text
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]
        hub.corrupt = False
        assert fetch(hub, tmp_path, good).returncode == 0  # and the next try starts clean


def test_file_damaged_in_the_cache_is_fetched_again(small_file: Path, tmp_path: Path) -> None:
    good = checksum(small_file)
    with Hub(TURBO.repository, small_file) as hub:
        path = Path(fetch(hub, tmp_path, good).stdout.strip())
        path.resolve().write_bytes(b"damaged")
        again = fetch(hub, tmp_path, good)
        assert again.returncode == 0, again.stdout
        assert checksum(Path(again.stdout.strip())) == good


def test_another_file_on_the_hub_is_not_even_fetched(small_file: Path, tmp_path: Path) -> None:
    with Hub(TURBO.repository, small_file) as hub:
        assert "now holds another" in sentence(fetch(hub, tmp_path, "0" * 64))
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]


@pytest.mark.parametrize("etag", ["{good}.part", "{good}.part.lock", "..", "a", "G" * 64, "{good}0"])
def test_an_etag_that_names_another_file_is_refused(small_file: Path, tmp_path: Path, etag: str) -> None:
    """A cut download leaves <sha>.part, and the next answer could make that the file to open, unchecked."""
    good = checksum(small_file)
    with Hub(TURBO.repository, small_file, corrupt=True) as hub:
        assert fetch(hub, tmp_path, good, limit=1_500_000).returncode == 2  # leaves a part
        hub.etag = etag.format(good=good)
        assert "in an unknown way" in sentence(fetch(hub, tmp_path, good))


def test_what_lies_in_the_cache_is_checked_before_it_is_returned(small_file: Path, tmp_path: Path) -> None:
    good = checksum(small_file)
    with Hub(TURBO.repository, small_file) as hub:
        hub.etag = "a" * 40
        blobs = tmp_path / "hub" / f"models--{TURBO.repository.replace('/', '--')}" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / hub.etag).write_bytes(b"planted")
        assert "another checksum and was deleted unopened" in sentence(fetch(hub, tmp_path, good))
        assert not (blobs / hub.etag).exists()
        assert checksum(Path(fetch(hub, tmp_path, good).stdout.strip())) == good


def test_no_space(small_file: Path, tmp_path: Path) -> None:
    """A limit on the size of files is the nearest to a full disk that needs no privileges."""
    with Hub(TURBO.repository, small_file) as hub:
        text = sentence(fetch(hub, tmp_path, checksum(small_file), limit=1_500_000))
    assert "There is no space" in text
    assert "402 MB" in text
    assert "MB left" in text


def test_no_network(small_file: Path, tmp_path: Path) -> None:
    with Hub(TURBO.repository, small_file) as hub:
        closed = hub.url
    text = sentence(fetch(closed, tmp_path, "0" * 64))
    assert "cannot be reached" in text
    assert "HF_ENDPOINT" in text


def test_offline_and_not_in_the_cache(small_file: Path, tmp_path: Path) -> None:
    with Hub(TURBO.repository, small_file) as hub:
        assert "cannot be reached" in sentence(fetch(hub, tmp_path, "0" * 64, HF_HUB_OFFLINE="1"))
        assert hub.requests == []


def test_file_that_the_hub_does_not_have(small_file: Path, tmp_path: Path) -> None:
    with Hub("someone/else", small_file) as hub:
        assert "HTTP 404" in sentence(fetch(hub, tmp_path, "0" * 64))


def test_unknown_name(tmp_path: Path) -> None:
    assert "known are: sam-med3d-turbo" in sentence(fetch("http://127.0.0.1:1", tmp_path, "0" * 64, name="sam-med4d"))


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real format and size, 402 MB."""
    return save(tmp_path_factory.mktemp("real") / TURBO.filename, {"model_state_dict": parity_weights.sam_med3d()})


def test_connection_that_breaks_goes_on_where_it_stopped(real_file: Path, tmp_path: Path) -> None:
    good = checksum(real_file)
    with Hub(TURBO.repository, real_file) as hub:
        hub.break_after = 150_000_000
        done = fetch(hub, tmp_path, good)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(ranges(hub)) == 1
        assert 100_000_000 < ranges(hub)[0] <= 150_000_000
    path = Path(done.stdout.strip())
    assert checksum(path) == good
    assert not list(tmp_path.rglob("*.part"))


def test_run_that_dies_is_continued_by_the_next(real_file: Path, tmp_path: Path) -> None:
    good = checksum(real_file)
    with Hub(TURBO.repository, real_file) as hub:
        assert fetch(hub, tmp_path, good, limit=150_000_000).returncode == 2
        assert ranges(hub) == []
        done = fetch(hub, tmp_path, good)
        assert done.returncode == 0, done.stdout + done.stderr
        assert len(ranges(hub)) == 1
        assert 100_000_000 < ranges(hub)[0] <= 150_000_000
    assert checksum(Path(done.stdout.strip())) == good
