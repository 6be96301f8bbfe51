"""The compact promptable network that ships with the package.

A convolutional encoder sees the cube once; a light convolutional decoder answers each click. What generalises to
structures that nobody labelled is likeness, so the decoder is shown, besides the clicks and the previous mask, how much
every voxel resembles the clicked ones: in intensity and in learned features (positive and negative clicks apart).

Tensors inside are channels-last, (b, d0, d1, d2, c): every layer but the 3³ convolutions is then a matrix product.
"""

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d

from sammed3d_nb.network.click_maps import LIKENESS, REACHES, Features, describe_clicks, hold_clicks, prompt_channels
from sammed3d_nb.network.connected import connected_maps
from sammed3d_nb.network.drawn import KINDS, MAPS, START
from sammed3d_nb.network.layers import (
    Attention,
    Convolution,
    Down,
    Up,
    add_shared,
    convolve,
    gather_cells,
    norm,
    project,
    spread_cells,
    unit,
)
from sammed3d_nb.network.spec import Embedding, ModelSpec, Network


@dataclass(frozen=True)
class Size:
    """Widths of the network at 64³, 32³, 16³ and 8³, and numbers of blocks.

    ``blocks`` are the encoder's on the way down, ``refine`` those on its way up, after each merge (``merges`` are the
    decoder's): they know the whole cube and run once for all clicks. ``connected`` maps of the decoder say what region
    growing from the clicks reaches (`connected_maps`); files before piece 8 of training have none. ``drawn`` maps show
    boxes, lassos and strokes (`sammed3d_nb.network.drawn`); files before piece 9 have none.
    """

    widths: tuple[int, int, int, int] = (16, 64, 128, 256)
    blocks: tuple[int, int, int, int] = (2, 3, 4, 4)
    decoder_blocks: int = 2
    merges: tuple[int, int, int] = (1, 1, 1)
    refine: tuple[int, int, int] = (4, 9, 5)
    connected: int = 2 * len(LIKENESS)
    drawn: int = MAPS
    heads: int = 8
    groups: int = 4
    cube: int = 128


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
        self.refine = nn.ModuleList(
            nn.Sequential(*[Convolution(c[level]) for _ in range(size.refine[level])]) for level in range(3)
        )
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
            x = self.refine[level](self.merges[level](skips[level] + self.ups[level](x)))
            merged.append(x)
        coarse, middle, fine = merged
        return Features(image, fine, middle, coarse, tokens)

    def keys(self, features: Features) -> tuple[Tensor, Tensor]:
        """The features in which clicked places are compared, at 64³ and 16³: (b, g, cells, c).

        Kept for the cube in use only (`Compact`): stored with each embedding, they would double it.
        """
        fine = unit(self.fine_keys(features.fine), self.groups)
        return fine, unit(self.coarse_keys(norm(features.coarse)), self.groups)


class Decoder(nn.Module):
    """From features, clicks and the previous mask to logits at the cube's full resolution."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        c = size.widths
        channels = prompt_channels(size.groups)
        self.maps = channels + size.connected
        self.prompt = nn.Linear(self.maps + size.drawn, c[0])
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
        self.prior = nn.Linear(self.maps + size.drawn, 8)
        self.start(mask=channels - 1)
        self.quality = nn.Sequential(nn.Linear(2 * c[1], 64), nn.ReLU(), nn.Linear(64, 1))

    def start(self, mask: int) -> None:
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
        weight[mask] = 4.0
        weight[self.maps :] = torch.tensor(START[: len(weight) - self.maps])
        with torch.no_grad():
            self.prior.weight.copy_(weight.expand_as(self.prior.weight))
            self.prior.bias.fill_(-4.5)
            self.logits.weight.mul_(0.3)

    def forward(self, features: Features, prompt: Tensor, likeness: Tensor, detail: Tensor) -> tuple[Tensor, Tensor]:
        """All of shape (b·k, …): k objects of each of the b cubes whose features these are.

        Args:
            features: Of the b cubes.
            prompt: (b·k, p, (n/2)³) the maps that clicks and the previous mask give; then, where something is drawn,
                the drawn ones.
            likeness: (b·k, 2g, (n/8)³) to the clicked places in coarse features.
            detail: (b·k, n/2, n/2, n/2, 16) of each of 2³ voxels, intensity relative to the clicked and previous mask.

        Returns:
            Logits (b·k, 1, n, n, n) and quality before the sigmoid (b·k, 1).
        """
        shown = prompt.shape[1]  # nothing drawn: those weights have nothing to do
        fine = add_shared(
            project(prompt, self.prompt.weight[:, :shown], self.prompt.bias, features.fine), features.fine
        )
        middle = add_shared(self.downs[0](fine), features.middle)
        coarse = add_shared(self.downs[1](middle), features.coarse)
        coarse.add_(project(likeness, self.likeness.weight, self.likeness.bias, features.coarse))
        x = self.downs[2](coarse)
        x = add_shared(x, features.tokens.view(-1, *x.shape[1:]))
        x = self.attention(x.flatten(1, 3)).view_as(x)
        x = self.merges[2](self.ups[2](x).add_(coarse))
        x = self.merges[1](self.ups[1](x).add_(middle))
        pooled = norm(x).flatten(1, 3).float()
        x = self.merges[0](self.ups[0](x).add_(fine))
        voxels = self.logits(self.fine(x.relu_()).add_(self.detail(detail)).relu_())
        # as `project`, but this narrow a product is five times faster the other way round
        voxels.flatten(1, 3).add_((self.prior.weight[:, :shown] @ prompt).transpose(1, 2)).add_(self.prior.bias)
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
        self._keys: tuple[weakref.ref[Tensor], tuple[Tensor, Tensor]] | None = None

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
        self,
        embedding: Embedding,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Network.decode`; logits of the cube's own resolution, (1, 1, n, n, n)."""
        return self.respond(self.known(embedding), points, labels, previous, drawn)

    def known(self, embedding: Embedding) -> tuple[Tensor, ...]:
        """What is known of a cube before any click, in the network's precision: `Features`, then `Encoder.keys`."""
        dtype = self.decoder.prompt.weight.dtype  # it may have changed since the encoding, where memory was short
        features = Features(*[part.to(dtype) for part in embedding])
        return *features, *self._keys_of(features)

    def respond(
        self,
        known: tuple[Tensor, ...],
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`decode` from what `known` gives; where a label is negative there is no click."""
        (fine, coarse), features = known[-2:], Features(*known[:-2])
        logits, quality = self.answer(features, points[None], labels[None], previous, (fine, coarse), drawn)
        return hold_clicks(logits, points[None], labels[None]), quality.sigmoid()

    def _keys_of(self, features: Features) -> tuple[Tensor, Tensor]:
        """The keys of the cube in use, for clicks come in runs on one cube: 35 MB while its embedding lives."""
        if torch.is_grad_enabled():
            return self.encoder.keys(features)
        kept = self._keys
        if kept is None or kept[0]() is not features.fine:
            self._keys = None  # not two at once
            kept = self._keys = weakref.ref(features.fine, self._forget_keys), self.encoder.keys(features)
        return kept[1]

    def _forget_keys(self, gone: "weakref.ref[Tensor]") -> None:
        kept = self._keys
        if kept is not None and kept[0] is gone:
            self._keys = None

    def answer(
        self,
        features: Features,
        points: Tensor,
        labels: Tensor,
        previous: Tensor | None,
        keys: tuple[Tensor, Tensor] | None = None,
        drawn: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The network's own logits for k objects in each of b cubes.

        Args:
            features: Of b cubes.
            points: (b·k, m, 3) float, cube index.
            labels: (b·k, m) 1, 0, or a negative number where an object has fewer than m clicks.
            previous: (b·k, 1, n, n, n) logits, or ``None``.
            keys: `Encoder.keys` of the features, where they are known.
            drawn: (b·k, `MAPS`, n/2, n/2, n/2) what is drawn, for networks that know it; ``None`` for nothing.

        Returns:
            Logits (b·k, 1, n, n, n) and quality before the sigmoid (b·k, 1).
        """
        dtype = features.image.dtype
        if previous is None:
            shape = (len(points), *(2 * n for n in features.image.shape[1:4]), 1)
            before = gather_cells(features.image.new_zeros(shape))
        else:
            before = gather_cells((previous.to(dtype) / 4).tanh_().movedim(1, -1))
        keys = self.encoder.keys(features) if keys is None else keys
        points = points.float()
        connected = connected_maps(features.image, points, labels) if self.size.connected else None
        more = [maps for maps in (connected, None if drawn is None else drawn.to(dtype).flatten(2)) if maps is not None]
        prompt, likeness, detail = describe_clicks(features, keys, points, labels, before, *more)
        return cast(tuple[Tensor, Tensor], self.decoder(features, prompt, likeness, detail))


def size_of(state: Mapping[str, Any]) -> Size:
    """Read the network's size off its weights' shapes."""
    widths = tuple(state[f"encoder.merges.{level}.weight"].shape[0] for level in range(3))
    tokens, width = state["encoder.positions"].shape
    groups = state["decoder.likeness.weight"].shape[1] // 2
    later = state["decoder.prompt.weight"].shape[1] - prompt_channels(groups)
    drawn = MAPS if later >= MAPS else 0

    def count(prefix: str) -> int:
        return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})

    return Size(
        widths=(widths[0], widths[1], widths[2], width),
        blocks=(*(count(f"encoder.levels.{level}.") for level in range(3)), count("encoder.attention.")),  # type: ignore[arg-type]
        decoder_blocks=count("decoder.attention."),
        merges=(*(count(f"decoder.merges.{level}.") for level in range(3)),),  # type: ignore[arg-type]
        refine=(*(count(f"encoder.refine.{level}.") for level in range(3)),),  # type: ignore[arg-type]
        connected=later - drawn,
        drawn=drawn,
        groups=groups,
        cube=16 * round(tokens ** (1 / 3)),
    )


def describe(network: Compact) -> ModelSpec:
    """The spec of a compact network that is in no file yet."""
    size = network.size
    return ModelSpec(
        name="compact",
        architecture="compact",
        layers=sum(size.blocks) + sum(size.refine),
        width=size.widths[-1],
        heads=size.heads,
        cube_size=size.cube,
        grid_size=size.cube,
        normalisation="equalised",
        spacing_mm=3.0,  # the first cube: large objects are recognised in a wide view, small ones then zoomed in on
        spacing_range_mm=(0.5, 3.0),
        parameters=sum(weight.numel() for weight in network.parameters()),
        native=("point", "mask", *KINDS) if size.drawn else ("point",),
    )
