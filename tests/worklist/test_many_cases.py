"""Two thousand cases: found, listed, searched by their state; the next one is in memory before it is asked for."""

import io
import json
import sqlite3
from pathlib import Path
from threading import Event

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from support import BallNetwork, model_of

import sammed3d_nb as snb
from sammed3d_nb.imaging.sample import open_sample
from sammed3d_nb.session import record
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.ahead import Ahead
from sammed3d_nb.worklist.index import Index
from sammed3d_nb.worklist.listing import Found, found_in
from sammed3d_nb.worklist.standing import Review, Work
from sammed3d_nb.worklist.thumbnails import SIDE, Thumbnails, modality_of, picture

COUNT = 2000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand patients, by hard links to three images."""
    folder = tmp_path_factory.mktemp("many")
    images = []
    for seed in range(3):
        values = np.random.default_rng(seed).integers(-100, 200, (4, 6, 8)).astype(np.int16)
        images.append(folder / f"image{seed}.nii.gz")
        sitk.WriteImage(snb.Volume.from_array(values, (1, 1, 2)).image, str(images[-1]))
    for number in range(COUNT):
        path = folder / "data" / f"patient{number:04d}" / "ct.nii.gz"
        path.parent.mkdir(parents=True)
        path.hardlink_to(images[number % 3])
    return folder


@pytest.fixture(scope="module")
def cases(many: Path) -> list[Found]:
    return found_in([many / "data"])


@pytest.fixture
def worklist(cases: list[Found], tmp_path: Path) -> snb.Worklist:
    return snb.Worklist(cases=cases, output=tmp_path, annotator="anna")


def test_two_thousand_cases_are_listed_with_their_states(worklist: snb.Worklist, monkeypatch) -> None:
    assert len(worklist.cases) == COUNT
    assert len({case.key for case in worklist.cases}) == COUNT
    states = (standing.IN_PROGRESS, standing.DONE, standing.NEEDS_REVIEW)
    for number in range(0, COUNT, 2):
        case = worklist.cases[number]
        name = f"{case.name}.anna{record.SUFFIX}"
        head = {"format": record.FORMAT, "version": 2, "annotator": "anna", "volume": {"path": case.path}}
        line = {"step": "click 1", "time": "", "seconds": 6.0, "changes": {}}
        (worklist.folder / name).write_text(f'{json.dumps(head)[:-1]}, "steps": [\n{json.dumps(line)}{record.END}')
        standing.write(worklist.state, Work(case.key, "anna", states[number // 2 % 3], 1, name))
    entries = worklist.entries()
    wanted = [states[number // 2 % 3] if number % 2 == 0 else "new" for number in range(COUNT)]
    assert [entry.state for entry in entries] == wanted
    assert [entry.seconds for entry in entries[:4]] == [6, 0, 6, 0]
    assert worklist.progress() == (wanted.count("done"), COUNT)

    read: list[str] = []
    monkeypatch.setattr("sammed3d_nb.worklist.scan.Scanner.read", lambda self, path: read.append(path.name))
    monkeypatch.setattr("sammed3d_nb.worklist.index._sidecar", lambda path: read.append(path.name))
    again = snb.Worklist(cases=worklist.cases, output=worklist.folder, annotator="anna")
    assert again.entries() == entries
    assert read == [], "the index knows them all"
    worklist.note(0, "changed")
    again.entries()
    assert len(read) == 1, "what has changed is read, and nothing else"


def test_the_index_keeps_no_log_beside_it(worklist: snb.Worklist) -> None:
    worklist.note(0, "x")
    worklist.entries()
    with sqlite3.connect(worklist.state / "index.sqlite") as base:
        assert base.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert not list(worklist.state.glob("index.sqlite-*"))


def test_what_the_index_says_wrongly_is_read_from_the_files(worklist: snb.Worklist) -> None:
    worklist.note(0, "x")
    (worklist.folder / f"x{record.SUFFIX}").write_text('{"volume": {}, "steps": [\n]}\n')
    before = Index(worklist.folder).contents()
    assert [work.notes for works in before.works.values() for work in works] == ["x"]
    for fields in ('{"state": "done"}', "[]", "nonsense", '{"case": 1, "annotator": {}}', '{"file": 1}', "3"):
        with sqlite3.connect(worklist.state / "index.sqlite") as base:
            base.execute("UPDATE files SET fields = ?", (fields,))
        assert Index(worklist.folder).contents() == before, fields


def test_what_one_user_may_not_read_is_not_hidden_from_its_owner(worklist: snb.Worklist, monkeypatch) -> None:
    worklist.note(0, "mine")
    with monkeypatch.context() as stranger:

        def closed(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        stranger.setattr(standing, "content", closed)
        assert not any(Index(worklist.folder).contents().works.values())
    assert [work.notes for works in Index(worklist.folder).contents().works.values() for work in works] == ["mine"]


def test_states_follow_from_what_everybody_said() -> None:
    def state(*works: tuple[str, str, int], reviews: tuple[Review, ...] = (), readings: int = 1) -> str:
        return standing.state_of([Work("c", who, how, turn) for who, how, turn in works], reviews, readings)

    accepted = Review("c", "r", "accepted", {"a": 2}, 1)
    rejected = Review("c", "r", "rejected", {"a": 2}, 2)
    assert state() == "new"
    assert state(("a", "new", 0)) == "new"
    assert state(("a", "in progress", 1)) == "in progress"
    assert state(("a", "done", 2)) == "done"
    assert state(("a", "needs review", 2)) == "needs review"
    assert state(("a", "done", 2), readings=2) == "in progress"
    assert state(("a", "done", 2), ("b", "in progress", 1), readings=2) == "in progress"
    assert state(("a", "done", 2), ("b", "done", 2), readings=2) == "needs review"
    assert state(("a", "done", 2), reviews=(rejected,)) == "rejected"
    assert state(("a", "done", 2), reviews=(accepted, rejected)) == "rejected", "the later one holds"
    assert state(("a", "in progress", 3), reviews=(accepted, rejected)) == "in progress", "it was taken up again"
    assert state(("a", "needs review", 2), reviews=(accepted,)) == "done"
    assert state(("a", "in progress", 3), reviews=(accepted,)) == "in progress"
    assert state(("a", "needs review", 2), ("b", "in progress", 1), reviews=(accepted,)) == "done"


def test_one_picture_that_is_none_does_not_end_the_others(tmp_path: Path) -> None:
    volume = snb.Volume.from_array(np.zeros((4, 8, 8), np.int16), (1, 1, 1))
    (tmp_path / "thumbnails").mkdir()
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    (tmp_path / "thumbnails" / "bomb.jpg").write_bytes(bomb.getvalue())
    got: dict[str, bytes] = {}
    both = Event()

    def keep(key: str, data: bytes, modality: str) -> None:
        got[key] = data
        if len(got) == 2:
            both.set()

    pictures = Thumbnails(tmp_path, lambda key: volume, keep, lambda key: key != "large")
    for key in ("next", "large", "bomb"):
        pictures.want(key)
    assert both.wait(20)
    assert set(got) == {"next", "bomb"}, "and the large one is not read for its picture"
    assert all(data.startswith(b"\xff\xd8") for data in got.values())
    pictures.close()


def test_the_next_case_is_read_ahead_within_its_bound() -> None:
    volume = snb.Volume.from_array(np.zeros((2, 3, 4), np.int16), (1, 1, 1))
    going = Event()

    def read() -> snb.Volume:
        going.wait(10)
        return volume

    ahead = Ahead(most=1000)
    assert not ahead.prepare("large", 2000, read)
    assert not ahead.prepare("unknown", 0, read)
    assert ahead.prepare("next", 500, read)
    assert ahead.prepare("next", 500, lambda: pytest.fail("it is on its way"))
    assert ahead.take("another") is None
    going.set()
    assert ahead.take("next") is volume
    assert ahead.take("next") is None, "it is kept by nobody any more"

    def fails() -> snb.Volume:
        raise snb.UserError("damaged")

    assert ahead.prepare("damaged", 10, fails)
    assert ahead.take("damaged") is None, "it is read again and told when it is opened"
    ahead.close()


def test_a_case_that_was_read_ahead_is_not_read_again(worklist: snb.Worklist, monkeypatch) -> None:
    model = model_of(BallNetwork())
    assert worklist.read_ahead(5)
    worklist._ahead._next[1].result()
    monkeypatch.setattr(snb.Volume, "read", lambda *_, **__: pytest.fail("read again"))
    session = worklist.open(5, model)
    assert session.volume.size == (8, 6, 4)
    session.close()
    worklist.close()


def test_pictures_are_made_once_kept_and_show_the_patient_the_right_way_round(worklist: snb.Worklist) -> None:
    made: dict[str, bytes] = {}
    there = Event()

    def keep(key: str, data: bytes, modality: str) -> None:
        made[key] = data
        if len(made) == 2:
            there.set()

    key, other = (worklist.cases[n].key for n in (0, 1))
    pictures = Thumbnails(worklist.state, worklist.read, keep)
    for one in (key, other):
        pictures.want(one)
    assert there.wait(20)
    pictures.close()
    assert (worklist.state / "thumbnails" / f"{key}.jpg").read_bytes() == made[key]
    again = Thumbnails(worklist.state, lambda key: pytest.fail("made again"), lambda *_: None)
    assert again.kept(key) == made[key]

    phantom = open_sample("phantom")
    flipped = snb.Volume.from_array(
        phantom.array[:, ::-1, ::-1], phantom.spacing, phantom.direction @ np.diag([-1, -1, 1]), phantom.origin
    )
    first, second = (Image.open(io.BytesIO(picture(volume))) for volume in (phantom, flipped))
    assert max(first.size) == SIDE
    np.testing.assert_allclose(np.asarray(first, float), np.asarray(second, float), atol=40)
    assert np.abs(np.asarray(first, float) - np.asarray(first, float)[:, ::-1]).mean() > 5, "its sides differ"
    assert modality_of(picture(phantom)) == "CT"
    assert modality_of(b"no picture") == ""


def test_a_case_without_a_picture_is_told_so_once(worklist: snb.Worklist) -> None:
    told: list[tuple[str, bytes]] = []
    there = Event()

    def fails(key: str) -> snb.Volume:
        raise snb.UserError("damaged")

    def keep(key: str, data: bytes, modality: str) -> None:
        told.append((key, data))
        there.set()

    pictures = Thumbnails(worklist.state, fails, keep)
    pictures.want("damaged")
    assert there.wait(20)
    assert told == [("damaged", b"")]
    assert pictures.kept("damaged") == b""
    pictures.close()
