"""The image encoder's attention: the original's function at a fraction of its work.

The original pads a grid of 8³ tokens to a window of 14³ with zeros *after* the norm, so every padded query, key and
value equals the bias of the qkv layer. The weights were trained with 2,232 such keys in every window, so they belong to
the function; but they all share one key and one value, and together they weigh as much as one key whose logit carries
the logarithm of their summed weights. That sum factorises (see `RelativeAttention.padding`), so 512 queries over 513
keys give exactly what 2,744 queries over 2,744 keys gave.
"""

from functools import cache
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sammed3d_nb.network.product import product

FUSED = (torch.bfloat16, torch.float16)
"""Precisions in which the GPU kernel is the faster way."""


class Bias(NamedTuple):
    """The relative position bias of one block, in its factors; query (qd, qh, qw), key (kd, kh, kw), m heads.

    The logit of a query and a key gains ``rd[qd,qh,qw,kw] + rh[qd,qh,kd,kw] + rw[qd,qh,kh,kw]``. The original *meant*
    the usual decomposition, one term per axis, and broadcast it differently; the weights know only this form.
    Each is (m, n, n, n, w) with n the grid's edge and w the window's.
    """

    rd: Tensor
    rh: Tensor
    rw: Tensor


class RelativeAttention(nn.Module):
    """Multi-head attention over a grid of n³ tokens, padded (in effect) to a window of w³.

    Args:
        width: channels.
        heads: attention heads.
        grid: n.
        window: w ≥ n; w = n is attention over the whole grid, without padding.
    """

    # made from the weights by `fold`; not in the state dict, whose names are the original's
    tables: Tensor
    bias_key: Tensor
    bias_value: Tensor
    padded_rh: Tensor | None
    padded_rw: Tensor | None

    def __init__(self, width: int, heads: int, grid: int, window: int) -> None:
        super().__init__()
        self.heads, self.grid, self.window = heads, grid, window
        head_width = width // heads
        self.scale = head_width**-0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_d = nn.Parameter(torch.zeros(2 * window - 1, head_width))
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window - 1, head_width))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window - 1, head_width))
        for name in ("tables", "bias_key", "bias_value", "padded_rh", "padded_rw"):
            self.register_buffer(name, None, persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module.fold())  # type: ignore[no-untyped-call]

    def fold(self) -> None:
        """Work out everything that depends on the weights alone. Loading a state dict calls it."""
        n, w = self.grid, self.window
        with torch.no_grad():
            tables = torch.stack([self.rel_pos_d, self.rel_pos_h, self.rel_pos_w])
            # reversed rows: the entries of one query then lie in the order of its keys (see `bias`)
            rows = tables.flip(1).flatten(0, 1)
            spare = -len(rows) % 8  # GPUs want rows of 16 bytes
            self.tables = torch.cat([rows, rows.new_zeros(spare, rows.shape[1])])
            bias_query, self.bias_key, self.bias_value = self.qkv.bias.view(3, self.heads, 1, -1).unbind()
            # a padded slot's r is the bias query: rh of kd ≥ n is one row for all, rw of kh ≥ n has a row each
            index = torch.arange(w)
            rows_of = index[:, None] - index + w - 1  # [query, key]
            rh = torch.einsum("mzc,qkc->mqk", bias_query, self.rel_pos_h[rows_of[:n]])
            rw = torch.einsum("mzc,qkc->mqk", bias_query, self.rel_pos_w[rows_of[n:]])
            if w > n:
                self.padded_rh = rh + torch.tensor(w - n, dtype=rh.dtype).log()  # (m, qh, kw), over kd ≥ n
                self.padded_rw = rw.logsumexp(1)  # (m, kw), over kh ≥ n

    def products(self, query: Tensor) -> Tensor:
        """Queries (m, n³, c) times the reversed tables: (m, n³, 3·(2w − 1) and a few spare columns)."""
        return torch.matmul(query, self.tables.t().expand(self.heads, -1, -1))

    def bias(self, query: Tensor) -> Bias:
        """The relative position bias (table row = query index − key index + window − 1).

        Args:
            query: (m, n³, c), unscaled.
        """
        n, w = self.grid, self.window
        product = self.products(query)
        row = product.shape[-1]
        # Entry (token, kw) sits in column w − 1 − index + kw of the reversed table: a strided view, nothing is copied.
        steps = [n * n * row, n * row, row]
        views = []
        for axis in range(3):
            skewed = [step - (axis == i) for i, step in enumerate(steps)]
            start = product.storage_offset() + axis * (2 * w - 1) + w - 1
            views.append(product.as_strided((self.heads, n, n, n, w), (n**3 * row, *skewed, 1), start))
        return Bias(*views)

    def padding(self, bias: Bias) -> Tensor:
        """The logarithm of the padded keys' summed weights, without their common ``exp(scale · q·k_b)``.

        The sum of exp(rd[kw] + rh[kd,kw] + rw[kh,kw]) over all keys of the window that are not on the grid. For each
        kw the sums over kd and kh separate; the grid's own part is never subtracted but left out from the start, so
        nothing cancels. float32 at least, whatever the precision of ``bias``: the result is about 8, and rounding it
        to bfloat16 would be wrong by several percent of a weight that dominates the softmax.

        Returns:
            (m, n, n, n).
        """
        n = self.grid
        rd, rh, rw = (part if part.dtype == torch.float64 else part.float() for part in bias)
        real_h, real_w = rh.logsumexp(3), rw.logsumexp(3)  # (m, qd, qh, kw), over kd < n and over kh < n
        assert self.padded_rh is not None
        assert self.padded_rw is not None
        pad_h = self.padded_rh[:, None].to(rd.dtype)
        pad_w = self.padded_rw[:, None, None].to(rd.dtype)
        all_w = torch.logaddexp(real_w, pad_w)
        outside = torch.logaddexp(real_h + pad_w, pad_h + all_w)
        beyond = torch.logaddexp(real_h, pad_h) + all_w
        sums = torch.cat([outside[..., :n], beyond[..., n:]], dim=-1)
        return (rd + sums[:, :, :, None]).logsumexp(-1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attention of n³ queries over n³ keys and, in a window, the padding; all (m, n³, c)."""
        n, m = self.grid, self.heads
        bias = self.bias(query)
        rd, rh, rw = (part[..., :n] for part in bias)
        keys = n**3 + (self.window > n)
        mask = query.new_empty(m, n, n, n, keys)
        grid = mask[..., : n**3].view(m, n, n, n, n, n, n)
        torch.add(rd[..., None, None, :], (rh[:, :, :, :, None] + rw[:, :, :, None])[:, :, :, None], out=grid)
        if self.window > n:
            mask[..., -1] = self.padding(bias)
            key = torch.cat([key, self.bias_key], dim=1)
            value = torch.cat([value, self.bias_value], dim=1)
        mask = mask.view(1, m, n**3, keys)
        return scaled_dot_product_attention(query[None], key[None], value[None], mask, scale=self.scale)[0]

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (n³, width) in the grid's order d, h, w, to the same shape."""
        packed = product(tokens, self.qkv.weight, self.qkv.bias)
        query, key, value = packed.view(len(tokens), 3, self.heads, -1).permute(1, 2, 0, 3)
        kernels = fused_kernels() if tokens.is_cuda and tokens.dtype in FUSED else None
        if kernels is not None and kernels.supports(self.grid, query.shape[-1]):
            mixed = kernels.attend(
                packed, self.products(query), self.bias_key, self.bias_value, self.padded_rh, self.padded_rw,
                self.grid, self.window, self.scale,
            )  # fmt: skip
        else:
            mixed = self.attend(query, key, value).transpose(0, 1).flatten(1)
        return product(mixed, self.proj.weight, self.proj.bias)


@cache
def fused_kernels() -> ModuleType | None:
    """`sammed3d_nb.network.fused` where Triton is installed, which comes with PyTorch for CUDA on Linux."""
    try:
        from sammed3d_nb.network import fused
    except ImportError:
        return None
    return fused
