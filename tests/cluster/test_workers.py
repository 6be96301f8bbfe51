"""Real Dask workers in processes of their own: the same results, whatever happens to them."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from sammed3d_nb.cluster.each import over
from sammed3d_nb.cluster.workers import check_versions, read_slurm, versions, workers
from sammed3d_nb.errors import UserError
from sammed3d_nb.measure.evaluate import User, run
from sammed3d_nb.measure.tasks import Failed, ModelSource, remembered, serially

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Item:
    """What a test asks a worker to do."""

    number: int
    folder: str = ""


def double(item):
    if item.number == 3:
        raise UserError("Three is refused.")
    if item.number == 4:
        raise ValueError("four")
    time.sleep(0.05 * (item.number % 3))  # they end in another order
    return 2 * item.number


def killed_once(item):
    """Ends its process the first time that it is tried."""
    marks = Path(item.folder)
    (marks / f"{item.number}-{os.getpid()}").touch()
    if item.number == 1 and len(list(marks.glob("1-*"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item.number


def killed_always(item):
    if item.number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item.number


@pytest.fixture(scope="module")
def client():
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{before}"  # workers import the functions of this file
    sys.path.insert(0, str(HERE))
    try:
        with workers(local=2) as found:
            yield found
    finally:
        os.environ["PYTHONPATH"] = before
        sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Two labelled cases of two balls each."""
    root = tmp_path_factory.mktemp("cases")
    for number in range(2):
        rng = np.random.default_rng(number)
        grid = np.indices((20, 40, 40))
        labels = np.zeros((20, 40, 40), np.uint8)
        for label, middle in ((1, (10, 12, 12 + number)), (2, (10, 28, 27))):
            labels[sum((grid[a] - middle[a]) ** 2 * (4, 1, 1)[a] for a in range(3)) < 64] = label
        image = np.array([0.0, 100, 200])[labels] + rng.normal(0, 3, labels.shape)
        folder = root / f"case{number}"
        folder.mkdir()
        for name, array in (("image", image.astype(np.float32)), ("label", labels)):
            written = sitk.GetImageFromArray(array)
            written.SetSpacing((1.0, 1.0, 2.0))
            sitk.WriteImage(written, str(folder / f"{name}.nii.gz"))
    return root


def test_results_come_in_order_and_failures_alone(client):
    said = []
    found = list(over(client, show=said.append)(double, [Item(n) for n in range(8)]))
    assert [one for one in found if not isinstance(one, Failed)] == [0, 2, 4, 10, 12, 14]
    assert (str(found[3]), "ValueError: four" in str(found[4])) == ("Three is refused.", True)
    assert said[-1] == "8 of 8 done"


@pytest.mark.parametrize("load", [None, ModelSource(device="cpu")])
def test_evaluate_gives_the_same_to_the_last_bit(client, cases, load, tmp_path):
    lines = {}
    for name, each in (("here", serially), ("there", over(client, show=lambda line: None))):
        list(run([cases], load=load, user=User(clicks=2), csv=tmp_path / f"{name}.csv", each=each))
        rows = [line.split(",")[:-1] for line in (tmp_path / f"{name}.csv").read_text().splitlines()]  # but seconds
        lines[name] = rows
    assert lines["here"] == lines["there"]
    assert len(lines["here"]) == 1 + 2 * 2 * 2


def test_a_killed_worker_costs_its_task_only(client, tmp_path):
    items = [Item(n, str(tmp_path)) for n in range(5)]
    assert list(over(client, show=lambda line: None)(killed_once, items)) == list(range(5))
    assert len(list(tmp_path.glob("1-*"))) == 2


def test_an_item_that_ends_every_worker_is_given_up(client):
    found = list(over(client, show=lambda line: None)(killed_always, [Item(n) for n in range(3)]))
    assert (found[0], found[2]) == (0, 2)
    assert "ended every worker" in str(found[1])


def test_a_stopped_run_goes_on(cases, tmp_path):
    progress, done = tmp_path / "progress.jsonl", []

    def counting(do, items):
        done.append(len(items))
        return serially(do, items)

    def lines(made_with):
        each = remembered(counting, progress, made_with)
        found = list(run([cases], load=None, user=User(clicks=2), each=each))
        return [line.split("/–")[0] for line in found]  # without the seconds

    first = lines({"model": None})
    kept = progress.read_text().splitlines(keepends=True)
    progress.write_text("".join(kept[:-2]) + kept[-2][:20])  # killed in the middle of a line
    assert lines({"model": None}) == first
    assert done == [2, 4, 0, 2]
    with pytest.raises(UserError, match="holds results of another run"):
        lines({"model": "x"})
    progress.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="holds no results"):
        lines({"model": None})


def test_what_cannot_be_evaluated_is_said_and_does_not_stop_the_rest(cases, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(cases / "case0", broken)
    (broken / "image.nii.gz").write_bytes(b"not an image")
    found = []
    with pytest.raises(UserError, match="1 of these could not be measured"):
        found.extend(run([broken, cases / "case1"], load=None, user=User(clicks=1)))  # keeps what came before
    assert found[0].startswith("broken  ")
    assert sum(line.startswith("case1  ") for line in found) >= 2


def test_other_versions_are_refused_by_name(client):
    check_versions(client)

    class Other:
        def run(self, function):
            return {"tls://node7:1": {**function(), "torch": "1.0"}}

    with pytest.raises(UserError, match=r"worker tls://node7:1 has torch 1\.0 and this process"):
        check_versions(Other())
    assert versions()["Python"].startswith("3.")


def test_strangers_cannot_talk_to_the_scheduler(client):
    """It would run their code: without this run's keys there is no way in."""
    import distributed

    address = client.scheduler.address
    assert address.startswith("tls://127.0.0.1:")
    with pytest.raises((OSError, TypeError, ValueError)):
        distributed.Client(address.replace("tls://", "tcp://"), timeout=2, set_as_default=False)
    stranger = distributed.Security.temporary()
    with pytest.raises((OSError, TypeError, ValueError)):
        distributed.Client(address, security=stranger, timeout=2, set_as_default=False)


def test_no_scheduler_is_one_sentence():
    with (
        pytest.raises(UserError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"),
        workers(scheduler="tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("jobs: 2\ncores: 4", "does not say memory, walltime"),
        ("- 1", "holds no settings"),
        ("a: [", "cannot be read as YAML"),
        ("jobs: 0\ncores: 1\nmemory: 1GB\nwalltime: '1'", "asks for 0 jobs"),
    ],
)
def test_slurm_files_that_say_too_little(tmp_path, text, said):
    (tmp_path / "slurm.yaml").write_text(text)
    with pytest.raises(UserError, match=said):
        read_slurm(tmp_path / "slurm.yaml")


def test_the_slurm_file_that_we_ship_asks_for_what_it_says(monkeypatch):
    from dask_jobqueue import SLURMCluster

    path = HERE.parents[1] / "deploy" / "slurm.yaml"
    settings = read_slurm(path)
    assert settings.pop("jobs") == 4
    with SLURMCluster(**settings) as cluster:
        script = cluster.job_script()
    for line in ("-p gpu", "-n 1", "--cpus-per-task=8", "--mem=23G", "-t 02:00:00", "--gres=gpu:1"):
        assert f"#SBATCH {line}\n" in script
    assert "distributed.cli.dask_worker" in script
    monkeypatch.setenv("PATH", "/nowhere")
    there = workers(slurm=path)
    with pytest.raises(UserError, match="There is no sbatch here"), there:
        pass


def test_the_progress_file_is_plain_json(cases, tmp_path):
    each = remembered(serially, tmp_path / "p", {"model": None})
    list(run([cases], load=None, user=User(clicks=1), each=each))
    for line in (tmp_path / "p").read_text().splitlines():
        json.loads(line)


def test_saved_sessions_are_exported_and_replayed_there_too(cases, tmp_path, capsys):
    from sammed3d_nb.commands import cli

    image = cases / "case0" / "image.nii.gz"
    record = tmp_path / "a.sammed3d.json"
    words = ["segment", str(image), "--click", "12,12,10", "-o", str(tmp_path / "m.nii.gz"), "--save", str(record)]
    assert cli.main(words) == 0
    gone = tmp_path / "b.sammed3d.json"
    gone.write_text(record.read_text().replace("image.nii.gz", "gone.nii.gz"))
    capsys.readouterr()
    assert cli.main(["replay", str(record), str(gone), "--local", "1"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[:2] == [str(record), "object 1: the same"]
    assert "gone.nii.gz" in err
    assert cli.main(["export", str(tmp_path), "-o", str(tmp_path / "out"), "--as", ".seg.nrrd", "--local", "1"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "out" / "a.seg.nrrd")]
    assert (tmp_path / "out" / "a.seg.nrrd").is_file()
