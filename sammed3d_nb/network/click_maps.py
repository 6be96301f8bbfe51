"""What the compact network's decoder is told about the clicks, and how a mask is made to obey them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, grid_sample

from sammed3d_nb.network.layers import share

REACHES = (1.5, 6.0, 24.0)
"""Standard deviations, in cells of 64³, of the three bells that mark a click."""
LIKENESS = (0.06, 0.2)
"""Widths, in normalised intensity, of "as bright as the clicked place"."""
FAR = 1e3
"""Difference of intensity to a click that is not there."""


class Features(NamedTuple):
    """What `Compact.encode` hands to `Compact.decode`, channels last, b cubes of n voxels.

    ``image`` is the normalised cube with each 2³ voxels as channels, (b, n/2, n/2, n/2, 8); the others are features at
    1/2, 1/4, 1/8 and 1/16 of the cube's resolution. 36 MB a cube in float32.
    """

    image: Tensor
    fine: Tensor
    middle: Tensor
    coarse: Tensor
    tokens: Tensor


def describe_clicks(
    features: Features,
    keys: tuple[Tensor, Tensor],
    points: Tensor,
    labels: Tensor,
    before: Tensor,
    *more: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """The decoder's three inputs (see `Decoder.forward`) for clicks (b·k, m, 3) and the previous mask's 2³ cells.

    ``keys`` are `Encoder.keys`; ``more`` are further maps (b·k, p, cells³) that the network knows, put last.
    """
    image = features.image
    cells = image.shape[1]
    positive, negative = labels == 1, labels == 0
    where = (points + 0.5) / (2 * cells)  # 0 … 1 over the cube
    fine = keys_at(keys[0], where)
    coarse = keys_at(keys[1], where)
    brightness = image.mean(-1, keepdim=True)
    # float32: CPUs pool nothing else
    smooth = avg_pool3d(brightness.movedim(-1, 1).float(), 3, 1, 1, count_include_pad=False).movedim(1, -1)
    clicked = sample_at(smooth, where)[..., 0]  # (b·k, m)

    centres = where * cells - 0.5
    bright = brightness.flatten(1).to(image.dtype)
    closeness = share(bright[:, None], -clicked[..., None].to(image.dtype)).abs_().neg_()[:, None]  # (b·k, 1, m, t)
    alike, alike_coarse = compare(keys[0], fine), compare(keys[1], coarse)  # (b·k, g, m, t)
    maps, likeness = [], []
    for chosen in (positive, negative):
        maps.append(bells(centres, chosen, cells).to(image.dtype))
        gap = largest(closeness, chosen, -FAR)
        maps += [(gap / width).square_().neg_().exp_() for width in LIKENESS]
        maps.append(largest(alike, chosen, -1.0))
        likeness.append(largest(alike_coarse, chosen, -1.0))
    reference = (clicked * positive).sum(1) / positive.sum(1).clamp(min=1)
    reference = -reference[:, None].to(image.dtype)
    maps += [share(bright, reference)[:, None], before.mean(-1).flatten(1)[:, None]]
    prompt = torch.cat([*maps, *more], dim=1)
    detail = torch.cat([share(image, reference[:, :, None, None, None]), before], dim=-1)
    return prompt, torch.cat(likeness, dim=1), detail


def largest(values: Tensor, chosen: Tensor, fill: float) -> Tensor:
    """The largest over the chosen clicks, (b·k, g, m, t) and (b·k, m) → (b·k, g, t); ``fill`` where there are none."""
    if len(chosen) == 1 and values.is_cpu:  # no work for the other clicks, no copy; a GPU would wait to read the clicks
        most = values.new_full((1, values.shape[1], values.shape[3]), fill)
        for click in chosen[0].nonzero()[:, 0].tolist():
            most = torch.maximum(most, values[:, :, click])
        return most
    # filled, not subtracted from: where fused code rounds a sum otherwise than its largest, gradients are 0/0
    return values.masked_fill(~chosen[:, None, :, None], fill).amax(2)


def prompt_channels(groups: int) -> int:
    """Maps for positive and for negative clicks (near, as bright, alike), brightness against the clicks', the mask.

    `connected_maps` and what is drawn come after them.
    """
    return 2 * (len(REACHES) + len(LIKENESS) + groups) + 2


def bells(centres: Tensor, chosen: Tensor, cells: int) -> Tensor:
    """Sums of Gaussian bells at the chosen clicks: (b, m, 3) in cells, (b, m) → (b, reaches, cells³)."""
    axis = torch.arange(cells, device=centres.device, dtype=centres.dtype)
    # filled on the device: a copy from the host could not be recorded in a CUDA graph
    reach = torch.cat([axis.new_full((1,), reach) for reach in REACHES])[:, None, None, None]
    bell = (-0.5 * ((axis - centres[:, None, :, :, None]) / reach).square()).exp()  # (b, r, m, 3, n)
    bell = bell * chosen[:, None, :, None, None]
    plane = torch.einsum("brmi,brmj->brijm", bell[:, :, :, 0], bell[:, :, :, 1]).flatten(2, 3)
    return (plane @ bell[:, :, :, 2]).flatten(2).clamp(max=2)


def compare(keys: Tensor, clicked: Tensor) -> Tensor:
    """Cosines of every cell's keys with the clicked places': (b, g, t, c), (b·k, m, g, c) → (b·k, g, m, t)."""
    b, g = keys.shape[:2]
    bk, m = clicked.shape[:2]
    queries = clicked.view(b, -1, g, clicked.shape[-1]).transpose(1, 2)  # (b, g, k·m, c)
    cosines = queries @ keys.transpose(2, 3)
    return cosines.view(b, g, bk // b, m, -1).transpose(1, 2).flatten(0, 1)


def sample_at(values: Tensor, where: Tensor) -> Tensor:
    """Values at places, linearly: (b, n, n, n, c), (b·k, m, 3) in 0 … 1 over the cube → (b·k, m, c)."""
    b, m = len(values), where.shape[1]
    places = where.view(b, 1, 1, -1, 3).flip(-1) * 2 - 1  # grid_sample wants the last dim first
    found = grid_sample(values.movedim(-1, 1).float(), places, align_corners=False, padding_mode="border")
    return found[:, :, 0, 0].transpose(1, 2).reshape(-1, m, values.shape[-1])


def keys_at(keys: Tensor, where: Tensor) -> Tensor:
    """The keys of the clicked places: (b, g, cells³, c), (b·k, m, 3) in 0 … 1 → (b·k, m, g, c)."""
    b, g, t, c = keys.shape
    n = round(t ** (1 / 3))
    cell = (where * n).long().clamp(0, n - 1)
    index = ((cell[..., 0] * n + cell[..., 1]) * n + cell[..., 2]).view(b, 1, -1, 1).expand(-1, g, -1, c)
    return keys.gather(2, index).transpose(1, 2).reshape(*where.shape[:2], g, c)


def hold_clicks(logits: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Logits that obey the clicks: at least positive at a positive click and negative at a negative one.

    The mask is sampled between cells on its way home, so the cells round the click (up to 4/3 of a cell away) obey too.
    A later click overrules an earlier one.

    Args:
        logits: (b, 1, n, n, n).
        points: (b, m, 3) float, index of the logits' own grid.
        labels: (b, m) 1, 0 or negative (no click).
    """
    n = logits.shape[-1]
    held = logits.clone(memory_format=torch.contiguous_format)
    flat = held.view(len(logits), -1)
    step = torch.arange(-1, 3, device=points.device)
    for click in range(points.shape[1]):
        point = points[:, click].float()
        cells = point.floor().clamp(1, n - 3)[:, :, None] + step  # (b, 3, 4), all on the grid
        square = (cells - point[:, :, None]).square()
        far = square[:, 0, :, None, None] + square[:, 1, None, :, None] + square[:, 2, None, None, :]
        force = (8.0 - 6.0 * far.sqrt()).flatten(1).to(logits.dtype)
        index = cells.long()
        index = (index[:, 0, :, None, None] * n + index[:, 1, None, :, None]) * n + index[:, 2, None, None, :]
        index = index.flatten(1)
        label = labels[:, click, None]
        now = flat.gather(1, index)
        forced = torch.where(label == 1, torch.maximum(now, force), torch.minimum(now, -force))
        flat.scatter_(1, index, torch.where((label >= 0) & (force > 0), forced, now))
    return held
