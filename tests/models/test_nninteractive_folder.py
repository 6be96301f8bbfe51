"""Folders with a model of nnInteractive: nothing in them runs; nothing is fetched before its licence was accepted."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import Hub
from nninteractive_weights import ARCHITECTURE, CONFIGURATION, LICENCE, contents, write

from sammed3d_nb.commands import cli
from sammed3d_nb.errors import CheckpointError, LicenceError
from sammed3d_nb.models import checkpoints, hub
from sammed3d_nb.models.nninteractive_folder import UNKNOWN_LICENCE, is_folder, look_at

KNOWN = hub.FOLDERS["nninteractive"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "nnInteractive_v1.0")


class Runs:
    """Pickles to something that is run when it is opened."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.proof}",)


def test_what_a_folder_says_of_itself(folder: Path) -> None:
    found = look_at(folder)
    assert (found.name, found.licence, found.fold) == ("nnInteractive_v1.0", LICENCE, "0")
    assert found.parameters == sum(tensor.numel() for tensor in contents()["network_weights"].values())
    assert set(found.contents) == {"trainer_name", "init_args", "network_weights"}
    assert found.contents["init_args"] == {"configuration": CONFIGURATION}


def test_the_package_gets_a_copy_of_what_was_read_and_nothing_else(folder: Path) -> None:
    found = look_at(folder)
    (folder / "surprise.py").write_text("raise SystemExit")
    with found.copied() as copy:
        names = sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file())
        assert names == [
            "LICENSE", "dataset.json", "fold_0/checkpoint_final.pth", "inference_session_class.json", "plans.json",
        ]  # fmt: skip
        again = torch.load(copy / "fold_0" / "checkpoint_final.pth", weights_only=True)
        assert torch.equal(
            again["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"],
            contents()["network_weights"]["encoder.stages.0.0.convs.0.conv.weight"],
        )
        assert copy.stat().st_mode & 0o077 == 0
    assert not copy.exists()


@pytest.mark.parametrize("where", ["network_weights", "init_args", "optimizer_state"])
def test_a_checkpoint_that_runs_something_is_not_opened(folder: Path, tmp_path: Path, where: str) -> None:
    proof = tmp_path / "proof"
    torch.save({**contents(), where: Runs(proof)}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(CheckpointError, match=r"asks for .*system to be run"):
        look_at(folder)
    assert not proof.exists()
    # the package itself would have run it
    torch.load(folder / "fold_0" / "checkpoint_final.pth", weights_only=False)
    assert proof.exists()


def test_a_bare_pickle_is_not_opened(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    (folder / "fold_0" / "checkpoint_final.pth").write_bytes(pickle.dumps(Runs(proof)))
    with pytest.raises(CheckpointError):
        look_at(folder)
    assert not proof.exists()


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    plans = json.loads((folder / "plans.json").read_text())
    change(plans["configurations"][CONFIGURATION]["architecture"])
    (folder / "plans.json").write_text(json.dumps(plans))


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(network_class_name="subprocess.Popen"),
        lambda a: a.update(network_class_name="dynamic_network_architectures.x;import os"),
        lambda a: a["arch_kwargs"].update(conv_op="os.system"),
        lambda a: a["arch_kwargs"].update(nonlin="torch.load"),
        lambda a: (a["_kw_requires_import"].append("more"), a["arch_kwargs"].update(more="antigravity.geohash")),
    ],
)
def test_plans_that_name_other_things_than_networks_are_refused(folder: Path, change: Any) -> None:
    changed(folder, change)
    with pytest.raises(CheckpointError, match=r"asks for .* to be run, which no published model does"):
        look_at(folder)


def test_the_other_configurations_are_looked_at_too(folder: Path) -> None:
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["second"] = {"architecture": {**ARCHITECTURE, "network_class_name": "os.system"}}
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(CheckpointError, match=r"asks for os\.system"):
        look_at(folder)


def test_a_network_of_absurd_size_is_refused(folder: Path) -> None:
    changed(folder, lambda a: a["arch_kwargs"].update(features_per_stage=[10**7, 10**7]))
    with pytest.raises(CheckpointError, match="absurd size"):
        look_at(folder)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "inference_session_class.json"])
@pytest.mark.parametrize("content", ["", "[]", "[" * 100_000, "nonsense"])
def test_damaged_files_get_a_sentence(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    if (name, content) == ("inference_session_class.json", "[]"):
        return  # the oldest ones hold other things than an object
    with pytest.raises(CheckpointError, match="download the model again"):
        look_at(folder)


@pytest.mark.parametrize("lacks", ["trainer_name", "init_args", "network_weights"])
def test_a_checkpoint_of_something_else_is_refused(folder: Path, lacks: str) -> None:
    torch.save(
        {key: value for key, value in contents().items() if key != lacks}, folder / "fold_0/checkpoint_final.pth"
    )
    with pytest.raises(CheckpointError, match="is no checkpoint of nnInteractive"):
        look_at(folder)


def test_folders_that_hold_no_model(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"expected plans\.json"):
        look_at(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="is a folder, and none with a model of nnInteractive"):
        checkpoints.locate(tmp_path / "empty")
    shutil.copytree(folder / "fold_0", folder / "fold_1")
    assert look_at(folder).fold == "0"
    shutil.move(folder / "fold_0", folder / "fold_2")
    with pytest.raises(CheckpointError, match="holds 2 fold_"):
        look_at(folder)


def test_the_licence_is_that_of_its_file_or_of_the_official_model(tmp_path: Path) -> None:
    assert look_at(write(tmp_path / "own", licence="My terms 2")).licence == "My terms 2"
    silent = write(tmp_path / "silent", licence=None)
    assert look_at(silent).licence == LICENCE  # what the official one was under before it had the file
    plans = json.loads((silent / "plans.json").read_text())
    plans["dataset_name"] = "Dataset001_Mine"
    (silent / "plans.json").write_text(json.dumps(plans))
    assert look_at(silent).licence == UNKNOWN_LICENCE


def test_any_change_changes_the_sum(folder: Path) -> None:
    before = look_at(folder).sha256
    (folder / "LICENSE").write_text("Something else")
    assert look_at(folder).sha256 == before
    told = json.loads((folder / "inference_session_class.json").read_text())
    (folder / "inference_session_class.json").write_text(json.dumps({**told, "point_radius": 5}))
    assert look_at(folder).sha256 != before


def test_folders_are_listed_beside_files(folder: Path) -> None:
    assert is_folder(folder)
    assert folder in checkpoints.listing(folder.parent)


# -- the hub -----------------------------------------------------------------------------------------------------------

FETCH = """
import sys
from sammed3d_nb.models import hub
from sammed3d_nb.errors import UserError
try:
    print(hub.fetch_folder("nninteractive", *sys.argv[1:]))
except UserError as error:
    print(error)
    sys.exit(2)
"""


def hub_of(folder: Path) -> Hub:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Hub(KNOWN.repository, {f"{KNOWN.folder}/{path.relative_to(folder)}": path for path in files})


@pytest.fixture
def published(folder: Path) -> Hub:
    return hub_of(folder)


def fetch(server: Hub, cache: Path, *arguments: str, code: str = FETCH) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    clean |= {"HF_HOME": str(cache), "HF_ENDPOINT": server.url, "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=clean, capture_output=True, text=True, timeout=120, check=False)


def test_nothing_is_fetched_before_the_licence_was_accepted_by_name(published: Hub, tmp_path: Path) -> None:
    with published:
        for arguments in ((), ("yes",), ("MIT",), ("",)):
            done = fetch(published, tmp_path / "cache", *arguments)
            assert done.returncode == 2, done.stderr
            assert f"is under {LICENCE}" in done.stdout
            assert KNOWN.terms in done.stdout
        assert published.requests == []


@pytest.mark.parametrize("named", [LICENCE, "cc-by-nc-sa-4.0"])
def test_fetched_whole_once_it_was_accepted_and_then_found_without_asking(
    published: Hub, folder: Path, tmp_path: Path, named: str
) -> None:
    with published:
        done = fetch(published, tmp_path / "cache", named)
        assert done.returncode == 0, done.stdout + done.stderr
        found = Path(done.stdout.strip())
        assert look_at(found).sha256 == look_at(folder).sha256
        assert look_at(found).licence == LICENCE
        asked = len(published.requests)
        done = fetch(published, tmp_path / "cache")
        assert (done.returncode, done.stdout.strip()) == (0, str(found))
        assert len(published.requests) == asked


@pytest.mark.parametrize("name", ["fold_0/checkpoint_final.pth", "plans.json"])
def test_what_was_damaged_on_its_way_is_not_kept(published: Hub, folder: Path, tmp_path: Path, name: str) -> None:
    published.corrupt = f"{KNOWN.folder}/{name}"
    with published:
        done = fetch(published, tmp_path / "cache", LICENCE)
        assert done.returncode == 2
        assert "was damaged or replaced on its way" in done.stdout
        published.corrupt = ""
        done = fetch(published, tmp_path / "cache", LICENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        assert look_at(Path(done.stdout.strip())).sha256 == look_at(folder).sha256


def test_a_broken_download_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    # larger than what is asked for at once (10 MB): of less, nothing would lie on disk when it breaks
    ballast = torch.randint(256, (30_000_000,), dtype=torch.uint8)
    torch.save({**contents(), "optimizer_state": {"ballast": ballast}}, folder / "fold_0" / "checkpoint_final.pth")
    published = hub_of(folder)
    published.break_after, published.always_break = 25_000_000, True
    with published:
        assert fetch(published, tmp_path / "cache", LICENCE).returncode == 2
        published.break_after, published.always_break = None, False
        published.requests.clear()
        done = fetch(published, tmp_path / "cache", LICENCE)
        assert done.returncode == 0, done.stdout + done.stderr
        ranges = [asked for method, asked in published.requests if method == "GET" and asked]
        assert len(ranges) == 1
        assert 20_000_000 <= int(ranges[0].removeprefix("bytes=").rstrip("-")) <= 25_000_000
        assert look_at(Path(done.stdout.strip())).sha256 == look_at(folder).sha256


def test_the_command_line_asks_for_the_licence(
    published: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with published:
        code = "import sys; from sammed3d_nb.commands.cli import main; sys.exit(main(sys.argv[1:]))"
        done = fetch(published, tmp_path / "cache", "models", "get", "nninteractive", code=code)
        assert done.returncode == 2
        assert "--accept-license" in done.stderr
        assert done.stderr.count("\n") == 1
        arguments = ("models", "get", "nninteractive", "--accept-license", LICENCE)
        done = fetch(published, tmp_path / "cache", *arguments, code=code)
        assert done.returncode == 0, done.stderr
        assert is_folder(Path(done.stdout.strip()))
    assert cli.main(["models"]) == 0
    assert f"nnInteractive v1.0, 411 MB, {LICENCE}" in capsys.readouterr().out


def test_the_licence_error_is_for_users() -> None:
    with pytest.raises(LicenceError, match="CC BY-NC-SA"):
        hub.fetch_folder("nninteractive", "some other")


def test_the_sum_of_a_small_file_is_gits(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"hello\n")
    assert hub._is_right(file, "ce013625030ba8dba906f756967f9e9ca394464a")  # git hash-object
    assert not hub._is_right(file, "0" * 40)
    assert hub._is_right(file, hashlib.sha256(b"hello\n").hexdigest())
