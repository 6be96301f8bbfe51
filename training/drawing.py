"""Simulated boxes, lassos and strokes of people's quality, batched on the GPU.

All of it works on the cells of the network's maps (two voxels wide, see `sammed3d_nb.network.drawn`), and with fixed
shapes and nothing copied from the host, so that a CUDA graph may be recorded.
"""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from sammed3d_nb.network.drawn import BOX, CROSSED, LASSO, MAPS, STROKE, TAKEN

FLOODS = 26
"""Steps of two cells in which a lasso's region grows from its place."""
REACH = 32
"""Half a stroke's greatest length in cells."""


def uniform(like: Tensor, low: float, high: float, *shape: int) -> Tensor:
    """Random numbers (b, …) on the device of ``like``, which has b objects."""
    return low + (high - low) * torch.rand(len(like), *shape, device=like.device)


def spread(box: tuple[Tensor, Tensor], cells: int) -> Tensor:
    """The part of each cell's edge between two places: (b, 3) in cells, twice → (b, 3, cells)."""
    axis = torch.arange(cells, device=box[0].device, dtype=torch.float32)
    low, high = (side[..., None] for side in box)
    return (torch.minimum(high, axis + 1) - torch.maximum(low, axis)).clamp(0, 1)


def extent(used: Tensor) -> tuple[Tensor, Tensor]:
    """Where a row of cells (…, cells) bool begins and ends; 0 … cells where it is empty."""
    cells = used.shape[-1]
    axis = torch.arange(cells, device=used.device)
    low = torch.where(used, axis, cells).amin(-1)
    high = torch.where(used, axis + 1, 0).amax(-1)
    return torch.where(low < high, low, 0).float(), torch.where(low < high, high, cells).float()


def loose(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """A box as people draw it: a bit too wide more often than too tight, now and then exact."""
    size = high - low
    off = [size * uniform(low, -0.04, 0.12, *low.shape[1:]) + uniform(low, -0.5, 0.8, *low.shape[1:]) for _ in range(2)]
    careful = (uniform(low, 0, 1) < 0.4).float().view(-1, *[1] * (low.ndim - 1))
    low, high = low - off[0] * (1 - careful), high + off[1] * (1 - careful)
    return low, torch.maximum(high, low + 1)


def boxes(shares: Tensor) -> Tensor:
    """The `BOX` map of a box round each object: (b, m, m, m) → the same."""
    used = shares > 0.05
    rows = torch.stack([used.any(a).any(b) for a, b in ((3, 2), (3, 1), (2, 1))], 1)
    parts = spread(loose(*extent(rows)), shares.shape[-1])
    inside = parts[:, 0, :, None, None] * parts[:, 1, None, :, None] * parts[:, 2, None, None, :]
    outside = (uniform(shares, 0, 1) < 0.9).float()[:, None, None, None]  # now and then a click leads beyond it
    return torch.where(inside > 0.5, 2 * inside - 1, (2 * inside - 1) * outside)


def planes(shares: Tensor, cell: Tensor, axis: Tensor) -> Tensor:
    """The slice through a cell across an axis: (b, m, m, m), (b, 3), (b,) → (b, m, m)."""
    b = len(shares)
    row = torch.arange(b, device=shares.device)
    cuts = (shares[row, cell[:, 0]], shares[row, :, cell[:, 1]], shares[row, :, :, cell[:, 2]])
    pick = axis[:, None, None]
    return torch.where(pick == 0, cuts[0], torch.where(pick == 1, cuts[1], cuts[2]))


def standing(plane: Tensor, cell: Tensor, axis: Tensor, thick: Tensor) -> Tensor:
    """A slice's values at its place in the cube: (b, m, m), (b, 3), (b,), half its thickness (b,) → (b, m, m, m)."""
    m = plane.shape[-1]
    at = cell.gather(1, axis[:, None])
    slab = ((torch.arange(m, device=plane.device) - at).abs() <= thick[:, None]).to(plane.dtype)
    pick = axis[:, None, None, None]
    first = slab[:, :, None, None] * plane[:, None]
    second = slab[:, None, :, None] * plane[:, :, None]
    third = slab[:, None, None, :] * plane[:, :, :, None]
    return torch.where(pick == 0, first, torch.where(pick == 1, second, third))


def in_plane(cell: Tensor, axis: Tensor) -> Tensor:
    """The two other coordinates of a cell, (b, 3), (b,) → (b, 2)."""
    pick = axis[:, None]
    return torch.where(pick == 0, cell[:, 1:], torch.where(pick == 1, cell[:, ::2], cell[:, :2]))


def component(plane: Tensor, place: Tensor) -> Tensor:
    """The part of a slice that hangs together with a place, as a person sees it: (b, m, m), (b, 2) → (b, m, m)."""
    b, m = plane.shape[:2]
    allowed = (plane > 0.3).float()
    seed = torch.zeros_like(allowed).view(b, -1)
    seed.scatter_(1, place[:, :1] * m + place[:, 1:], 1.0)
    seed = seed.view(b, m, m)
    allowed = torch.maximum(allowed, seed)
    for _ in range(FLOODS):  # two cells a step; a gap of one cell is crossed
        seed = max_pool2d(seed[:, None], 5, 1, 2)[:, 0] * allowed
    return seed


def outlined(part: Tensor) -> Tensor:
    """What a hand encloses that goes round a part of a slice: smoother, a bit too wide or too tight, (b, m, m)."""
    soft = avg_pool2d(part[:, None], 5, 1, 2, count_include_pad=False)
    uneven = interpolate(torch.randn(len(part), 1, 9, 9, device=part.device), size=part.shape[1:], mode="bilinear")
    line = uniform(part, 0.25, 0.5)[:, None, None, None]
    careful = (uniform(part, 0, 1) < 0.4)[:, None, None]
    return torch.where(careful, part, (soft + 0.1 * uneven > line)[:, 0].to(part.dtype))


def flat_box(part: Tensor) -> Tensor:
    """A box round a part of a slice: 1 inside, −1 outside, (b, m, m)."""
    rows = torch.stack([(part > 0.05).any(2), (part > 0.05).any(1)], 1)
    parts = spread(loose(*extent(rows)), part.shape[-1])
    return 2 * parts[:, 0, :, None] * parts[:, 1, None, :] - 1


def stroke(plane: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
    """A shaky stroke through a place, along the object and within it.

    Args:
        plane: (b, m, m) the object on the slice.
        place: (b, 2) in it.

    Returns:
        The stroke (b, m, m), and two places (b, 2, 2) on it, between its middle and its ends.
    """
    b, m = plane.shape[:2]
    axis = torch.arange(m, device=plane.device, dtype=torch.float32)
    away = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None] - place[:, :, None, None]
    window = plane * (-0.5 * (away / uniform(plane, 4, 20)[:, None, None, None]).square().sum(1)).exp()
    xx, yy, xy = (
        (window * one * other).flatten(1).sum(1)
        for one, other in ((away[:, 0], away[:, 0]), (away[:, 1], away[:, 1]), (away[:, 0], away[:, 1]))
    )
    angle = 0.5 * torch.atan2(2 * xy, xx - yy + 1e-6) + 0.4 * torch.randn(b, device=plane.device)
    along = torch.stack([angle.cos(), angle.sin()], 1)[:, :, None]
    across = torch.stack([-angle.sin(), angle.cos()], 1)[:, :, None]
    step = 0.7 * torch.arange(-REACH, REACH + 1, device=plane.device, dtype=torch.float32)
    bend = (0.008 * torch.randn(b, 1, device=plane.device)) * step.square()
    shake = uniform(plane, 0, 0.9, 1) * (step * uniform(plane, 0.2, 0.9, 1) + uniform(plane, 0, 6.3, 1)).sin()
    off = bend + shake - shake[:, REACH, None]
    way = (place[:, :, None] + along * step + across * off[:, None]).round().long()  # (b, 2, steps)
    on = ((way >= 0) & (way < m)).all(1)
    flat = (way[:, 0].clamp(0, m - 1) * m + way[:, 1].clamp(0, m - 1)).contiguous()
    on = on & (plane.flatten(1).gather(1, flat) > 0.25)
    on[:, REACH] = True
    longest = uniform(plane, 0.25, 1.0, 1)
    on = on & (step.abs() <= longest * 0.7 * REACH)
    # as far as it stays in the object, both ways
    on = torch.cat([on[:, : REACH + 1].flip(1).long().cumprod(1).flip(1), on[:, REACH + 1 :].long().cumprod(1)], 1)
    drawn = torch.zeros(b, m * m, device=plane.device).scatter_reduce_(1, flat, on.float(), "amax").view(b, m, m)
    ends = [REACH - (0.6 * on[:, :REACH].sum(1)).long(), REACH + (0.6 * on[:, REACH + 1 :].sum(1)).long()]
    row = torch.arange(b, device=plane.device)
    return drawn, torch.stack([way[row, :, end] for end in ends], 1)


def lifted(places: Tensor, cell: Tensor, axis: Tensor) -> Tensor:
    """Places on a slice as voxels of the cube: (b, p, 2), (b, 3), (b,) → (b, p, 3)."""
    at = cell.gather(1, axis[:, None])[:, None].expand(-1, places.shape[1], -1)
    one, other = places[..., :1], places[..., 1:]
    pick = axis[:, None, None]
    cells = torch.where(
        pick == 0,
        torch.cat([at, one, other], -1),
        torch.where(pick == 1, torch.cat([one, at, other], -1), torch.cat([one, other, at], -1)),
    )
    return 2.0 * cells + torch.randint(2, cells.shape, device=cells.device)


def first_prompts(shares: Tensor, point: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What people draw first instead of clicking: a box, a box on a slice, a stroke or a lasso.

    Args:
        shares: (b, m, m, m) the filled part of each cell, of the objects.
        point: (b, 3) where they would click.
        label: (b,) of that.

    Returns:
        Maps (b, `MAPS`, m, m, m), points (b, 3, 3) and labels (b, 3): a stroke and a lasso name three places, a box
        none, or one with which the session tries it.
    """
    b = len(shares)
    cell = (point / 2).long().clamp(0, shares.shape[-1] - 1)
    axis = torch.randint(3, (b,), device=shares.device)
    kind = uniform(shares, 0, 1)
    solid, flat = kind < 0.35, (kind >= 0.35) & (kind < 0.53)
    striped = (kind >= 0.53) & (kind < 0.77)
    plane, place = planes(shares, cell, axis), in_plane(cell, axis)
    part = component(plane, place)
    thick = 3.0 * uniform(shares, 0, 1).square()  # voxels may be larger than cells
    line, ends = stroke(plane, place)
    ring = outlined(part)
    whole = (uniform(shares, 0, 1) < 0.5)[:, None, None]
    in_slice = torch.where(
        _of(flat), flat_box(torch.where(whole, plane, part)), torch.where(_of(striped), line, 2 * ring - 1)
    )
    slab = standing(in_slice, cell, axis, torch.where(striped, 0.5 * thick, thick))
    maps = shares.new_zeros(b, MAPS, *shares.shape[1:])
    maps[:, BOX] = torch.where(_of(solid, 3), boxes(shares), torch.where(_of(flat, 3), slab, 0))
    maps[:, STROKE] = torch.where(_of(striped, 3), slab, 0)
    maps[:, LASSO] = torch.where(_of(~(solid | flat | striped), 3), slab, 0)
    within = (avg_pool2d(part[:, None], 3, 1, 1)[:, 0] > 0.99).float() + 0.01 * part
    chosen = (within[:, None].flatten(2) * (0.5 + uniform(shares, 0, 1, 2, part[0].numel()))).argmax(2)
    deep = torch.stack([chosen // plane.shape[-1], chosen % plane.shape[-1]], -1)
    others = lifted(torch.where(_of(striped), ends, deep), cell, axis)
    points = torch.cat([point[:, None], others], 1)
    boxed = (solid | flat)[:, None]
    tried = boxed & (uniform(shares, 0, 1, 1) < 0.4)  # 0 … 1: with a click, or the box alone
    nothing = torch.full_like(label, -1)[:, None]
    one = torch.cat([torch.where(boxed & ~tried, nothing, label[:, None]), nothing, nothing], 1)
    three = label[:, None].expand(-1, 3)
    return maps, points, torch.where(boxed, one, three)


def later_prompts(shares: Tensor, point: Tensor, label: Tensor) -> Tensor:
    """What people draw to correct an answer instead of a click, or round it: a stroke, or an outline on a slice.

    Args:
        shares: (b, m, m, m) the filled part of each cell, of what is missed where a label is 1 and of what is too much
            where it is 0.
        point: (b, 3) the click in it.
        label: (b,) of the click.

    Returns:
        Maps (b, `MAPS`, m, m, m); half of them a click alone.
    """
    cell = (point / 2).long().clamp(0, shares.shape[-1] - 1)
    axis = torch.randint(3, (len(shares),), device=shares.device)
    kind = uniform(shares, 0, 1)
    plane, place = planes(shares, cell, axis), in_plane(cell, axis)
    line, _ = stroke(plane, place)
    ring = outlined(component(plane, place))
    thick = 3.0 * uniform(shares, 0, 1).square()
    striped = kind < 0.25
    drawn = standing(torch.where(_of(striped), line, ring), cell, axis, torch.where(striped, 0.5 * thick, thick))
    positive = label == 1
    maps = shares.new_zeros(len(shares), MAPS, *shares.shape[1:])
    for channel, chosen in (
        (STROKE, striped & positive), (CROSSED, striped & ~positive),
        (LASSO, ~striped & (kind < 0.5) & positive), (TAKEN, ~striped & (kind < 0.5) & ~positive),
    ):  # fmt: skip
        maps[:, channel] = torch.where(_of(chosen, 3), drawn, 0)
    return maps


def merged(maps: Tensor, more: Tensor) -> Tensor:
    """What was drawn before and now: what is in counts more than what is out."""
    return torch.where(maps == 0, more, torch.where(more == 0, maps, torch.maximum(maps, more)))


def _of(chosen: Tensor, dims: int = 2) -> Tensor:
    """(b,) to spread over slices or cubes."""
    return chosen.view(-1, *[1] * dims)
