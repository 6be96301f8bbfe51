"""Edits against answers worked out by hand, on grids whose voxels are no cubes."""

import numpy as np
import pytest
from scipy import ndimage
from support import BallNetwork, model_of

from sammed3d_nb import Session, Volume
from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import LocalMask

SPACING = (1.0, 2.0, 4.0)  # mm along i, j, k
SHAPE = (16, 24, 40)  # z, y, x


@pytest.fixture
def session() -> Session:
    array = np.random.default_rng(0).integers(0, 100, SHAPE).astype(np.int16)
    return Session(Volume.from_array(array, SPACING), model_of(BallNetwork()))


def block(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    """bool (z, y, x), True from `low` to `high`, both in that order and `high` left out."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def test_painting_adds_and_erases_and_can_be_undone(session: Session) -> None:
    first = block((2, 2, 2), (6, 8, 20))
    session.paint(first)
    session.paint(np.argwhere(block((3, 3, 3), (4, 4, 9)))[:, ::-1], add=False)
    expected = first & ~block((3, 3, 3), (4, 4, 9))
    assert np.array_equal(session.mask, expected)
    assert [step.name for step in session.steps] == ["paint 1 of object 1", "erase 1 of object 1"]
    session.undo()
    assert np.array_equal(session.mask, first)


def test_painting_can_be_kept_to_a_range_of_intensities(session: Session) -> None:
    where = block((1, 1, 1), (9, 20, 30))
    session.paint(where, lower=40, upper=60)
    values = session.volume.array
    assert np.array_equal(session.mask > 0, where & (values >= 40) & (values <= 60))
    before = session.mask
    with pytest.raises(PromptError, match="no voxel to paint"):
        session.paint(where, lower=1000)
    assert np.array_equal(session.mask, before)


@pytest.mark.parametrize("voxels", [[(40, 0, 0)], [(-1, 0, 0)], [(0.5, 0, 0)], [], [(1, 2)], np.zeros((3, 3, 3))])
def test_what_is_no_voxel_of_the_volume_is_refused(session: Session, voxels: object) -> None:
    with pytest.raises(PromptError):
        session.paint(voxels)  # type: ignore[arg-type]
    assert not session.steps


def test_painted_voxels_stay_through_prompts(session: Session) -> None:
    kept = block((1, 1, 1), (3, 3, 6))
    gone = block((7, 10, 18), (9, 14, 22))  # where the next click will see a ball
    session.paint(kept)
    session.paint(gone, add=False)
    result = session.click((20, 8, 8))
    assert result.mask.any()
    assert result.mask[kept].all()
    assert not result.mask[gone].any()
    assert session.click((22, 8, 8), positive=False).mask[kept].all()


def test_the_network_is_told_what_a_hand_has_set(session: Session) -> None:
    session.click((20, 12, 8))
    told: list[float] = []
    network = session.model.network
    decode = network.decode

    def listen(embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
        told.append(0 if previous is None else int((previous > 0).sum()))
        return decode(embedding, points, labels, previous)

    network.decode = listen
    session.click((21, 12, 8))
    session.undo()
    session.paint(block((0, 0, 0), (16, 24, 12)))
    session.click((21, 12, 8))
    assert told[-1] > 1.3 * told[0]


@pytest.mark.parametrize(("mm", "expected"), [(1.0, (0, 0, 1)), (2.0, (0, 1, 2)), (4.1, (1, 2, 4))])
def test_growing_and_shrinking_are_in_millimetres(session: Session, mm: float, expected: tuple[int, int, int]) -> None:
    session.paint(block((6, 8, 15), (10, 14, 25)))
    session.apply("grow", mm=mm)
    found = np.argwhere(session.mask)
    assert tuple(np.array((6, 8, 15)) - found.min(axis=0)) == expected
    session.undo()
    session.apply("shrink", mm=mm)
    found = np.argwhere(session.mask)
    assert tuple(found.min(axis=0) - np.array((6, 8, 15))) == expected


def test_growing_stays_in_a_range(session: Session) -> None:
    start = block((6, 8, 15), (10, 14, 25))
    session.paint(start)
    session.apply("grow", mm=6, lower=50)
    added = (session.mask > 0) & ~start
    assert added.any()
    assert session.volume.array[added].min() >= 50


def test_parts_and_holes(session: Session) -> None:
    large, small = block((2, 2, 2), (8, 12, 20)), block((12, 18, 30), (14, 20, 34))
    hole = block((4, 5, 8), (6, 8, 12))
    session.paint(large | small)
    session.paint(hole, add=False)
    session.apply("fill holes")
    assert np.array_equal(session.mask > 0, large | small)
    session.apply("largest component")
    assert np.array_equal(session.mask > 0, large)
    session.undo()
    with pytest.raises(PromptError, match="No positive click lies in the mask"):
        session.apply("keep clicked")


def test_keep_clicked_keeps_the_part_with_a_click(session: Session) -> None:
    session.paint(block((0, 0, 0), (1, 1, 30)))
    session.click((20, 14, 12))
    clicked = ndimage.label(session.mask)[0]
    session.apply("keep clicked")
    assert session.mask[12, 14, 20]
    assert np.array_equal(session.mask > 0, clicked == clicked[12, 14, 20])
    assert session.undo_name == "keep clicked 1 of object 1"


def test_holes_slice_by_slice(session: Session) -> None:
    ring = block((5, 2, 2), (6, 12, 20)) & ~block((5, 4, 5), (6, 8, 15))  # open along k: no hole in 3-D
    session.paint(ring)
    session.apply("fill holes")
    assert np.array_equal(session.mask > 0, ring)
    session.apply("fill holes", axis="k")
    assert np.array_equal(session.mask > 0, block((5, 2, 2), (6, 12, 20)))


def test_smoothing_is_in_millimetres_and_keeps_the_middle(session: Session) -> None:
    session.paint(block((4, 4, 10), (12, 20, 30)) | block((8, 20, 18), (9, 23, 19)))
    session.apply("smooth", sigma_mm=2.0)
    assert not session.mask[8, 22, 18]
    assert session.mask[8, 12, 20]


def test_slices_between_drawn_ones(session: Session) -> None:
    session.paint(block((3, 5, 10), (4, 9, 20)))
    session.paint(block((9, 11, 10), (10, 15, 20)))
    session.apply("interpolate slices")
    mask = session.mask > 0
    assert all(mask[k].any() for k in range(3, 10))
    rows = np.flatnonzero(mask[6].any(axis=1))
    assert (rows.min(), rows.max()) == (8, 11), "half way between both"
    with pytest.raises(PromptError, match="no empty slices between drawn ones"):
        session.apply("interpolate slices")


def test_threshold(session: Session) -> None:
    where = block((2, 2, 2), (12, 20, 30))
    session.paint(where)
    session.apply("threshold", lower=30, upper=70)
    values = session.volume.array
    assert np.array_equal(session.mask > 0, where & (values >= 30) & (values <= 70))


@pytest.mark.parametrize(
    ("operation", "options", "sentence"),
    [
        ("melt", {}, "There is no operation “melt”; there are largest component, "),
        ("grow", {"speed": 1}, "“grow” has no option speed; it has mm, lower, upper"),
        ("grow", {"mm": 0}, r"“grow” got mm = 0; expected millimetres above 0, 200 at most"),
        ("grow", {"mm": float("nan")}, "got mm = nan"),
        ("grow", {"mm": True}, "got mm = True"),
        ("fill holes", {"axis": "x"}, "got axis = 'x'; expected i, j, k or None"),
        ("threshold", {"lower": "a"}, "got lower = 'a'; expected an intensity or None"),
    ],
)
def test_wrong_operations_are_one_sentence(session: Session, operation: str, options: dict, sentence: str) -> None:
    session.paint(block((2, 2, 2), (4, 4, 4)))
    with pytest.raises(PromptError, match=sentence):
        session.apply(operation, **options)
    assert len(session.steps) == 1


def test_edits_need_a_mask_and_an_object_that_is_not_locked(session: Session) -> None:
    with pytest.raises(PromptError, match="no mask to apply “smooth” to"):
        session.apply("smooth")
    session.paint(block((2, 2, 2), (4, 4, 4)))
    session.lock("object 1")
    for edit in (lambda: session.paint([(1, 1, 1)]), lambda: session.apply("smooth")):
        with pytest.raises(PromptError, match="is locked"):
            edit()


def test_edits_leave_others_alone_and_say_what_they_left(session: Session) -> None:
    first = block((2, 2, 2), (8, 12, 20))
    session.paint(first)
    session.new_object("b")
    left = session.paint(block((4, 4, 10), (10, 14, 30)))
    assert left.count == (first & block((4, 4, 10), (10, 14, 30))).sum()
    session.apply("grow", mm=5)
    assert not (session.mask[first] > 0).any()
    session.allow_overlap("b")
    assert session.paint(block((4, 4, 10), (10, 14, 30))).count == 0
    assert (session.mask[first] > 0).any()


def test_packed_masks_come_back_bit_for_bit_and_refuse_other_bytes() -> None:
    from dataclasses import replace

    from sammed3d_nb.imaging.packed import PackedMask
    from sammed3d_nb.imaging.region import Region

    rng = np.random.default_rng(0)
    size = (40, 24, 16)
    for _ in range(20):
        mask = LocalMask.of(ndimage.binary_dilation(rng.random(SHAPE) > 0.999, iterations=int(rng.integers(1, 4))))
        packed = PackedMask.of(mask)
        assert packed.unpack(size) == mask
        if not mask.count:
            continue
        for wrong in (
            replace(packed, data=packed.data[:-3]),
            replace(packed, data=b"x" + packed.data),
            replace(packed, region=Region(packed.region.start, (41, 1, 1))),
            replace(packed, region=Region((39, 23, 15), (2, 2, 2))),
            replace(packed, region=Region((-1, 0, 0), packed.region.size)),
        ):
            with pytest.raises(ValueError, match="mask"):
                wrong.unpack(size)
