"""Records from strangers: every field is checked, and no more memory is taken than the volume needs."""

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import BallNetwork, model_of

from sammed3d_nb import Session, UserError, Volume
from sammed3d_nb.errors import RecordError

MODEL = model_of(BallNetwork())


def volume() -> Volume:
    array = np.random.default_rng(1).integers(-100, 200, (18, 22, 26)).astype(np.int16)
    return Volume.from_array(array, (4.0, 4.5, 6.0), name="small")


def text(folder: Path) -> str:
    session = Session(volume(), MODEL)
    session.click((10, 10, 8))
    session.paint([(1, 1, 1), (2, 2, 2)])
    session.apply("smooth")
    session.new_object("b")
    session.undo()
    return session.save(folder / "good.sammed3d.json").read_text()


@pytest.fixture
def fields(tmp_path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text(tmp_path))
    return loaded


def resume(path: Path, fields: Any) -> Session:
    path.write_text(json.dumps(fields))
    return Session.resume(path, volume=volume(), model=MODEL)


def first(fields: Any) -> Any:
    return fields["steps"][1]["changes"][0]


def told(fields: Any) -> Any:
    return first(fields)["object"]["said"]["more"]["told"]


def mask(fields: Any) -> Any:
    return first(fields)["masks"]["local"]


HOSTILE: dict[str, Callable[[Any], Any]] = {
    "huge box": lambda f: mask(f).update(start=[0, 0, 0], size=[100000, 100000, 1]),
    "box outside": lambda f: mask(f).update(start=[20, 20, 17]),
    "zlib bomb": lambda f: mask(f).update(bits=base64.b64encode(zlib.compress(bytes(10**8))).decode()),
    "no zlib": lambda f: mask(f).update(bits=base64.b64encode(b"abc").decode()),
    "no base64": lambda f: mask(f).update(bits="ä"),
    "unknown mask": lambda f: first(f)["masks"].update(other=mask(f)),
    "checksum": lambda f: first(f).update(sha256="0" * 64),
    "script as space": lambda f: told(f)["trace"]["steps"][1].update(space="<img src=x onerror=alert(1)>"),
    "script as unit": lambda f: told(f)["trace"]["steps"][1].update(unit="<script>"),
    "script as colour": lambda f: first(f)["object"].update(colour='#fff"><script>'),
    "name of numbers": lambda f: first(f)["object"].update(name=3),
    "long name": lambda f: first(f)["object"].update(name="x" * 10000),
    "flag of text": lambda f: first(f)["object"].update(locked="yes"),
    "quality of text": lambda f: told(f).update(quality="0.9"),
    "not a number": lambda f: told(f).update(volume_ml=float("nan")),
    "cube of text": lambda f: told(f).update(cubes=[{"affine": "x", "size": 128}]),
    "huge cube": lambda f: told(f)["cubes"][0].update(size=10**9),
    "point outside": lambda f: first(f)["object"]["said"]["more"]["action"].update(ijk=[99, 0, 0]),
    "unknown prompt": lambda f: first(f)["object"]["said"]["more"]["action"].update(kind="exec"),
    "option of text": lambda f: first(f)["object"]["said"]["more"]["options"].update(grow="yes"),
    "unknown operation": lambda f: f["steps"][3]["changes"][0]["object"]["said"]["more"]["action"].update(name="rm"),
    "no objects": lambda f: f["steps"][0].update(objects=[]),
    "undo of nothing": lambda f: f["steps"].insert(1, {"undo": True}),
    "redo of nothing": lambda f: f["steps"].insert(1, {"redo": True}),
    "unknown selection": lambda f: f["steps"].append({"select": 77}),
    "order": lambda f: f["steps"][4].update(order=[5, 6]),
    "steps of text": lambda f: f["steps"].append("rm -rf"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_does_not_fit_is_one_sentence(fields: dict[str, Any], tmp_path: Path, name: str) -> None:
    resume(tmp_path / "case.json", fields)
    HOSTILE[name](fields)
    with pytest.raises(RecordError, match=r"case\.json is damaged \(.*\); take an older copy of it\."):
        resume(tmp_path / "case.json", fields)


def test_only_known_options_are_taken(fields: dict[str, Any], tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    fields["options"] |= {"autosave": str(victim), "take_over": True}
    session = resume(tmp_path / "case.json", fields)
    session.click((12, 10, 8))
    assert session.autosave is None
    assert victim.read_text() == "precious"
    fields["options"] = {"grow": "no"}
    with pytest.raises(RecordError, match="an option is no yes or no"):
        resume(tmp_path / "case.json", fields)


@pytest.mark.parametrize("content", ["[" * 10**6, "{" * 10**5, '{"a":' * 10**5, "\0", "\n" * 10**6])
def test_deep_and_empty_files_are_one_sentence(tmp_path: Path, content: str) -> None:
    path = tmp_path / "case.json"
    path.write_text(content)
    with pytest.raises(RecordError, match="is not a saved session"):
        Session.resume(path, volume=volume(), model=MODEL)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_random_changes_open_or_are_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Anything may stand in any place: a sentence or a session, never another error."""
    path = tmp_path / "case.json"
    fields = json.loads(text(tmp_path))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = fields
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            key = data.draw(st.sampled_from(list(keys)))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 9)):
                place = place[key]
                continue
            place[key] = data.draw(
                st.one_of(st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(), st.text(max_size=5),
                          st.just([]), st.just({}), st.just([[0] * 4] * 4))
            )  # fmt: skip
            break
    try:
        session = resume(path, fields)
    except UserError:
        return
    session.click((11, 10, 8)) if not session.current.locked else None
    session.labels, session.measure()


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut=st.floats(0, 1), at=st.floats(0, 1), byte=st.integers(0, 255))
def test_cut_and_flipped_files_open_or_are_refused(tmp_path: Path, cut: float, at: float, byte: int) -> None:
    path, content = tmp_path / "case.json", bytearray(text(tmp_path).encode())
    content[int(at * (len(content) - 1))] = byte
    path.write_bytes(content[: int(cut * len(content))])
    try:
        Session.resume(path, volume=volume(), model=MODEL)
    except UserError:
        return
