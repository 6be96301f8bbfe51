"""Trying any model as a user would: an image, a first prompt, a second one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from sammed3d_nb.segmenters.segmenter import Engine

EDGE = 96
"""Voxels along each edge of the image that is tried."""


def sees_cubes(source: str | None) -> bool:
    """Whether a source, as `load_model` takes it, is a network in a file, whose two steps can be timed apart."""
    from sammed3d_nb.models.hub import FOLDERS
    from sammed3d_nb.models.remote import is_address

    return source is None or not (is_address(source) or source in FOLDERS or Path(source).expanduser().is_dir())


def try_model(source: str | None, api_key: Path | None = None) -> tuple[bool, str]:
    """Load a model, and tell how long a first click (with the image) and a second one take, and what memory.

    Returns:
        Whether it answered, and a line about it.

    Raises:
        UserError: It cannot be loaded, or does not answer.
    """
    import torch

    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.models.model import load_model
    from sammed3d_nb.session.session import Session

    start = time.perf_counter()
    model: Engine = load_model(source, api_key=api_key)
    loaded = time.perf_counter()
    device: Any = getattr(model, "device", None)
    on_gpu = device is not None and device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    session = Session(Volume.from_array(_ball(), (1.5,) * 3, name="a ball"), model)
    middle = (EDGE // 2,) * 3
    session.click(middle)
    first = time.perf_counter()
    result = session.click((middle[0] + 4, *middle[1:]))
    second = time.perf_counter()
    told = [f"{model.described}: loaded in {loaded - start:.1f} s"]
    told += [f"first click {first - loaded:.2f} s with an image of {EDGE}³ voxels, second click {second - first:.2f} s"]
    if model.spec.parameters:
        size = f", {model.spec.megabytes:.0f} MB" if model.spec.megabytes else ""
        told.append(f"{model.spec.parameters / 1e6:.1f} M parameters{size}")
    if on_gpu:
        told.append(f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB of GPU memory at most")
    each = model.bytes_per_voxel
    if each:
        large = 512 * 512 * 300
        told.append(f"an image of 512 × 512 × 300 voxels takes {each * large / 1e9:.1f} GB of memory here")
    told += [note.rstrip(".") for note in model.notes]
    return result.local.count > 0, "; ".join(told)


def _ball() -> np.ndarray[Any, np.dtype[np.int16]]:
    """A bright ball in noise: something that every model finds."""
    at = np.indices((EDGE,) * 3) - EDGE / 2
    noise = np.random.default_rng(0).normal(0, 20, (EDGE,) * 3)
    return (np.where((at**2).sum(axis=0) < (EDGE / 4) ** 2, 150, -100) + noise).astype(np.int16)
