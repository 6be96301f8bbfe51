"""How good a model is at being clicked: simulated clicks on labelled cases, through the whole product path.

The protocol is that of the CVPR 2025 challenge on foundation models for interactive 3D biomedical segmentation: the
first click lies deepest inside the structure, each further one deepest inside the largest error component, positive
where the mask misses something and negative where it holds too much. Everything is measured on the volume's own grid
after `Session.click`, so cubes, zoom, growing and the way home all count.
"""

import csv as csv_module
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import bounding_box, dice
from sammed3d_nb.measure.labelled import LabelledCase, cases_in

if TYPE_CHECKING:
    from sammed3d_nb.models.model import Model

Mask = NDArray[np.bool_]
TOLERANCE_MM = 2.0
SMALLEST_ML = 1.0
LOST = 0.02
"""By how much Dice has to fall for a structure to count as worse."""
GROUPS = {  # what a structure's name says of its kind; the first that fits
    "bone": r"vertebra|rib|costa|hip_|femur|sacrum|sternum|scapula|humerus|clavicula|skull|bone|spine",
    "vessel": r"aorta|vena|vein|artery|vessel",
    "muscle": r"glute|autochthon|iliopsoas|muscle|psoas",
    "lesion": r"tumou?r|lesion|cyst|node",
    "hollow": r"stomach|bowel|colon|duodenum|esophagus|bladder|rectum",
    "brain": r"hippocamp|anterior|posterior|cortex|ventricle|thalam|amygdala|cerebell",
}


class Clicker(Protocol):
    """Anything that answers clicks on one volume: a `Session`, or the baseline."""

    def reset(self) -> None:
        """Forget the clicks so far."""

    def click(self, ijk: Sequence[int], positive: bool = True) -> Any:
        """Answer a click; the result has ``mask`` (z, y, x) and ``distance_mm``."""


@dataclass(frozen=True)
class Measurement:
    """One click and what came of it.

    Attributes:
        case: Name of the case.
        structure: Name of the structure, unique in its case.
        group: Kind of structure, see `GROUPS`.
        ml: Its volume.
        click: 1, 2, …
        positive: Whether the click was a positive one.
        i, j, k: The clicked voxel.
        dice: Dice after this click.
        surface_dice: Share of both surfaces' voxels that lie within 2 mm of the other surface.
        obeyed: Whether the clicked voxel is inside after a positive, outside after a negative click.
        distance_mm: From the click to the mask.
        seconds: From click to mask on the volume's grid.
    """

    case: str
    structure: str
    group: str
    ml: float
    click: int
    positive: bool
    i: int
    j: int
    k: int
    dice: float
    surface_dice: float
    obeyed: bool
    distance_mm: float
    seconds: float


def surface_dice(a: Mask, b: Mask, spacing: Sequence[float], tolerance: float = TOLERANCE_MM) -> float:
    """Share of the border voxels of both masks that lie within `tolerance` of the other mask's border.

    Args:
        a: (z, y, x).
        b: The same shape.
        spacing: Edges of a voxel in mm, in array order z, y, x.
        tolerance: mm.
    """
    if not a.any() or not b.any():
        return 1.0 if not a.any() and not b.any() else 0.0
    box = _box(a | b, 1)
    a, b = np.pad(a[box], 1), np.pad(b[box], 1)
    border_a, border_b = (mask & ~ndimage.binary_erosion(mask) for mask in (a, b))
    near_b = ndimage.distance_transform_edt(~border_b, sampling=spacing) <= tolerance
    near_a = ndimage.distance_transform_edt(~border_a, sampling=spacing) <= tolerance
    close = int((border_a & near_b).sum()) + int((border_b & near_a).sum())
    return close / (int(border_a.sum()) + int(border_b.sum()))


def deepest(mask: Mask, spacing: Sequence[float], rng: np.random.Generator, sloppy: int = 0) -> tuple[int, int, int]:
    """The voxel (i, j, k) furthest from the mask's border in mm; among equals, a random one.

    The volume's own faces count as border. Args as in `surface_dice`; with ``sloppy`` any voxel of the mask that is at
    most so many voxels away along each axis, as people click.
    """
    box = _box(mask, 0)
    depth = ndimage.distance_transform_edt(np.pad(mask[box], 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    best = np.argwhere(depth >= depth.max() - 1e-6)
    z, y, x = best[rng.integers(len(best))]
    if sloppy:
        near = np.zeros_like(mask[box])
        near[tuple(slice(max(0, at - sloppy), at + sloppy + 1) for at in (z, y, x))] = True
        reached = np.argwhere(near & mask[box])
        z, y, x = reached[rng.integers(len(reached))]
    return int(x) + box[2].start, int(y) + box[1].start, int(z) + box[0].start


def next_click(
    truth: Mask, mask: Mask, spacing: Sequence[float], rng: np.random.Generator, sloppy: int = 0
) -> tuple[tuple[int, int, int], bool] | None:
    """The challenge's next click: deepest in the largest error component, positive if the mask misses it.

    Returns:
        Voxel (i, j, k) and whether the click is positive; ``None`` when the mask is right.
    """
    largest: tuple[int, Mask, bool] | None = None
    for errors, positive in ((truth & ~mask, True), (mask & ~truth, False)):
        if not errors.any():
            continue
        components, _ = ndimage.label(errors)
        counts = np.bincount(components.ravel())
        counts[0] = 0
        biggest = int(counts.argmax())
        if largest is None or counts[biggest] > largest[0]:
            largest = int(counts[biggest]), components == biggest, positive
    return None if largest is None else (deepest(largest[1], spacing, rng, sloppy), largest[2])


def group_of(name: str) -> str:
    """The kind of structure that a name stands for; ``"organ"`` when nothing else fits."""
    return next((group for group, words in GROUPS.items() if re.search(words, name.lower())), "organ")


def simulate(
    clicker: Clicker, case: LabelledCase, label: int, *, clicks: int = 5, seed: int = 0, sloppy: int = 0
) -> list[Measurement]:
    """Click on one structure.

    When a mask is already right, the remaining clicks are not made and its figures stand for them.

    Args:
        clicker: A session (or the baseline) on the case's volume.
        case: The case.
        label: The structure.
        clicks: How many.
        seed: Of the choice among equally deep voxels.
        sloppy: Voxels by which a click may miss the deepest one, see `deepest`.
    """
    rng = np.random.default_rng([seed, label])
    truth = case.labels == label
    spacing = case.volume.spacing[::-1]
    name = case.unique_names[label]
    ml = float(truth.sum() * np.prod(case.volume.spacing) / 1000)
    clicker.reset()
    voxel, positive = deepest(truth, spacing, rng, sloppy), True
    found: list[Measurement] = []
    for number in range(1, clicks + 1):
        started = perf_counter()
        result = clicker.click(voxel, positive)
        mask = np.asarray(result.mask) > 0
        seconds = perf_counter() - started
        found.append(
            Measurement(
                case.name, name, group_of(name), ml, number, positive, *voxel, dice(mask, truth),
                surface_dice(mask, truth, spacing), bool(mask[voxel[::-1]]) == positive,
                float(result.distance_mm), seconds,
            )
        )  # fmt: skip
        following = next_click(truth, mask, spacing, rng, sloppy)
        if following is None:
            last = asdict(found[-1])
            return found + [Measurement(**last | {"click": n}) for n in range(number + 1, clicks + 1)]
        voxel, positive = following
    return found


def evaluate(
    case: LabelledCase,
    clicker: Clicker,
    *,
    clicks: int = 5,
    seed: int = 0,
    sloppy: int = 0,
    smallest_ml: float = SMALLEST_ML,
) -> Iterator[list[Measurement]]:
    """Every structure of a case that is large enough, one list of measurements each."""
    voxel_ml = float(np.prod(case.volume.spacing)) / 1000
    counts = np.bincount(case.labels.ravel())
    for label in np.flatnonzero(counts[1:] * voxel_ml >= smallest_ml) + 1:
        yield simulate(clicker, case, int(label), clicks=clicks, seed=seed, sloppy=sloppy)


def area_under_curve(scores: Sequence[float]) -> float:
    """Area under the score over the clicks by the trapezoid rule: at most 4 for five clicks."""
    return float(np.trapezoid(scores)) if len(scores) > 1 else 0.0


def summarise(measurements: Iterable[Measurement], by: str) -> dict[str, dict[str, float]]:
    """Means over structures, for each value of a field (``"structure"``, ``"case"``, ``"group"``) and ``"all"``.

    Returns:
        For each: ``n`` structures, ``dice1``, ``dice2``, … after each click, ``surface`` after the last, ``auc`` over
        the first five, ``obeyed+`` and ``obeyed-`` (shares), ``seconds`` a click after the first, and the ``first``.
    """
    groups: dict[str, list[list[Measurement]]] = defaultdict(list)
    for curve in _curves(measurements):
        for key in (str(getattr(curve[0], by)), "all"):
            groups[key].append(curve)
    table = {}
    for key, found in groups.items():
        row: dict[str, float] = {"n": len(found)}
        for click in range(len(found[0])):
            row[f"dice{click + 1}"] = float(np.mean([curve[click].dice for curve in found]))
        row["surface"] = float(np.mean([curve[-1].surface_dice for curve in found]))
        row["auc"] = float(np.mean([area_under_curve([one.dice for one in curve[:5]]) for curve in found]))
        for sign, positive in (("+", True), ("-", False)):
            clicked = [one.obeyed for curve in found for one in curve if one.positive == positive]
            row[f"obeyed{sign}"] = float(np.mean(clicked)) if clicked else float("nan")
        row["first"] = float(np.mean([curve[0].seconds for curve in found]))
        later = [one.seconds for curve in found for one in curve[1:]]
        row["seconds"] = float(np.mean(later)) if later else float("nan")
        table[key] = row
    return dict(sorted(table.items(), key=lambda item: item[0] == "all"))


def later_clicks(measurements: Iterable[Measurement]) -> str:
    """What the clicks after the third one changed: the mean change of Dice, and the structures that lost by them."""
    curves = [curve for curve in _curves(measurements) if len(curve) > 3]
    if not curves:
        return ""
    gains = [curve[-1].dice - curve[2].dice for curve in curves]
    lost = [
        f"{curve[0].structure} ({curve[0].case})" for curve, gain in zip(curves, gains, strict=True) if gain < -LOST
    ]
    change = f"{np.mean(gains):+.3f} on average"
    return (
        f"From click 3 to {len(curves[0])} Dice changes by {change}; {len(lost)} of {len(curves)} structures "
        f"lose more than {LOST:g}{': ' if lost else ''}{', '.join(lost)}."
    )


def _curves(measurements: Iterable[Measurement]) -> list[list[Measurement]]:
    """The measurements of each structure, by click."""
    curves: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for one in measurements:
        curves[one.case, one.structure].append(one)
    return [sorted(curve, key=lambda one: one.click) for curve in curves.values()]


def curve_line(curve: Sequence[Measurement]) -> str:
    """One structure's Dice after each click as a line of text."""
    scores = "  ".join(f"{one.dice:.3f}" for one in curve)
    return f"{curve[0].case}  {curve[0].structure:<28} {curve[0].ml:>8.1f} mL  {scores}"


def table_lines(table: dict[str, dict[str, float]], title: str) -> Iterator[str]:
    """A summary as lines of text."""
    clicks = [key for key in next(iter(table.values())) if re.fullmatch(r"dice\d+", key)]
    heads = [f"{key.replace('dice', 'Dice@')}" for key in clicks]
    yield (
        f"{title:<30}{'n':>4} "
        + "".join(f"{head:>8}" for head in heads)
        + (f"{'surface':>9}{'AUC':>7}{'obeyed':>12}{'first s':>9}{'click s':>9}")
    )
    for name, row in table.items():
        obeyed = "/".join("–" if np.isnan(row[key]) else f"{row[key]:.3f}" for key in ("obeyed+", "obeyed-"))
        yield (
            f"{name:<30}{row['n']:>4.0f} "
            + "".join(f"{row[key]:>8.3f}" for key in clicks)
            + (f"{row['surface']:>9.3f}{row['auc']:>7.2f}{obeyed:>12}{row['first']:>9.2f}{row['seconds']:>9.2f}")
        )


def write_csv(measurements: Iterable[Measurement], path: Path) -> None:
    """Every measurement as a row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv_module.DictWriter(file, [field.name for field in fields(Measurement)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in measurements)


def run(
    folders: Sequence[Path],
    *,
    model: "Model | None",
    clicks: int = 5,
    csv: Path | None = None,
    seed: int = 0,
    sloppy: int = 0,
    baseline: bool = False,
) -> Iterator[str]:
    """The ``evaluate`` command: lines of the table, as they come.

    Args:
        folders: Labelled cases, or folders of such.
        model: The model; not needed for the baseline.
        clicks: Clicks for each structure.
        csv: Where to write every measurement.
        seed: Of the simulated clicks.
        sloppy: Voxels by which each may miss its place.
        baseline: Evaluate `baseline.RegionGrowing`, which needs no weights, instead of the model.

    Raises:
        UserError: A folder is no labelled case and holds none.
    """
    from sammed3d_nb.measure.baseline import RegionGrowing
    from sammed3d_nb.session.session import Session

    if not baseline and model is None:
        raise UserError("There is neither a model nor the baseline to evaluate; choose one.")
    measurements: list[Measurement] = []
    for name, folder in cases_in(folders).items():
        case = LabelledCase.read(folder, name)
        clicker: Clicker = RegionGrowing(case.volume) if baseline else Session(case.volume, model)  # type: ignore[arg-type]
        found: list[Measurement] = []
        for curve in evaluate(case, clicker, clicks=clicks, seed=seed, sloppy=sloppy):
            found += curve
            yield curve_line(curve)
        if not found:
            yield f"{case.name}  has no structure of at least {SMALLEST_ML:g} mL"
            continue
        measurements += found
        if csv is not None:
            write_csv(measurements, csv)
    if measurements:
        for by in ("case", "group"):
            yield ""
            yield from table_lines(summarise(measurements, by), by)
        if told := later_clicks(measurements):
            yield from ("", told)


def _box(mask: Mask, margin: int) -> tuple[slice, slice, slice]:
    """The bounding box of a mask that is not empty, grown and cut to the array."""
    box = bounding_box(mask)
    assert box is not None
    z, y, x = (
        slice(max(part.start - margin, 0), min(part.stop + margin, n)) for part, n in zip(box, mask.shape, strict=True)
    )
    return z, y, x
