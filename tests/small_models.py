"""Real networks of small size, and the files that hold them."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sammed3d_nb.network.encoder import EncoderShape
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import ModelSpec

TEACHER = EncoderShape(grid=8, patch=16, width=12, heads=2, windows=(14, 8, 14), hidden=8, out=48)
STUDENT = EncoderShape(grid=8, patch=16, width=12, heads=1, windows=(0, 8), hidden=8, out=48)


def weights(shape: EncoderShape = TEACHER, seed: int = 0) -> dict[str, Tensor]:
    """A state dict with the original's names; every tensor is random, none is trivial."""
    with torch.device("meta"):
        names = {
            name: tensor.shape for name, tensor in SamMed3D(shape, ModelSpec("", "", 0, 0, 0)).state_dict().items()
        }
    random = torch.Generator().manual_seed(seed)
    return {name: torch.randn(size, generator=random) / max(1, size[1:].numel()) ** 0.5 for name, size in names.items()}


def encoder_alone(shape: EncoderShape = STUDENT) -> dict[str, Tensor]:
    """Only the image encoder, names without ``image_encoder.``, as FastSAM3D's files hold it."""
    prefix = "image_encoder."
    return {k.removeprefix(prefix): v for k, v in weights(shape, seed=1).items() if k.startswith(prefix)}


def save(path: Path, content: Any, **options: Any) -> Path:
    """``torch.save``."""
    torch.save(content, path, **options)
    return path
