"""Where a network computes: which device there is, what it can, and whether its memory has run out."""

import re

import torch

from sammed3d_nb.errors import DeviceError


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device to compute on: the one asked for, else CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: the one asked for is not there.
    """
    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        wanted = torch.device(device)
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise DeviceError(f"The device {str(device)!r} cannot be used here; leave it out or say cpu.") from error
    if wanted.type not in ("cuda", "mps", "cpu"):
        raise DeviceError(f"The device {str(device)!r} computes nothing; say cuda, mps or cpu.")
    if wanted.type == "cuda" and wanted.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return wanted


def bfloat16_is_fast() -> bool:
    """Whether this CPU has instructions for it; without them it would be as slow as float16."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build without that library
        return False


def out_of_memory(error: BaseException) -> bool:
    """Whether this is memory running out, the device's or ours; CUDA's libraries and MPS say so in other classes."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        sign in str(error) for sign in ("out of memory", "ALLOC_FAILED")
    )


def missing(error: RuntimeError) -> str:
    """How much was asked for and how much there was, out of torch's message; nothing when it does not say."""
    text = str(error)
    asked = re.search(r"[Tt]ried to allocate ([\d.]+ \w+)", text)
    free = re.search(r"of which ([\d.]+ \w+) is free", text)
    if asked is None:
        return ""
    return f", {asked[1]} more were needed" + (f" and {free[1]} were free" if free else "")
