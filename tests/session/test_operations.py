"""Cutting, filling, and objects joined to each other: against answers worked out by hand, replayed, turned."""

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
from support import BallNetwork, model_of, rotation

from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import ClickError, PromptError, UserError
from sammed3d_nb.session import operations
from sammed3d_nb.session.edits import Operation, check_operation
from sammed3d_nb.session.replay import replay

SPACING = (1.0, 2.0, 4.0)  # mm along i, j, k
SHAPE = (16, 24, 40)  # z, y, x


@pytest.fixture
def session() -> Session:
    array = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
    return Session(Volume.from_array(array, SPACING, rotation(5)), model_of(BallNetwork()))


def block(low: tuple[int, int, int], high: tuple[int, int, int], shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """bool (z, y, x), True from `low` to `high`, both in that order and `high` left out."""
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


# -- cutting -----------------------------------------------------------------------------------------------------------


def test_a_cut_removes_the_smaller_side_through_all_slices(session: Session) -> None:
    session.paint(block((2, 4, 5), (14, 20, 35)))
    session.apply("cut", first=(15, 0, 8), last=(15, 23, 8), axis="k")
    assert np.array_equal(session.mask > 0, block((2, 4, 15), (14, 20, 35))), "voxels on the line stay"
    assert session.steps[-1].name == "cut 1 of object 1"
    session.undo()
    assert np.array_equal(session.mask > 0, block((2, 4, 5), (14, 20, 35)))
    session.redo()
    session.undo()
    session.apply("cut", first=(15, 23, 8), last=(15, 0, 8), axis="k")
    assert np.array_equal(session.mask > 0, block((2, 4, 15), (14, 20, 35))), "whichever way the line is drawn"


def test_a_slanting_cut_follows_the_line_beyond_its_ends(session: Session) -> None:
    session.paint(block((2, 4, 5), (14, 20, 35)))
    session.apply("cut", first=(12.5, 10, 3), last=(13.5, 10, 5), axis="j")
    k, _, i = np.indices(SHAPE)
    assert np.array_equal(session.mask > 0, block((2, 4, 5), (14, 20, 35)) & (i >= 12.5 + (k - 3) / 2))


def test_the_side_with_the_clicks_stays_though_it_is_smaller(session: Session) -> None:
    session.click((8, 12, 8))
    session.paint(block((2, 4, 5), (14, 20, 35)))
    session.apply("cut", first=(15, 0, 8), last=(15, 23, 8), axis="k")
    assert session.mask[8, 12, 8]
    assert not session.mask[:, :, 16:].any()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "A cut needs a line on a slice"),
        ({"first": (1, 1, 1), "last": (9, 9, 1)}, "A cut needs a line on a slice"),
        ({"first": (1, 1, 1), "last": (1, 1, 9), "axis": "k"}, "has no length in its slice"),
        ({"first": (0, 0, 1), "last": (39, 0, 1), "axis": "k"}, "leaves the whole mask on one side"),
        ({"first": (0, 0), "last": (39, 0, 1), "axis": "k"}, "got first = .* three numbers i, j, k"),
        ({"first": (0, 0, float("nan")), "last": (39, 0, 1), "axis": "k"}, "got first = "),
        ({"first": "abc", "last": (39, 0, 1), "axis": "k"}, "got first = 'abc'"),
        ({"first": (0, 1, 1), "last": (39, 0, 1), "axis": "z"}, "got axis = 'z'"),
    ],
)
def test_lines_that_cut_nothing_are_one_sentence(session: Session, options: dict, sentence: str) -> None:
    session.paint(block((2, 4, 5), (14, 20, 35)))
    with pytest.raises(PromptError, match=sentence):
        session.apply("cut", **options)
    assert len(session.steps) == 1


# -- filling and thresholds --------------------------------------------------------------------------------------------


def two_rooms() -> Session:
    """Bright rooms in the dark, two of which hang together by a door."""
    array = np.full(SHAPE, -100, np.int16)
    array[block((2, 2, 2), (8, 12, 12)) | block((4, 4, 12), (5, 5, 14)) | block((2, 2, 14), (8, 12, 24))] = 50
    array[block((10, 16, 28), (14, 22, 38))] = 50
    return Session(Volume.from_array(array, SPACING), model_of(BallNetwork()))


def test_filling_takes_what_hangs_together_and_no_more() -> None:
    session = two_rooms()
    session.apply("fill", at=(5, 5, 5), mm=200)
    rooms = block((2, 2, 2), (8, 12, 12)) | block((4, 4, 12), (5, 5, 14)) | block((2, 2, 14), (8, 12, 24))
    assert np.array_equal(session.mask > 0, rooms)
    session.apply("fill", at=(30, 18, 12), lower=0)
    assert np.array_equal(session.mask > 0, rooms | block((10, 16, 28), (14, 22, 38))), "what was there stays"
    with pytest.raises(PromptError, match=r"has -100, which is not in the range"):
        session.apply("fill", at=(0, 0, 0), lower=0)
    with pytest.raises(PromptError, match="lies outside the volume"):
        session.apply("fill", at=(40, 0, 0))
    with pytest.raises(PromptError, match="needs the voxel at which it begins"):
        session.apply("fill")


def test_filling_ends_at_its_millimetres() -> None:
    session = two_rooms()
    session.apply("fill", at=(5, 5, 5), mm=6)
    k, j, i = np.indices(SHAPE)
    near = (i - 5) ** 2 + (2 * (j - 5)) ** 2 + (4 * (k - 5)) ** 2 <= 36
    assert np.array_equal(session.mask > 0, near & block((2, 2, 2), (8, 12, 12)))


def test_a_threshold_may_paint_round_the_mask(session: Session) -> None:
    where = block((6, 8, 15), (10, 14, 25))
    session.paint(where)
    expected = session.mask_after("grow", mm=4.1).full > 0
    session.apply("threshold", lower=30, upper=70, beyond_mm=4.1)
    values = session.volume.array
    assert np.array_equal(session.mask > 0, expected & (values >= 30) & (values <= 70))
    assert (session.mask > 0)[~where].any()


def test_filling_far_from_the_mask_looks_at_its_own_ball_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    session = two_rooms()
    session.paint(block((2, 2, 2), (3, 3, 3)))
    looked: list[int] = []
    real = operations.ndimage.label
    monkeypatch.setattr(operations.ndimage, "label", lambda mask: looked.append(mask.size) or real(mask))
    session.apply("fill", at=(33, 19, 12), lower=0, mm=4)
    assert looked
    assert max(looked) <= 11 * 7 * 5, "the box of the ball, with a voxel round it"
    assert session.mask[2, 2, 2]
    assert session.mask[12, 19, 33]


@pytest.mark.parametrize("at", [[[1], [1, 2], 3], np.array(5), np.array([[1, 2, 3]]), [np.array([1, 2]), 1, 1], 7])
def test_places_that_are_none_are_one_sentence(session: Session, at: object) -> None:
    with pytest.raises(PromptError, match=r"got at = .* three numbers i, j, k"):
        session.apply("fill", at=at)
    with pytest.raises(PromptError, match=r"got at = .* three numbers i, j, k"):
        check_operation(Operation("fill", {"at": at}))
    with pytest.raises(PromptError, match="There is no operation"):
        session.apply(["fill"])  # type: ignore[arg-type]


# -- two objects -------------------------------------------------------------------------------------------------------

FIRST, SECOND = block((2, 2, 2), (8, 12, 20)), block((4, 6, 10), (12, 18, 30))


@pytest.fixture
def pair(session: Session) -> Session:
    """Objects "a" and "b" that share voxels; "a" is current."""
    session.rename("object 1", "a")
    session.paint(FIRST)
    session.new_object("b")
    session.allow_overlap("b")
    session.paint(SECOND)
    session.select("a")
    return session


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("merge", FIRST | SECOND), ("subtract", FIRST & ~SECOND), ("intersect", FIRST & SECOND)],
)
def test_two_objects_are_combined_in_one_step(pair: Session, operation: str, expected: np.ndarray) -> None:
    steps = len(pair.steps)
    assert np.array_equal(pair.mask_after(operation, other="b").full > 0, expected)
    assert len(pair.steps) == steps
    pair.apply(operation, other="b")
    assert np.array_equal(pair.mask > 0, expected)
    assert [item.name for item in pair.objects] == (["a"] if operation == "merge" else ["a", "b"])
    assert len(pair.steps) == steps + 1
    pair.undo()
    assert np.array_equal(pair.mask > 0, FIRST)
    assert np.array_equal(pair.objects[1].mask > 0, SECOND)
    pair.redo()
    assert np.array_equal(pair.mask > 0, expected)


def test_merging_objects_that_share_nothing_leaves_others_alone(session: Session) -> None:
    session.paint(FIRST)
    session.new_object("b")
    session.paint(block((10, 16, 28), (14, 22, 38)))
    session.new_object("c")
    session.paint(block((9, 2, 2), (12, 8, 8)))
    session.select("object 1")
    session.apply("merge", other="b")
    assert np.array_equal(session.mask > 0, FIRST | block((10, 16, 28), (14, 22, 38)))
    assert np.array_equal(session.objects[1].mask > 0, block((9, 2, 2), (12, 8, 8)))
    assert session.steps[-1].name == "merge b into object 1"


def test_a_copy_may_share_and_is_an_object_of_its_own(pair: Session) -> None:
    made = pair.copy()
    assert (made.name, made.overlaps, pair.current.name) == ("copy of a", True, "copy of a")
    assert np.array_equal(pair.mask > 0, FIRST)
    pair.apply("grow", mm=2)
    assert np.array_equal(pair.objects[0].mask > 0, FIRST)
    assert pair.copy().name == "copy of copy of a"
    for _ in range(3):
        pair.undo()
    assert [item.name for item in pair.objects] == ["a", "b"]
    with pytest.raises(UserError, match="is an object “b” already"):
        pair.copy("b")


def test_what_cannot_be_combined_is_one_sentence_and_changes_nothing(pair: Session) -> None:
    pair.new_object("empty")
    with pytest.raises(PromptError, match="has no mask to copy"):
        pair.copy()
    pair.select("a")
    steps = len(pair.steps)
    for options, sentence in (
        ({"other": "empty"}, "“empty” has no mask yet"),
        ({"other": "a"}, "needs two objects, and “a” is the current one"),
        ({"other": "x"}, "There is no object “x”"),
        ({}, "takes one option, other"),
        ({"other": "b", "mm": 2}, "takes one option, other"),
    ):
        for operation in ("merge", "subtract", "intersect"):
            for do in (pair.apply, pair.mask_after):
                with pytest.raises(UserError, match=sentence):
                    do(operation, **options)
    pair.apply("subtract", other="b")
    with pytest.raises(PromptError, match="share no voxel"):
        pair.apply("intersect", other="b")
    pair.lock("b")
    with pytest.raises(ClickError, match="“b” is locked"):
        pair.apply("merge", other="b")
    assert len(pair.steps) == steps + 2


# -- records, replay, orientation --------------------------------------------------------------------------------------


def worked(session: Session) -> None:
    """One of everything that this file is about."""
    session.click((20, 12, 8))
    session.apply("fill", at=(3, 3, 3), lower=0, mm=9)
    session.apply("cut", first=np.array((20.0, 0.0, 8.0)), last=np.array((21.0, 23.0, 8.0)), axis="k")
    session.copy("c")
    session.apply("grow", mm=3)
    session.apply("intersect", other="object 1")
    session.apply("threshold", lower=20, beyond_mm=2)
    session.select("object 1")
    session.apply("subtract", other="c")
    session.click((10, 12, 8))
    session.new_object("d")
    session.paint([(39, 23, 15), (38, 23, 15)])
    session.select("object 1")
    session.apply("merge", other="d")


def test_records_resume_and_replay_to_the_same_masks(session: Session, tmp_path: Path) -> None:
    worked(session)
    path = session.save(tmp_path / "case.sammed3d.json")
    again = Session.resume(path, volume=session.volume, model=session.model)
    assert [item.local for item in again.objects] == [item.local for item in session.objects]
    found = list(replay(path, volume=session.volume, model=model_of(BallNetwork()), other_model=True))
    assert [(one.name, one.same) for one in found] == [("object 1", True), ("c", True)]
    while again.can_undo:
        again.undo()
    assert not any(item.local.count for item in again.objects)
    while again.can_redo:
        again.redo()
    assert [item.local for item in again.objects] == [item.local for item in session.objects]


def test_a_record_with_another_way_to_combine_is_refused(pair: Session, tmp_path: Path) -> None:
    pair.apply("subtract", other="b")
    path = pair.save(tmp_path / "case.sammed3d.json")
    path.write_text(
        path.read_text().replace('"how":"subtract"', '"how":"melt"').replace('"how": "subtract"', '"how": "melt"')
    )
    with pytest.raises(UserError):
        Session.resume(path, volume=pair.volume, model=pair.model)


def test_another_model_keeps_what_hands_have_combined(pair: Session) -> None:
    pair.apply("subtract", other="b")
    pair.set_model(model_of(BallNetwork()))
    assert np.array_equal(pair.mask > 0, FIRST & ~SECOND)


@pytest.mark.parametrize(("axes", "flips"), list(product(permutations(range(3)), product((1, -1), repeat=3))))
def test_cuts_and_fills_are_the_same_in_all_48_orientations(axes: tuple[int, ...], flips: tuple[int, ...]) -> None:
    shape = (14, 12, 10)
    array = np.random.default_rng(1).integers(0, 100, shape).astype(np.int16)
    tilt = rotation(2, 30)
    volume = Volume.from_array(array, SPACING, tilt, (5, -3, 40))
    turned = np.transpose(array, [2 - axes[2 - n] for n in range(3)])[
        tuple(slice(None, None, flips[2 - n]) for n in range(3))
    ]
    spacing = np.array(SPACING)[list(axes)]
    direction = tilt[:, list(axes)] * flips
    sizes = np.array(volume.size)[list(axes)]
    ends = np.where(np.array(flips) < 0, sizes - 1, 0)
    origin = volume.voxel_to_lps([ends[list(axes).index(n)] for n in range(3)])
    other = Volume.from_array(turned, spacing, direction, origin)

    def there(ijk: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(np.round(other.voxel_to_lps.inverse(volume.voxel_to_lps(ijk)), 6))

    masks = []
    for one, place, normal in ((volume, lambda ijk: ijk, "k"), (other, there, "ijk"[list(axes).index(2)])):
        session = Session(one, model_of(BallNetwork()))
        middle = place((5, 6, 7))
        session.apply("fill", at=middle, lower=5, mm=20)
        session.apply("cut", first=place((3.5, 0, 7)), last=place((6.5, 11, 7)), axis=normal)
        even = session.mask_after("threshold", lower=0).count
        masks.append(session.mask)
        session.new_object("whole")
        session.allow_overlap("whole")
        session.paint(np.ones(one.array.shape))
        session.apply("cut", first=place((4.5, 0, 7)), last=place((4.5, 11, 7)), axis=normal)  # both halves are equal
        masks.append(session.mask)
        assert even
    for first, second in ((masks[0], masks[2]), (masks[1], masks[3])):
        back = np.transpose(first, [2 - axes[2 - n] for n in range(3)])[
            tuple(slice(None, None, flips[2 - n]) for n in range(3))
        ]
        assert np.array_equal(back, second)
        assert 0 < first.sum() < first.size
