"""Undo and redo of states."""

from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.session.history import STEPS, WARM, History
from sammed3d_nb.session.objects import SegmentedObject, State

EMPTY = LocalMask.empty((4, 4, 4))
LOGITS = object()


def state(name: str) -> State:
    return State((SegmentedObject(name, "#ff0000", EMPTY, prediction=LOGITS),), 0)  # type: ignore[arg-type]


def names(history: History) -> str:
    return history.present.objects[0].name


def test_so_many_steps_can_be_undone_and_done_again_but_not_beside_new_ones() -> None:
    history = History(state("0"))
    for number in range(1, STEPS + 6):
        history.commit(state(str(number)))
    for _ in range(STEPS):
        history.undo()
    assert (names(history), history.can_undo, history.can_redo) == ("5", False, True)
    history.redo()
    assert names(history) == "6"
    history.commit(state("new"))
    assert not history.can_redo
    history.undo()
    assert names(history) == "6"


def test_only_the_last_states_hold_logits_and_none_after_cooling() -> None:
    history = History(state("0"))
    for number in range(1, 2 * WARM):
        history.commit(state(str(number)))
    warm = 0
    while history.can_undo:
        warm += history.present.objects[0].prediction is LOGITS
        history.undo()
    assert history.present.objects[0].prediction is None
    assert warm == WARM + 1, "the present one and those before it"
    history = History(state("0"))
    history.commit(state("1"))
    history.cool()
    assert history.present.objects[0].prediction is None
    history.undo()
    assert history.present.objects[0].prediction is None
