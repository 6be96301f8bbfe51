"""The image encoders of SAM-Med3D and of FastSAM3D, which distils it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv3d, gelu, pad

from sammed3d_nb.network.attention import RelativeAttention
from sammed3d_nb.network.product import product

EPS = 1e-6  # of every norm in the encoder; the decoder's are PyTorch's 1e-5


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of an image encoder, as its tensors tell them.

    Attributes:
        grid: tokens along each edge.
        patch: voxels along each edge of a token.
        width: channels.
        heads: attention heads; the width of one is that of the relative tables.
        windows: per block, the window's edge that its relative tables were made for; 0 for a block without attention.
        hidden: channels inside the feed-forward layers.
        out: channels of the embedding.
    """

    grid: int
    patch: int
    width: int
    heads: int
    windows: tuple[int, ...]
    hidden: int
    out: int

    @property
    def student(self) -> bool:
        """FastSAM3D's student: its first blocks have no attention."""
        return 0 in self.windows

    @property
    def cube(self) -> int:
        """Voxels along each edge of the input."""
        return self.grid * self.patch

    @classmethod
    def of(cls, state: Mapping[str, Tensor], prefix: str = "") -> "EncoderShape":
        """Read the sizes off the tensors of an encoder, whose names begin with ``prefix``.

        Raises:
            KeyError: a tensor that every such encoder has is missing.
        """
        names = [name.removeprefix(prefix) for name in state if name.startswith(f"{prefix}blocks.")]
        blocks = 1 + max((int(name.split(".")[1]) for name in names), default=-1)
        tables = [state.get(f"{prefix}blocks.{i}.attn.rel_pos_d") for i in range(blocks)]
        attending = [table for table in tables if table is not None]
        if not attending:
            raise KeyError(f"{prefix}blocks.*.attn.rel_pos_d")
        grid, width = state[f"{prefix}pos_embed"].shape[1], state[f"{prefix}pos_embed"].shape[-1]
        return cls(
            grid=grid,
            patch=state[f"{prefix}patch_embed.proj.weight"].shape[-1],
            width=width,
            heads=width // attending[0].shape[1],
            windows=tuple(0 if table is None else (len(table) + 1) // 2 for table in tables),
            hidden=state[f"{prefix}blocks.0.mlp.lin1.weight"].shape[0],
            out=state[f"{prefix}neck.0.weight"].shape[0],
        )


class FeedForward(nn.Module):
    """Two linear layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, width) to the same shape."""
        return product(gelu(product(tokens, self.lin1.weight, self.lin1.bias)), self.lin2.weight, self.lin2.bias)


class Block(nn.Module):
    """A block of SAM-Med3D: attention and feed-forward, each added to what it read."""

    def __init__(self, shape: EncoderShape, window: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=EPS)
        self.attn = RelativeAttention(shape.width, shape.heads, shape.grid, window)
        self.norm2 = nn.LayerNorm(shape.width, eps=EPS)
        self.mlp = FeedForward(shape.width, shape.hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n³, width) to the same shape."""
        tokens = tokens + self.attn(self.norm1(tokens))
        out: Tensor = tokens + self.mlp(self.norm2(tokens))
        return out


class StudentBlock(nn.Module):
    """A block of FastSAM3D's student; without attention where ``window`` is 0.

    The residual starts after the second norm, not before it: ``y = norm2(x [+ attention]); out = y + mlp(y)``.
    """

    def __init__(self, shape: EncoderShape, window: int) -> None:
        super().__init__()
        if window:
            self.norm1 = nn.LayerNorm(shape.width, eps=EPS)
            self.attn = RelativeAttention(shape.width, shape.heads, shape.grid, window)
        self.attends = bool(window)
        self.norm2 = nn.LayerNorm(shape.width, eps=EPS)
        self.mlp = FeedForward(shape.width, shape.hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n³, width) to the same shape."""
        if self.attends:
            tokens = tokens + self.attn(self.norm1(tokens))
        tokens = self.norm2(tokens)
        out: Tensor = tokens + self.mlp(tokens)
        return out


class PatchEmbedding(nn.Module):
    """Cuts the cube into patches and projects each to one token."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.proj = nn.Conv3d(1, shape.width, shape.patch, stride=shape.patch)

    def forward(self, cube: Tensor) -> Tensor:
        """(1, 1, s, s, s) to (n³, width), tokens in the order d, h, w."""
        weight = self.proj.weight.flatten(1)
        patch = self.proj.kernel_size[0]
        grid = cube.shape[-1] // patch
        cube = cube.to(weight.dtype).view(grid, patch, grid, patch, grid, patch)
        # patches do not overlap, so the convolution is one matrix product, which every backend does best
        patches = cube.permute(0, 2, 4, 1, 3, 5).reshape(grid**3, -1)
        return product(patches, weight, self.proj.bias)


class Neck(nn.Sequential):
    """Projects the tokens to the embedding: 1³ convolution, norm, 3³ convolution, norm (over channels)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__(
            nn.Conv3d(shape.width, shape.out, 1, bias=False),
            nn.LayerNorm(shape.out, eps=EPS),
            nn.Conv3d(shape.out, shape.out, 3, padding=1, bias=False),
            nn.LayerNorm(shape.out, eps=EPS),
        )
        self.grid = shape.grid

    def forward(self, tokens: Tensor) -> Tensor:
        """(n³, width) to (n³, out); channels stay last throughout."""
        project, convolve = cast(nn.Conv3d, self[0]), cast(nn.Conv3d, self[2])
        tokens = self[1](product(tokens, project.weight.flatten(1)))
        field = tokens.view(1, self.grid, self.grid, self.grid, -1)
        if tokens.is_cuda:  # cuDNN has no fast 3-D convolution of so small a field; its 27 shifts side by side do
            field = pad(field[0], (0, 0, 1, 1, 1, 1, 1, 1))
            around = field.unfold(0, 3, 1).unfold(1, 3, 1).unfold(2, 3, 1).reshape(len(tokens), -1)
            tokens = product(around, convolve.weight.flatten(1))
        else:
            field = conv3d(field.permute(0, 4, 1, 2, 3), convolve.weight, padding=1)
            tokens = field.permute(0, 2, 3, 4, 1).reshape(len(tokens), -1)
        result: Tensor = self[3](tokens)
        return result


class ImageEncoder(nn.Module):
    """Cube to embedding. Parameter names are the original's; the student's where ``shape.student``."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbedding(shape)
        self.pos_embed = nn.Parameter(torch.zeros(1, shape.grid, shape.grid, shape.grid, shape.width))
        block = StudentBlock if shape.student else Block
        self.blocks = nn.Sequential(*(block(shape, window) for window in shape.windows))
        self.neck = Neck(shape)

    def forward(self, cube: Tensor) -> Tensor:
        """(1, 1, s, s, s) normalised, to (1, out, n, n, n); channels are last in memory."""
        n = self.shape.grid
        tokens = self.patch_embed(cube) + self.pos_embed.view(n**3, -1)
        embedding: Tensor = self.neck(self.blocks(tokens)).view(1, n, n, n, -1).permute(0, 4, 1, 2, 3)
        return embedding
