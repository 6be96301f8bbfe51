"""What region growing from the clicks would reach: how unlike the clicked places one must pass to get to each cell.

A click in a large even organ says little by nearness; that all of the organ can be reached without leaving its
brightness says nearly everything. The decoder is shown it as maps beside the others.
"""

from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from sammed3d_nb.network.click_maps import LIKENESS, sample_at

UNREACHED = 4.0
"""Above any difference of normalised intensities: the cost of cells before anything has grown, or without clicks."""
ROUNDS = 2
"""Sweeps over the cube, there and back along each axis; more change little."""


@torch.no_grad()
def connected_maps(image: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """How well each cell is connected with the positive and with the negative clicks, 0 … 1.

    Args:
        image: `Features.image` of b cubes, (b, n/2, n/2, n/2, 8).
        points: (b·k, m, 3) cube index.
        labels: (b·k, m) 1, 0, or negative (no click).

    Returns:
        (b·k, 2 · widths, cells): for each sign, the widths of `LIKENESS`; 0 where there is no click of that sign.
    """
    cells = image.shape[1]
    bk = len(labels)
    bright = image.float().mean(-1)
    where = (points + 0.5) / (2 * cells)
    smooth = avg_pool3d(bright[:, None], 3, 1, 1, count_include_pad=False).movedim(1, -1)
    clicked = sample_at(smooth, where)[..., 0]  # (b·k, m)
    place = (where * cells).long().clamp(0, cells - 1)
    place = (place[..., 0] * cells + place[..., 1]) * cells + place[..., 2]
    costs, starts = [], []
    for sign in (1, 0):
        chosen = labels == sign
        costs.append(least_unlike(bright.flatten(1), clicked, chosen))
        seeds = torch.zeros_like(clicked).masked_fill_(~chosen, UNREACHED)
        start = bright.new_full((bk, cells**3), UNREACHED)
        starts.append(start.scatter_reduce_(1, place, seeds, "amin"))
    grid = (bk, 2, cells, cells, cells)
    cost, reached = (torch.stack(maps, 1).view(grid).to(image.dtype) for maps in (costs, starts))
    grow(cost, reached)
    reached = reached.flatten(2)[:, :, None]
    widths = torch.stack([torch.exp(-(reached / width).square()) for width in LIKENESS], 2)
    return widths.flatten(1, 3).view(bk, 2 * len(LIKENESS), -1)


def least_unlike(bright: Tensor, clicked: Tensor, chosen: Tensor) -> Tensor:
    """By how much each cell differs from the chosen click most like it: (b, t), (b·k, m), (b·k, m) → (b·k, t)."""
    if len(chosen) == 1 and bright.is_cpu:  # as `click_maps.largest`: no copy for every click
        least = bright.new_full(bright.shape, UNREACHED)
        for click in chosen[0].nonzero()[:, 0].tolist():
            least = torch.minimum(least, (bright - clicked[0, click]).abs_())
        return least
    unlike = (bright[:, None, None] - clicked.unflatten(0, (len(bright), -1))[..., None]).abs_().flatten(0, 1)
    least_of_all: Tensor = unlike.masked_fill_(~chosen[..., None], UNREACHED).amin(1)
    return least_of_all


def grow(cost: Tensor, reached: Tensor) -> None:
    """Lower ``reached`` (…, d0, d1, d2), in place, to the dearest cell on the cheapest way from where it is low.

    A fixed number of sweeps, so that a CUDA graph may be recorded: ways with more bends than `ROUNDS` allows cost more.
    """
    turned = cost.transpose(2, 4).contiguous()  # the last axis is swept in a copy: its planes lie scattered
    for _ in range(ROUNDS):
        sweep(cost, reached, 2)
        sweep(cost, reached, 3)
        last = reached.transpose(2, 4).contiguous()
        sweep(turned, last, 2)
        reached.copy_(last.transpose(2, 4))


def sweep(cost: Tensor, reached: Tensor, axis: int) -> None:
    """Pass on what is reached from plane to plane, there and back."""
    planes = list(zip(cost.unbind(axis), reached.unbind(axis), strict=True))
    for order in (planes, planes[::-1]):
        for (_, before), (price, plane) in pairwise(order):
            torch.clamp(before, price, plane, out=plane)  # min(plane, max(before, price))
