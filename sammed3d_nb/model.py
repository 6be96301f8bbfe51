"""A loaded network on a device: what sessions and programs call."""

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sammed3d_nb import checkpoints
from sammed3d_nb.errors import DeviceError
from sammed3d_nb.network.normalise import normalise
from sammed3d_nb.network.spec import Embedding, ModelSpec, Network

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Decoded(NamedTuple):
    """The answer to the clicks so far.

    Attributes:
        logits: (1, 1, n, n, n) float32 on the network's grid over the cube, n = ``spec.grid_size``; > 0 inside.
        quality: (1, 1) float32, the network's own estimate of the mask's IoU.
    """

    logits: Tensor
    quality: Tensor


class Model:
    """A network on one device in one precision. All calls may come from any thread."""

    def __init__(self, network: Network, device: torch.device, precision: str = "float32") -> None:
        self.network = network.eval().requires_grad_(False)
        network.place(device, PRECISIONS[precision])
        self.device = device
        self.precision = precision
        self._lock = threading.Lock()

    @property
    def spec(self) -> ModelSpec:
        """What the network is."""
        return self.network.spec

    def prepare(self, values: "np.ndarray[Any, Any]") -> Tensor:
        """Normalise a cube the way this network was trained.

        Args:
            values: (n, n, n) raw intensities, n = ``spec.cube_size``, 0 outside the volume; dims d0, d1, d2.

        Returns:
            (1, 1, n, n, n) on this model's device.
        """
        cube = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(self.device)
        return normalise(self.spec.normalisation, cube)[None, None]

    def encode(self, tensor: Tensor) -> Embedding:
        """Encode one cube.

        Args:
            tensor: (1, 1, n, n, n) normalised, n = ``spec.cube_size``; dims d0, d1, d2.
        """
        with torch.inference_mode(), self._lock:
            return self.network.encode(tensor.to(self.device))

    def decode(self, embedding: Embedding, points: Any, labels: Any, previous: Tensor | None = None) -> Decoded:
        """Answer the clicks.

        Args:
            embedding: what `encode` returned.
            points: (N, 3) all clicks so far in cube index (voxel centres at integers), order d0, d1, d2.
            labels: (N,) 1 for a positive, 0 for a negative click.
            previous: ``logits`` of the click before, or ``None`` at the first.
        """
        points = torch.as_tensor(points, dtype=torch.float32, device=self.device)
        labels = torch.as_tensor(labels, device=self.device)
        with torch.inference_mode(), self._lock:
            logits, quality = self.network.decode(embedding, points, labels, previous)
        return Decoded(logits.float(), quality.float())


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device to compute on: the one asked for, else CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: the one asked for is not there.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"The device {str(device)!r} cannot be used here; leave it out or say cpu.") from error
    return wanted


def load_model(
    source: str | Path | None = None,
    *,
    decoder: str | Path | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
) -> Model:
    """Load a network.

    Args:
        source: nothing (the compact default that ships with the package), a known name, or a path.
        decoder: for a file that holds an image encoder alone, the SAM-Med3D file with the rest.
        device: ``"cuda"``, ``"mps"``, ``"cpu"``; by default the first of these that is there.
        precision: ``"float32"`` (the default), ``"bfloat16"`` or ``"float16"``.

    Raises:
        CheckpointError: the file is missing or cannot be loaded as a network.
        DeviceError: the device or the precision is not there.
    """
    if precision is not None and precision not in PRECISIONS:
        raise DeviceError(f"The precision {precision!r} is not known; say one of {', '.join(PRECISIONS)}.")
    where = pick_device(device)
    return Model(checkpoints.open_network(source, decoder=decoder), where, precision or "float32")
