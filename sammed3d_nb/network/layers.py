"""Layers of the compact network.

Tensors are channels-last, (b, d0, d1, d2, c): every layer but the 3³ convolution is then a plain matrix product.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, layer_norm, linear, normalize, relu, scaled_dot_product_attention


class Convolution(nn.Module):
    """A residual 3³ convolution of the normalised, activated input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3, 3))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        with torch.no_grad():
            self.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d, h, w, c), the same."""
        return convolve(activate(x), self.weight, self.bias).add_(x)


class Attention(nn.Module):
    """A transformer block over the tokens of the coarsest grid."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, c) → (b, t, c)."""
        b, t, c = x.shape
        qkv = self.qkv(norm(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, c))
        return x + cast(Tensor, self.narrow(relu(self.wide(norm(x)))))


class Down(nn.Linear):
    """Halve the grid: each 2³ cells become one, by a linear map of their channels."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(8 * width, out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d, h, w, c) → (b, d/2, h/2, w/2, out)."""
        return super().forward(gather_cells(activate(x)))


class Up(nn.Linear):
    """Double the grid: each cell becomes 2³, by a linear map of its channels."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, 8 * out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d, h, w, c) → (b, 2d, 2h, 2w, out)."""
        return spread_cells(super().forward(activate(x)))


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3³ convolution of channels-last tensors (permuted, they are torch's channels_last_3d: nothing is copied)."""
    return conv3d(x.movedim(-1, 1), weight, bias, padding=1).movedim(1, -1)


def norm(x: Tensor) -> Tensor:
    """Each voxel's channels to mean 0 and deviation 1: independent of padding, of the clicks before, of the batch."""
    return layer_norm(x, x.shape[-1:])


def activate(x: Tensor) -> Tensor:
    """Normalise (not on the finest grid, where it would cost more than the convolutions), then bend."""
    return relu(x) if x.shape[1] >= 64 else norm(x).relu_()


def project(maps: Tensor, weight: Tensor, bias: Tensor, like: Tensor) -> Tensor:
    """A linear map of channels-first maps: (b·k, p, t) → (b·k, n, n, n, c), the grid of `like`."""
    mapped: Tensor = linear(maps.transpose(1, 2), weight, bias).unflatten(1, like.shape[1:4])
    return mapped


def unit(x: Tensor, groups: int) -> Tensor:
    """Channels in groups, each of length 1: (b, …, c) → (b, g, cells, c/g)."""
    x = x.unflatten(-1, (groups, -1)).flatten(1, -3)
    return normalize(x, dim=-1, eps=1e-3).transpose(1, 2)


def share(of_cube: Tensor, of_object: Tensor) -> Tensor:
    """The sum of what belongs to a cube and what belongs to each of its k objects: (b, …) + (b·k, …) → (b·k, …)."""
    b = len(of_cube)
    objects: Tensor = of_object.unflatten(0, (b, -1))
    return (of_cube[:, None] + objects).flatten(0, 1)


def add_shared(of_object: Tensor, of_cube: Tensor) -> Tensor:
    """As `share`, into the objects' own memory: taking 16 MB from the system costs a CPU more than the sum."""
    of_object.unflatten(0, (len(of_cube), -1)).add_(of_cube[:, None])
    return of_object


def gather_cells(x: Tensor) -> Tensor:
    """2³ cells' channels into one: (b, d, h, w, c) → (b, d/2, h/2, w/2, 8c)."""
    b, d, h, w, c = x.shape
    x = x.view(b, d // 2, 2, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, d // 2, h // 2, w // 2, 8 * c)


def spread_cells(x: Tensor) -> Tensor:
    """The inverse of `gather_cells`."""
    b, d, h, w, c = x.shape
    x = x.view(b, d, h, w, 2, 2, 2, c // 8).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, 2 * d, 2 * h, 2 * w, c // 8)
