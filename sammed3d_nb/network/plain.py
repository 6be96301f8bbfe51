"""The same function the way the original computes it: step by step, padded, nothing cached, nothing folded.

Slow on purpose. The tests hold the fast network to it and the benchmarks race against it; nothing else uses it. It
works on the weights of a `SamMed3D`.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, conv_transpose3d, gelu, pad

from sammed3d_nb.network.attention import RelativeAttention
from sammed3d_nb.network.decoder import HEADS, CrossAttention
from sammed3d_nb.network.encoder import Block, ImageEncoder, StudentBlock
from sammed3d_nb.network.sam_med3d import SamMed3D


def attention(block: RelativeAttention, tokens: Tensor) -> Tensor:
    """Attention over the padded window: (n³, width) to the same, by way of w³ tokens and a (m, w³, w³) matrix."""
    n, w, heads = block.grid, block.window, block.heads
    width = tokens.shape[1]
    room = (0, 0, 0, w - n, 0, w - n, 0, w - n)
    padded = pad(tokens.view(n, n, n, width), room).view(w**3, width)
    query, key, value = block.qkv(padded).view(w**3, 3, heads, -1).permute(1, 2, 0, 3).contiguous()
    logits = (query * block.scale) @ key.transpose(1, 2)

    index = torch.arange(w, device=tokens.device)
    rows = index[:, None] - index + w - 1
    r = query.view(heads, w, w, w, -1)
    rel_d = torch.einsum("mdhwc,dkc->mdhwk", r, block.rel_pos_d[rows])
    rel_h = torch.einsum("mdhwc,hkc->mdhwk", r, block.rel_pos_h[rows])
    rel_w = torch.einsum("mdhwc,wkc->mdhwk", r, block.rel_pos_w[rows])
    logits = (
        logits.view(heads, w, w, w, w, w, w)
        + rel_d[:, :, :, :, None, None, :]
        + rel_h[:, :, :, None, :, None, :]
        + rel_w[:, :, :, None, None, :, :]
    ).view(heads, w**3, w**3)

    mixed = (logits.softmax(-1) @ value).view(heads, w, w, w, -1).permute(1, 2, 3, 0, 4)
    out: Tensor = block.proj(mixed.reshape(w, w, w, width))
    return out[:n, :n, :n].reshape(n**3, width)


def encode(encoder: ImageEncoder, cube: Tensor) -> Tensor:
    """(1, 1, s, s, s) normalised, to the image embedding (1, c, n, n, n)."""
    n, width = encoder.shape.grid, encoder.shape.width
    x = encoder.patch_embed.proj(cube.to(encoder.pos_embed.dtype)).permute(0, 2, 3, 4, 1) + encoder.pos_embed
    x = x.reshape(n**3, width)
    for block in cast(list[Block | StudentBlock], list(encoder.blocks)):
        if isinstance(block, StudentBlock):
            if block.attends:
                x = x + attention(block.attn, block.norm1(x))
            x = block.norm2(x)
            x = x + block.mlp(x)
        else:
            x = x + attention(block.attn, block.norm1(x))
            x = x + block.mlp(block.norm2(x))
    x = x.view(1, n, n, n, width).permute(0, 4, 1, 2, 3)
    for convolution, norm, around in ((0, 1, 0), (2, 3, 1)):
        x = conv3d(x, cast(nn.Conv3d, encoder.neck[convolution]).weight, padding=around)
        x = channel_norm(x, cast(nn.LayerNorm, encoder.neck[norm]))
    return cast(Tensor, x)


def channel_norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Normalise the channels of (1, c, n, n, n) voxel by voxel."""
    centred = x - x.mean(1, keepdim=True)
    x = centred / torch.sqrt(centred.square().mean(1, keepdim=True) + norm.eps)
    return x * norm.weight.view(1, -1, 1, 1, 1) + norm.bias.view(1, -1, 1, 1, 1)


def mix(module: CrossAttention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention of unprojected (N, width) tokens."""
    q, k, v = (
        projection(x).view(len(x), HEADS, -1).transpose(0, 1)
        for projection, x in ((module.q_proj, query), (module.k_proj, key), (module.v_proj, value))
    )
    weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1)
    out: Tensor = module.out_proj((weights @ v).transpose(0, 1).flatten(1))
    return out


def decode(
    network: SamMed3D, embedding: Tensor, points: Tensor, labels: Tensor, previous: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """As `SamMed3D.decode`."""
    prompts, decoder = network.prompt_encoder, network.mask_decoder
    n = prompts.grid
    dtype = embedding.dtype
    if previous is None:
        previous = points.new_zeros(1, 1, 4 * n, 4 * n, 4 * n)
    down = prompts.mask_downscaling
    x = previous.to(dtype)
    for item, norm in (("0", "1"), ("3", "4")):
        convolution = cast(nn.Conv3d, down[item])
        x = conv3d(x, convolution.weight, convolution.bias, stride=2)
        x = gelu(channel_norm(x, cast(nn.LayerNorm, down[norm])))
    dense = prompts.mask_projection(x)

    positions = prompts.dense_positions().to(dtype)
    start = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, prompts.clicks(points, labels)])
    cells = (embedding + dense)[0].flatten(1).t()
    tokens = start
    for i, layer in enumerate(decoder.transformer.both):
        if i:
            placed = tokens + start
            tokens = layer.norm1(tokens + mix(layer.self_attn, placed, placed, tokens))
        else:
            tokens = layer.norm1(mix(layer.self_attn, tokens, tokens, tokens))
        seen = mix(layer.cross_attn_token_to_image, tokens + start, cells + positions, cells)
        tokens = layer.norm2(tokens + seen)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        seen = mix(layer.cross_attn_image_to_token, cells + positions, tokens + start, tokens)
        cells = layer.norm4(cells + seen)
    final = decoder.transformer.final_attn_token_to_image
    tokens = decoder.transformer.norm_final_attn(tokens + mix(final, tokens + start, cells + positions, cells))

    up = decoder.output_upscaling
    first, second = cast(nn.ConvTranspose3d, up["0"]), cast(nn.ConvTranspose3d, up["3"])
    x = cells.t().reshape(1, -1, n, n, n)
    x = gelu(channel_norm(conv_transpose3d(x, first.weight, first.bias, stride=2), cast(nn.LayerNorm, up["1"])))
    x = gelu(conv_transpose3d(x, second.weight, second.bias, stride=2))
    kernels = torch.stack([mlp(tokens[1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)])
    logits = (kernels @ x[0].flatten(1)).view(1, -1, 4 * n, 4 * n, 4 * n)
    return logits[:, :1], decoder.iou_prediction_head(tokens[:1])[:, :1]
