"""The same labels on harder images: ``python benchmarks/harder.py CASE [--model M] [--clicks N]``.

CASE is a folder as `sammed3d-nb evaluate` takes it. Its image and labels are made coarse along the slices, turned to
oblique axes, inverted and made noisy, and cut to small crops; every variant goes through the same protocol as the
case itself, on the variant's own grid. Structures of at least 1 mL in the variant count.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from sammed3d_nb import Session, Volume, load_model
from sammed3d_nb.evaluate import Measurement, evaluate, later_clicks, summarise, table_lines
from sammed3d_nb.labelled import LabelledCase

CROP = 35
"""Edge of a small crop in voxels."""
NOISE = 60.0
"""Standard deviation, in the image's units: HU for a CT."""


def resampled(case: LabelledCase, name: str, grid: sitk.Image) -> LabelledCase:
    """The case on another grid: linear for the image, nearest for the labels, the image's minimum outside of it."""
    labels = sitk.GetImageFromArray(case.labels.astype(np.int32))
    labels.CopyInformation(case.volume.image)
    outside = float(case.volume.array.min())
    image = sitk.Resample(
        sitk.Cast(case.volume.image, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, outside
    )
    moved = sitk.Resample(labels, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    volume = Volume(image, name=name, modality=case.volume.modality)
    return LabelledCase(name, volume, sitk.GetArrayFromImage(moved), case.names)


def thick(case: LabelledCase) -> LabelledCase:
    """2 × 2 × 8 mm: thick slices, averaged over their thickness first, as a scanner does."""
    spacing = np.array([2.0, 2.0, 8.0])
    image = case.volume.image
    sigma = np.maximum(spacing - image.GetSpacing(), 0.0) / 2.355
    smooth = ndimage.gaussian_filter1d(case.volume.array.astype(np.float32), sigma[2] / image.GetSpacing()[2], axis=0)
    volume = Volume.from_array(
        smooth, image.GetSpacing(), case.volume.direction, image.GetOrigin(), modality=case.volume.modality
    )
    size = np.ceil(np.multiply(image.GetSize(), image.GetSpacing()) / spacing).astype(int)
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetOrigin(image.GetOrigin())
    grid.SetDirection(image.GetDirection())
    return resampled(LabelledCase(case.name, volume, case.labels, case.names), "2 × 2 × 8 mm", grid)


def oblique(case: LabelledCase) -> LabelledCase:
    """Turned by 25° and 15° round its middle; the size stays, so corners are cut off."""
    image = case.volume.image
    turn = sitk.Euler3DTransform()
    turn.SetRotation(np.deg2rad(25.0), np.deg2rad(15.0), 0.0)
    direction = np.array(turn.GetMatrix()).reshape(3, 3) @ case.volume.direction
    half = (np.array(image.GetSize()) - 1) / 2 * image.GetSpacing()
    middle = np.array(image.GetOrigin()) + case.volume.direction @ half
    grid = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    grid.SetSpacing(image.GetSpacing())
    grid.SetDirection(direction.ravel().tolist())
    grid.SetOrigin((middle - direction @ half).tolist())
    return resampled(case, "oblique by 25° and 15°", grid)


def inverted(case: LabelledCase) -> LabelledCase:
    """Contrast inverted, noise added."""
    values = case.volume.array.astype(np.float32)
    values = -values + np.random.default_rng(0).normal(0.0, NOISE, values.shape).astype(np.float32)
    image = case.volume.image
    volume = Volume.from_array(values, image.GetSpacing(), case.volume.direction, image.GetOrigin(), name="inverted")
    return LabelledCase("inverted, noisy", volume, case.labels, case.names)


def crops(case: LabelledCase) -> Iterator[LabelledCase]:
    """For every structure that fits, a crop round it with that structure alone labelled."""
    for label, box in enumerate(ndimage.find_objects(case.labels), start=1):
        if box is None or any(part.stop - part.start > CROP for part in box):
            continue
        middles = [(part.start + part.stop) // 2 for part in box]
        starts = [
            int(np.clip(middle - CROP // 2, 0, max(0, n - CROP)))
            for middle, n in zip(middles, case.labels.shape, strict=True)
        ]
        part = tuple(slice(start, start + CROP) for start in starts)
        origin = case.volume.image.TransformIndexToPhysicalPoint(starts[::-1])
        volume = Volume.from_array(
            case.volume.array[part], case.volume.spacing, case.volume.direction, origin, modality=case.volume.modality
        )
        alone = np.where(case.labels[part] == label, label, 0)
        yield LabelledCase(f"crops of {CROP} voxels", volume, alone, case.names)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("case", type=Path)
parser.add_argument("--model", help="as for load_model; by default the compact network")
parser.add_argument("--clicks", type=int, default=5)
arguments = parser.parse_args()
original = LabelledCase.read(arguments.case)
model = load_model(arguments.model)
found: list[Measurement] = []
for variant in (original, thick(original), oblique(original), inverted(original), *crops(original)):
    for curve in evaluate(variant, Session(variant.volume, model), clicks=arguments.clicks):
        found += curve
        scores = "  ".join(f"{one.dice:.3f}" for one in curve)
        print(f"{variant.name}  {curve[0].structure:<28} {curve[0].ml:>8.1f} mL  {scores}", flush=True)
print()
print("\n".join(table_lines(summarise(found, "case"), "variant")))
print(later_clicks(found))
