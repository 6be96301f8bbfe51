"""The same labels on harder images: ``python benchmarks/harder.py CASE [--model M] [--clicks N]``.

CASE is a folder as `sammed3d-nb evaluate` takes it. Its image and labels are made coarse across the slices, turned to
oblique axes, inverted and made noisy, and cut to small crops; every variant goes through the same protocol as the case
itself, on the variant's own grid. Structures of at least 1 mL in the variant count; small crops are of the structures
that fit into one, so their row stands beside the case's own figures for just these.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb import Session, UserError, Volume, load_model
from sammed3d_nb.measure.evaluate import User, evaluate
from sammed3d_nb.measure.labelled import LabelledCase
from sammed3d_nb.measure.tables import Measurement, curve_line, summarise, table_lines

THICK_MM = (2.0, 2.0, 8.0)
NOISE = 60.0
"""Standard deviation, in the image's units: HU for a CT."""
CROP = 35
"""Edge of a small crop in voxels."""
CROPS = f"crops of {CROP} voxels"


def resampled(
    case: LabelledCase, name: str, size: Sequence[int], spacing: Sequence[float], direction: NDArray[np.float64]
) -> LabelledCase:
    """The case on another grid round the same middle: linear for the image, nearest for the labels.

    Args:
        case: The case.
        name: Of the new one.
        size: Voxels along i, j, k.
        spacing: mm along i, j, k.
        direction: (3, 3), columns are the LPS directions of i, j and k.
    """
    image = case.volume.image
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    grid = sitk.Image([int(n) for n in size], sitk.sitkUInt8)
    grid.SetSpacing([float(mm) for mm in spacing])
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((middle - direction @ ((np.array(size) - 1) / 2 * spacing)).tolist())
    labels = sitk.GetImageFromArray(case.labels.astype(np.int32))
    labels.CopyInformation(image)
    lowest = float(case.volume.array.min())
    values = sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, lowest)
    moved = sitk.Resample(labels, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    volume = Volume(values, name=name, modality=case.volume.modality)
    return LabelledCase(name, volume, sitk.GetArrayFromImage(moved), case.names)


def with_values(case: LabelledCase, name: str, values: NDArray[np.float32]) -> LabelledCase:
    """The case with other intensities (z, y, x) on the same grid."""
    old = case.volume
    volume = Volume.from_array(values, old.spacing, old.direction, old.origin, name=name, modality=old.modality)
    return LabelledCase(name, volume, case.labels, case.names)


def thick(case: LabelledCase) -> LabelledCase:
    """2 × 2 × 8 mm, blurred to that width at half maximum first; an axis that is coarser already is not blurred."""
    spacing = np.array(case.volume.spacing)
    sigma = np.sqrt(np.maximum(np.square(THICK_MM) - spacing**2, 0)) / 2.355 / spacing
    blurred = ndimage.gaussian_filter(case.volume.array.astype(np.float32), sigma[::-1])
    size = np.maximum(1, np.rint(case.volume.size * spacing / THICK_MM)).astype(int)
    name = "{:g} × {:g} × {:g} mm".format(*THICK_MM)
    return resampled(with_values(case, name, blurred), name, size.tolist(), THICK_MM, case.volume.direction)


def oblique(case: LabelledCase) -> LabelledCase:
    """Turned by 25° and 15°; the size stays, so corners are cut off."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.deg2rad(25.0), np.deg2rad(15.0), 0.0)
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ case.volume.direction
    return resampled(case, "turned by 25° and 15°", case.volume.size, case.volume.spacing, direction)


def inverted(case: LabelledCase) -> LabelledCase:
    """Contrast inverted, noise added."""
    values = case.volume.array.astype(np.float32)
    noise = np.random.default_rng(0).normal(0.0, NOISE, values.shape)
    return with_values(case, "inverted, noisy", (noise - values).astype(np.float32))


def crops(case: LabelledCase) -> Iterator[LabelledCase]:
    """For every structure that fits, a crop round it with that structure alone labelled; no larger than the case."""
    for label, box in enumerate(ndimage.find_objects(case.labels), start=1):
        if box is None or any(part.stop - part.start > CROP for part in box):
            continue
        starts = [
            int(np.clip((part.start + part.stop - CROP) // 2, 0, max(0, n - CROP)))
            for part, n in zip(box, case.labels.shape, strict=True)
        ]
        part = tuple(slice(start, start + CROP) for start in starts)
        old = case.volume
        origin = old.image.TransformIndexToPhysicalPoint(starts[::-1])
        volume = Volume.from_array(
            old.array[part], old.spacing, old.direction, origin, name=CROPS, modality=old.modality
        )
        yield LabelledCase(CROPS, volume, np.where(case.labels[part] == label, label, 0), case.names)


def variants(case: LabelledCase) -> Iterator[LabelledCase]:
    """The case as it is, then harder."""
    yield case
    for harder in (thick, oblique, inverted):
        yield harder(case)
    yield from crops(case)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--model", help="as for load_model; by default the compact network")
    parser.add_argument("--clicks", type=int, default=5)
    arguments = parser.parse_args()
    try:
        case, model = LabelledCase.read(arguments.case), load_model(arguments.model)
    except UserError as error:
        parser.exit(2, f"{error}\n")
    found: list[Measurement] = []
    for variant in variants(case):
        for curve in evaluate(variant, Session(variant.volume, model), User(arguments.clicks)):
            found += curve
            print(curve_line(curve), flush=True)
    fitting = {one.structure for one in found if one.case == CROPS}
    whole = [replace(one, case="these, not cropped") for one in found if one.case == case.name]
    table = summarise([*found, *(one for one in whole if one.structure in fitting)], "case")
    table.pop("all", None)  # one case in several forms
    if table:
        print("\n" + "\n".join(table_lines(table, "variant")))


if __name__ == "__main__":
    main()
