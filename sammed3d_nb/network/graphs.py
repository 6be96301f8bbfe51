"""CUDA graphs: a hundred small kernels launched as one.

On a fast GPU the time of one cube or click is otherwise mostly the time that Python takes to launch its kernels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from sammed3d_nb.network.click_maps import Features
from sammed3d_nb.network.compact import Compact
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


class Graphs(ABC):
    """A network's ``encode`` and ``decode`` through CUDA graphs, captured at their first use.

    Not safe for concurrent calls by itself: the buffers are shared. `sammed3d_nb.model.Model` holds a lock.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._encode: Graph | None = None
        self._decode: dict[int, Graph] = {}

    @classmethod
    def of(cls, network: Network) -> "Graphs | None":
        """Graphs for a network that has been placed on a CUDA device, ``None`` when there are none for its class."""
        if isinstance(network, SamMed3D):
            return SamMed3DGraphs(network)
        return CompactGraphs(network) if isinstance(network, Compact) else None

    def encode(self, cube: Tensor) -> Embedding:
        """As `Network.encode`."""
        if self._encode is None:
            self._encode = Graph(lambda cube: parts_of(self.network.encode(cube)), cube.float())
        return self.embedding(self._encode(cube))

    def decode(
        self, embedding: Embedding, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `Network.decode`."""
        clicks = len(points)
        size = next((size for size in BUCKETS if size >= clicks), None)
        if size is None:
            return self.network.decode(embedding, points, labels, previous)
        n = self.network.spec.grid_size
        if previous is None:
            previous = points.new_zeros(1, 1, n, n, n)
        filled = points.new_zeros(size, 3)
        filled[:clicks] = points
        kinds = labels.new_full((size,), IGNORED)
        kinds[:clicks] = labels
        inputs = filled, kinds, previous.float(), *self.parts(embedding)
        if size not in self._decode:
            self._decode[size] = Graph(self.answer, *inputs)
        logits, quality = self._decode[size](*inputs)
        return logits, quality

    @abstractmethod
    def embedding(self, parts: tuple[Tensor, ...]) -> Embedding:
        """What `Network.encode` gives, of its tensors."""

    @abstractmethod
    def parts(self, embedding: Embedding) -> tuple[Tensor, ...]:
        """The tensors of an embedding that `answer` takes, in the network's precision."""

    @abstractmethod
    def answer(self, points: Tensor, labels: Tensor, previous: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """As `Network.decode`, with clicks that count for nothing wherever a label is `IGNORED`."""


class SamMed3DGraphs(Graphs):
    """Of SAM-Med3D and FastSAM3D."""

    network: SamMed3D

    def embedding(self, parts: tuple[Tensor, ...]) -> Embedding:
        """(1, 384, 8, 8, 8)."""
        return parts[0]

    def parts(self, embedding: Embedding) -> tuple[Tensor, ...]:
        """What the decoder's attention makes of the cube alone."""
        return (self.network.products(cast(Tensor, embedding)),)

    def answer(self, points: Tensor, labels: Tensor, previous: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """Nothing attends to the tokens of ignored clicks."""
        own = parts[0].new_zeros(5)  # the quality token and the mask tokens stand first, "not a point" last
        hidden = torch.where(labels == IGNORED, -torch.inf, 0.0).to(parts[0].dtype)
        ignore = torch.cat([own, hidden, own[:1]])[None]
        return self.network.answer(parts[0], points, labels, previous, ignore=ignore)


class CompactGraphs(Graphs):
    """Of the compact network."""

    network: Compact

    def embedding(self, parts: tuple[Tensor, ...]) -> Embedding:
        """`Features`."""
        return Features(*parts)

    def parts(self, embedding: Embedding) -> tuple[Tensor, ...]:
        """The features and their keys."""
        features, keys = self.network.known(embedding)
        return *features, *keys

    def answer(self, points: Tensor, labels: Tensor, previous: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        """Ignored clicks leave no trace in any map."""
        features, (fine, coarse) = Features(*parts[:-2]), parts[-2:]
        return self.network.respond(features, (fine, coarse), points, labels, previous)


def parts_of(embedding: Embedding) -> tuple[Tensor, ...]:
    """An embedding's tensors."""
    return (embedding,) if isinstance(embedding, Tensor) else tuple(embedding)
