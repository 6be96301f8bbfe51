"""How a worklist begins and ends: the dashboard, the command line, the export of what is finished."""

import json
from pathlib import Path

import numpy as np
import pytest
from case_app import VOXEL

import sammed3d_nb as snb
from sammed3d_nb.commands.cli import main
from sammed3d_nb.ui.dashboard import dashboard
from sammed3d_nb.ui.worklist import OUTPUT, PATHS, WORKLIST

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def test_the_dashboard_begins_a_worklist_for_several_cases_or_when_asked(data: Path, model, tmp_path: Path) -> None:
    environ = {PATHS: json.dumps([str(data)]), OUTPUT: str(tmp_path / "out")}
    app = dashboard({**environ, WORKLIST: json.dumps({"annotator": "anna", "readings": 2})})
    app.wait(60)
    assert app.worklist.who == "anna"
    assert app.session.annotator == "anna"
    app.close()
    one = json.dumps([str(data / "case0" / "image.nii.gz")])
    app = dashboard({**environ, PATHS: one, WORKLIST: "{}"})
    app.wait(60)
    assert app.worklist is None
    assert app.session is not None
    app.close()


def test_a_worklist_has_its_own_cases(data: Path, model) -> None:
    worklist = snb.Worklist(data, output=data.parent / "out", annotator="anna")
    with pytest.raises(snb.UserError, match="own cases"):
        snb.App(snb.Volume.from_array(np.zeros((2, 2, 2)), (1, 1, 1)), model, worklist=worklist)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--labels", "none.yaml"], "cannot be read"),
        (["--blind", "--review"], "--review or --blind"),
        (["--annotator", " "], "no name of an annotator"),
        (["--readings", "0"], "readings"),
    ],
)
def test_the_command_line_says_what_is_wrong_before_a_server_starts(data: Path, capsys, words, told: str) -> None:
    try:
        status = main(["app", str(data), "--no-browser", "--port", "18994", *words])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert told in capsys.readouterr().err


def test_a_folder_is_exported_by_its_finished_cases(begin, data: Path, capsys, tmp_path: Path) -> None:
    app = begin("anna")
    out = data.parent / "out"
    app.click(VOXEL)
    assert main(["export", str(out), "-o", str(tmp_path / "set"), "--nnunet"]) == 2
    assert "No case of the worklist" in capsys.readouterr().err
    app.act("case_done")
    app.wait()
    app.open(1).result()
    app.click(VOXEL)
    app.open(2).result()
    app.wait()
    assert main(["export", str(out), "-o", str(tmp_path / "set"), "--nnunet"]) == 0
    told = capsys.readouterr()
    assert "1 finished, 1 other records left out (--all takes them)" in told.err
    labels = sorted(path.name for path in (tmp_path / "set" / "labelsTr").iterdir())
    assert len(labels) == 1
    assert labels[0].startswith("case0-")
    assert main(["export", str(out), "-o", str(tmp_path / "all"), "--nnunet", "--all"]) == 0
    assert len(list((tmp_path / "all" / "labelsTr").iterdir())) == 2
