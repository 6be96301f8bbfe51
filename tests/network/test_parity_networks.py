"""SAM-Med3D and FastSAM3D give the original's answers."""

from collections.abc import Iterator

import parity_weights
import pytest
import torch
from torch import Tensor

from sammed3d_nb.network import plain
from sammed3d_nb.network.sam_med3d import SamMed3D

EMBEDDING, LOGITS = 2e-4, 2e-5  # the agreement that the references' README asks for, in float32

Case = tuple[SamMed3D, dict[str, Tensor], Tensor]


@pytest.fixture(scope="module", params=["sam_med3d", "fastsam3d"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """Network, references and the network's embedding of the reference cube."""
    state = {"sam_med3d": parity_weights.sam_med3d, "fastsam3d": parity_weights.full_fastsam3d}[request.param]()
    network = SamMed3D.from_state_dict(state)
    assert set(network.state_dict()) == set(state)
    with torch.inference_mode():
        yield network, parity_weights.references(request.param), network.encode(parity_weights.cube())


def difference(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return float((a - b).abs().max())


def clicks(references: dict[str, Tensor], sequence: str) -> tuple[Tensor, Tensor]:
    return references[f"points_{sequence}"].float(), references[f"labels_{sequence}"]


def test_embedding(case: Case) -> None:
    _, references, embedding = case
    assert difference(embedding, references["embedding_1"]) <= EMBEDDING


@pytest.mark.parametrize("sequence", ["a", "b", "c"])
def test_clicks_one_more_at_a_time(case: Case, sequence: str) -> None:
    network, references, embedding = case
    points, labels = clicks(references, sequence)
    logits = None
    for n in range(1, len(points) + 1):
        logits, quality = network.decode(embedding, points[:n], labels[:n], logits)
    assert logits is not None
    assert difference(logits, references[f"low_1_{sequence}"]) <= LOGITS
    assert difference(quality, references[f"iou_1_{sequence}"]) <= LOGITS


def test_multimask_output(case: Case) -> None:
    network, references, embedding = case
    points, labels = clicks(references, "c")
    logits = torch.zeros(1, 1, 32, 32, 32)
    for n in range(1, len(points)):
        logits, _ = network.decode(embedding, points[:n], labels[:n], logits)
    three, quality = network.decode_multimask(embedding, points, labels, logits)
    assert difference(three, references["multi_1_c"]) <= LOGITS
    assert difference(quality, references["multi_iou_1_c"]) <= LOGITS


def test_no_mask_prompt(case: Case) -> None:
    network, references, embedding = case
    points, labels = torch.full((1, 3), 64.0), torch.ones(1, dtype=torch.int64)
    logits, _ = network.decode_without_mask(embedding, points, labels)
    assert difference(logits, references["nomask_1"]) <= LOGITS


def test_first_click_passes_a_mask_of_zeros(case: Case) -> None:
    """And not the learned no-mask embedding, which is another answer."""
    network, _, embedding = case
    points, labels = torch.full((1, 3), 64.0), torch.ones(1, dtype=torch.int64)
    first, _ = network.decode(embedding, points, labels)
    zeros, _ = network.decode(embedding, points, labels, torch.zeros(1, 1, 32, 32, 32))
    none, _ = network.decode_without_mask(embedding, points, labels)
    assert torch.equal(first, zeros)
    assert difference(first, none) > 100 * LOGITS


def test_ignored_tokens_change_nothing(case: Case) -> None:
    """CUDA graphs fill the clicks up to a fixed number."""
    network, references, embedding = case
    points, labels = clicks(references, "b")
    previous = references["low_1_a"]
    exact, quality = network.decode(embedding, points, labels, previous)
    filled = torch.cat([points, torch.full((5, 3), 77.0)])
    ignored = torch.cat([labels, torch.full((5,), -2)])
    ignore = torch.cat([torch.zeros(8), torch.full((5,), -torch.inf), torch.zeros(1)])[None]
    logits, quality_filled = network.answer(network.products(embedding), filled, ignored, previous, ignore=ignore)
    assert difference(logits, exact) <= LOGITS / 10
    assert difference(quality_filled, quality) <= LOGITS / 10


def test_products_of_a_cube_are_not_mixed_up(case: Case) -> None:
    """Many cubes in turn, more than are kept: each decodes as itself."""
    network, references, embedding = case
    points, labels = clicks(references, "c")
    answers = {}
    cubes = {scale: embedding * scale for scale in (0.5, 0.6, 0.7, 0.8, 0.9, 1.1)}
    for scale, other in cubes.items():
        answers[scale] = network.decode(other, points, labels)[0]
    for scale, other in cubes.items():
        expected, _ = plain.decode(network, other, points, labels)
        assert difference(network.decode(other, points, labels)[0], answers[scale]) == 0
        assert difference(answers[scale], expected) <= LOGITS
