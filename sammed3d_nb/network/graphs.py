"""CUDA graphs: a hundred small kernels launched as one.

On a fast GPU the time of one cube or click is otherwise mostly the time that Python takes to launch its kernels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sammed3d_nb.network.click_maps import Features
from sammed3d_nb.network.compact import Compact
from sammed3d_nb.network.prompts import IGNORED
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import Embedding, Network, parts_of

BUCKETS = (1, 2, 4, 8, 16, 32)
"""Numbers of clicks that have a graph; fewer clicks are filled up with ignored ones, more run without a graph."""


class Graph:
    """One function of tensors of fixed shapes, captured.

    Args:
        function: from tensors to a tuple of tensors; no data-dependent shapes, no synchronisation.
        examples: tensors of the shapes and dtypes that it will get; kept as its input buffers.
        beside: another graph whose memory this one shares: they never run at the same time, and what one of them leaves
            is copied before the next one runs.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], *examples: Tensor, beside: "Graph | None" = None
    ) -> None:
        self.inputs = [example.clone() for example in examples]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose their kernels and workspaces before the capture
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        # of the current GPU: torch's own capture stream is of the GPU that captured first in this process
        self.stream: torch.cuda.Stream = torch.cuda.Stream() if beside is None else beside.stream
        pool = None if beside is None else beside.graph.pool()
        with torch.cuda.graph(self.graph, pool=pool, stream=self.stream, capture_error_mode="thread_local"):
            self.outputs = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run it; the results are the caller's own."""
        for buffer, value in zip(self.inputs, inputs, strict=True):
            buffer.copy_(value)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)


class Graphs:
    """A network's ``encode`` and ``decode`` through CUDA graphs, captured at their first use.

    Not safe for concurrent calls by itself: the buffers are shared. `sammed3d_nb.models.model.Model` holds a lock.
    """

    def __init__(self, network: SamMed3D | Compact) -> None:
        self.network = network
        self._encode: Graph | None = None
        self._decode: dict[tuple[int, bool], Graph] = {}
        self._cube: tuple[Tensor, ...] = ()  # one copy for the graphs of all numbers of clicks

    @classmethod
    def of(cls, network: Network) -> "Graphs | None":
        """Graphs for a network that has been placed on a CUDA device, ``None`` when there are none for its class."""
        return cls(network) if isinstance(network, SamMed3D | Compact) else None

    def encode(self, cube: Tensor) -> Embedding:
        """As `Network.encode`."""
        if self._encode is None:
            self._encode = Graph(lambda cube: parts_of(self.network.encode(cube)), cube.float())
        parts = self._encode(cube)
        return Features(*parts) if isinstance(self.network, Compact) else parts[0]

    def decode(
        self,
        embedding: Embedding,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `Network.decode`."""
        more = () if drawn is None else (drawn.float(),)
        clicks = len(points)
        size = next((size for size in BUCKETS if size >= clicks), None)
        if size is None:
            return self.network.decode(embedding, points, labels, previous, *more)
        n = self.network.spec.grid_size
        if previous is None:
            previous = points.new_zeros(1, 1, n, n, n)
        filled = points.new_zeros(size, 3)
        filled[:clicks] = points
        kinds = labels.new_full((size,), IGNORED)
        kinds[:clicks] = labels
        now = previous.float(), *self.network.known(embedding)
        self._cube = self._cube or tuple(torch.empty_like(part) for part in now)
        for buffer, part in zip(self._cube, now, strict=True):
            buffer.copy_(part)
        form = size, drawn is not None
        if form not in self._decode:
            beside = next(iter(self._decode.values()), None)
            self._decode[form] = Graph(self._answer, filled, kinds, *more, beside=beside)
        logits, quality = self._decode[form](filled, kinds, *more)
        return logits, quality

    def _answer(self, points: Tensor, labels: Tensor, *drawn: Tensor) -> tuple[Tensor, ...]:
        previous, *known = self._cube
        return self.network.respond(tuple(known), points, labels, previous, *drawn)
