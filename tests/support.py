"""What several tests share: random volumes and a network whose answer is known beforehand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models.model import Model
from sammed3d_nb.network.spec import ModelSpec, Network

SHARED = Path(__file__).parents[2] / "shared"


class BallNetwork(Network):
    """Answers with a ball of `RADIUS` cube voxels round every positive click, minus one round every negative click.

    Its masks are known exactly, so a click that goes astray anywhere on the way shows at once.
    """

    RADIUS = 16.0
    spec = ModelSpec("ball", "test", layers=0, width=0, heads=0, grid_size=64)

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode(self, cube: Tensor) -> Tensor:
        self.encoded += 1
        return cube

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        cells = cell_centres(self.spec)
        logits = torch.full(cells.shape[:3], -20.0) if previous is None else previous[0, 0].clone()
        for point, label in zip(points, labels, strict=True):
            ball = self.RADIUS - (cells - point).norm(dim=-1)
            logits = torch.maximum(logits, ball) if label else torch.minimum(logits, -ball)
        return logits[None, None], torch.ones(1, 1)


class FullNetwork(BallNetwork):
    """Says that everything belongs to the object, to see how far a mask grows."""

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return torch.full((1, 1, 64, 64, 64), 5.0), torch.ones(1, 1)


class TubeNetwork(BallNetwork):
    """Sees a tube of 9 mm radius along d0 through the first click; a negative click bites `BITE` cube voxels off it."""

    BITE = 6.0

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        cells = cell_centres(self.spec)
        if previous is None or (previous > 0).sum() == 0:
            logits = 6 - (cells - points[0])[..., 1:].norm(dim=-1)
        else:
            seen = previous[0, 0]
            across = seen.amax(0, keepdim=True)  # goes on along d0 as far as the cube reaches
            logits = torch.where(seen > -5.9, seen, across)
        for point in points[labels == 0]:
            logits = torch.minimum(logits, (cells - point).norm(dim=-1) - self.BITE)
        return logits[None, None], torch.ones(1, 1)


class BrightNetwork(BallNetwork):
    """Sees what is bright, and was trained on cubes of several spacings.

    Args:
        most: Sees nothing when more cells than this are bright.
    """

    spec = replace(BallNetwork.spec, spacing_range_mm=(0.5, 3.0))

    def __init__(self, most: int = 10**9) -> None:
        super().__init__()
        self.most = most

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        logits = torch.nn.functional.avg_pool3d(embedding, 2) - 1
        if (logits > 0).sum() > self.most:
            logits = torch.full_like(logits, -9)
        return logits, torch.ones(1, 1)


def cell_centres(spec: ModelSpec) -> Tensor:
    """(n, n, n, 3) cube index of each cell of the network's grid."""
    n = spec.grid_size
    line = (torch.arange(n, dtype=torch.float32) + 0.5) * spec.cube_size / n - 0.5
    return torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)


def model_of(network: Network) -> Model:
    return Model(network, torch.device("cpu"))


def rotation(seed: int, degrees: float = 180) -> NDArray[np.float64]:
    """A random rotation by up to `degrees`."""
    random = np.random.default_rng(seed)
    axis = random.standard_normal(3)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * np.radians(random.uniform(0, degrees))).as_matrix()


@st.composite
def volumes(draw: st.DrawFn, most: int = 24) -> Volume:
    """Small volumes of random size, spacing, origin, axis order, flips and obliqueness."""
    size = draw(st.tuples(*[st.integers(2, most)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 8)] * 3))
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    tilt = rotation(draw(st.integers(0, 2**32 - 1)), draw(st.sampled_from([0, 10, 40, 180])))
    array = np.random.default_rng(draw(st.integers(0, 99))).integers(-100, 200, size[::-1]).astype(np.int16)
    return Volume.from_array(array, spacing, tilt @ axes, origin)


def bright_ball(centre: tuple[int, int, int], radius_mm: float) -> Volume:
    """A tilted volume of thick slices, dark but for a ball round a voxel."""
    empty = torso_like((0.7, 0.7, 2.0))
    k, j, i = np.meshgrid(*[np.arange(n) for n in empty.array.shape], indexing="ij")
    distance = np.linalg.norm(empty.voxel_to_ras(np.stack([i, j, k], -1)) - empty.voxel_to_ras(centre), axis=-1)
    array = empty.array + np.where(distance < radius_mm, 1000, 0).astype(np.int16)
    return Volume.from_array(array, empty.spacing, empty.direction, empty.origin)


def torso_like(spacing: tuple[float, float, float] = (1.2, 1.2, 4.0), *, seed: int = 3) -> Volume:
    """A tilted volume larger than one cube in the plane, thick slices, axes flipped."""
    size = (220, 200, 60)
    array = np.random.default_rng(seed).integers(0, 100, size[::-1]).astype(np.int16)
    return Volume.from_array(array, spacing, rotation(seed, 12) @ np.diag([1, -1, 1]), (-80, 40, 900))
