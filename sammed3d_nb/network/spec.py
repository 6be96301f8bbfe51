"""What every network is: its description (`ModelSpec`) and its two calls (`Network`)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Embedding = Tensor | tuple[Tensor, ...]
"""What `Network.encode` hands to `Network.decode`; opaque to everyone else, immutable by agreement."""


def parts_of(embedding: Embedding) -> tuple[Tensor, ...]:
    """The tensors of an embedding, one or several."""
    return (embedding,) if isinstance(embedding, Tensor) else tuple(embedding)


@dataclass(frozen=True)
class ModelSpec:
    """What a loaded network is, for callers, the screen and the saved record.

    Attributes:
        name: what to call it, e.g. ``"SAM-Med3D"``.
        architecture: ``"sam-med3d"``, ``"fastsam3d"`` or ``"compact"``.
        layers: transformer blocks of the image encoder, or all blocks of a convolutional network.
        width: channels of the image encoder, where it is widest.
        heads: attention heads of a block.
        cube_size: voxels along each edge of the input cube.
        grid_size: cells along each edge of the low-resolution logits.
        spacing_mm: edge of one voxel of the first cube, mm.
        spacing_range_mm: the finest and the coarsest edge that the network was trained on.
        normalisation: key of `sammed3d_nb.network.normalise.normalise`.
        parameters: number of weights.
        source: the file or files that the weights came from, ``None`` when they never were in a file.
        sha256: of that file, of the encoder's file when there are two.
        megabytes: of that file, 10⁶ bytes.
        native: kinds of prompts that the network was trained on; the others are translated for it.
    """

    name: str
    architecture: str
    layers: int
    width: int
    heads: int
    cube_size: int = 128
    grid_size: int = 32
    spacing_mm: float = 1.5
    spacing_range_mm: tuple[float, float] = (1.5, 1.5)
    normalisation: str = "positive-zscore"
    parameters: int = 0
    source: str | None = None
    sha256: str | None = None
    megabytes: float = 0.0
    native: tuple[str, ...] = ("point",)


class Network(nn.Module, ABC):
    """A promptable 3D segmentation network: encode a cube once, decode it at every click.

    Both calls expect inputs on the network's own device and are run without gradients by
    `sammed3d_nb.models.model.Model`; floating inputs may have any floating dtype.
    """

    spec: ModelSpec

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        """Move to a device and a precision; networks with weights that must stay exact override this."""
        self.to(device=device, dtype=dtype)

    @abstractmethod
    def encode(self, cube: Tensor) -> Embedding:
        """Encode one cube.

        Args:
            cube: (1, 1, n, n, n) with n = ``spec.cube_size``; dims d0, d1, d2; already normalised.
        """

    @abstractmethod
    def decode(
        self,
        embedding: Embedding,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer the clicks.

        Args:
            embedding: what `encode` returned.
            points: (N, 3) float, all clicks so far in cube index (voxel centres at integers), order d0, d1, d2.
            labels: (N,) 1 for a positive, 0 for a negative click.
            previous: the logits of the click before, (1, 1, g, g, g) with g = ``spec.grid_size``, or ``None``.
            drawn: maps of what is drawn (`sammed3d_nb.network.drawn`); only where ``spec.native`` says so.

        Returns:
            Logits (1, 1, g, g, g), > 0 inside, and the network's own estimate of their quality (1, 1).
        """
