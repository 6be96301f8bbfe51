"""Measurements as tables: means by case, structure or group, and the sentences that go with them."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError

LOST = 0.02
"""By how much Dice has to fall for a structure to count as worse."""


@dataclass(frozen=True)
class Measurement:
    """One click and what came of it.

    Attributes:
        case: Name of the case.
        structure: Name of the structure, unique in its case.
        group: Kind of structure, see `evaluate.GROUPS`.
        ml: Its volume.
        click: 1, 2, …
        positive: Whether the click was a positive one.
        i, j, k: The clicked voxel.
        dice: Dice after this click.
        surface_dice: Share of both surfaces' voxels that lie within 2 mm of the other surface.
        obeyed: Whether the clicked voxel (of another prompt, the one that stands for it) is inside after a positive,
            outside after a negative one.
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
    """Every measurement as a row; see `write_rows`."""
    write_rows([field.name for field in fields(Measurement)], map(asdict, measurements), path)


def write_rows(names: Sequence[str], rows: Iterable[Mapping[str, Any]], path: Path) -> None:
    """A table as CSV, whole or not at all.

    Raises:
        UserError: It cannot be written; what was there before stays.
    """
    text = StringIO(newline="")
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    with atomic.told(path, UserError):
        atomic.write_bytes(path, text.getvalue().encode())


def anywhere_lines(scores: dict[tuple[str, str], list[float]], *, total: bool) -> Iterator[str]:
    """Single clicks anywhere inside as lines of text: median, lowest tenth and share below a Dice of 0.5.

    Args:
        scores: Dice at each place, by case and structure.
        total: Also the head of the table, and a line over all structures: means of their figures.
    """
    rows = {f"{case}  {name}": _spread(found) for (case, name), found in scores.items()}
    if total:
        yield f"{'one click anywhere inside':<44}{'places':>7}{'median':>8}{'tenth':>8}{'<0.5':>7}"
        places = sum(map(len, scores.values()))
        rows = {f"all {len(rows)} structures": tuple(np.mean(list(rows.values()), axis=0).tolist())}
    else:
        places = len(next(iter(scores.values())))
    for name, (median, tenth, below) in rows.items():
        yield f"{name:<44}{places:>7}{median:>8.3f}{tenth:>8.3f}{below:>7.2f}"


def _spread(found: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest tenth, and share below 0.5."""
    return float(np.median(found)), float(np.quantile(found, 0.1)), float(np.mean(np.array(found) < 0.5))
