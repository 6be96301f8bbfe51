"""CUDA graphs: a hundred small kernels launched as one.

On a fast GPU the time of one cube or click is otherwise mostly the time that Python takes to launch its kernels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sammed3d_nb.network.prompts import IGNORED
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import Embedding, Network

BUCKETS = (1, 2, 4, 8, 16, 32)
"""Numbers of clicks that have a graph; fewer clicks are filled up with ignored ones, more run without a graph."""


class Graph:
    """One function of tensors of fixed shapes, captured.

    Args:
        function: from tensors to a tuple of tensors; no data-dependent shapes, no synchronisation.
        examples: tensors of the shapes and dtypes that it will get; kept as its input buffers.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], *examples: Tensor) -> None:
        self.inputs = [example.clone() for example in examples]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(2):  # libraries choose their kernels and workspaces before the capture
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, capture_error_mode="thread_local"):
            self.outputs = function(*self.inputs)

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run it; the results are the caller's own."""
        for buffer, value in zip(self.inputs, inputs, strict=True):
            buffer.copy_(value)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)


class Graphs:
    """`SamMed3D.encode` and `SamMed3D.decode` through CUDA graphs, captured at their first use.

    Not safe for concurrent calls by itself: the buffers are shared. `sammed3d_nb.model.Model` holds a lock.
    """

    def __init__(self, network: SamMed3D) -> None:
        self.network = network
        self._encode: Graph | None = None
        self._decode: dict[int, Graph] = {}

    @classmethod
    def of(cls, network: Network) -> "Graphs | None":
        """Graphs for a network that has been placed on a CUDA device, ``None`` when it has no use for them."""
        return cls(network) if isinstance(network, SamMed3D) else None

    def encode(self, cube: Tensor) -> Embedding:
        """As `SamMed3D.encode`."""
        if self._encode is None:
            self._encode = Graph(lambda cube: (self.network.encode(cube),), cube.float())
        return self._encode(cube)[0]

    def decode(
        self, embedding: Embedding, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `SamMed3D.decode`."""
        clicks = len(points)
        size = next((size for size in BUCKETS if size >= clicks), None)
        if size is None or not isinstance(embedding, Tensor):
            return self.network.decode(embedding, points, labels, previous)
        n = self.network.spec.grid_size
        if previous is None:
            previous = points.new_zeros(1, 1, n, n, n)
        filled = points.new_zeros(size, 3)
        filled[:clicks] = points
        kinds = labels.new_full((size,), IGNORED)
        kinds[:clicks] = labels
        inputs = self.network.products(embedding), filled, kinds, previous.float()
        if size not in self._decode:
            self._decode[size] = Graph(self._answer, *inputs)
        logits, quality = self._decode[size](*inputs)
        return logits, quality

    def _answer(self, products: Tensor, points: Tensor, labels: Tensor, previous: Tensor) -> tuple[Tensor, ...]:
        """Decode with tokens that nothing attends to wherever a label is `IGNORED`."""
        own = products.new_zeros(5)  # the quality token and the mask tokens stand first, "not a point" last
        hidden = torch.where(labels == IGNORED, -torch.inf, 0.0).to(products.dtype)
        ignore = torch.cat([own, hidden, own[:1]])[None]
        return self.network.answer(products, points, labels, previous, ignore=ignore)
