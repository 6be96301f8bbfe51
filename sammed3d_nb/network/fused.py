"""The attention of `sammed3d_nb.network.attention` as one GPU kernel, where Triton is installed.

Same arithmetic, but the bias of 512 × 512 per head is never written: each entry is the sum of three numbers of a table
of a megabyte, added where the logit is made. Products take the weights' precision, everything else is float32.
"""


# mypy: disallow-untyped-defs=False, disallow-incomplete-defs=False, disallow-untyped-decorators=False
# Triton reads a kernel's annotations, and ships no types.

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 32
"""Queries of one program; 16 programs a head fill a large GPU."""


@triton.jit
def _log_sum_exp(x, axis: tl.constexpr):
    high = tl.max(x, axis, keep_dims=True)
    return tl.log(tl.sum(tl.exp(x - high), axis)) + tl.max(x, axis)


@triton.jit
def _log_add_exp(a, b):
    return tl.maximum(a, b) + tl.log(1 + tl.exp(-tl.abs(a - b)))


@triton.jit
def _attend(
    packed,
    table,
    bias_key,
    bias_value,
    padded_rh,
    padded_rw,
    out,
    scale,
    heads: tl.constexpr,
    channels: tl.constexpr,
    edge: tl.constexpr,
    window: tl.constexpr,
    wide: tl.constexpr,
    row: tl.constexpr,
    rows: tl.constexpr,
):
    # names as in RelativeAttention: queries (qd, qh, qw), keys (kd, kh, kw); a program's queries share qd
    plane: tl.constexpr = edge * edge
    head = tl.program_id(1)
    first = tl.program_id(0) * rows
    qd = first // plane
    query_token = first + tl.arange(0, rows)
    qh = query_token % plane // edge
    line = qd * plane + qh * edge  # the token (qd, qh, 0)
    key_in_plane = tl.arange(0, plane)
    kh, kw = key_in_plane // edge, key_in_plane % edge
    channel = tl.arange(0, channels)
    stride: tl.constexpr = 3 * heads * channels
    step: tl.constexpr = 2 * window - 1  # columns of one axis in the table
    table += head * plane * edge * row
    packed += head * channels

    query = tl.load(packed + query_token[:, None] * stride + channel[None, :])
    rd = tl.load(table + query_token[:, None] * row + window - 1 - qd + kw[None, :])
    rw = tl.load(table + (line[:, None] + kh[None, :]) * row + 2 * step + window - 1 - kh[None, :] + kw[None, :])
    steady = rd.to(tl.float32) + rw.to(tl.float32)

    high = tl.full([rows], float("-inf"), tl.float32)
    total = tl.zeros([rows], tl.float32)
    mixed = tl.zeros([rows, channels], tl.float32)
    for kd in range(edge):
        at = packed + (kd * plane + key_in_plane)[:, None] * stride + channel[None, :]
        key = tl.load(at + heads * channels)
        value = tl.load(at + 2 * heads * channels)
        rh = tl.load(table + (line[:, None] + kd) * row + step + window - 1 - qh[:, None] + kw[None, :])
        logits = tl.dot(query, tl.trans(key), input_precision="ieee") * scale + steady + rh.to(tl.float32)
        higher = tl.maximum(high, tl.max(logits, 1))
        weights = tl.exp(logits - higher[:, None])
        keep = tl.exp(high - higher)
        total = total * keep + tl.sum(weights, 1)
        mixed = mixed * keep[:, None] + tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        high = higher

    if window > edge:
        # RelativeAttention.padding, for the one virtual key
        column = tl.arange(0, wide)
        inside = column < window
        other = tl.arange(0, edge)
        tokens = (line[:, None, None] + other[None, :, None]) * row
        shift = window - 1 + column[None, None, :]
        held = inside[None, None, :]
        all_rh = tl.load(table + tokens + step + shift - qh[:, None, None], mask=held, other=0.0)
        all_rw = tl.load(table + tokens + 2 * step + shift - other[None, :, None], mask=held, other=0.0)
        real_h = _log_sum_exp(all_rh.to(tl.float32), 1)
        real_w = _log_sum_exp(all_rw.to(tl.float32), 1)
        pad_h = tl.load(
            padded_rh + (head * edge + qh[:, None]) * window + column[None, :], mask=inside[None, :], other=0.0
        )
        pad_w = tl.load(padded_rw + head * window + column[None, :], mask=inside[None, :], other=0.0)
        all_w = _log_add_exp(real_w, pad_w)
        outside = _log_add_exp(real_h + pad_w, pad_h + all_w)
        beyond = _log_add_exp(real_h, pad_h) + all_w
        own = tl.load(
            table + query_token[:, None] * row + window - 1 - qd + column[None, :], mask=inside[None, :], other=0.0
        )
        sums = tl.where(column[None, :] < edge, outside, beyond) + own.to(tl.float32)
        virtual = _log_sum_exp(tl.where(inside[None, :], sums, float("-inf")), 1)
        key_b = tl.load(bias_key + head * channels + channel).to(tl.float32)
        value_b = tl.load(bias_value + head * channels + channel).to(tl.float32)
        virtual += scale * tl.sum(query.to(tl.float32) * key_b[None, :], 1)
        higher = tl.maximum(high, virtual)
        keep, weight = tl.exp(high - higher), tl.exp(virtual - higher)
        total = total * keep + weight
        mixed = mixed * keep[:, None] + weight[:, None] * value_b[None, :]

    mixed = mixed / total[:, None]
    at = out + query_token[:, None] * (heads * channels) + head * channels + channel[None, :]
    tl.store(at, mixed.to(out.dtype.element_ty))


def supports(grid: int, channels: int) -> bool:
    """Whether the kernel takes a grid of this edge and heads of this width (it wants powers of two)."""
    return grid in (4, 8, 16) and channels in (16, 32, 64, 128)


def attend(
    packed: Tensor,
    table: Tensor,
    bias_key: Tensor,
    bias_value: Tensor,
    padded_rh: Tensor | None,
    padded_rw: Tensor | None,
    grid: int,
    window: int,
    scale: float,
) -> Tensor:
    """Attention of n³ tokens, n = ``grid``.

    Args:
        packed: (n³, 3 × heads × channels), the qkv layer's output.
        table: (heads, n³, columns), r times the reversed relative tables of d, h and w side by side.
        bias_key: (heads, 1, channels), the padded slots' key.
        bias_value: likewise.
        padded_rh: (heads, n, window) float32, see `RelativeAttention.fold`; unused when window = n.
        padded_rw: (heads, window) float32.
        grid: n.
        window: edge of the padded window.
        scale: of the products of queries and keys.

    Returns:
        (n³, heads × channels).
    """
    heads, tokens, columns = table.shape
    channels = packed.shape[1] // (3 * heads)
    out = torch.empty(tokens, heads * channels, dtype=packed.dtype, device=packed.device)
    spare = table if padded_rh is None or padded_rw is None else None
    rows = min(ROWS, grid * grid)
    _attend[(tokens // rows, heads)](
        packed,
        table,
        bias_key,
        bias_value,
        padded_rh if spare is None else spare,
        padded_rw if spare is None else spare,
        out,
        scale,
        heads=heads,
        channels=channels,
        edge=grid,
        window=window,
        wide=triton.next_power_of_2(window),
        row=columns,
        rows=rows,
        num_warps=4,
    )
    return out
