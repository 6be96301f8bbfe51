"""What boxes, strokes, lassos and start masks become for networks that know clicks."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray
from support import BallNetwork, model_of, rotation

from sammed3d_nb import Session, Volume
from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.network.drawn import BOX, CROSSED, LASSO, STROKE, TAKEN
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble, StartMask
from sammed3d_nb.segmenters.translation import bounded, carved, fit, translate

SIZE = (41, 34, 22)
SPACING = (1.5, 2.0, 3.1)


class SmallBall(BallNetwork):
    """As `BallNetwork`, in smaller cubes."""

    RADIUS = 8.0
    spec = replace(BallNetwork.spec, cube_size=64, grid_size=32)


class ZoomingBall(SmallBall):
    """And trained on several spacings."""

    spec = replace(SmallBall.spec, spacing_range_mm=(0.5, 3.0))


class DrawnBall(ZoomingBall):
    """And shown boxes, strokes and lassos themselves: its answer is what they say, and balls round clicks."""

    spec = replace(ZoomingBall.spec, native=("point", "mask", "box", "scribble", "lasso"))

    def decode(self, embedding, points, labels, previous=None, drawn=None):  # type: ignore[no-untyped-def]
        logits, quality = super().decode(embedding, points[labels >= 0], labels[labels >= 0], previous)
        if drawn is not None:
            said = 25 * drawn[:, BOX] + 30 * drawn[:, STROKE] + 22 * drawn[:, LASSO]
            logits = logits + (said - 30 * drawn[:, TAKEN] - 25 * drawn[:, CROSSED])[:, None]
        return logits, quality


class Orientation:
    """One of the 48 ways to store an image: which axis comes first, and which ones run backwards."""

    def __init__(self, axes: tuple[int, ...], backwards: tuple[bool, ...]) -> None:
        self.axes, self.backwards = list(axes), np.array(backwards)

    def __repr__(self) -> str:
        return "".join("ijk"[axis] + "+-"[int(back)] for axis, back in zip(self.axes, self.backwards, strict=True))

    def volume(self, volume: Volume) -> Volume:
        """The same image in this orientation."""
        sign = np.where(self.backwards, -1, 1)
        corner = np.zeros(3)
        corner[self.axes] = np.where(self.backwards, np.array(volume.size)[self.axes] - 1, 0)
        return Volume.from_array(
            self.array(volume.array),
            np.array(volume.spacing)[self.axes].tolist(),
            volume.direction[:, self.axes] * sign,
            volume.voxel_to_lps(corner).tolist(),
        )

    def array(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """An array (z, y, x) in this orientation."""
        turned = array.transpose().transpose(self.axes)
        return turned[tuple(slice(None, None, -1 if back else 1) for back in self.backwards)].transpose()

    def home(self, array: NDArray[np.generic]) -> NDArray[np.generic]:
        """From this orientation back."""
        turned = array.transpose()[tuple(slice(None, None, -1 if back else 1) for back in self.backwards)]
        return turned.transpose(np.argsort(self.axes)).transpose()

    def voxels(self, voxels: object) -> NDArray[np.int64]:
        """Voxels (…, 3) in this orientation."""
        turned = np.asarray(voxels)[..., self.axes]
        return np.where(self.backwards, np.array(SIZE)[self.axes] - 1 - turned, turned)

    def prompt(self, prompt: Prompt) -> Prompt:
        """The same prompt in this orientation."""
        if isinstance(prompt, Point):
            return Point(tuple(self.voxels(prompt.ijk)), prompt.positive)
        if isinstance(prompt, Box):
            return Box(tuple(self.voxels(prompt.first)), tuple(self.voxels(prompt.last)), prompt.positive)
        if isinstance(prompt, StartMask):
            return StartMask(self.array(prompt.mask.full), prompt.positive)
        assert isinstance(prompt, Scribble | Lasso)
        return type(prompt)(self.voxels(prompt.voxels), prompt.positive)


ORIENTATIONS = [Orientation(axes, back) for axes in permutations(range(3)) for back in product((False, True), repeat=3)]


def image(tilt: float = 12) -> Volume:
    array = np.random.default_rng(1).integers(0, 100, SIZE[::-1]).astype(np.int16)
    return Volume.from_array(array, SPACING, rotation(5, tilt) if tilt else None, (-30.0, 20.0, 100.0))


def blob() -> NDArray[np.uint8]:
    """Two overlapping boxes: nothing about them is symmetric but the thickness of their middle."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[4:12, 10:20, 8:24] = 1
    mask[8:14, 14:28, 14:20] = 1
    return mask


LINE = [(i, 12 + i // 3, 9) for i in range(10, 27)]
OUTLINE = [(8, 10, 9), (21, 8, 9), (26, 17, 9), (19, 24, 9), (11, 21, 9)]
WAYS: dict[str, list[Prompt]] = {
    "point": [Point((20, 17, 11)), Point((26, 14, 9), False)],
    "box": [Box((10, 9, 4), (25, 22, 13)), Point((12, 11, 6))],
    "box of odd edges": [Box((9, 9, 4), (25, 23, 14)), Box((12, 8, 5), (15, 12, 9), False)],
    "slice box": [Box((10, 9, 8), (25, 22, 8)), Box((19, 4, 6), (19, 17, 15), False), Point((14, 14, 9))],
    "scribble": [Scribble(LINE), Scribble([(18, j, 9) for j in range(13, 20)], False)],
    "lasso": [Lasso(OUTLINE), Point((15, 15, 12)), Lasso([(18, 6, 9), (30, 8, 9), (29, 18, 9), (20, 19, 9)], False)],
    "sagittal lasso": [Lasso([(18, 8, 4), (18, 20, 5), (18, 22, 14), (18, 12, 16)]), Point((10, 14, 9), False)],
    "start mask": [StartMask(blob()), Point((20, 26, 11)), Point((10, 12, 6), False)],
    "box after points": [Point((14, 14, 9)), Box((8, 8, 4), (23, 21, 13)), Lasso(OUTLINE)],
}


def masks(volume: Volume, network: BallNetwork, prompts: list[Prompt]) -> Iterator[NDArray[np.uint8]]:
    session = Session(volume, model_of(network))
    for prompt in prompts:
        yield session.add(prompt).mask


@pytest.mark.parametrize(("network", "tilt"), [(SmallBall, 0), (ZoomingBall, 12), (DrawnBall, 12)])
@pytest.mark.parametrize("way", WAYS)
def test_every_orientation_of_an_image_gives_the_same_mask(way: str, network: type[BallNetwork], tilt: float) -> None:
    volume = image(tilt)
    expected = list(masks(volume, network(), WAYS[way]))
    assert all(mask.any() for mask in expected)
    for orientation in ORIENTATIONS:
        prompts = [orientation.prompt(prompt) for prompt in WAYS[way]]
        found = masks(orientation.volume(volume), network(), prompts)
        for number, (mine, theirs) in enumerate(zip(expected, found, strict=True)):
            different = int((orientation.home(theirs) != mine).sum())
            assert not different, f"{orientation}: {different} voxels after {prompts[number]}"


@pytest.mark.parametrize("way", WAYS)
def test_every_orientation_gives_the_same_hints(way: str) -> None:
    volume = image()
    for prompt in WAYS[way]:
        expected = translate(prompt, volume)
        for orientation in ORIENTATIONS:
            found = translate(orientation.prompt(prompt), orientation.volume(volume))
            assert found.anchor == tuple(orientation.voxels(expected.anchor)), orientation
            np.testing.assert_array_equal(found.points, orientation.voxels(expected.points), str(orientation))
            if expected.choices is not None:
                np.testing.assert_array_equal(found.choices, orientation.voxels(expected.choices), str(orientation))


# -- what a prompt rules out -------------------------------------------------------------------------------------------

RATIOS = [0.4, 1.1, 2.0, 3.7]
"""Spacings in mm of cubes of 64 voxels: cells of a third of a voxel to three voxels."""


def home(logits: NDArray[np.float32], cube: Cube, volume: Volume) -> NDArray[np.bool_]:
    return cube.bring_home(logits, volume) > 0


def inside(region: Region) -> NDArray[np.bool_]:
    mask = np.zeros(SIZE[::-1], bool)
    mask[region.slices] = True
    return mask


@pytest.mark.parametrize("spacing", RATIOS)
@pytest.mark.parametrize("tilt", [0, 12])
def test_no_voxel_outside_a_box_is_left_and_none_well_inside_is_lost(spacing: float, tilt: float) -> None:
    volume = image(tilt)
    box = Box((12, 8, 6), (27, 24, 15))
    cube = Cube.at(volume, (19, 16, 10), spacing=spacing, size=64)
    everything = np.full((64, 64, 64), 5, np.float32)
    kept = everything.copy()
    mask = home(bounded(everything, cube, box, volume), cube, volume)
    assert (everything == kept).all(), "the logits are not changed"
    assert not (mask & ~inside(box.region)).any()
    spare = np.ceil(spacing / np.array(SPACING)).astype(int)
    core = Region.between(np.add(box.region.start, spare), np.subtract(box.region.stop, spare))
    reached = home(everything, cube, volume)
    assert (mask | ~inside(core))[reached].all()


def test_a_box_drawn_on_a_slice_rules_out_nothing_across_it() -> None:
    volume = image()
    cube = Cube.at(volume, (19, 16, 10), spacing=2, size=64)
    mask = home(bounded(np.full((64,) * 3, 5, np.float32), cube, Box((12, 8, 9), (27, 24, 9)), volume), cube, volume)
    pillar = Region.between((12, 8, 0), (28, 25, SIZE[2]))
    assert not (mask & ~inside(pillar)).any()
    assert mask.any(axis=(1, 2)).all()


@pytest.mark.parametrize("spacing", RATIOS)
def test_a_negative_box_takes_what_lies_in_it_and_nothing_far_from_it(spacing: float) -> None:
    volume = image()
    box = Box((16, 14, 8), (21, 19, 12), positive=False)
    cube = Cube.at(volume, (19, 16, 10), spacing=spacing, size=64)
    everything = np.full((64, 64, 64), 5, np.float32)
    reached = home(everything, cube, volume)
    mask = home(bounded(everything, cube, box, volume), cube, volume)
    mask = carved(LocalMask.of(mask), [box]).full > 0
    assert not (mask & inside(box.region)).any()
    spare = np.ceil(spacing / np.array(SPACING)).astype(int)
    around = Region.between(np.subtract(box.region.start, spare), np.add(box.region.stop, spare))
    assert mask[reached & ~inside(around)].all()


@pytest.mark.parametrize("spacing", RATIOS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_negative_lasso_takes_what_it_encloses_on_its_slice_alone(spacing: float, axis: int) -> None:
    volume = image()
    corners = np.insert([(12, 8), (17, 6), (19, 13), (13, 14)], axis, 9, axis=1)
    lasso = Lasso(corners, positive=False)
    cube = Cube.at(volume, (15, 12, 9), spacing=spacing, size=64)
    everything = np.full((64, 64, 64), 5, np.float32)
    reached = home(everything, cube, volume)
    mask = carved(LocalMask.of(home(bounded(everything, cube, lasso, volume), cube, volume)), [lasso]).full > 0
    assert not mask[tuple(lasso.inside.T[::-1])].any()
    lost = np.argwhere(reached & ~mask)[:, ::-1]
    spare = int(np.ceil(spacing / SPACING[axis]))
    assert (abs(lost[:, axis] - 9) < max(spare, 1)).all()


def test_a_lasso_cuts_the_answer_to_its_line_on_its_slice_alone() -> None:
    volume = image()
    lasso = Lasso(OUTLINE)
    cube = Cube.at(volume, (17, 16, 9), spacing=1.0, size=64)
    everything = np.full((64, 64, 64), 5, np.float32)
    reached = home(everything, cube, volume)
    mask = home(bounded(everything, cube, lasso, volume), cube, volume)
    enclosed = np.zeros_like(mask)
    enclosed[tuple(lasso.inside.T[::-1])] = True
    assert (mask[9] == (enclosed[9] & reached[9])).mean() > 0.99
    assert not (mask & ~enclosed)[9].any()
    assert (mask == reached)[[6, 12]].all()


def test_a_box_cuts_its_own_answer_and_later_prompts_go_beyond_it() -> None:
    session = Session(image(), model_of(SmallBall()))
    box = Box((16, 12, 8), (21, 17, 11))
    boxed = session.add(box).mask > 0
    assert boxed.any()
    assert not (boxed & ~inside(box.region)).any()
    later = session.click((20, 16, 10)).mask > 0
    assert (later & ~inside(box.region)).any()


@pytest.mark.parametrize(
    "negative",
    [Box((17, 12, 8), (24, 20, 8), positive=False), Lasso([(17, 12, 9), (24, 12, 9), (24, 20, 9)], positive=False)],
    ids=["box", "lasso"],
)
def test_what_a_negative_prompt_took_stays_away_until_a_positive_one_names_it(negative: Prompt) -> None:
    volume = image()
    session = Session(volume, model_of(SmallBall()))
    session.click((20, 16, 9))
    session.add(negative)
    taken = np.zeros(SIZE[::-1], bool)
    voxels = negative.inside if isinstance(negative, Lasso) else np.argwhere(inside(negative.region))[:, ::-1]
    taken[tuple(voxels.T[::-1])] = True
    assert not (session.current.mask.astype(bool) & taken).any()
    assert not (session.click((14, 16, 10)).mask.astype(bool) & taken).any()
    assert (session.click(tuple(voxels[len(voxels) // 2].tolist())).mask.astype(bool) & taken).any()


# -- which places a prompt names ---------------------------------------------------------------------------------------


def test_a_box_offers_its_middle_first_and_then_places_towards_its_faces() -> None:
    box = Box((10, 8, 6), (20, 18, 16))
    hints = translate(box, image())
    assert hints.choices is not None
    assert tuple(hints.choices[0]) == hints.anchor == (15, 13, 11)
    assert ((hints.choices >= box.first) & (hints.choices <= box.last)).all()
    assert not len(hints.points)
    assert translate(box, image(), chosen=(12, 13, 11)).points.tolist() == [[12, 13, 11]]
    assert translate(Box((5, 5, 5), (5, 5, 5)), image()).choices.tolist() == [[5, 5, 5]]  # type: ignore[union-attr]


def test_the_place_whose_answer_fills_the_box_is_taken() -> None:
    class OffMiddle(SmallBall):
        """Sees nothing at the middle of the cube and a ball elsewhere."""

        def decode(self, embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
            logits, quality = super().decode(embedding, points, labels, previous)
            near = (points[labels == 1] - 32).norm(dim=-1).min() < 3
            return (logits * 0 - 9 if near else logits), quality

    volume = image(0)
    session = Session(volume, model_of(OffMiddle()))
    box = Box((10, 8, 4), (29, 24, 15))
    result = session.add(box)
    assert result.mask.any(), "the middle is not the object, so another place was taken"
    assert session.click((12, 16, 9)).mask.any()


def test_a_guessed_click_of_a_box_counts_until_the_user_clicks() -> None:
    class Doubtful(SmallBall):
        """Thinks little of its answers, and remembers the clicks that it was last asked about."""

        asked: list[list[float]]

        def decode(self, embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
            logits, quality = super().decode(embedding, points, labels, previous)
            self.asked = points[labels == 1].tolist()
            return logits, quality * self.quality

        quality = 0.1

    volume, network = image(0), Doubtful()
    for quality, clicks in ((0.1, 1), (1.0, 2)):
        network.quality = quality
        session = Session(volume, model_of(network))
        session.add(Box((10, 8, 4), (29, 24, 15)))
        session.click((30, 4, 2), positive=False)
        assert len(network.asked) == 1
        session.click((20, 17, 9))
        assert len(network.asked) == clicks


def test_a_box_larger_than_the_cube_that_is_there_is_answered_in_it() -> None:
    volume = Volume.from_array(image().array, (6.0, 6.0, 6.0))
    session = Session(volume, model_of(SmallBall()))
    session.click((18, 15, 11))
    assert session.add(Box((0, 0, 0), (40, 33, 21))).mask.any()


def test_fit_is_one_for_an_answer_that_is_the_box() -> None:
    volume = image(0)
    cube = Cube.at(volume, (19, 16, 10), spacing=1.0, size=64)
    box = Box((12, 10, 6), (27, 24, 15))
    whole = np.full((64, 64, 64), 5, np.float32)
    assert fit(bounded(whole, cube, box, volume), cube, box, volume) == pytest.approx(
        1, abs=0.1
    )  # cells on a face count half
    assert fit(whole, cube, box, volume) < 0.5
    assert fit(-whole, cube, box, volume) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 200])
def test_points_of_strokes_lie_on_them(count: int) -> None:
    voxels = np.array([(5 + n % 30, 7, 3) for n in range(count)])
    points = translate(Scribble(voxels), image()).points
    assert {tuple(point) for point in points.tolist()} <= {tuple(voxel) for voxel in voxels.tolist()}
    assert len(points) == min(count, 5)


def test_points_of_a_lasso_lie_in_it() -> None:
    lasso = Lasso([(5, 5, 9), (30, 5, 9), (30, 8, 9), (8, 8, 9), (8, 25, 9), (5, 25, 9)])  # an L: its middle is outside
    enclosed = {tuple(voxel) for voxel in lasso.inside.tolist()}
    points = translate(lasso, image()).points
    assert {tuple(point) for point in points.tolist()} <= enclosed


def test_a_start_mask_is_stood_for_by_a_voxel_of_it() -> None:
    hollow = np.zeros(SIZE[::-1], np.uint8)
    hollow[[3, 15], 10:20, 10:20] = 1
    anchor = translate(StartMask(hollow), image()).anchor
    assert hollow[anchor[::-1]]
