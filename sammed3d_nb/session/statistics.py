"""What can be said of the objects in numbers."""

import csv
import io
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sammed3d_nb.atomic import reason, write_bytes
from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import Index, LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.objects import SegmentedObject
from sammed3d_nb.session.steps import Step


@dataclass(frozen=True)
class Measured:
    """One object in numbers.

    Attributes:
        name: The object.
        volume_ml: mL; as the screen says it and the export writes it.
        mean: Mean intensity, in the image's unit; None without a voxel, as are the next three.
        sd: Standard deviation of the intensity.
        first: Lowest voxel (i, j, k) of the box round it.
        last: Highest voxel of that box; it belongs to it.
        extent_mm: Edges of that box along i, j, k.
        prompts: How many it took.
        edits: How many.
        seconds: Of work, over the steps that changed it.
    """

    name: str
    volume_ml: float
    mean: float | None
    sd: float | None
    first: Index | None
    last: Index | None
    extent_mm: tuple[float, float, float] | None
    prompts: int
    edits: int
    seconds: float

    @property
    def minutes(self) -> float:
        """Of work."""
        return self.seconds / 60


Known = MutableMapping[LocalMask, tuple[float, float]]
"""Mean and standard deviation in masks that were looked at before."""


def measured(
    objects: Sequence[SegmentedObject], volume: Volume, steps: Sequence[Step], known: Known | None = None
) -> list[Measured]:
    """The numbers of every object; intensities in float64.

    Args:
        objects: The objects.
        volume: The volume that they lie on.
        steps: What was done, for seconds of work.
        known: What was found out about masks is taken from here, and put here.
    """
    known = {} if known is None else known
    found = []
    for item in objects:
        prompts = len(item.prompts)
        seconds = sum(step.seconds for step in steps if item.key in step.changes)
        edits = len(item.history) - prompts
        ml = item.local.volume_ml(volume.spacing)
        if not item.local.count:
            found.append(Measured(item.name, ml, None, None, None, None, None, prompts, edits, seconds))
            continue
        region = item.local.region
        mean, sd = known.get(item.local) or _mean_and_sd(item.local, volume)
        known[item.local] = mean, sd
        i, j, k = np.multiply(region.size, volume.spacing)
        a, b, c = (stop - 1 for stop in region.stop)
        found.append(
            Measured(
                item.name, ml, mean, sd, region.start, (a, b, c),
                (float(i), float(j), float(k)), prompts, edits, seconds,
            )
        )  # fmt: skip
    return found


def _mean_and_sd(mask: LocalMask, volume: Volume) -> tuple[float, float]:
    """Of the intensities in a mask that is not empty."""
    image = volume.array[mask.region.slices]
    inside = np.concatenate([image[k][plane].astype(np.float64) for k, plane in enumerate(mask.values > 0)])
    return float(inside.mean()), float(inside.std())


COLUMNS = (
    "case", "annotator", "object", "volume_ml", "mean", "sd", "first_i", "first_j", "first_k", "last_i", "last_j",
    "last_k", "extent_i_mm", "extent_j_mm", "extent_k_mm", "prompts", "edits", "minutes",
)  # fmt: skip
"""Of `csv_text`."""


def csv_text(found: Sequence[Measured], case: str, annotator: str | None, *, anonymous: bool, head: bool = True) -> str:
    """Objects in numbers as comma-separated values, a row for each; empty where there is no voxel to measure.

    Args:
        found: The objects.
        case: Name of the volume.
        annotator: Who worked on it.
        anonymous: Leave out both, as an anonymous session does.
        head: Whether the first row is `COLUMNS`.
    """
    who = ("", "") if anonymous else (case, annotator or "")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if head:
        writer.writerow(COLUMNS)
    for one in found:
        box = [*(one.first or ("",) * 3), *(one.last or ("",) * 3), *(one.extent_mm or ("",) * 3)]
        mean, sd = ("" if number is None else number for number in (one.mean, one.sd))
        texts = [_harmless(text) for text in (*who, one.name)]
        writer.writerow([*texts, one.volume_ml, mean, sd, *box, one.prompts, one.edits, round(one.minutes, 3)])
    return text.getvalue()


def write_table(text: str, path: Path, *, overwrite: bool = False) -> Path:
    """Write such a text to a file, whole or not at all.

    Raises:
        UserError: It is there already, or cannot be written.
    """
    try:
        return write_bytes(path, text.encode(), overwrite=overwrite)
    except FileExistsError as error:
        raise UserError(f"{path} is there already; choose another name or allow overwriting.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be written ({reason(error)}); choose another place.") from error


def _harmless(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
