"""Taking one prompt back: the mask is what all the others say, as a step like any other."""

import numpy as np
import pytest
from support import BrightNetwork, model_of

from sammed3d_nb import Box, Point, Scribble, Session, Volume
from sammed3d_nb.errors import ClickError, PromptError
from sammed3d_nb.session.replay import replay

SHAPE = (20, 30, 40)  # z, y, x


@pytest.fixture
def volume() -> Volume:
    array = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
    array[5:12, 8:20, 10:25] += 400
    return Volume.from_array(array, (1.0, 1.0, 2.0))


def said(volume: Volume, *actions) -> Session:
    session = Session(volume, model_of(BrightNetwork()))
    for action in actions:
        if isinstance(action, tuple):
            session.paint([action[0]], add=action[1])
        else:
            session.add(action)
    return session


FIRST, SECOND = Point((15, 12, 8)), Box((10, 8, 5), (24, 19, 11))
THIRD = Scribble([(30, 25, 15), (31, 25, 15)], positive=False)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_mask_is_what_the_others_say(volume: Volume, number: int) -> None:
    prompts = [FIRST, SECOND, THIRD]
    session = said(volume, *prompts)
    before = session.mask
    result = session.remove_prompt(number)
    left = [prompt for n, prompt in enumerate(prompts) if n != number]
    assert list(session.prompts) == left
    wanted = said(volume, *left)
    assert np.array_equal(session.mask, wanted.mask)
    assert result is not None
    assert np.array_equal(result.mask, wanted.mask)
    session.undo()
    assert np.array_equal(session.mask, before)
    assert list(session.prompts) == prompts
    session.redo()
    assert np.array_equal(session.mask, wanted.mask)


def test_what_a_hand_has_set_stays_and_the_next_prompt_goes_on(volume: Volume) -> None:
    session = said(volume, FIRST, ((1, 1, 1), True), ((15, 12, 8), False), SECOND)
    session.remove_prompt(0)
    assert session.mask[1, 1, 1] == 1
    assert session.mask[8, 12, 15] == 0
    session.add(THIRD)
    wanted = said(volume, ((1, 1, 1), True), ((15, 12, 8), False), SECOND, THIRD)
    assert np.array_equal(session.mask, wanted.mask)


def test_the_last_prompt_leaves_the_edits_and_none_leaves_nothing(volume: Volume) -> None:
    session = said(volume, FIRST, ((1, 1, 1), True))
    assert session.remove_prompt(0) is None
    assert session.mask.sum() == 1
    empty = said(volume, FIRST)
    empty.remove_prompt(0)
    assert not empty.mask.any()
    assert empty.current.said is None
    assert empty.undo_name == "remove click 1 of object 1"


def test_names_stay_and_are_not_given_twice(volume: Volume) -> None:
    session = said(volume, FIRST, Point((16, 12, 8)))
    session.remove_prompt(0)
    session.click((17, 12, 8))
    assert [one.number for one in session.current.history] == [2, 3]


def test_other_objects_keep_their_voxels(volume: Volume) -> None:
    session = said(volume, FIRST, Point((16, 12, 8)))
    session.new_object("other")
    free = np.argwhere(session.objects[0].mask == 0)[0][::-1]
    session.paint([free])
    session.select("object 1")
    session.remove_prompt(0)
    assert not (session.objects[0].mask & session.objects[1].mask).any()
    assert session.objects[1].mask.sum() == 1


def test_it_is_recorded_and_replayed(volume: Volume, tmp_path) -> None:
    session = said(volume, FIRST, ((1, 1, 1), True), SECOND, THIRD)
    session.remove_prompt(1)
    path = session.save(tmp_path / "one.sammed3d.json")
    resumed = Session.resume(path, volume=volume, model=session.model)
    assert np.array_equal(resumed.mask, session.mask)
    assert resumed.undo_name == "remove box 1 of object 1"
    resumed.undo()
    assert len(resumed.prompts) == 3
    (again,) = replay(path, volume=volume, model=session.model)
    assert again.same


@pytest.mark.parametrize("number", [-1, 2])
def test_one_that_is_not_there_is_refused(volume: Volume, number: int) -> None:
    session = said(volume, FIRST, SECOND)
    with pytest.raises(PromptError, match="There is no prompt"):
        session.remove_prompt(number)
    assert len(session.steps) == 2


def test_a_locked_object_is_left_alone(volume: Volume) -> None:
    session = said(volume, FIRST)
    session.lock("object 1")
    with pytest.raises(ClickError, match="locked"):
        session.remove_prompt(0)
