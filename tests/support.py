"""What several tests share: random volumes and a network whose answer is known beforehand."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from sammed3d_nb.model import Model
from sammed3d_nb.network.spec import ModelSpec, Network
from sammed3d_nb.volume import Volume

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
        n = self.spec.grid_size
        line = (torch.arange(n, dtype=torch.float32) + 0.5) * self.spec.cube_size / n - 0.5
        cells = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1)
        logits = torch.full((n, n, n), -20.0) if previous is None else previous[0, 0].clone()
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


def torso_like(spacing: tuple[float, float, float] = (1.2, 1.2, 4.0), *, seed: int = 3) -> Volume:
    """A tilted volume larger than one cube in the plane, thick slices, axes flipped."""
    size = (220, 200, 60)
    array = np.random.default_rng(seed).integers(0, 100, size[::-1]).astype(np.int16)
    return Volume.from_array(array, spacing, rotation(seed, 12) @ np.diag([1, -1, 1]), (-80, 40, 900))
