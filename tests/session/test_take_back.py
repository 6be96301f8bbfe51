"""Taking back what was said of one object, whatever was done to others since."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support import BallNetwork, model_of

from sammed3d_nb import Session, Volume


def volume() -> Volume:
    array = np.random.default_rng(1).integers(-100, 200, (18, 22, 26)).astype(np.int16)
    return Volume.from_array(array, (4.0, 4.5, 6.0), name="small")


def test_the_last_step_is_undone():
    session = Session(volume(), model_of(BallNetwork()))
    assert session.take_back() is None
    session.click((4, 4, 4))
    assert session.take_back() == "click 1 of object 1"
    assert not session.steps
    assert session.can_redo
    assert not session.mask.any()


def test_an_earlier_one_is_taken_back_by_a_step_that_can_be_undone():
    session = Session(volume(), model_of(BallNetwork()))
    session.click((4, 4, 4))
    first = session.mask
    session.click((7, 4, 4))
    both = session.mask
    session.new_object("other")
    session.click((22, 18, 14))
    other = session.mask
    session.select("object 1")
    assert session.take_back() == "click 2 of object 1"
    assert np.array_equal(session.mask, first)
    assert len(session.prompts) == 1
    assert session.take_back() == "click 1 of object 1"
    assert not session.mask.any()
    assert session.take_back() is None
    assert session.undo_name == "take back click 1 of object 1"
    session.undo()
    session.undo()
    assert np.array_equal(session.mask, both)
    assert len(session.prompts) == 2
    session.select("other")
    assert np.array_equal(session.mask, other)


def test_a_mask_that_an_object_had_is_returned_to():
    session = Session(volume(), model_of(BallNetwork()))
    session.click((4, 4, 4))
    first = session.current.local
    session.click((7, 4, 4))
    session.new_object("other")
    session.click((22, 18, 14))
    other = session.current.local
    assert session.return_to(first)
    assert session.current.name == "object 1"
    assert session.current.local == first
    assert session.return_to(other)
    assert session.current.name == "other"
    steps = len(session.steps)
    assert not session.return_to(first ^ other)
    assert len(session.steps) == steps
    assert session.current.name == "other"


@given(
    st.lists(st.tuples(st.sampled_from(["click", "other", "back", "undo", "reset"]), st.integers(0, 5)), max_size=14)
)
def test_it_goes_back_as_a_stack_of_states_does_and_the_record_keeps_it(tmp_path_factory, moves):
    """Against the plainest model there is: for each object, a list of its masks."""
    session = Session(volume(), model_of(BallNetwork()))
    session.new_object("object 2")
    states = {name: [session.current.local] for name in ("object 1", "object 2")}
    for move, number in moves:
        name = session.current.name
        if move == "click":
            place = (3, 4, 4 + number) if name == "object 1" else (22, 18, 8 + number)
            session.click(place)
            states[name].append(session.current.local)
        elif move == "other":
            session.select("object 2" if name == "object 1" else "object 1")
        elif move == "reset" and (session.current.said is not None):
            session.reset()
            states[name].append(session.current.local)
        elif move == "back":
            told = session.take_back()
            assert (told is None) == (len(states[name]) == 1)
            if told is not None:
                states[name].pop()
        assert session.current.local == states[session.current.name][-1]
    path = session.save(tmp_path_factory.mktemp("back") / "case.sammed3d.json")
    again = Session.resume(path, volume=session.volume, model=session.model)
    for name, masks in states.items():
        again.select(name)
        for mask in reversed(masks):
            assert again.current.local == mask
            again.take_back()
