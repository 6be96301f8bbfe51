"""Where a training step's time goes."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity
from torch.profiler import profile as record

if TYPE_CHECKING:
    from training.train import Trainer


def profile(trainer: "Trainer", batch: dict[str, Tensor], *, show: bool) -> None:
    """Print where a step's time goes; all ranks take the step."""
    with record(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as trace:
        trainer.step(batch, 0.0)
        torch.cuda.synchronize()
    if show:
        print(trace.key_averages().table(sort_by="self_cuda_time_total", row_limit=28, max_name_column_width=60))
