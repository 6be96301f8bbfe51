"""Where a training step's time goes."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.profiler import profile as record


def profile(step: Callable[[dict[str, Tensor], float], object], batch: dict[str, Tensor], *, show: bool) -> None:
    """Print where a step's time goes; all ranks take the step."""
    with record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        step(batch, 0.0)
        torch.cuda.synchronize()
    if show:
        print(trace.key_averages().table(sort_by="self_cuda_time_total", row_limit=28, max_name_column_width=60))
