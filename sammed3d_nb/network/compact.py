"""The compact promptable network that ships with the package.

A convolutional encoder sees the cube once; a light convolutional decoder answers each click. What generalises to
structures that nobody labelled is likeness, so the decoder is shown, besides the clicks and the previous mask, how much
every voxel resembles the clicked ones: in intensity and in learned features (positive and negative clicks apart).

Tensors inside are channels-last, (b, d0, d1, d2, c): every layer but the 3³ convolutions is then a matrix product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool3d,
    conv3d,
    grid_sample,
    layer_norm,
    linear,
    normalize,
    relu,
    scaled_dot_product_attention,
)

from sammed3d_nb.network.spec import Embedding, ModelSpec, Network

REACHES = (1.5, 6.0, 24.0)
"""Cells of 64³ over which a click's three maps fall to 1/e."""
LIKENESS = (0.06, 0.2)
"""Widths, in normalised intensity, of "as bright as the clicked place"."""
FAR = 1e3


@dataclass(frozen=True)
class Size:
    """Widths of the network at 64³, 32³, 16³ and 8³, and numbers of blocks."""

    widths: tuple[int, int, int, int] = (16, 64, 128, 256)
    blocks: tuple[int, int, int, int] = (2, 3, 4, 4)
    decoder_blocks: int = 2
    merges: tuple[int, int, int] = (1, 1, 1)
    heads: int = 8
    groups: int = 4
    cube: int = 128


class Features(NamedTuple):
    """What `Compact.encode` hands to `Compact.decode`, channels last, b cubes of n voxels.

    ``image`` is the normalised cube with each 2³ voxels as channels, (b, n/2, n/2, n/2, 8); the others are features at
    1/2, 1/4, 1/8 and 1/16 of the cube's resolution. 36 MB a cube in float32.
    """

    image: Tensor
    fine: Tensor
    middle: Tensor
    coarse: Tensor
    tokens: Tensor


class Convolution(nn.Module):
    """A residual 3³ convolution of the normalised, activated input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, 3, 3, 3))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        with torch.no_grad():
            self.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d, h, w, c), the same."""
        return x + convolve(activate(x), self.weight, self.bias)


class Attention(nn.Module):
    """A transformer block over the tokens of the coarsest grid."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.wide = nn.Linear(width, 3 * width)
        self.narrow = nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(b, t, c) → (b, t, c)."""
        b, t, c = x.shape
        qkv = self.qkv(norm(x)).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, c))
        return x + cast(Tensor, self.narrow(relu(self.wide(norm(x)))))


class Down(nn.Linear):
    """Halve the grid: each 2³ cells become one, by a linear map of their channels."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(8 * width, out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d, h, w, c) → (b, d/2, h/2, w/2, out)."""
        return super().forward(gather_cells(activate(x)))


class Up(nn.Linear):
    """Double the grid: each cell becomes 2³, by a linear map of its channels."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, 8 * out)

    def forward(self, x: Tensor) -> Tensor:
        """(b, d, h, w, c) → (b, 2d, 2h, 2w, out)."""
        return spread_cells(super().forward(activate(x)))


class Encoder(nn.Module):
    """A U-shaped network from the cube to features at 64³, 32³, 16³ and 8³, all of which know the whole cube."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        c = size.widths
        grid = size.cube // 16
        self.stem = nn.Parameter(torch.empty(c[0], 8, 3, 3, 3))
        self.stem_bias = nn.Parameter(torch.zeros(c[0]))
        nn.init.kaiming_normal_(self.stem, nonlinearity="relu")
        self.levels = nn.ModuleList(
            nn.Sequential(*[Convolution(c[level]) for _ in range(size.blocks[level])]) for level in range(3)
        )
        self.downs = nn.ModuleList(Down(c[level], c[level + 1]) for level in range(3))
        self.positions = nn.Parameter(0.02 * torch.randn(grid**3, c[3]))
        self.attention = nn.Sequential(*[Attention(c[3], size.heads) for _ in range(size.blocks[3])])
        self.ups = nn.ModuleList(Up(c[level + 1], c[level]) for level in range(3))
        self.merges = nn.ModuleList(Convolution(c[level]) for level in range(3))
        self.fine_keys = nn.Linear(c[0], 2 * c[0])
        self.coarse_keys = nn.Linear(c[2], 64)
        self.groups = size.groups

    def forward(self, cube: Tensor) -> Features:
        """(b, 1, n, n, n) → features."""
        image = gather_cells(cube.movedim(1, -1))
        x = convolve(image, self.stem, self.stem_bias)
        skips = []
        for blocks, down in zip(self.levels, self.downs, strict=True):
            x = blocks(x)
            skips.append(x)
            x = down(x)
        tokens = self.attention(x.flatten(1, 3) + self.positions)
        x = tokens.view_as(x)
        merged = []
        for level in (2, 1, 0):
            x = self.merges[level](skips[level] + self.ups[level](x))
            merged.append(x)
        coarse, middle, fine = merged
        return Features(image, fine, middle, coarse, tokens)

    def keys(self, features: Features) -> tuple[Tensor, Tensor]:
        """The features in which clicked places are compared, at 64³ and 16³: (b, g, cells, c).

        Worked out at every click: stored, they would double the embedding.
        """
        fine = unit(self.fine_keys(features.fine), self.groups)
        return fine, unit(self.coarse_keys(norm(features.coarse)), self.groups)


class Decoder(nn.Module):
    """From features, clicks and the previous mask to logits at the cube's full resolution."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        c = size.widths
        self.prompt = nn.Linear(prompt_channels(size), c[0])
        self.likeness = nn.Linear(2 * size.groups, c[2])
        self.downs = nn.ModuleList(Down(c[level], c[level + 1]) for level in range(3))
        self.attention = nn.Sequential(*[Attention(c[3], size.heads) for _ in range(size.decoder_blocks)])
        self.ups = nn.ModuleList(Up(c[level + 1], c[level]) for level in range(3))
        self.merges = nn.ModuleList(
            nn.Sequential(*[Convolution(c[level]) for _ in range(size.merges[level])]) for level in range(3)
        )
        self.fine = nn.Linear(c[0], c[0] + 8)
        self.detail = nn.Linear(16, c[0] + 8, bias=False)
        self.logits = nn.Linear(c[0] + 8, 8)
        self.prior = nn.Linear(prompt_channels(size), 8)
        self.start()
        self.quality = nn.Sequential(nn.Linear(2 * c[1], 64), nn.ReLU(), nn.Linear(64, 1))

    def start(self) -> None:
        """Begin with "near a positive click and about as bright, or masked before": training then refines a mask.

        From plain random weights the first thing learned is to predict nothing, and that takes hundreds of steps to
        unlearn.
        """
        near, alike, groups = len(REACHES), len(LIKENESS), (self.likeness.in_features // 2)
        weight = torch.zeros(self.prior.in_features)
        weight[:near] = torch.tensor([2.0, 1.5, 1.5])
        weight[near : near + alike] = torch.tensor([1.0, 1.5])
        negative = near + alike + groups
        weight[negative : negative + near] = torch.tensor([-3.0, -2.0, 0.0])
        weight[-1] = 4.0
        with torch.no_grad():
            self.prior.weight.copy_(weight.expand_as(self.prior.weight))
            self.prior.bias.fill_(-4.5)
            self.logits.weight.mul_(0.3)

    def forward(self, features: Features, prompt: Tensor, likeness: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        """All of shape (b·k, …): k objects of each of the b cubes whose features these are.

        Args:
            features: Of the b cubes.
            prompt: (b·k, p, (n/2)³) the maps that clicks and the previous mask give.
            likeness: (b·k, 2g, (n/8)³) to the clicked places in coarse features.
            detail: (b·k, n/2, n/2, n/2, 16) of each of 2³ voxels, intensity relative to the clicked and previous mask.

        Returns:
            Logits (b·k, 1, n, n, n) and quality before the sigmoid (b·k, 1).
        """
        fine = share(features.fine, project(prompt, self.prompt, features.fine))
        middle = share(features.middle, self.downs[0](fine))
        coarse = share(features.coarse, self.downs[1](middle) + project(likeness, self.likeness, features.coarse))
        x = self.downs[2](coarse)
        x = share(features.tokens.view(-1, *x.shape[1:]), x)
        x = self.attention(x.flatten(1, 3)).view_as(x)
        x = self.merges[2](coarse + self.ups[2](x))
        x = self.merges[1](middle + self.ups[1](x))
        pooled = norm(x).flatten(1, 3).float()
        x = self.merges[0](fine + self.ups[0](x))
        voxels = self.logits(relu(self.fine(relu(x)) + self.detail(detail)))
        voxels = voxels + project(prompt, self.prior, voxels)
        inside = avg_pool3d(voxels.float().mean(-1)[:, None], 2).sigmoid().flatten(2)  # (b·k, 1, (n/4)³)
        seen = torch.cat([pooled.mean(1), (inside @ pooled)[:, 0] / (inside.sum(2) + 1.0)], dim=1)
        return spread_cells(voxels).movedim(-1, 1), self.quality(seen.detach().to(voxels.dtype))


class Compact(Network):
    """See the module. ``encode`` and ``decode`` are `Network`'s; `answer` does many cubes and objects at once."""

    def __init__(self, size: Size | None = None, spec: ModelSpec | None = None) -> None:
        super().__init__()
        self.size = size or Size()
        self.encoder = Encoder(self.size)
        self.decoder = Decoder(self.size)
        self.spec = spec or describe(self)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "Compact":
        """The network whose weights these are; its size is read off their shapes."""
        network = cls(size_of(state))
        network.load_state_dict({name: value.float() for name, value in state.items()})
        return network

    def encode(self, cube: Tensor) -> Embedding:
        """See `Network.encode`; normalisation ``"equalised"``."""
        return cast(Features, self.encoder(cube.to(self.decoder.prompt.weight.dtype)))

    def decode(
        self, embedding: Embedding, points: Tensor, labels: Tensor, previous: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """See `Network.decode`; logits of the cube's own resolution, (1, 1, n, n, n)."""
        features = Features(*embedding)
        logits, quality = self.answer(features, points[None], labels[None], previous)
        return hold_clicks(logits, points[None], labels[None]), quality.sigmoid()

    def answer(
        self, features: Features, points: Tensor, labels: Tensor, previous: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The network's own logits for k objects in each of b cubes.

        Args:
            features: Of b cubes.
            points: (b·k, m, 3) float, cube index.
            labels: (b·k, m) 1, 0, or −1 where an object has fewer than m clicks.
            previous: (b·k, 1, n, n, n) logits, or ``None``.

        Returns:
            Logits (b·k, 1, n, n, n) and quality before the sigmoid (b·k, 1).
        """
        dtype = features.image.dtype
        if previous is None:
            shape = (len(points), *(2 * n for n in features.image.shape[1:4]), 1)
            before = gather_cells(features.image.new_zeros(shape))
        else:
            before = gather_cells((previous.to(dtype) / 4).tanh().movedim(1, -1))
        prompt, likeness, detail = describe_clicks(
            features, self.encoder.keys(features), points.float(), labels, before
        )
        return cast(tuple[Tensor, Tensor], self.decoder(features, prompt, likeness, detail))


def describe_clicks(
    features: Features, keys: tuple[Tensor, Tensor], points: Tensor, labels: Tensor, before: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The decoder's three inputs (see `Decoder.forward`) for clicks (b·k, m, 3) and the previous mask's 2³ cells.

    ``keys`` are `Encoder.keys`.
    """
    image = features.image
    cells = image.shape[1]
    positive, negative = labels == 1, labels == 0
    where = (points + 0.5) / (2 * cells)  # 0 … 1 over the cube
    fine = keys_at(keys[0], where)
    coarse = keys_at(keys[1], where)
    brightness = image.mean(-1, keepdim=True)
    smooth = avg_pool3d(brightness.movedim(-1, 1), 3, 1, 1, count_include_pad=False).movedim(1, -1)
    clicked = sample_at(smooth, where)[..., 0]  # (b·k, m)

    centres = where * cells - 0.5
    bright = brightness.flatten(1).to(image.dtype)
    gaps = share(bright[:, None], -clicked[:, :, None].to(image.dtype))  # (b·k, m, (n/2)³)
    cosines = compare(keys[0], fine)  # (b·k, g, m, (n/2)³)
    coarse_cosines = compare(keys[1], coarse)
    maps, likeness = [], []
    for chosen in (positive, negative):
        maps.append(bells(centres, chosen, cells).to(image.dtype))
        gap = (gaps.abs() + torch.where(chosen, 0.0, FAR)[:, :, None].to(image.dtype)).amin(1, keepdim=True)
        maps += [(-(gap / width).square()).exp() for width in LIKENESS]
        away = torch.where(chosen, 0.0, -3.0)[:, None, :, None].to(image.dtype)
        maps.append((cosines + away).amax(2).clamp(min=-1))
        likeness.append((coarse_cosines + away).amax(2).clamp(min=-1))
    reference = (clicked * positive).sum(1) / positive.sum(1).clamp(min=1)
    reference = -reference[:, None].to(image.dtype)
    prompt = torch.cat([*maps, share(bright, reference)[:, None], before.mean(-1).flatten(1)[:, None]], dim=1)
    detail = torch.cat([share(image, reference[:, :, None, None, None]), before], dim=-1)
    return prompt, torch.cat(likeness, dim=1), detail


def prompt_channels(size: Size) -> int:
    """Maps for positive and for negative clicks (near, as bright, alike), brightness against the clicks', the mask."""
    return 2 * (len(REACHES) + len(LIKENESS) + size.groups) + 2


def bells(centres: Tensor, chosen: Tensor, cells: int) -> Tensor:
    """Sums of Gaussian bells at the chosen clicks: (b, m, 3) in cells, (b, m) → (b, reaches, cells³)."""
    axis = torch.arange(cells, device=centres.device, dtype=centres.dtype)
    reach = torch.tensor(REACHES, device=centres.device, dtype=centres.dtype)[:, None, None, None]
    bell = (-0.5 * ((axis - centres[:, None, :, :, None]) / reach).square()).exp()  # (b, r, m, 3, n)
    bell = bell * chosen[:, None, :, None, None]
    plane = torch.einsum("brmi,brmj->brijm", bell[:, :, :, 0], bell[:, :, :, 1]).flatten(2, 3)
    return (plane @ bell[:, :, :, 2]).flatten(2).clamp(max=2)


def compare(keys: Tensor, clicked: Tensor) -> Tensor:
    """Cosines of every cell's keys with the clicked places': (b, g, t, c), (b·k, m, g, c) → (b·k, g, m, t)."""
    b, g = keys.shape[:2]
    bk, m = clicked.shape[:2]
    queries = clicked.view(b, -1, g, clicked.shape[-1]).transpose(1, 2)  # (b, g, k·m, c)
    cosines = queries @ keys.transpose(2, 3)
    return cosines.view(b, g, bk // b, m, -1).transpose(1, 2).flatten(0, 1)


def sample_at(values: Tensor, where: Tensor) -> Tensor:
    """Values at places, linearly: (b, n, n, n, c), (b·k, m, 3) in 0 … 1 over the cube → (b·k, m, c)."""
    b, m = len(values), where.shape[1]
    places = where.view(b, 1, 1, -1, 3).flip(-1) * 2 - 1  # grid_sample wants the last dim first
    found = grid_sample(values.movedim(-1, 1).float(), places, align_corners=False, padding_mode="border")
    return found[:, :, 0, 0].transpose(1, 2).reshape(-1, m, values.shape[-1])


def keys_at(keys: Tensor, where: Tensor) -> Tensor:
    """The keys of the clicked places: (b, g, cells³, c), (b·k, m, 3) in 0 … 1 → (b·k, m, g, c)."""
    b, g, t, c = keys.shape
    n = round(t ** (1 / 3))
    cell = (where * n).long().clamp(0, n - 1)
    index = ((cell[..., 0] * n + cell[..., 1]) * n + cell[..., 2]).view(b, 1, -1, 1).expand(-1, g, -1, c)
    return keys.gather(2, index).transpose(1, 2).reshape(*where.shape[:2], g, c)


def hold_clicks(logits: Tensor, points: Tensor, labels: Tensor) -> Tensor:
    """Logits that obey the clicks: at least positive at a positive click and negative at a negative one.

    The mask is sampled between cells on its way home, so the cells round the click (up to 4/3 of a cell away) obey too.
    A later click overrules an earlier one.

    Args:
        logits: (b, 1, n, n, n).
        points: (b, m, 3) float, index of the logits' own grid.
        labels: (b, m) 1, 0 or −1 (no click).
    """
    n = logits.shape[-1]
    held = logits.clone(memory_format=torch.contiguous_format)
    flat = held.view(len(logits), -1)
    step = torch.arange(-1, 3, device=points.device)
    for click in range(points.shape[1]):
        point = points[:, click].float()
        cells = point.floor()[:, :, None] + step  # (b, 3, 4)
        square = (cells - point[:, :, None]).square()
        far = square[:, 0, :, None, None] + square[:, 1, None, :, None] + square[:, 2, None, None, :]
        force = (8.0 - 6.0 * far.sqrt()).flatten(1).to(logits.dtype)
        index = cells.clamp(0, n - 1).long()
        index = (index[:, 0, :, None, None] * n + index[:, 1, None, :, None]) * n + index[:, 2, None, None, :]
        index = index.flatten(1)
        label = labels[:, click, None]
        now = flat.gather(1, index)
        forced = torch.where(label == 1, torch.maximum(now, force), torch.minimum(now, -force))
        flat.scatter_(1, index, torch.where((label >= 0) & (force > 0), forced, now))
    return held


def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3³ convolution of channels-last tensors (permuted, they are torch's channels_last_3d: nothing is copied)."""
    return conv3d(x.movedim(-1, 1), weight, bias, padding=1).movedim(1, -1)


def norm(x: Tensor) -> Tensor:
    """Each voxel's channels to mean 0 and deviation 1: independent of padding, of the clicks before, of the batch."""
    return layer_norm(x, x.shape[-1:])


def activate(x: Tensor) -> Tensor:
    """Normalise (not on the finest grid, where it would cost more than the convolutions), then bend."""
    return relu(x if x.shape[1] >= 64 else norm(x))


def project(maps: Tensor, layer: nn.Linear, like: Tensor) -> Tensor:
    """A linear map of channels-first maps: (b·k, p, t) → (b·k, n, n, n, c), the grid of `like`."""
    mapped: Tensor = linear(maps.transpose(1, 2), layer.weight, layer.bias).unflatten(1, like.shape[1:4])
    return mapped


def unit(x: Tensor, groups: int) -> Tensor:
    """Channels in groups, each of length 1: (b, …, c) → (b, g, cells, c/g)."""
    x = x.unflatten(-1, (groups, -1)).flatten(1, -3)
    return normalize(x, dim=-1, eps=1e-3).transpose(1, 2)


def share(of_cube: Tensor, of_object: Tensor) -> Tensor:
    """The sum of what belongs to a cube and what belongs to each of its k objects: (b, …) + (b·k, …) → (b·k, …)."""
    b = len(of_cube)
    objects: Tensor = of_object.unflatten(0, (b, -1))
    return (of_cube[:, None] + objects).flatten(0, 1)


def gather_cells(x: Tensor) -> Tensor:
    """2³ cells' channels into one: (b, d, h, w, c) → (b, d/2, h/2, w/2, 8c)."""
    b, d, h, w, c = x.shape
    x = x.view(b, d // 2, 2, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, d // 2, h // 2, w // 2, 8 * c)


def spread_cells(x: Tensor) -> Tensor:
    """The inverse of `gather_cells`."""
    b, d, h, w, c = x.shape
    x = x.view(b, d, h, w, 2, 2, 2, c // 8).permute(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, 2 * d, 2 * h, 2 * w, c // 8)


def size_of(state: Mapping[str, Any]) -> Size:
    """Read the network's size off its weights' shapes."""
    widths = tuple(state[f"encoder.merges.{level}.weight"].shape[0] for level in range(3))
    tokens, width = state["encoder.positions"].shape

    def count(prefix: str) -> int:
        return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})

    return Size(
        widths=(widths[0], widths[1], widths[2], width),
        blocks=(*(count(f"encoder.levels.{level}.") for level in range(3)), count("encoder.attention.")),  # type: ignore[arg-type]
        decoder_blocks=count("decoder.attention."),
        merges=(*(count(f"decoder.merges.{level}.") for level in range(3)),),  # type: ignore[arg-type]
        groups=state["decoder.likeness.weight"].shape[1] // 2,
        cube=16 * round(tokens ** (1 / 3)),
    )


def describe(network: Compact) -> ModelSpec:
    """The spec of a compact network that is in no file yet."""
    size = network.size
    return ModelSpec(
        name="compact",
        architecture="compact",
        layers=sum(size.blocks),
        width=size.widths[-1],
        heads=size.heads,
        cube_size=size.cube,
        grid_size=size.cube,
        normalisation="equalised",
        spacing_mm=3.0,  # the first cube: large objects are recognised in a wide view, small ones then zoomed in on
        spacing_range_mm=(0.5, 3.0),
        parameters=sum(weight.numel() for weight in network.parameters()),
    )
