"""A tiny deterministic network for tests of the interface: voxels that look like the clicked ones, near them."""

import torch
from torch import Tensor

from sammed3d_nb.model import Model
from sammed3d_nb.network.spec import ModelSpec, Network


class SimilarityNetwork(Network):
    """Logits fall with the difference in intensity and the distance to the nearest positive click."""

    spec = ModelSpec("similarity", "compact", layers=0, width=1, heads=0, grid_size=64)

    def encode(self, cube: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(cube, 2)

    def decode(
        self, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        values = embedding[0, 0]
        cells = torch.stack(torch.meshgrid(*[torch.arange(64.0)] * 3, indexing="ij"), dim=-1)
        logits = torch.full_like(values, -20.0)
        for point in points[labels == 1]:
            cell = (point - 0.5) / 2
            d0, d1, d2 = cell.round().long().clamp(0, 63).tolist()
            likeness = ((values - values[d0, d1, d2]) / 0.2) ** 2
            distance = ((cells - cell) / 12).square().sum(dim=-1)
            logits = torch.maximum(logits, 4 - likeness - distance)
        for point in points[labels == 0]:
            distance = (cells - (point - 0.5) / 2).square().sum(dim=-1)
            logits = logits - 20 * torch.exp(-distance / 40)
        return logits[None, None], torch.tensor([[0.9]])


def similarity_model() -> Model:
    return Model(SimilarityNetwork(), torch.device("cpu"))
