"""SAM-Med3D's mask decoder, arranged so that a click computes only what depends on it.

Tokens of the image stay (cells, channels) from the first layer to the last voxel: the transposed convolutions do not
overlap, so they are matrix products too. Products of weights with weights are made once per checkpoint (`fold`), those
with the image once per cube (`image`).
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, linear, relu, scaled_dot_product_attention

from sammed3d_nb.network.product import product
from sammed3d_nb.network.prompts import MASK_NORM_EPS, Tokens

LAYERS, HEADS, HIDDEN = 2, 8, 2048  # fixed in the original
MASKS = 4  # token 0 answers alone, tokens 1–3 are the multi-mask output


class CrossAttention(nn.Module):
    """Multi-head attention with projections for queries, keys and values; ``inner`` channels inside."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def mix(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Attend with what has been projected already; (N, inner) each, ``mask`` adds to the keys' logits."""
        q, k, v = (x.view(len(x), HEADS, -1).transpose(0, 1)[None] for x in (query, key, value))
        mixed = scaled_dot_product_attention(q, k, v, mask)
        return product(mixed[0].transpose(0, 1).flatten(1), self.out_proj.weight, self.out_proj.bias)


class ReluMlp(nn.Module):
    """Linear layers with ReLU between."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(…, first width) to (…, last width)."""
        *rest, last = self.layers
        for layer in rest:
            x = relu(layer(x))
        out: Tensor = last(x)
        return out


class TwoWayMlp(nn.Module):
    """The feed-forward part of a two-way layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, HIDDEN)
        self.lin2 = nn.Linear(HIDDEN, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) to the same shape."""
        out: Tensor = self.lin2(relu(self.lin1(x)))
        return out


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves and to the image, then the image to the tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.self_attn = CrossAttention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = CrossAttention(width, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TwoWayMlp(width)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = CrossAttention(width, width // 2)

    def attend_to_self(self, tokens: Tensor, start: Tensor, mask: Tensor | None, first: bool) -> Tensor:
        """The tokens' attention to themselves; the first layer has neither positions nor residual."""
        attention = self.self_attn
        placed = tokens if first else tokens + start
        mixed = attention.mix(attention.q_proj(placed), attention.k_proj(placed), attention.v_proj(tokens), mask)
        out: Tensor = self.norm1(mixed if first else tokens + mixed)
        return out


class TwoWayTransformer(nn.Module):
    """Holds the layers under the original's names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(width) for _ in range(LAYERS))
        self.final_attn_token_to_image = CrossAttention(width, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    @property
    def both(self) -> tuple[TwoWayLayer, TwoWayLayer]:
        """The layers."""
        first, second = self.layers
        return cast(TwoWayLayer, first), cast(TwoWayLayer, second)


class MaskDecoder(nn.Module):
    """Image embedding, click tokens and previous mask, to logits and quality."""

    # made by `fold`
    image_weight: Tensor
    image_bias: Tensor
    mask_weight: Tensor
    no_mask: Tensor
    second_weight: Tensor
    second_bias: Tensor
    final_weight: Tensor
    final_bias: Tensor
    output_tokens: Tensor
    up1_weight: Tensor
    up1_bias: Tensor
    up2_weight: Tensor
    up2_bias: Tensor

    def __init__(self, width: int, grid: int) -> None:
        super().__init__()
        self.grid = grid
        self.transformer = TwoWayTransformer(width)
        self.iou_token = Tokens(1, width)
        self.mask_tokens = Tokens(MASKS, width)
        # numbered as the original's sequence, whose items 2 and 4 are GELUs
        self.output_upscaling = nn.ModuleDict(
            {
                "0": nn.ConvTranspose3d(width, width // 4, 2, stride=2),
                "1": nn.LayerNorm(width // 4, eps=MASK_NORM_EPS),
                "3": nn.ConvTranspose3d(width // 4, width // 8, 2, stride=2),
            }
        )
        self.output_hypernetworks_mlps = nn.ModuleList(ReluMlp(width, width, width, width // 8) for _ in range(MASKS))
        self.iou_prediction_head = ReluMlp(width, 256, 256, MASKS)
        for name in MaskDecoder.__annotations__:
            self.register_buffer(name, None, persistent=False)

    def fold(self, positions: Tensor, mask_projection: nn.Conv3d, no_mask: Tensor) -> None:
        """Multiply out whatever depends on the weights alone.

        With P the dense positions, the first layer needs of the image x (embedding plus mask features): x itself,
        k = Wk (x + P), v = Wv x, and as queries q = Wq (x + P); the later ones the same of their own x. The mask's
        features are a linear function of 16 channels, so those products fold into one matrix of 16 columns.

        Args:
            positions: dense positions (n³, width).
            mask_projection: the prompt encoder's last mask convolution.
            no_mask: its embedding for "no mask", (1, width).
        """
        first, second = self.transformer.both
        final = self.transformer.final_attn_token_to_image
        mask_bias = cast(Tensor, mask_projection.bias)
        with torch.no_grad():
            weight, constant = _project(first, positions)
            width = positions.shape[1]
            self.image_weight = torch.cat([torch.eye(width, dtype=weight.dtype), weight])
            self.image_bias = torch.cat([torch.zeros_like(positions), constant], dim=1)
            self.mask_weight = self.image_weight @ mask_projection.weight.flatten(1)
            # both kinds of absent or present mask end as one row added to every cell
            self.no_mask = torch.cat([mask_bias[None], no_mask]) @ self.image_weight.t()
            self.second_weight, self.second_bias = _project(second, positions)
            self.final_weight = torch.cat([final.k_proj.weight, final.v_proj.weight])
            self.final_bias = torch.cat([final.k_proj(positions), final.v_proj.bias.expand(len(positions), -1)], dim=1)
            self.output_tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight])
            self.up1_weight, self.up1_bias = _as_matrix(cast(nn.ConvTranspose3d, self.output_upscaling["0"]))
            self.up2_weight, self.up2_bias = _as_matrix(cast(nn.ConvTranspose3d, self.output_upscaling["3"]))

    def image(self, embedding: Tensor) -> Tensor:
        """Every product of the image alone, made once per cube.

        Args:
            embedding: (1, width, n, n, n).

        Returns:
            (n³, width + 3 × width / 2): the image, then the first layer's keys, values and queries.
        """
        tokens = embedding[0].flatten(1).t().to(self.image_weight.dtype)
        return product(tokens, self.image_weight, self.image_bias)

    def forward(
        self,
        image: Tensor,
        clicks: Tensor,
        mask: Tensor | None,
        multimask: bool = False,
        ignore: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Answer the clicks.

        Args:
            image: what `image` returned.
            clicks: (N, width) tokens.
            mask: the previous mask's features (n³, 16), or ``None`` for the learned "no mask".
            multimask: give mask tokens 1–3 instead of 0.
            ignore: (1, N + 5) to add to the logits of tokens as keys; −∞ hides a token.

        Returns:
            Logits (1, M, 4n, 4n, 4n) and quality (1, M), M = 3 with ``multimask``, else 1.
        """
        first, second = self.transformer.both
        start = torch.cat([self.output_tokens, clicks])
        width = start.shape[1]
        products = image + self.no_mask[1] if mask is None else product(mask, self.mask_weight, image + self.no_mask[0])
        cells = products[:, :width]
        tokens = start
        for i, layer in enumerate((first, second)):
            if i:
                keys, values, queries = product(cells, self.second_weight, self.second_bias).chunk(3, 1)
            else:
                keys, values, queries = products[:, width:].chunk(3, 1)
            tokens = layer.attend_to_self(tokens, start, ignore, first=not i)
            to_image, to_token = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
            tokens = layer.norm2(tokens + to_image.mix(to_image.q_proj(tokens + start), keys, values))
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            mixed = to_token.mix(queries, to_token.k_proj(tokens + start), to_token.v_proj(tokens), ignore)
            cells = layer.norm4(cells + mixed)
        final = self.transformer.final_attn_token_to_image
        keys, values = product(cells, self.final_weight, self.final_bias).chunk(2, 1)
        tokens = self.transformer.norm_final_attn(tokens + final.mix(final.q_proj(tokens + start), keys, values))

        chosen = range(1, MASKS) if multimask else range(1)
        kernels = torch.stack([self.output_hypernetworks_mlps[i](tokens[1 + i]) for i in chosen])
        quality = self.iou_prediction_head(tokens[:1])[:, chosen.start : chosen.stop]
        return self._upscale(cells, kernels), quality

    def _upscale(self, cells: Tensor, kernels: Tensor) -> Tensor:
        """Cells (n³, width) ×4 finer along each edge, each seen through the kernels (M, width / 8)."""
        n, norm = self.grid, cast(nn.LayerNorm, self.output_upscaling["1"])
        x = product(cells, self.up1_weight, self.up1_bias).view(8 * len(cells), -1)
        x = gelu(norm(x))
        x = gelu(product(x, self.up2_weight, self.up2_bias)).view(64 * len(cells), -1)
        # rows are (d, h, w, then 2³ of the first step, then 2³ of the second)
        logits = linear(x, kernels).view(n, n, n, 2, 2, 2, 2, 2, 2, -1).permute(9, 0, 3, 6, 1, 4, 7, 2, 5, 8)
        return logits.reshape(1, -1, 4 * n, 4 * n, 4 * n)


def _project(layer: TwoWayLayer, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Of one layer: the weights of keys, values and queries made from the image, and what the positions add."""
    to_image, to_token = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    k, v, q = to_image.k_proj, to_image.v_proj, to_token.q_proj
    weight = torch.cat([k.weight, v.weight, q.weight])
    return weight, torch.cat([k(positions), v.bias.expand(len(positions), -1), q(positions)], dim=1)


def _as_matrix(convolution: nn.ConvTranspose3d) -> tuple[Tensor, Tensor]:
    """A transposed convolution of kernel and stride 2 as a matrix (8 × out, in) and its bias (8 × out,)."""
    weight = convolution.weight  # (in, out, 2, 2, 2)
    return weight.permute(2, 3, 4, 1, 0).reshape(-1, weight.shape[0]), cast(Tensor, convolution.bias).repeat(8)
