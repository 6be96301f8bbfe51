"""What resets and masks of a client become: calls in the order in which the extension for 3D Slicer makes them."""

import httpx
import numpy as np
import pytest
from serving import SHAPE, image, show

A, B = [10, 22, 15], [10, 22, 44]


class Slicer:
    """The calls of SlicerNNInteractive 1.0, and the segments that it keeps: nobody but it has them all."""

    def __init__(self, server, segments=None):
        self.session = server.client()
        self.segments = segments if segments is not None else {"Segment_1": np.zeros(SHAPE, np.uint8)}
        self.selected = next(reversed(self.segments))
        self.changed = False
        self.mask = show(self.session, image())
        self.session.reset_interactions()
        self._seed()

    def _seed(self):
        if self.segments[self.selected].any():
            self.session.add_initial_seg_interaction(self.segments[self.selected].copy(), run_prediction=False)

    def _synchronise(self):
        if self.changed:
            self.session.reset_interactions()
            self._seed()
            self.changed = False

    def _apply(self, box):
        if box is not None:
            part = tuple(slice(*ends) for ends in box)
            self.segments[self.selected][part] = self.mask[part]

    def click(self, place, positive=True):
        self._synchronise()
        self._apply(self.session.add_point_interaction(place, positive))

    def undo(self):
        undone = self.session.undo()
        self._apply(self.session._last_paste_bbox)
        return undone

    def next(self):
        self.session.reset_interactions()
        self.selected = f"Segment_{len(self.segments) + 1}"
        self.segments[self.selected] = np.zeros(SHAPE, np.uint8)
        self.changed = True

    def select(self, name):
        self.session.reset_interactions()
        self.selected, self.changed = name, True

    def clear(self):
        self.segments[self.selected][:] = 0
        self.session.reset_interactions()

    def edit(self, change):
        change(self.segments[self.selected])
        self.changed = True

    @property
    def now(self):
        return self.segments[self.selected]


@pytest.fixture
def slicer(server):
    one = Slicer(server)
    yield one
    one.session.close()


def desk_of(server):
    return server.house.leases.all()[-1].desk


def test_a_new_segment_never_takes_a_finished_ones_voxels(server, slicer):
    """The extension's issue 105."""
    slicer.click(A)
    first = slicer.now.copy()
    slicer.next()
    slicer.click(B)
    slicer.click([10, 22, 48])
    assert slicer.now.any()
    assert not (slicer.segments["Segment_1"] & slicer.now).any()
    assert np.array_equal(slicer.segments["Segment_1"], first)
    ball = desk_of(server).session.current.result
    assert ball.spared.count > 0  # the network did want them
    assert any("were left to “object 1”" in note for note in ball.notes)
    assert [item.name for item in desk_of(server).session.objects] == ["object 1", "object 2"]


def test_a_click_into_a_finished_segment_is_refused_once(server, slicer):
    slicer.click(A)
    slicer.next()
    with pytest.raises(httpx.HTTPStatusError) as caught:
        slicer.click(A)
    assert "belongs to “object 1”" in caught.value.response.json()["detail"]
    assert not slicer.now.any()
    slicer.click(A)  # whoever clicks there again has it no more
    assert slicer.now[tuple(A)]
    assert [item.name for item in desk_of(server).session.objects] == ["object 2"]


def test_a_cleared_segment_begins_anew(server, slicer):
    slicer.click(A)
    first = slicer.now.copy()
    slicer.clear()
    slicer.click(A)
    assert np.array_equal(slicer.now, first)
    slicer.next()
    slicer.click(B)
    second = slicer.now.copy()
    slicer.clear()
    slicer.click([10, 22, 50])  # it has been counting resets: this is the same segment wherever the click is
    assert len(desk_of(server).session.objects) == 2
    assert slicer.now.any()
    assert not np.array_equal(slicer.now, second)


def test_an_older_segment_is_taken_up_with_its_undo_history(slicer):
    slicer.click(A)
    slicer.click([10, 22, 20])
    before = slicer.now.copy()
    slicer.click([10, 22, 8], False)
    slicer.next()
    slicer.click(B)
    other = slicer.now.copy()
    slicer.select("Segment_1")
    slicer._synchronise()
    assert slicer.undo()
    assert np.array_equal(slicer.now, before)
    assert slicer.undo()
    assert slicer.undo()
    assert not slicer.now.any()
    assert not slicer.undo()
    assert np.array_equal(slicer.segments["Segment_2"], other)
    slicer.select("Segment_2")
    slicer._synchronise()
    assert slicer.undo()
    assert not slicer.now.any()


def test_what_a_hand_has_drawn_in_the_client_is_gone_on_from_and_not_undone(server, slicer):
    slicer.click(A)

    def erase(mask):
        mask[:, :, :15] = 0

    slicer.edit(erase)
    drawn = slicer.now.copy()
    slicer.click([10, 22, 20])
    assert len(desk_of(server).session.objects) == 1
    assert slicer.undo()
    assert np.array_equal(slicer.now, drawn)
    assert not slicer.undo()  # the drawing is the hand's
    assert np.array_equal(slicer.now, drawn)


def test_a_drawn_segment_that_shares_voxels_stays_as_drawn(slicer):
    slicer.click(A)
    slicer.next()

    def draw(mask):
        mask[8:12, 15:30, 5:30] = 1

    slicer.edit(draw)
    slicer._synchronise()
    assert np.array_equal(slicer.mask, slicer.now)
    slicer.click([10, 42, 15])
    assert slicer.now[10, 42, 15]
    assert slicer.now[10, 22, 28]


def test_clients_that_reset_once_begin_another_object_or_the_same(server):
    session, mask = server.begun()
    with session:
        session.add_point_interaction(A, True)
        first = mask.copy()
        session.reset_interactions()
        assert session.undo() is False
        session.add_point_interaction(B, True)
        assert mask.any()
        assert not (mask & first).any()
        session.reset_interactions()
        session.add_point_interaction(B, True)  # inside the last one: it was cleared
        assert len(desk_of(server).session.objects) == 2
