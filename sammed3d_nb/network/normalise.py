"""Intensity normalisations, by the key that a network's spec names."""

from collections.abc import Callable

import torch
from torch import Tensor


def positive_zscore(cube: Tensor) -> Tensor:
    """Subtract the mean and divide by the standard deviation of the voxels > 0 (as SAM-Med3D does through TorchIO).

    The deviation is the sample's (n − 1). A cube without contrast among its positive voxels (fewer than two, or all
    equal) has no such scale: it is returned centred on its positive mean, or unchanged, so that no NaN arises.

    Args:
        cube: any shape, raw intensities; the padding outside the volume is 0.

    Returns:
        float32 of the same shape.
    """
    cube = cube.to(torch.float32)
    positive = cube[cube > 0]
    if positive.numel() == 0:
        return cube
    # float64: a float32 sum over two million voxels of a CT loses the third decimal of the mean
    mean = positive.mean(dtype=torch.float64) if cube.device.type != "mps" else positive.mean()
    deviation = (positive.to(mean.dtype) - mean).square().sum().div(max(positive.numel() - 1, 1)).sqrt()
    scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
    return (cube - mean.to(torch.float32)) / scale.to(torch.float32)


def equalised(cube: Tensor) -> Tensor:
    """A gentle histogram equalisation: monotone, the same for CT and MR whatever their units.

    Half of the scale follows the rank of a value among the voxels, half the value itself, so that neither a few metal
    voxels nor an empty background take the contrast from the tissues. No bin may claim more than 4 % of the ranks.
    Exact zeros are left out of the statistics: they are the padding outside the volume.

    Args:
        cube: any shape, raw intensities; the padding outside the volume is 0.

    Returns:
        float32 of the same shape, about −1 … 1 (beyond, for values beyond the 0.2nd and 99.8th percentile).
    """
    cube = cube.to(torch.float32)
    flat = cube.flatten()
    some = flat[:: max(1, flat.numel() // 300_000)]
    some = some[some != 0].sort().values
    if some.numel() < 2:
        return torch.zeros_like(cube)
    last = some.numel() - 1
    low, high = some[round(0.002 * last)], some[round(0.998 * last)]
    if not high > low:
        return torch.zeros_like(cube)
    bins = 256
    edges = low + (high - low) * torch.linspace(0, 1, bins + 1, device=cube.device)
    counts = torch.searchsorted(some, edges, right=True).diff().to(torch.float32)
    share = (counts / some.numel()).clamp(max=0.04)
    rank = torch.cat([share.new_zeros(1), share.cumsum(0) / share.sum().clamp(min=1e-6)])
    curve = 0.5 * (rank + torch.linspace(0, 1, bins + 1, device=cube.device))
    at = (cube - low) * (bins / (high - low))
    cell = at.clamp(0, bins - 1).to(torch.int64)
    # beyond the ends the value's half of the scale goes on alone
    beyond = (at - at.clamp(0, bins)) * (0.5 / bins)
    inside = curve[cell] + (at.clamp(0, bins) - cell) * curve.diff()[cell]
    return (2 * (inside + beyond) - 1).clamp(-1.5, 1.5)


_NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {"positive-zscore": positive_zscore, "equalised": equalised}


def normalise(kind: str, cube: Tensor) -> Tensor:
    """Normalise raw intensities the way the network that names ``kind`` was trained.

    Args:
        kind: a network's ``spec.normalisation``.
        cube: any shape, raw intensities, 0 outside the volume.

    Raises:
        KeyError: an unknown ``kind`` (a programming error: kinds come from specs).
    """
    return _NORMALISATIONS[kind](cube)
