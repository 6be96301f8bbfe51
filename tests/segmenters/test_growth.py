"""Objects longer than one cube: what is grown stays, and where the mask ends for want of cubes is said."""

import numpy as np
import pytest
import torch
from support import BallNetwork, FullNetwork, TubeNetwork, model_of

from sammed3d_nb import Session, Volume
from sammed3d_nb.segmenters.asking import MOST_CUBES


def tube(length: int) -> Session:
    """A session on a volume of `length` voxels of 1.5 mm along i, in which a tube runs all the way."""
    volume = Volume.from_array(np.zeros((40, 40, length), np.int16), (1.5, 1.5, 1.5), np.diag([-1, -1, 1]))
    return Session(volume, model_of(TubeNetwork()))


def reach(session: Session) -> tuple[int, int]:
    along = np.flatnonzero(session.mask[20, 20])
    return int(along.min()), int(along.max())


def test_positive_clicks_take_nothing_away_from_what_has_grown() -> None:
    session = tube(1200)
    session.click((20, 20, 20))
    before = session.mask
    assert reach(session)[1] > 500
    for i in (40, 300, 60):
        result = session.click((i, 20, 20))
        assert not (before & ~result.mask & 1).any()
        before = result.mask


def test_growing_ends_in_a_sentence_and_goes_on_from_a_click_further_along() -> None:
    session = tube(1200)
    first = session.click((20, 20, 20))
    assert len(first.cubes) == MOST_CUBES
    assert any(f"last of {MOST_CUBES} cubes" in note for note in first.notes)
    end = reach(session)[1]
    assert end < 1190
    second = session.click((end, 20, 20))
    assert reach(session) == (0, 1199) or reach(session)[1] > end + 100
    assert (second.mask & first.mask).sum() == first.mask.sum()


def test_a_mask_that_ends_at_its_cube_with_growing_off_is_told() -> None:
    session = tube(400)
    session.grow = False
    result = session.click((200, 20, 20))
    assert len(result.cubes) == 1
    assert any("growing is switched off" in note for note in result.notes)
    inside = Session(session.volume, model_of(BallNetwork()), grow=False)
    assert inside.click((200, 20, 20)).notes == ()


def test_the_option_belongs_to_the_step(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from sammed3d_nb.session.replay import replay

    session = tube(400)
    session.click((20, 20, 20))
    session.grow = False
    session.click((30, 20, 20))
    session.grow = True
    session.click((40, 20, 20))
    path = session.save(tmp_path / "case.sammed3d.json")
    assert [one.same for one in replay(path, volume=session.volume, model=session.model)] == [True]


def test_a_negative_click_takes_what_it_cuts_off_with_it() -> None:
    """A leak into further cubes ends with the click that closes it."""

    class Leaking(TubeNetwork):
        BITE = 30.0

    volume = tube(900).volume
    session = Session(volume, model_of(Leaking()))
    grown = session.click((20, 20, 20))
    assert reach(session)[1] > 400
    cut = session.click((110, 20, 20), positive=False)
    assert cut.mask[20, 20, 20]
    assert reach(session)[1] < 110
    assert len(cut.cubes) < len(grown.cubes)


@pytest.mark.parametrize("positive", [True, False])
def test_far_from_a_click_a_cube_keeps_its_mask_if_the_click_adds(positive: bool) -> None:
    class Forgetful(BallNetwork):
        """Sees nothing any more but a small ball at the last click."""

        def decode(self, embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
            before = self.RADIUS
            self.RADIUS = 60.0 if previous is None else 4.0
            answer = super().decode(embedding, points[-1:], labels[-1:], None)
            self.RADIUS = before
            return answer

    volume = Volume.from_array(np.zeros((128, 128, 128), np.int16), (1.5, 1.5, 1.5))
    session = Session(volume, model_of(Forgetful()))
    before = session.click((64, 64, 64)).mask
    after = session.click((100, 64, 64), positive).mask
    far = np.zeros_like(before)
    far[:, :, :45] = 1
    kept = (after & before & far).sum() / (before & far).sum()
    assert kept == 1 if positive else kept == 0


def test_a_full_network_says_nothing_where_the_volume_ends() -> None:
    session = Session(Volume.from_array(np.zeros((40, 40, 40), np.int16), (1.5, 1.5, 1.5)), model_of(FullNetwork()))
    assert session.click((20, 20, 20)).notes == ()


def test_a_negative_click_adds_nothing_anywhere() -> None:
    class Restless(BallNetwork):
        """Sees a ball elsewhere as soon as something is taken away."""

        def decode(self, embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
            if not labels[-1]:
                points, labels = np.vstack([points, points[-1] + 40]), np.append(labels, 1)
                points, labels = torch.as_tensor(points, dtype=torch.float32), torch.as_tensor(labels)
            return super().decode(embedding, points, labels, previous)

    volume = Volume.from_array(np.zeros((128, 128, 128), np.int16), (1.5, 1.5, 1.5))
    session = Session(volume, model_of(Restless()))
    before = session.click((50, 50, 50)).mask
    after = session.click((58, 50, 50), positive=False).mask
    assert 0 < after.sum() < before.sum()
    assert not (after & ~before & 1).any()
