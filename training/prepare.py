"""Make the training data small enough to travel: ``python training/prepare.py DATA OUT [--leave-out FAMILY,…]``.

Each case becomes one ``NAME.npz.xz``: the image in about 100 grey levels that follow its histogram (with the table
back to raw values), axes towards R, A, S, and one or more labellings. Real images also get pseudo-structures, which
teach "the region that was clicked" on real texture, labelled or not: deep watershed basins of the gradient,
supervoxels of two scales, connected pieces of intensity bands, whole regions of one brightness (lungs, air, fluid,
however large), and whole bones in CT. Validation cases (``ct_torso``, ``ct_spleen_5mm``) are never read here; patients
that are held out are marked ``held_out``; families that are left out (`LEFT_OUT`, of ``wider``) are not prepared.
"""

import argparse
import io
import lzma
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from training.merge import supervoxels

LEVELS = 100
HELD_OUT_PATIENTS = ("022", "023", "024")
HELD_OUT_HIPPOCAMPI = 12
SMALLEST_ML = 0.15
FAMILIES = {
    "fetalSB": "fetal", "fetal": "fetal", "ms": "ms", "stroke": "stroke", "heart": "heart", "hn": "neck",
    "lung": "nodule", "vertebra": "vertebra", "cord": "cord", "em": "em", "nuclei": "fluorescence",
    "plant": "fluorescence",
}  # fmt: skip
"""The family of a volume of ``wider``, by the first word of its folder's name."""
LEFT_OUT = ("heart", "fluorescence")
"""Families that piece 8 did not see: they say how well it does on what is new."""
SUPERVOXELS = (120, 30)
"""Regions of the two scales of `training.merge`."""
SCATTERED = ("ms", "stroke", "nodule")
"""Families whose one label is many things: each piece becomes an object, for that is what a click means."""


def canonical(image: sitk.Image) -> sitk.Image:
    """Axes closest to L, P, S; the array is turned to R, A, S when it is stored."""
    return sitk.DICOMOrient(image, "LPS")


def array(image: sitk.Image) -> np.ndarray:
    """(x, y, z) array with indices increasing towards R, A, S."""
    return np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose()[::-1, ::-1])


def resample(image: sitk.Image, spacing: list[float], interpolator: int) -> sitk.Image:
    """The image on a grid of another spacing over the same extent."""
    size = [max(1, round(n * s / t)) for n, s, t in zip(image.GetSize(), image.GetSpacing(), spacing, strict=True)]
    spacing = [n * s / t for n, s, t in zip(image.GetSize(), image.GetSpacing(), size, strict=True)]
    shift = [(new - old) / 2 for new, old in zip(spacing, image.GetSpacing(), strict=True)]
    matrix = np.array(image.GetDirection()).reshape(3, 3)
    origin = np.array(image.GetOrigin()) + matrix @ shift
    return sitk.Resample(
        image, size, sitk.Transform(), interpolator, origin.tolist(), spacing, image.GetDirection(), 0.0,
        image.GetPixelID(),
    )  # fmt: skip


def quantise(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 levels that follow the histogram (half) and the value (half), and the raw value of each level."""
    flat = values[values != 0].astype(np.float64)
    low, high = np.percentile(flat, [0.1, 99.9])
    edges = np.linspace(low, high, 513)
    counts, _ = np.histogram(np.clip(flat, low, high), edges)
    share = np.minimum(counts / counts.sum(), 0.02)
    rank = np.concatenate([[0], np.cumsum(share) / share.sum()])
    curve = 0.5 * rank + 0.5 * np.linspace(0, 1, 513)
    levels = np.interp(values, edges, curve) * (LEVELS - 1)
    table = np.interp(np.arange(LEVELS) / (LEVELS - 1), curve, edges)
    return np.round(levels).astype(np.uint8), table.astype(np.float32)


def keep(labels: np.ndarray, voxel_ml: float, limit: int = 250, most: float = 0.35) -> np.ndarray:
    """The labels of a sensible size (to the part ``most`` of the volume), renumbered 1 … n ≤ limit, as uint8."""
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    fit = np.flatnonzero((counts * voxel_ml > SMALLEST_ML) & (counts < most * labels.size))
    fit = fit[np.argsort(-counts[fit])][:limit]
    renumber = np.zeros(len(counts), dtype=np.uint8)
    renumber[fit] = np.arange(1, len(fit) + 1)
    return renumber[labels]


def basins(image: sitk.Image, voxel_ml: float) -> np.ndarray:
    """Watershed basins of the gradient, deep ones only: shallow ones follow noise and teach nothing but doubt."""
    smooth = sitk.GradientAnisotropicDiffusion(image, 0.03, 2.0, 8)
    edge = sitk.GradientMagnitudeRecursiveGaussian(smooth, 1.2)
    middle = float(np.median(sitk.GetArrayViewFromImage(edge)))
    water = sitk.MorphologicalWatershed(edge, 2.5 * middle, markWatershedLine=False, fullyConnected=False)
    return keep(array(water), voxel_ml)


def regions(image: sitk.Image, voxel_ml: float) -> np.ndarray:
    """Whole regions of one brightness: lungs, air, fluid, what lies round a body, to nine tenths of the volume.

    The pieces of two and of three bands of a blurred image, opened so that thin bridges part.
    """
    smooth = sitk.DiscreteGaussian(image, 1.0)
    out = np.zeros(array(image).shape, dtype=np.int32)
    for cuts in (2, 1):  # the broader bands lie on top
        bands = sitk.OtsuMultipleThresholds(smooth, cuts)
        for band in range(cuts + 1):
            if cuts == 1 and band:
                continue  # all that is bright together is a body, not a region
            mask = bands == band
            core = sitk.ConnectedComponent(sitk.BinaryMorphologicalOpening(mask, [3, 3, 1]), False)
            grown = array(sitk.RelabelComponent(core, minimumObjectSize=64)).astype(np.int32)
            grown = ndimage.grey_dilation(grown, (3, 3, 3)) * array(mask)  # what the opening took from the rim
            out = np.where(grown > 0, grown + out.max(), out)
    return keep(out, voxel_ml, most=0.9)


def bones(values: np.ndarray, voxel_ml: float) -> np.ndarray:
    """Whole bones of a CT, marrow included: what is above 180 HU, closed and filled slice by slice."""
    hard = values > 180
    disc = np.hypot(*np.mgrid[-3:4, -3:4]) < 3.3
    closed = ndimage.binary_closing(np.pad(hard, ((4, 4), (4, 4), (0, 0))), disc[:, :, None])[4:-4, 4:-4]
    filled = np.stack([ndimage.binary_fill_holes(closed[:, :, z]) for z in range(values.shape[2])], axis=2)
    opened = ndimage.binary_opening(filled, np.ones((2, 2, 1)))
    return keep(ndimage.label(opened)[0], 0.2 * voxel_ml)  # 0.75 mL at least


def bands(image: sitk.Image, voxel_ml: float, cuts: int) -> np.ndarray:
    """Connected pieces of the intensity bands between Otsu's thresholds, smoothed."""
    smooth = sitk.DiscreteGaussian(image, 2.0)
    bands = sitk.OtsuMultipleThresholds(smooth, cuts)
    out = np.zeros(array(image).shape, dtype=np.int32)
    for band in range(cuts + 1):
        piece = sitk.BinaryMorphologicalOpening(bands == band, [1, 1, 0])
        pieces = array(sitk.ConnectedComponent(piece, False)).astype(np.int32)
        out = np.where(pieces > 0, pieces + out.max(), out)
    return keep(out, voxel_ml)


def store(path: Path, **arrays: np.ndarray) -> None:
    """Write one case."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    path.write_bytes(lzma.compress(buffer.getvalue(), preset=6))
    print(path.name, path.stat().st_size // 1024, "KiB", flush=True)


def real(folder: Path, out: Path, name: str, in_plane: float, pseudo: bool, held_out: bool, kind: str) -> None:
    """One case with an image."""
    image = canonical(sitk.Cast(sitk.ReadImage(str(folder / "image.nii.gz")), sitk.sitkFloat32))
    label = canonical(sitk.Cast(sitk.ReadImage(str(folder / "label.nii.gz")), sitk.sitkUInt16))
    spacing = [max(in_plane, s) for s in image.GetSpacing()]
    if any(s > 1.05 * t for s, t in zip(spacing, image.GetSpacing(), strict=True)):
        smooth = [max(0.01, 0.35 * (s - t)) for s, t in zip(spacing, image.GetSpacing(), strict=True)]
        image = resample(sitk.SmoothingRecursiveGaussian(image, smooth), spacing, sitk.sitkLinear)
        label = resample(label, spacing, sitk.sitkNearestNeighbor)
    values = array(image)
    if name.startswith("brain_atlas"):  # the head's box: templates carry wide margins
        box = tuple(slice(max(w.min() - 3, 0), w.max() + 4) for w in np.nonzero(values > 0.02 * values.max()))
    else:
        box = (slice(None),) * 3
    voxel_ml = float(np.prod(image.GetSpacing())) / 1000
    levels, table = quantise(values)
    people = array(label)
    if kind in SCATTERED:
        people = ndimage.label(people > 0)[0]
    labellings = [np.unique(people, return_inverse=True)[1].reshape(values.shape).astype(np.uint8)]
    if pseudo:
        grey = sitk.GetImageFromArray(levels[::-1, ::-1].transpose().astype(np.float32) / LEVELS)
        grey.SetSpacing(image.GetSpacing())
        labellings += [basins(grey, voxel_ml), bands(grey, voxel_ml, 3), regions(grey, voxel_ml)]
        for found in supervoxels(grey, SUPERVOXELS):
            labellings.append(keep(found.transpose()[::-1, ::-1], voxel_ml, most=0.7))
        if name.endswith("CT") or kind == "neck" or name in ("vertebra_ct", "lung_nodule_lidc0314"):
            labellings.append(bones(values, voxel_ml))
    store(
        out / f"{name}.npz.xz",
        image=levels[box],
        table=table,
        labels=np.stack([labelling[box] for labelling in labellings]),
        spacing=np.array(image.GetSpacing(), dtype=np.float32),
        held_out=np.array(held_out),
        kind=np.array(kind),
    )


def head_map(path: Path, out: Path) -> None:
    """One label map without an image."""
    image = canonical(sitk.ReadImage(str(path)))
    values = array(image)
    box = tuple(slice(max(w.min() - 3, 0), w.max() + 4) for w in np.nonzero(values))
    labels = np.unique(values[box], return_inverse=True)[1].reshape(values[box].shape).astype(np.uint8)
    store(
        out / f"{path.name.split('.')[0]}.npz.xz",
        labels=labels[None],
        spacing=np.array(image.GetSpacing(), dtype=np.float32),
        held_out=np.array(False),
        kind=np.array("map"),
    )


def main(data: Path, out: Path, left_out: tuple[str, ...]) -> None:
    """Prepare everything that may be trained on, on all cores."""
    out.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()) as pool:
        jobs = []
        for folder in sorted((data / "sarcoma").iterdir()):
            held = folder.name[:3] in HELD_OUT_PATIENTS
            jobs.append(pool.submit(real, folder, out, f"sarcoma_{folder.name}", 1.4, True, held, "sarcoma"))
        for name in ("brain_atlas_mni", "brain_atlas_colin"):
            jobs.append(pool.submit(real, data / name, out, name, 1.25, True, False, "atlas"))
        for folder in sorted((data / "wider").iterdir()):
            kind = FAMILIES[folder.name.split("_")[0]]
            if kind not in left_out:
                jobs.append(pool.submit(real, folder, out, folder.name, 0.9, True, False, kind))
        cases = sorted((data / "hippocampus").iterdir())
        for index, folder in enumerate(cases):
            held = index >= len(cases) - HELD_OUT_HIPPOCAMPI
            if held or index % 2 == 0:
                jobs.append(pool.submit(real, folder, out, f"hippocampus_{folder.name}", 0, False, held, "hippocampus"))
        jobs += [pool.submit(head_map, p, out) for p in sorted((data / "brain_label_maps").glob("*.nii.gz"))]
        for job in jobs:
            job.result()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--leave-out", default=",".join(LEFT_OUT), help="families of `wider`, separated by commas")
    given = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    main(given.data, given.out, tuple(given.leave_out.split(",")))
