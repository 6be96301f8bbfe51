"""The benchmark measures what it says, on small networks."""

import pytest
import torch
from small_models import TEACHER

from sammed3d_nb.measure import benchmark
from sammed3d_nb.measure.benchmark import Side, peak_megabytes, race
from sammed3d_nb.models.model import Model
from sammed3d_nb.network.compact import Compact, Size
from sammed3d_nb.network.product import product

CPU = torch.device("cpu")


def test_table_has_both_sides_and_their_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "NETWORKS", {"small": TEACHER})
    lines = list(benchmark.run(device="cpu", quick=True))
    assert "original" in lines[1]
    assert [line.split()[1] for line in lines[2:]] == ["encode", "decode"]
    for line in lines[2:]:
        assert float(line.split()[-1]) < 1e-5  # both compute the same
        assert "×" in line
        assert "→" in line


def test_the_compact_network_races_itself_through_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Compact(Size(widths=(8, 16, 24, 32), blocks=(1, 1, 1, 1), decoder_blocks=1, heads=4, cube=64))
    asked: list[str] = []
    for step in ("encode", "decode"):
        method = getattr(Model, step)
        monkeypatch.setattr(Model, step, lambda *given, m=method, s=step: (asked.append(s), m(*given))[1])
    sides = benchmark._steps(network, Model(network, CPU))
    for step, (slow, fast) in zip(("encode", "decode"), sides.values(), strict=True):
        asked.clear()
        slow.run()
        assert not asked
        fast.run()
        assert asked == [step]
        assert race(slow, fast, CPU) == 0


def test_race_tells_a_wrong_answer() -> None:
    right, wrong = (Side(lambda value=value: torch.full((10,), value), 1, []) for value in (1.0, 1.5))
    assert race(right, wrong, CPU) == pytest.approx(0.5)


def test_race_tells_the_slower_side() -> None:
    def work(repeats: int) -> torch.Tensor:
        a = torch.ones(200, 200)
        for _ in range(repeats):
            a = a @ a / 200
        return a

    slow, fast = Side(lambda: work(400), 3, []), Side(lambda: work(1), 9, [])
    race(slow, fast, CPU)
    assert (len(slow.seconds), len(fast.seconds)) == (3, 9)
    assert slow.median > 3 * fast.median


def test_peak_memory_sees_what_is_freed_again() -> None:
    if peak_megabytes(lambda: torch.zeros(1), CPU) is None:
        pytest.skip("the peak of resident memory cannot be reset here")
    measured = peak_megabytes(lambda: torch.ones(25_000_000).sum(), CPU)
    assert measured is not None
    assert 90 < measured < 130
    assert (peak_megabytes(lambda: torch.zeros(1), CPU) or 0) < 20


@pytest.mark.parametrize(("count", "width", "out"), [(512, 24, 40), (64, 8, 8), (7, 24, 40), (100, 24, 40)])
@pytest.mark.parametrize("bias", ["none", "row", "matrix"])
def test_product_is_the_product(count: int, width: int, out: int, bias: str) -> None:
    tokens, weight = torch.randn(count, width), torch.randn(out, width)
    added = {"none": None, "row": torch.randn(out), "matrix": torch.randn(count, out)}[bias]
    expected = tokens.double() @ weight.double().t() + (0 if added is None else added.double())
    found = product(tokens, weight, added)
    assert found.is_contiguous()
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
