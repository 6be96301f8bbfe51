"""Batches made beside the learning: processes draw scenes on CPU cores, threads cut cubes from them on the GPU."""

import contextlib
import os
import queue
import threading
from typing import Any

import torch
import torch.multiprocessing as mp
from torch import Tensor

from training.cases import Case, Source, synthesise
from training.scenes import chance


def draw_scenes(out: Any, seed: int) -> None:
    """Put new scenes into a queue, for ever (a process of its own)."""
    os.nice(5)
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    while True:
        case = synthesise("body" if chance(0.75) else "medley", torch.device("cpu"))
        assert case.materials is not None
        out.put((case.kind, case.labels.numpy(), case.spacing.numpy(), case.materials.numpy(), case.classes))


class Drawers:
    """Processes that draw scenes, and a thread that puts them into the source's pool."""

    def __init__(self, source: Source, processes: int, seed: int) -> None:
        self.source, self.taken = source, 0
        context = mp.get_context("spawn")
        self.queue = context.Queue(2 * processes)
        for number in range(processes):
            context.Process(target=draw_scenes, args=(self.queue, seed + 1000 * number), daemon=True).start()

    def take(self) -> None:
        """Put one scene into the pool."""
        kind, labels, spacing, materials, classes = self.queue.get(timeout=120)
        self.taken += 1
        device = self.source.device
        labels, materials = (torch.from_numpy(a).to(device) for a in (labels, materials))
        self.source.add(Case(kind, labels, torch.from_numpy(spacing), materials=materials, classes=classes))

    def start(self) -> None:
        """Renew the pool from now on."""

        def run() -> None:
            if self.source.device.type == "cuda":
                torch.cuda.set_device(self.source.device)
            try:
                while True:
                    self.take()
            finally:
                self.source.fed = False  # the cutters draw for themselves from now on

        threading.Thread(target=run, daemon=True).start()


class Ahead:
    """Makes batches in threads, on a GPU each on a stream of its own, while the network learns from the last one."""

    def __init__(self, source: Source, cubes: int, k: int, threads: int) -> None:
        self.source, self.cubes, self.k = source, cubes, k
        self.queue: queue.Queue[tuple[dict[str, Tensor] | Exception, torch.cuda.Event | None]] = queue.Queue(3)
        self.stopped = False
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        """Fill the queue until stopped."""
        cuda = self.source.device.type == "cuda"
        if cuda:
            torch.cuda.set_device(self.source.device)
        # its many small kernels go before the learning's few large ones
        stream = torch.cuda.Stream(self.source.device, priority=-1) if cuda else None
        with torch.cuda.stream(stream) if cuda else contextlib.nullcontext():
            while not self.stopped:
                try:
                    batch = batch_of(self.source, self.cubes, self.k)
                except Exception as error:
                    self.queue.put((error, None))
                    return
                done = None
                if stream is not None:
                    done = torch.cuda.Event()
                    done.record(stream)
                self.queue.put((batch, done))

    def stop(self) -> None:
        """End the threads: one that is still in PyTorch when Python ends brings the process down."""
        self.stopped = True
        while any(thread.is_alive() for thread in self.threads):
            with contextlib.suppress(queue.Empty):
                self.queue.get(timeout=0.1)

    def next(self) -> dict[str, Tensor]:
        """The next batch, ready for the current stream."""
        batch, done = self.queue.get(timeout=120)
        if isinstance(batch, Exception):
            raise batch
        if done is not None:
            current = torch.cuda.current_stream()
            current.wait_event(done)
            for value in batch.values():
                value.record_stream(current)
        return batch


def batch_of(source: Source, cubes: int, k: int) -> dict[str, Tensor]:
    """``cubes`` cubes with k objects each."""
    with torch.no_grad():
        cuts = [source.next(k) for _ in range(cubes)]
        return {
            "cubes": torch.stack([c.cube for c in cuts]),
            "masks": torch.cat([c.masks for c in cuts]),
            "valid": torch.stack([c.valid for c in cuts]).repeat_interleave(k, 0),
        }
