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


_NORMALISATIONS: dict[str, Callable[[Tensor], Tensor]] = {"positive-zscore": positive_zscore}


def normalise(kind: str, cube: Tensor) -> Tensor:
    """Normalise raw intensities the way the network that names ``kind`` was trained.

    Args:
        kind: a network's ``spec.normalisation``.
        cube: any shape, raw intensities, 0 outside the volume.

    Raises:
        KeyError: an unknown ``kind`` (a programming error: kinds come from specs).
    """
    return _NORMALISATIONS[kind](cube)
