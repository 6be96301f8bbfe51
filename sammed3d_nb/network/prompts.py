"""Clicks and the previous mask, as SAM-Med3D's mask decoder wants them."""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear

IGNORED = -2
"""Label of a token that only fills up a tensor of fixed size; nothing may attend to it."""

MASK_NORM_EPS = 1e-6  # of the channel norms; those of the transformer are PyTorch's 1e-5


class RandomFrequencies(nn.Module):
    """Positions as features: 128 random frequencies, which are part of the checkpoint."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, frequencies: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.zeros(3, frequencies))

    def forward(self, positions: Tensor) -> Tensor:
        """(…, 3) in [0, 1] to (…, 3 × frequencies); float32 at least, since half precision cannot hold the angles."""
        matrix = self.positional_encoding_gaussian_matrix
        angle = 2 * math.pi * ((2 * positions - 1) @ matrix.to(positions.dtype))
        sine = angle.sin()
        # sine twice: the two dimensions of the original SAM needed two thirds, the third dimension got the sine again
        return torch.cat([sine, angle.cos(), sine], dim=-1)


class Tokens(nn.Module):
    """Learned tokens (count, width). PyTorch's embedding without its random start, which no checkpoint needs."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, width))


class PromptEncoder(nn.Module):
    """Encodes clicks to tokens and the previous mask to sixteen channels on the embedding's grid.

    Args:
        width: channels of a token.
        grid: cells of the embedding along each edge.
        cube: voxels of the input along each edge.
        mask_channels: channels after the mask's two convolutions.
    """

    def __init__(self, width: int, grid: int, cube: int, mask_channels: int = 16) -> None:
        super().__init__()
        self.grid, self.cube = grid, cube
        self.pe_layer = RandomFrequencies(width // 3)
        self.point_embeddings = nn.ModuleList(Tokens(1, width) for _ in range(2))
        self.not_a_point_embed = Tokens(1, width)
        few = mask_channels // 4
        # numbered as the original's sequence, whose items 2 and 5 are GELUs
        self.mask_downscaling = nn.ModuleDict(
            {
                "0": nn.Conv3d(1, few, 2, stride=2),
                "1": nn.LayerNorm(few, eps=MASK_NORM_EPS),
                "3": nn.Conv3d(few, mask_channels, 2, stride=2),
                "4": nn.LayerNorm(mask_channels, eps=MASK_NORM_EPS),
                "6": nn.Conv3d(mask_channels, width, 1),
            }
        )
        self.no_mask_embed = Tokens(1, width)

    @property
    def mask_projection(self) -> nn.Conv3d:
        """The last convolution of the mask, which the decoder folds into its own products."""
        return cast(nn.Conv3d, self.mask_downscaling["6"])

    def dense_positions(self) -> Tensor:
        """Positional features of the grid's cells, (n³, width).

        Axes 0 and 1 are swapped against the points' encoding: cell (a, b, c) is encoded as the point (b, a, c). A
        mistake in the original, which the weights have learned.
        """
        centres = (torch.arange(self.grid, dtype=torch.float64) + 0.5) / self.grid
        a, b, c = torch.meshgrid(centres, centres, centres, indexing="ij")
        matrix = self.pe_layer.positional_encoding_gaussian_matrix
        positions = torch.stack([b, a, c], dim=-1).view(-1, 3).to(matrix)
        features: Tensor = self.pe_layer(positions)
        return features

    def clicks(self, points: Tensor, labels: Tensor) -> Tensor:
        """Tokens of the clicks, (N + 1, width): the original always adds one that says "not a point".

        Args:
            points: (N, 3) in cube index, order d0, d1, d2.
            labels: (N,) 1 positive, 0 negative, `IGNORED` for filling.
        """
        features = self.pe_layer((points + 0.5) / self.cube)
        negative, positive = (cast(Tokens, kind).weight for kind in self.point_embeddings)
        label = labels[:, None]
        kind = torch.where(label == 1, positive, torch.where(label == 0, negative, torch.zeros_like(negative)))
        tokens = features.to(kind.dtype) + kind
        return torch.cat([tokens, self.not_a_point_embed.weight])

    def mask(self, logits: Tensor) -> Tensor:
        """The previous logits (1, 1, 4n, 4n, 4n) to features (n³, mask_channels).

        What is left to do is `mask_projection`.
        """
        first, second = (cast(nn.Conv3d, self.mask_downscaling[item]) for item in "03")
        norm1, norm2 = (cast(nn.LayerNorm, self.mask_downscaling[item]) for item in "14")
        n = self.grid
        # both convolutions work on 2³ cells that do not overlap: cut once, and channels stay last
        cells = logits.to(first.weight.dtype).view(n, 2, 2, n, 2, 2, n, 2, 2).permute(0, 3, 6, 1, 4, 7, 2, 5, 8)
        x = linear(cells.reshape(-1, 8), first.weight.flatten(1), first.bias)
        x = gelu(norm1(x))
        x = x.view(n**3, 8, -1).transpose(1, 2).flatten(1)  # the weight's order: channel, then the cell's 2³
        x = linear(x, second.weight.flatten(1), second.bias)
        return gelu(norm2(x))
