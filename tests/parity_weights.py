"""The deterministic weights and references of the parity folder, which lies beside the checkout when it is there."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

FOLDER = Path(__file__).parents[2] / "shared" / "parity"


@cache
def module() -> Any:
    """``fill_weights.py``, or skip."""
    if not FOLDER.is_dir():
        pytest.skip("the parity references (../shared/parity) are not here")
    spec = importlib.util.spec_from_file_location("fill_weights", FOLDER / "fill_weights.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def names(kind: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of ``"sam"`` (324) or of the student encoder ``"fast"`` (81)."""
    module()
    lines = (line.split() for line in (FOLDER / "tensors.txt").read_text().splitlines())
    return {name: tuple(map(int, shape.split(","))) for which, name, shape in lines if which == kind}


def sam_med3d() -> dict[str, Tensor]:
    """A state dict of SAM-Med3D's real names and shapes, 402 MB."""
    return {name: module().filled(name, shape) for name, shape in names("sam").items()}


def student() -> dict[str, Tensor]:
    """A state dict of FastSAM3D's student encoder, bare names, 176 MB."""
    return {name: module().filled(name, shape) for name, shape in names("fast").items()}


def full_fastsam3d() -> dict[str, Tensor]:
    """The student with the prompt encoder and mask decoder of `sam_med3d`."""
    rest = {name: shape for name, shape in names("sam").items() if not name.startswith("image_encoder.")}
    state = {f"image_encoder.{name}": tensor for name, tensor in student().items()}
    return state | {name: module().filled(name, shape) for name, shape in rest.items()}


def cube(seed: int = 1) -> Tensor:
    """The input of the references."""
    volume: Tensor = module().volume(seed)
    return volume


def references(name: str) -> dict[str, Tensor]:
    """The original's outputs, ``"sam_med3d"`` or ``"fastsam3d"``."""
    module()
    with np.load(FOLDER / f"{name}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file}
