"""The fast attention against the straightforward padded one, and its edges."""

import pytest
import torch

from sammed3d_nb.network import plain
from sammed3d_nb.network.attention import RelativeAttention
from sammed3d_nb.network.encoder import EncoderShape, ImageEncoder


def random_attention(width: int, heads: int, grid: int, window: int, loud: float = 1.0) -> RelativeAttention:
    torch.manual_seed(width + heads + grid + window)
    block = RelativeAttention(width, heads, grid, window).double()
    state = {
        name: loud * torch.randn_like(value) / value.shape[-1] ** 0.5 for name, value in block.state_dict().items()
    }
    state["qkv.bias"] = loud * torch.randn(3 * width, dtype=torch.float64)
    block.load_state_dict(state)
    return block.requires_grad_(False)


@pytest.mark.parametrize(
    ("width", "heads", "grid", "window"),
    [(12, 2, 3, 5), (8, 1, 2, 6), (24, 3, 4, 5), (12, 3, 4, 4), (16, 2, 1, 3), (20, 5, 5, 7), (6, 6, 3, 3)],
)
def test_fast_attention_is_the_padded_attention(width: int, heads: int, grid: int, window: int) -> None:
    block = random_attention(width, heads, grid, window)
    tokens = torch.randn(grid**3, width, dtype=torch.float64)
    assert (block(tokens) - plain.attention(block, tokens)).abs().max() < 1e-10


def test_large_logits_neither_overflow_nor_cancel() -> None:
    block = random_attention(12, 2, 3, 5, loud=30.0)
    tokens = torch.randn(27, 12, dtype=torch.float64)
    fast, slow = block(tokens), plain.attention(block, tokens)
    assert torch.isfinite(fast).all()
    assert (fast - slow).abs().max() < 1e-10 * slow.abs().max()


def test_padding_is_not_optional() -> None:
    """The 2,232 padded keys carry weight: leaving them out is another function."""
    block = random_attention(12, 2, 3, 5)
    tokens = torch.randn(27, 12, dtype=torch.float64)
    exact = block(tokens)
    block.padded_rh = block.padded_rh - 100  # as good as no padding
    block.padded_rw = block.padded_rw - 100
    assert (block(tokens) - exact).abs().max() > 1e-2


def test_bias_broadcasts_as_the_original_does() -> None:
    """The second and third terms take r at (qd, qh, kd) and (qd, qh, kh), which is not the usual decomposition."""
    block = random_attention(6, 1, 3, 5)
    query = torch.randn(1, 27, 6, dtype=torch.float64)
    r, w = query.view(3, 3, 3, 6), 5
    bias = block.bias(query)
    for qd, qh, third, kw in [(0, 1, 2, 0), (2, 0, 1, 4), (1, 1, 1, 3)]:
        expected = (
            r[qd, qh, third] @ block.rel_pos_d[qd - kw + w - 1],
            r[qd, qh, third] @ block.rel_pos_h[qh - kw + w - 1],
            r[qd, qh, third] @ block.rel_pos_w[third - kw + w - 1],
        )
        for part, value in zip(bias, expected, strict=True):
            torch.testing.assert_close(part[0, qd, qh, third, kw], value)


def test_encoder_takes_every_size_from_its_tensors() -> None:
    shape = EncoderShape(grid=3, patch=2, width=18, heads=3, windows=(5, 3, 5), hidden=20, out=12)
    encoder = ImageEncoder(shape)
    assert EncoderShape.of(encoder.state_dict()) == shape
    encoder.load_state_dict({name: torch.randn_like(value) for name, value in encoder.state_dict().items()})
    with torch.inference_mode():
        cube = torch.randn(1, 1, 6, 6, 6)
        embedding = encoder(cube)
        torch.testing.assert_close(embedding, plain.encode(encoder, cube), rtol=1e-4, atol=1e-4)
    assert embedding.shape == (1, 12, 3, 3, 3)


def test_loading_weights_again_changes_the_answer() -> None:
    """What is folded from the weights follows them."""
    block, other = random_attention(12, 2, 3, 5), random_attention(12, 2, 3, 5, loud=2.0)
    tokens = torch.randn(27, 12, dtype=torch.float64)
    block.load_state_dict(other.state_dict())
    torch.testing.assert_close(block(tokens), other(tokens))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize(
    ("heads", "channels", "grid", "window"), [(12, 64, 8, 14), (6, 128, 8, 8), (2, 16, 4, 7), (3, 32, 4, 4)]
)
def test_gpu_kernel_is_the_padded_attention(
    heads: int, channels: int, grid: int, window: int, dtype: torch.dtype, tolerance: float
) -> None:
    fused = pytest.importorskip("sammed3d_nb.network.fused", reason="Triton is not installed")
    assert fused.supports(grid, channels)
    exact = random_attention(heads * channels, heads, grid, window)
    tokens = torch.randn(grid**3, heads * channels, dtype=torch.float64)
    expected = plain.attention(exact, tokens)
    block = RelativeAttention(heads * channels, heads, grid, window)
    block.load_state_dict({name: value.float() for name, value in exact.state_dict().items()})
    padded = block.padded_rh, block.padded_rw
    block.requires_grad_(False).to("cuda", dtype)
    block.padded_rh, block.padded_rw = (None if part is None else part.cuda() for part in padded)
    result = block(tokens.to("cuda", dtype)).cpu().double()
    assert float((result - expected).norm() / expected.norm()) < tolerance
