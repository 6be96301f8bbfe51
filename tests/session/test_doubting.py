"""Where the network is unsure: by its logits worked out by hand, and the places that follow from it."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from support import BallNetwork, cell_centres, model_of, rotation

import sammed3d_nb as snb
from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.segmenters.doubt import APART_MM, FULL, SCORES, Doubt, places


class SlopeNetwork(BallNetwork):
    """A ball of 16 cube voxels round the first click whose logit falls by `SLOPE` a voxel, slowly towards d0."""

    SLOPE = 1.0

    def decode(self, embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
        way = cell_centres(self.spec) - points[0]
        slope = torch.where(way[..., 0] > 8, 0.15, self.SLOPE)
        logits = (self.RADIUS - way.norm(dim=-1)) * slope
        return logits[None, None], torch.ones(1, 1)


SIZE, MIDDLE = (72, 64, 24), (36, 32, 12)


def small() -> Volume:
    """A tilted volume of thick slices, axes flipped; a cube holds nearly all of it."""
    array = np.random.default_rng(3).integers(0, 100, SIZE[::-1]).astype(np.int16)
    return Volume.from_array(array, (2.0, 2.0, 5.0), rotation(3, 12) @ np.diag([1, -1, 1]), (-80, 40, 900))


@pytest.fixture
def session() -> Session:
    return Session(small(), model_of(SlopeNetwork()), grow=False)


def test_doubt_is_one_minus_twice_the_distance_from_a_half(session: Session) -> None:
    result = session.click(MIDDLE)
    doubt = session.doubt()
    assert doubt.shape == session.volume.array.shape
    assert doubt.dtype == np.float32
    assert 0 <= doubt.min() < doubt.max() <= 1
    rng = np.random.default_rng(0)
    to_cube = result.cube.from_voxel(session.volume)
    near = np.argwhere(doubt > 0.05)[:, ::-1]
    for voxel in near[rng.choice(len(near), 50)]:
        way = to_cube(voxel) - to_cube(MIDDLE)
        if not 7 < abs(way[0] - 8) < 30 or np.linalg.norm(way) < 6:
            continue
        logit = (16 - np.linalg.norm(way)) * (0.15 if way[0] > 8 else 1.0)
        p = 1 / (1 + np.exp(-logit))
        assert doubt[tuple(voxel[::-1])] == pytest.approx(1 - abs(2 * p - 1), abs=0.08)
    assert doubt[MIDDLE[::-1]] < 0.02


def test_the_border_of_the_mask_is_where_doubt_is_largest(session: Session) -> None:
    session.click(MIDDLE)
    mask, doubt = session.mask > 0, session.doubt()
    assert doubt[mask].max() > 0.9
    assert (doubt[mask & ~session.mask_after("shrink", mm=12).full.astype(bool)].mean()) > 3 * doubt[
        session.mask_after("shrink", mm=12).full > 0
    ].mean()


def test_what_a_hand_has_set_and_what_is_others_is_not_unsure(session: Session) -> None:
    session.paint(np.argwhere(np.ones((24, 64, 5)))[:, ::-1] + (46, 0, 0))
    session.new_object("b")
    session.click(MIDDLE)
    unsure = session.unsure(0.3)
    assert not (unsure.full[:, :, 46:51]).any()
    before = session.unsure(0.3).count
    session.paint(unsure, add=True)
    assert session.unsure(0.3).count == 0 < before
    session.undo()
    assert session.unsure(0.3).count == before


def test_a_brush_may_be_kept_to_what_is_unsure(session: Session) -> None:
    session.click(MIDDLE)
    before, unsure = session.mask > 0, session.unsure().full > 0
    session.paint(np.ones(session.volume.array.shape), within=session.unsure())
    assert np.array_equal(session.mask > 0, before | unsure)
    with pytest.raises(PromptError, match="what the network is unsure of"):
        session.paint([(0, 0, 0)], within=session.unsure())


def test_what_others_take_meanwhile_is_not_unsure_any_more(session: Session) -> None:
    session.click(MIDDLE)
    unsure = session.unsure()
    session.new_object("b")
    session.paint(unsure)
    session.select("object 1")
    assert 0 < session.unsure().count < unsure.count, "what is the first one's stays unsure"
    assert not (session.unsure() & session.objects[1].local).count


@pytest.mark.parametrize("score", SCORES)
def test_look_next_goes_through_all_places_and_begins_again(session: Session, score: str) -> None:
    session.click(MIDDLE)
    doubt = session.doubt()
    found = []
    while (place := session.look_next(score)) is not None:
        found.append(place)
        assert place.doubt == pytest.approx(doubt[place.at[::-1]], abs=1e-6)
    assert found
    scores = [place.score for place in found]
    assert scores == sorted(scores, reverse=True)
    assert session.look_next(score) == found[0]
    for one, other in pairwise(found):
        assert np.linalg.norm(np.subtract(one.at, other.at) * session.volume.spacing) >= APART_MM


def test_the_first_place_is_where_the_border_is_blurred(session: Session) -> None:
    session.click(MIDDLE)
    cube = session.result.cube
    for score in ("blob", "depth"):
        place = session.look_next(score)
        way = cube.from_voxel(session.volume)(place.at) - cube.from_voxel(session.volume)(MIDDLE)
        assert way[0] > 8, "the side on which the logit falls slowly"


def test_doubt_is_the_same_after_resuming_and_after_memory_was_let_go(session: Session, tmp_path) -> None:
    session.click(MIDDLE)
    session.click((38, 32, 12))
    before = session.doubt()
    path = session.save(tmp_path / "case.sammed3d.json")
    again = Session.resume(path, volume=session.volume, model=session.model)
    assert np.array_equal(again.doubt(), before)


def test_without_an_answer_there_is_a_sentence(session: Session) -> None:
    for ask in (session.doubt, session.unsure, session.look_next):
        with pytest.raises(PromptError, match="has not answered for “object 1” yet; click on it first"):
            ask()
    session.add(snb.StartMask(np.ones(session.volume.array.shape)))
    with pytest.raises(PromptError, match="since its mask was loaded; click once more"):
        session.doubt()
    session.click(MIDDLE)
    assert session.doubt().any()
    for level in (0, 2, float("nan")):
        with pytest.raises(PromptError, match="Doubt goes from 0 to 1"):
            session.unsure(level)


def test_engines_without_logits_say_so() -> None:
    from sammed3d_nb.segmenters.interactive_segmenter import InteractiveSegmenter

    session = Session(Volume.from_array(np.zeros((9, 9, 9)), (1, 1, 1)), model_of(BallNetwork()))
    session.click((4, 4, 4))
    session._maker.segmenter = InteractiveSegmenter.__new__(InteractiveSegmenter)
    with pytest.raises(PromptError, match="gives masks alone and does not tell how sure it is"):
        session.doubt()


def test_places_of_hand_made_doubt() -> None:
    """A large faint region, a small strong one, and a thin line."""
    values = np.zeros((20, 40, 60), np.uint8)
    values[2:12, 2:12, 2:12] = 0.55 * FULL
    values[5:9, 25:29, 40:44] = FULL
    values[15, 38, :] = 0.6 * FULL
    size = (60, 40, 20)
    doubt = Doubt(values, LocalMask.of(np.ones((20, 40, 60))).region, size)
    spacing = (2.0, 2.0, 2.0)
    by = {score: list(places(doubt, spacing, score)) for score in SCORES}
    assert [round(place.score, 3) for place in by["volume"]] == [8.0, 0.512, 0.48]
    assert [round(place.score, 2) for place in by["integral"]] == [4.39, 0.51, 0.29]
    assert all(2 <= n < 12 for n in by["blob"][0].at)
    assert all(2 <= n < 12 for n in by["depth"][0].at)
    assert by["volume"][2].at[1:] == (38, 15)
    assert not list(places(Doubt(values * 0, doubt.region, size), spacing))


def test_doubt_lies_with_the_mask_in_oblique_and_flipped_volumes() -> None:
    """The same image with its axes exchanged and turned over has the same doubt in space."""
    volume = small()
    flipped = Volume.from_array(
        np.ascontiguousarray(volume.array.transpose(1, 2, 0)[::-1]),
        (volume.spacing[2], volume.spacing[0], volume.spacing[1]),
        volume.direction[:, [2, 0, 1]] * (1, 1, -1),
        volume.voxel_to_lps((0, volume.size[1] - 1, 0)),
    )
    first, second = Session(volume, model_of(SlopeNetwork())), Session(flipped, model_of(SlopeNetwork()))
    first.click((36, 30, 12))
    second.click((12, 36, volume.size[1] - 1 - 30))
    back = second.doubt()[::-1].transpose(2, 0, 1)
    assert np.abs(back - first.doubt()).max() < 0.02


def test_a_score_that_there_is_not_is_one_sentence(session: Session) -> None:
    session.click(MIDDLE)
    for score in ("volum", None, 3):
        with pytest.raises(PromptError, match="depth, blob, volume, integral, not by"):
            session.look_next(score=score)  # type: ignore[arg-type]
    assert session.look_next() is not None
    with pytest.raises(PromptError, match="Doubt goes from 0 to 1"):
        session.unsure("0.5")  # type: ignore[arg-type]
