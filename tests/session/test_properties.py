"""What always holds for sessions, whatever is done in them: tried with random steps."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import BallNetwork, model_of

from sammed3d_nb import Box, Lasso, Point, Scribble, Session, StartMask, UserError, Volume
from sammed3d_nb.session import codec
from sammed3d_nb.session.edits import OPERATIONS
from sammed3d_nb.session.replay import replay

SIZE = (26, 22, 18)
MODEL = model_of(BallNetwork())
BallNetwork.RADIUS = 16.0
VOXEL = st.tuples(*[st.integers(0, n - 1) for n in SIZE])
SIGN = st.booleans()
NAMES = st.sampled_from(["object 1", "a", "b", "c"])


def volume() -> Volume:
    array = np.random.default_rng(1).integers(-100, 200, SIZE[::-1]).astype(np.int16)
    return Volume.from_array(array, (4.0, 4.5, 6.0), np.diag([-1, 1, -1]), name="small")


@st.composite
def prompts(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["point", "point", "box", "scribble", "lasso", "mask"]))
    if kind == "point":
        return Point(draw(VOXEL), draw(SIGN))
    if kind == "box":
        return Box(draw(VOXEL), draw(VOXEL), draw(SIGN))
    if kind == "scribble":
        return Scribble(np.array(draw(st.lists(VOXEL, min_size=1, max_size=6))), draw(SIGN))
    if kind == "lasso":
        (i, j, k), (a, b, _) = draw(VOXEL), draw(VOXEL)
        return Lasso(np.array([(i, j, k), (a, j, k), (a, b, k), (i, b, k)]), draw(SIGN)) if i != a and j != b else None
    mask = np.zeros(SIZE[::-1], np.uint8)
    low, high = draw(VOXEL), draw(VOXEL)
    part = tuple(slice(min(a, b), max(a, b) + 1) for a, b in zip(low[::-1], high[::-1], strict=True))
    mask[part] = 1
    return StartMask(mask, draw(SIGN))


STEPS = st.one_of(
    st.tuples(st.just("add"), prompts()),
    st.tuples(st.just("add"), prompts()),
    st.tuples(st.just("paint"), st.lists(VOXEL, min_size=1, max_size=20), SIGN),
    st.tuples(st.just("apply"), st.sampled_from(sorted(OPERATIONS))),
    st.tuples(st.just("fill"), VOXEL),
    st.tuples(st.just("cut"), VOXEL, VOXEL, st.sampled_from("ijk")),
    st.tuples(st.just("combine"), st.sampled_from(["merge", "subtract", "intersect"]), NAMES),
    st.tuples(st.just("copy"), NAMES),
    st.tuples(st.just("new_object"), NAMES),
    st.tuples(st.just("select"), NAMES),
    st.tuples(st.just("lock"), NAMES, SIGN),
    st.tuples(st.just("show"), NAMES, SIGN),
    st.tuples(st.just("rename"), NAMES, NAMES),
    st.tuples(st.just("allow_overlap"), NAMES, SIGN),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("reset")),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
)


_WITH_OPTIONS = {
    "fill": lambda at: {"operation": "fill", "at": at, "mm": 5},
    "cut": lambda first, last, axis: {"operation": "cut", "first": first, "last": last, "axis": axis},
    "combine": lambda how, other: {"operation": how, "other": other},
}


def take(session: Session, step: Any) -> bool:
    """Take a step; whether it was possible. What is refused must change nothing."""
    name, *arguments = step
    if arguments and arguments[0] is None:
        return False
    before = state(session)
    try:
        if name in _WITH_OPTIONS:
            session.apply(**_WITH_OPTIONS[name](*arguments))
        else:
            getattr(session, name)(*arguments)
    except UserError:
        assert state(session) == before
        return False
    return True


def state(session: Session) -> Any:
    """Everything about a session that a user can see, bit for bit."""
    return [
        (
            item.name, item.colour, item.locked, item.visible, codec.digest(item.local), codec.digest(item.fixed),
            codec.digest(item.edited), item.prompts, len(item.history),
        )
        for item in session.objects
    ]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=14))
def test_painted_voxels_stay_also_where_objects_share_them(steps: list[Any]) -> None:
    session = Session(volume(), MODEL)
    for step in steps:
        before = {item.key: item for item in session.objects}
        take(session, step)
        for item in session.objects if step[0] == "add" else ():
            painted = before[item.key].fixed.full > 0
            assert (item.mask[painted] == before[item.key].mask[painted]).all()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=1, max_size=14))
def test_undo_is_the_inverse_of_every_step_and_the_record_holds_them_all(steps: list[Any]) -> None:
    session = Session(volume(), MODEL)
    states = [state(session)]
    for step in steps:
        depth = len(session.steps)
        take(session, step)
        if step[0] in ("undo", "redo", "select"):
            states = states[: len(session.steps)] if len(session.steps) < depth else states
            states = [*states[: len(session.steps)], state(session)]
            continue
        assert len(session.steps) in (depth, depth + 1)
        if len(session.steps) > depth:
            states.append(state(session))
        assert state(session) == states[-1]
    assert len(states) == len(session.steps) + 1
    end = state(session)

    with tempfile.TemporaryDirectory() as folder:
        path = session.save(Path(folder) / "case.sammed3d.json")
        again = Session.resume(path, volume=session.volume, model=MODEL)
        assert state(again) == end
        assert (again.current.name, again.undo_name, again.redo_name) == (
            session.current.name,
            session.undo_name,
            session.redo_name,
        )
        assert all(one.same for one in replay(path, volume=session.volume, model=MODEL))
    for one in (session, again):
        for expected in states[-2::-1]:
            one.undo()
            assert state(one) == expected
        assert not one.can_undo
        for expected in states[1:]:
            one.redo()
            assert state(one) == expected


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=3, max_size=10))
def test_whatever_is_saved_can_be_resumed_and_goes_on_alike(steps: list[Any]) -> None:
    session = Session(volume(), MODEL)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "case.sammed3d.json"
        for step in steps:
            take(session, step)
            session.save(path)
            again = Session.resume(path, volume=session.volume, model=MODEL)
            for one in ("undo", "redo", "undo", "undo", "redo", "redo"):
                assert (state(again), again.current.name) == (state(session), session.current.name)
                getattr(again, one)()
                getattr(session, one)()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS.filter(lambda step: step[0] != "allow_overlap"), min_size=3, max_size=14))
def test_locked_and_painted_voxels_stay_and_objects_share_none(steps: list[Any]) -> None:
    session = Session(volume(), MODEL)
    for step in steps:
        before = {item.key: item for item in session.objects}
        take(session, step)
        masks = [item.mask for item in session.objects]
        assert np.sum(masks, axis=0).max() <= 1, "objects share voxels"
        for item in session.objects:
            old = before.get(item.key)
            if old is None or step[0] in ("undo", "redo"):
                continue
            if old.locked:
                assert item.local == old.local
            if step[0] == "add":
                painted = old.fixed.full > 0
                assert (item.mask[painted] == old.mask[painted]).all()
    assert np.array_equal(session.labels > 0, np.sum([item.mask for item in session.objects], axis=0) > 0)
    for item, measured in zip(session.objects, session.measure(), strict=True):
        assert measured.volume_ml == item.local.volume_ml(session.volume.spacing)
