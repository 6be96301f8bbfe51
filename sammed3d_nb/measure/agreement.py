"""Do annotators agree? The same objects of the same cases in several records, compared two by two."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask, Region, dice
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.measure.distances import surface_dice
from sammed3d_nb.measure.tables import write_rows
from sammed3d_nb.session import record
from sammed3d_nb.session.statistics import Measured, measured


@dataclass(frozen=True)
class Work:
    """One object as one annotator left it.

    Attributes:
        case: Name of the volume.
        annotator: Who, as the record says it; else what `readers` calls them.
        mask: The object's mask.
        told: Its name, volume, prompts, edits and seconds of work.
    """

    case: str
    annotator: str
    mask: LocalMask
    told: Measured


@dataclass(frozen=True)
class Agreement:
    """Two annotators' masks of one object.

    Attributes:
        case: Name of the volume.
        name: The object.
        first: One annotator.
        second: The other.
        dice: Overlap of both masks; 0 where one of them has no such object.
        surface_dice: Share of both surfaces' voxels that lie within 2 mm of the other surface.
        first_ml: Volume in mL of the first's mask.
        second_ml: Of the second's.
    """

    case: str
    name: str
    first: str
    second: str
    dice: float
    surface_dice: float
    first_ml: float
    second_ml: float

    @property
    def difference_ml(self) -> float:
        """By how much the second's mask is larger."""
        return self.second_ml - self.first_ml


@dataclass(frozen=True)
class Limits:
    """How volumes differ: bias and limits of agreement, in mL (Bland and Altman, Lancet 1986, 327, 307–310).

    Attributes:
        bias: Mean difference, second minus first.
        low: Bias − 1.96 standard deviations of the difference.
        high: Bias + 1.96 of them.
        count: Pairs of masks.
    """

    bias: float
    low: float
    high: float
    count: int


def readers(records: Sequence[tuple[Path, dict[str, Any]]]) -> dict[Path, str]:
    """Whose each record is: as it says itself, else by its place.

    Records without an annotator (anonymous ones) are called by their file, but by their folder where several files
    have one name, as two annotators' records of one case have.

    Args:
        records: Paths, and what `record.load` returned of each.
    """
    named = {path: str(fields["annotator"]) for path, fields in records if fields.get("annotator")}
    paths = [path.absolute() for path, _ in records if path not in named]
    stems = [path.name.removesuffix(record.SUFFIX) for path in paths]
    if len(set(stems)) < len(stems):
        above = Path(os.path.commonpath([path.parent for path in paths]))
        folders = [path.parent.relative_to(above).as_posix() for path in paths]
        images = [fields["volume"].get("fingerprint") for path, fields in records if path not in named]
        per_folder = Counter(zip(folders, images, strict=True))
        stems = [
            folder if folder != "." and per_folder[folder, image] == 1 else f"{folder}/{stem}".removeprefix("./")
            for folder, image, stem in zip(folders, images, stems, strict=True)
        ]
    unnamed = iter(stems)
    return {path: named[path] if path in named else next(unnamed) for path, _ in records}


def work_in(path: Path, fields: dict[str, Any], volume: Volume, annotator: str | None = None) -> list[Work]:
    """What a record holds.

    Args:
        path: The record.
        fields: What `record.load` returned.
        volume: The image that it was made on.
        annotator: Whose it is, where `readers` has told several records apart.

    Raises:
        RecordError: The record is damaged or was made on another image.
    """
    who = annotator or readers([(path, fields)])[path]
    history = record.history_of(fields, volume, path)
    objects = [item for item in history.state.listed if item.local.count or item.said is not None]
    return [
        Work(volume.name, who, item.local, told)
        for item, told in zip(objects, measured(objects, volume, history.past), strict=True)
    ]


def compare(works: Sequence[Work], spacing: Sequence[float]) -> list[Agreement]:
    """Every two annotators of one case, object by object, by their names.

    Args:
        works: Of one case.
        spacing: mm along i, j, k.
    """
    by_name: dict[str, dict[str, Work]] = defaultdict(dict)
    for work in works:
        by_name[work.told.name][work.annotator] = work
    annotators = list(dict.fromkeys(work.annotator for work in works))
    return [
        _agreement(name, found.get(first), found.get(second), (first, second), spacing)
        for name, found in by_name.items()
        for first, second in combinations(annotators, 2)
        if first in found or second in found
    ]


def _agreement(
    name: str, first: Work | None, second: Work | None, who: tuple[str, str], spacing: Sequence[float]
) -> Agreement:
    there = next(work for work in (first, second) if work is not None)
    masks = [work.mask for work in (first, second) if work is not None]
    region = Region.union([mask.region for mask in masks])
    a, b = (
        np.zeros(region.shape, bool) if work is None else work.mask.crop(region).view(bool) for work in (first, second)
    )
    volumes = [0.0 if work is None else work.told.volume_ml for work in (first, second)]
    return Agreement(
        there.case, name, *who, dice(a, b), surface_dice(a, b, tuple(spacing)[::-1]), volumes[0], volumes[1]
    )


def limits(agreements: Sequence[Agreement]) -> Limits | None:
    """Bias and limits of agreement of the volumes, over objects that both have drawn; None for fewer than two."""
    found = [one.difference_ml for one in agreements if one.first_ml and one.second_ml]
    if len(found) < 2:
        return None
    bias, spread = float(np.mean(found)), 1.96 * float(np.std(found, ddof=1))
    return Limits(bias, bias - spread, bias + spread, len(found))


def lines(works: Sequence[Work], agreements: Sequence[Agreement]) -> Iterator[str]:
    """Everything as lines of text: overlap and volumes, limits of agreement, effort."""
    yield f"{'case':<24}{'object':<22}{'between':<28}{'Dice':>7}{'surface':>9}{'mL':>10}{'mL':>10}{'difference':>12}"
    for one in agreements:
        yield (
            f"{one.case:<24.24}{one.name:<22.22}{f'{one.first}, {one.second}':<28.28}{one.dice:>7.3f}"
            f"{one.surface_dice:>9.3f}{one.first_ml:>10.2f}{one.second_ml:>10.2f}{one.difference_ml:>+12.2f}"
        )
    for (first, second), found in _pairs(agreements).items():
        told = limits(found)
        scores = [one.dice for one in found]
        yield (
            f"{first}, {second}: mean Dice {np.mean(scores):.3f} (lowest {min(scores):.3f}) of {len(found)} objects"
            + (
                f"; volumes differ by {told.bias:+.2f} mL on average, 95 % of them by {told.low:+.2f} to"
                f" {told.high:+.2f} mL."
                if told is not None
                else "."
            )
        )
    yield f"{'annotator':<24}{'objects':>8}{'prompts':>9}{'edits':>7}{'minutes':>9}"
    for who in dict.fromkeys(work.annotator for work in works):
        told_of = [work.told for work in works if work.annotator == who]
        prompts, edits = sum(one.prompts for one in told_of), sum(one.edits for one in told_of)
        minutes = sum(one.seconds for one in told_of) / 60
        yield f"{who:<24.24}{len(told_of):>8}{prompts:>9}{edits:>7}{minutes:>9.1f}"


def _pairs(agreements: Sequence[Agreement]) -> dict[tuple[str, str], list[Agreement]]:
    found: dict[tuple[str, str], list[Agreement]] = defaultdict(list)
    for one in agreements:
        found[one.first, one.second].append(one)
    return found


def write_csv(works: Sequence[Work], agreements: Sequence[Agreement], path: Path) -> None:
    """A row for every pair of masks, with prompts, edits and minutes of both; see `tables.write_rows`."""
    told = {(work.case, work.annotator, work.told.name): work.told for work in works}
    effort = ("prompts", "edits", "seconds")
    names = [field.name for field in fields(Agreement)] + [
        f"{who}_{what}" for who in ("first", "second") for what in effort
    ]
    rows = []
    for one in agreements:
        row = asdict(one)
        for who in ("first", "second"):
            found = told.get((one.case, getattr(one, who), one.name))
            row |= {f"{who}_{what}": getattr(found, what) if found else "" for what in effort}
        rows.append(row)
    write_rows(names, rows, path)


def write_plot(agreements: Sequence[Agreement], path: Path) -> None:
    """The figure of `plot`, in the format that the suffix names, whole or not at all.

    Raises:
        UserError: It cannot be written; what was there before stays.
    """
    content = BytesIO()
    plot(agreements).savefig(content, format=path.suffix.lower().removeprefix("."), dpi=150)
    with atomic.told(path, UserError):
        atomic.write_bytes(path, content.getvalue())


def plot(agreements: Sequence[Agreement]) -> Any:
    """A Bland–Altman figure (matplotlib): difference of volumes over their mean, for every two annotators.

    Masks that only one of both has drawn are left out.
    """
    from matplotlib.figure import Figure

    pairs = _pairs([one for one in agreements if one.first_ml and one.second_ml])
    figure = Figure(figsize=(5.2 * max(len(pairs), 1), 4), layout="constrained")
    row = figure.subplots(1, max(len(pairs), 1), squeeze=False)[0]
    for axes, ((first, second), found) in zip(row, pairs.items(), strict=False):
        for name in dict.fromkeys(one.name for one in found):
            some = [one for one in found if one.name == name]
            means = [(one.first_ml + one.second_ml) / 2 for one in some]
            axes.plot(means, [one.difference_ml for one in some], "o", label=name)
        told = limits(found)
        if told is not None:
            for height, style in ((told.bias, "-"), (told.low, "--"), (told.high, "--")):
                axes.axhline(height, color="0.4", linestyle=style, linewidth=1)
        axes.set(xlabel="mean volume, mL", ylabel=f"{second} − {first}, mL", title=f"{first}, {second}")
        axes.legend(fontsize=8)
    return figure
