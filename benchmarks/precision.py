"""What lower precision changes, on real volumes: relative embedding error, and the Dice of the final masks.

    python benchmarks/precision.py MODEL IMAGE… [--device D] [--decoder FILE] [--clicks 3]

Each image gets positive clicks at seeded places inside the body (brighter than its median), one after the other; the
whole path runs in each precision: cube, normalisation, encoding, decoding with the previous logits, and the mask on the
image's own grid. float32 on the same device is the reference.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sammed3d_nb import Cube, Model, Volume, load_model
from sammed3d_nb.measure.benchmark import machine

Answer = tuple[torch.Tensor, list[NDArray[np.uint8]]]


def places(volume: Volume, count: int) -> list[tuple[int, int, int]]:
    """Voxels (i, j, k) to click: the first near the middle of the bright ones, the others within 40 mm of it."""
    random = np.random.default_rng(0)
    k, j, i = np.nonzero(volume.array > np.median(volume.array))
    voxels = np.stack([i, j, k], axis=1)
    middle = voxels[np.abs((voxels - voxels.mean(axis=0)) * volume.spacing).sum(axis=1).argmin()]
    near = voxels[np.linalg.norm((voxels - middle) * volume.spacing, axis=1) < 40]
    chosen = [middle, *near[random.permutation(len(near))[: count - 1]]]
    return [(int(a), int(b), int(c)) for a, b, c in chosen]


def answer(model: Model, volume: Volume, clicks: Sequence[tuple[int, int, int]]) -> Answer:
    """The embedding, and the mask on the volume's grid after each click."""
    cube = Cube.at(volume, clicks[0])
    embedding = model.encode(model.prepare(cube.sample(volume)))
    assert isinstance(embedding, torch.Tensor)
    points = cube.from_voxel(volume)(clicks)
    previous, masks = None, []
    for n in range(1, len(points) + 1):
        previous = model.decode(embedding, points[:n], np.ones(n), previous).logits
        masks.append(cube.bring_home(previous, volume))
    return embedding.float().cpu(), masks


def dice(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """2 |a ∩ b| / (|a| + |b|); two empty masks agree."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def main() -> None:
    """Measure and print one line per precision and image, and the mean of each precision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--device")
    parser.add_argument("--decoder")
    parser.add_argument("--clicks", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["bfloat16", "float16"])
    arguments = parser.parse_args()

    def load(precision: str) -> Model:
        return load_model(arguments.model, decoder=arguments.decoder, device=arguments.device, precision=precision)

    exact = load("float32")
    print(f"{machine(exact.device)}, {exact.spec.name} from {Path(str(exact.spec.source)).name}")
    volumes = [Volume.read(path) for path in arguments.images]
    clicks = [places(volume, arguments.clicks) for volume in volumes]
    references = [answer(exact, volume, where) for volume, where in zip(volumes, clicks, strict=True)]
    for precision in arguments.precisions:
        model = load(precision)
        errors, scores = [], []
        for path, volume, where, (embedding, masks) in zip(arguments.images, volumes, clicks, references, strict=True):
            other, others = answer(model, volume, where)
            errors.append(float((other - embedding).norm() / embedding.norm()))
            scores.append([dice(a, b) for a, b in zip(masks, others, strict=True)])
            print(f"{precision:<9} {path.parent.name[:28]:<28} embedding {errors[-1]:.1e}, Dice by click "
                  + " ".join(f"{score:.4f}" for score in scores[-1]), flush=True)  # fmt: skip
        last = [row[-1] for row in scores]
        print(f"{precision:<9} all {len(volumes)}: embedding {np.mean(errors):.1e}, Dice of the last mask "
              f"{np.mean(last):.4f}, lowest {np.min(last):.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
