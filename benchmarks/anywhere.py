"""One click anywhere inside a structure: ``python benchmarks/anywhere.py CASE NAME… [--places 20] [--model M]``.

The simulator of `sammed3d-nb evaluate` clicks the deepest voxel; people do not. Each structure is clicked once at
random places inside it, at least 9 mm from its border (or half its depth, where it is thinner), each time in a new
session. CASE is a folder as `sammed3d-nb evaluate` takes it; NAMEs are of its ``info.json``, or numbers of labels.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

import sammed3d_nb as snb

DEPTH_MM = 9.0


def numbers(folder: Path) -> dict[str, int]:
    """The label of each structure's name, as far as ``info.json`` tells them."""
    path = folder / "info.json"
    found = json.loads(path.read_text())["labels"] if path.exists() else {}
    return {about["name"]: int(label) for label, about in found.items()}


def places(mask: NDArray[np.bool_], spacing_zyx: tuple[float, ...], count: int, seed: int) -> NDArray[np.int_]:
    """Random voxels (count, 3) as z, y, x well inside a mask (z, y, x)."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_zyx)[1:-1, 1:-1, 1:-1]
    inside = np.argwhere(depth >= min(DEPTH_MM, depth.max() / 2))
    chosen = np.random.default_rng(seed).choice(len(inside), count, replace=len(inside) < count)
    return np.asarray(inside[chosen])


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--places", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="a checkpoint (default: the shipped one)")
    args = parser.parse_args()
    volume = snb.Volume.read(args.case / "image.nii.gz")
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(args.case / "label.nii.gz")))
    model = snb.load_model(args.model) if args.model else snb.load_model()
    known = numbers(args.case)
    print(f"{'structure':32} median   worst  below 0.5")
    for name in args.names:
        if name not in known and not re.fullmatch(r"\d+", name):
            parser.error(f"{args.case} has no {name}")
        mask = labels == known.get(name, int(name) if name.isdigit() else -1)
        spacing = tuple(float(mm) for mm in volume.spacing[::-1])
        dice = []
        for z, y, x in places(mask, spacing, args.places, args.seed):
            answer = snb.Session(volume, model).click((int(x), int(y), int(z))).mask
            dice.append(2 * float((answer & mask).sum()) / float(answer.sum() + mask.sum()))
        below = sum(value < 0.5 for value in dice)
        print(f"{name:32}  {np.median(dice):.2f}    {min(dice):.2f}  {below} of {len(dice)}", flush=True)


if __name__ == "__main__":
    main()
