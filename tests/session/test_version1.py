"""A record that the first version wrote."""

import base64
import json
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from support import BallNetwork, model_of

from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import RecordError
from sammed3d_nb.session import record
from sammed3d_nb.session.replay import replay

OLD = Path(__file__).parent / "version1.sammed3d.json"


def volume() -> Volume:
    array = np.arange(20 * 24 * 28, dtype=np.int16).reshape(20, 24, 28) % 97
    return Volume.from_array(array, (3.0, 3.0, 4.0), np.diag([1, -1, 1]), (5, 6, 7), name="old")


def resumed(path: Path, **options: object) -> Session:
    return Session.resume(path, volume=volume(), model=model_of(BallNetwork()), **options)  # type: ignore[arg-type]


def test_it_opens_with_all_that_it_holds_and_goes_on(tmp_path: Path) -> None:
    path = shutil.copy(OLD, tmp_path / "old.sammed3d.json")
    session = resumed(path, autosave=path)
    assert [(item.name, item.local.count, item.locked, item.visible) for item in session.objects] == [
        ("object 1", 1563, True, False),
        ("cyst", 218, False, True),
    ]
    assert session.current.name == "cyst"
    assert [(click.ijk, click.positive) for click in session.clicks] == [((18, 10, 9), True), ((20, 12, 9), False)]
    assert (session.grow, session.adapt) == (True, False)
    assert session.result is not None
    assert session.result.trace["voxel"].point == (20, 12, 9)
    session.click((19, 9, 9))
    assert record.load(path)["version"] == 2
    assert path.with_name("old.sammed3d.json.bak").read_bytes() == OLD.read_bytes()
    assert np.array_equal(resumed(path).mask, session.mask)


def test_it_is_replayed() -> None:
    found = list(replay(OLD, volume=volume(), model=model_of(BallNetwork())))
    assert [(one.name, one.same) for one in found] == [("object 1", True), ("cyst", True)]


def change(path: Path, fields: dict, **parts: object) -> None:
    fields["objects"][0] = {**fields["objects"][0], **parts}
    path.write_text(json.dumps(fields))


@pytest.mark.parametrize(
    "mask",
    [
        {"start": [0, 0, 0], "size": [10**5, 10**5, 10**5]},
        {"start": [-1, 0, 0]},
        {"start": [27, 23, 19]},
        {"bits": base64.b64encode(zlib.compress(bytes(10**8))).decode()},
        {"bits": "????"},
        {"bits": base64.b64encode(b"no zlib").decode()},
        {"sha256": "0" * 64},
    ],
)
def test_hostile_masks_are_one_sentence(tmp_path: Path, mask: dict) -> None:
    path, fields = tmp_path / "old.json", json.loads(OLD.read_text())
    change(path, fields, mask={**fields["objects"][0]["mask"], **mask})
    with pytest.raises(RecordError, match="is damaged"):
        resumed(path)
