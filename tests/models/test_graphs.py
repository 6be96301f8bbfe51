"""Recorded graphs: the answers of a GPU are those of a CPU, from one thread or many, and without memory too."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from small_models import STUDENT, TEACHER, save, weights

from sammed3d_nb import load_model
from sammed3d_nb.network import graphs
from sammed3d_nb.network.compact import Compact
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import parts_of

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def cube(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 1, 128, 128, 128, generator=torch.Generator().manual_seed(seed))


class Played:
    """A graph's interface on a CPU: the same buffers, computed again at each call."""

    def __init__(
        self, function: Callable[..., tuple[torch.Tensor, ...]], *examples: torch.Tensor, beside: object = None
    ):
        self.function, self.inputs = function, [example.clone() for example in examples]

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        for buffer, value in zip(self.inputs, inputs, strict=True):
            buffer.copy_(value)
        return self.function(*self.inputs)


@pytest.mark.parametrize("make", [lambda: SamMed3D.from_state_dict(weights()), Compact], ids=["sam", "compact"])
def test_clicks_filled_up_for_graphs_change_nothing(
    make: Callable[[], SamMed3D | Compact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cubes by turns, more and fewer clicks: what graphs share holds nothing of the call before."""
    monkeypatch.setattr(graphs, "Graph", Played)
    torch.manual_seed(0)
    network = make().eval()
    recorded = graphs.Graphs.of(network)
    assert recorded is not None
    n = network.spec.grid_size
    with torch.no_grad():
        cubes = [recorded.encode(cube(seed)) for seed in (1, 2)]
        assert all(map(torch.equal, parts_of(cubes[0]), parts_of(network.encode(cube(1)))))
        previous = None
        for clicks in (1, 3, 5, 2, 33):
            points, labels = torch.arange(3.0 * clicks).view(-1, 3) * 7 % 128, torch.arange(1, clicks + 1) % 2
            for embedding in cubes:
                for got, want in zip(
                    recorded.decode(embedding, points, labels, previous),
                    network.decode(embedding, points, labels, previous),
                    strict=True,
                ):
                    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
            previous = torch.randn(1, 1, n, n, n)


@CUDA
@pytest.mark.parametrize("shape", [TEACHER, STUDENT])
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.1), ("float16", 0.02)])
def test_cuda_graphs_give_the_cpu_answers(tmp_path: Path, shape: object, precision: str, tolerance: float) -> None:
    path = save(tmp_path / "a.pth", weights(shape))  # type: ignore[arg-type]
    exact, fast = load_model(path, device="cpu"), load_model(path, device="cuda", precision=precision)
    expected = exact.encode(cube())
    for _ in range(2):
        embedding = fast.encode(cube())
        assert isinstance(embedding, torch.Tensor)
        assert isinstance(expected, torch.Tensor)
        assert float((embedding.cpu().float() - expected).norm() / expected.norm()) < tolerance
    previous = None
    for clicks in (1, 3, 8, 40):
        points, labels = torch.arange(3 * clicks).view(-1, 3) % 128, torch.arange(clicks) % 2
        want = exact.decode(expected, points, labels, previous)
        got = fast.decode(embedding, points, labels, previous)
        assert float((got.logits.cpu() - want.logits).norm() / want.logits.norm()) < tolerance
        previous = want.logits


@CUDA
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.02), ("float16", 0.004)])
def test_cuda_graphs_give_the_cpu_answers_of_the_compact_network(precision: str, tolerance: float) -> None:
    """Two cubes by turns: nothing of one cube may stay in what was recorded."""
    exact, fast = load_model(device="cpu"), load_model(device="cuda", precision=precision)
    cubes = [cube(seed).cumsum(2).cumsum(3).cumsum(4) / 1000 for seed in (1, 2)]  # smooth, as organs are
    slow = [exact.encode(one) for one in cubes]
    known = [fast.encode(one) for one in cubes]
    previous = None
    for clicks in (1, 3, 2, 3, 40):
        points, labels = torch.arange(3 * clicks).view(-1, 3) * 7 % 128, torch.arange(1, clicks + 1) % 2
        for want_from, got_from in zip(slow, known, strict=True):
            want = exact.decode(want_from, points, labels, previous)
            got = fast.decode(got_from, points, labels, previous)
            assert float((got.logits.cpu() - want.logits).norm() / want.logits.norm()) < tolerance
            assert float((got.quality.cpu() - want.quality).abs()) < 10 * tolerance
        previous = want.logits


@CUDA
def test_cuda_threads(tmp_path: Path) -> None:
    model = load_model(save(tmp_path / "a.pth", weights()), device="cuda")

    def work(seed: int) -> torch.Tensor:
        clicks = torch.randint(0, 128, (1 + seed % 4, 3), generator=torch.Generator().manual_seed(seed))
        return model.decode(model.encode(cube(seed)), clicks, torch.ones(len(clicks))).logits

    in_turn = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for a, b in zip(in_turn, pool.map(work, range(8)), strict=True):
            torch.testing.assert_close(a, b)


@CUDA
def test_cuda_out_of_memory_falls_back_to_the_cpu(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", weights())
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        model = load_model(path, device="cuda")
        assert isinstance(model.encode(cube()), torch.Tensor)
        assert model.device.type == "cpu"
        assert "Out of memory on cuda:0" in model.notes[0]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
