"""Cases to train on, and how a cube with k objects is cut from one; everything on the GPU."""

import io
import lzma
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample

from sammed3d_nb.network.normalise import normalise
from training.lesions import paste
from training.render import draw, scan
from training.scenes import AIR, FAT, FLUID, GAS, LUNG, Scene, chance, medley, smooth_noise, uniform
from training.trunk import body

FINEST, COARSEST = 0.5, 3.2
CROP = 43
"""As `sammed3d_nb.segmenters.zoom.CROP`, which needs SimpleITK to import."""
WEIGHTS = {
    "body": 0.36, "medley": 0.12, "sarcoma": 0.15, "map": 0.07, "atlas": 0.04, "hippocampus": 0.05, "fetal": 0.07,
    "ms": 0.03, "stroke": 0.015, "neck": 0.06, "nodule": 0.025, "vertebra": 0.02, "cord": 0.02, "em": 0.035,
    "heart": 0.04, "fluorescence": 0.03,
}  # fmt: skip
"""How often a cube comes from each kind of case; kinds that were not prepared are left out."""
LABELLED = {
    "body": 0.88, "medley": 1.0, "sarcoma": 0.22, "map": 1.0, "atlas": 0.35, "hippocampus": 1.0, "fetal": 0.5,
    "ms": 0.3, "stroke": 0.15, "neck": 0.5, "nodule": 0.1, "vertebra": 0.6, "cord": 0.3, "em": 0.7, "heart": 0.5,
    "fluorescence": 0.7,
}  # fmt: skip
"""How often an object comes from the first labelling (people's) and not from a pseudo-labelling."""

PASTED = {
    "body": 0.1, "medley": 0.0, "sarcoma": 0.4, "map": 0.3, "atlas": 0.4, "hippocampus": 0.1, "fetal": 0.1, "ms": 0.3,
    "stroke": 0.3, "neck": 0.2, "nodule": 0.3, "vertebra": 0.1, "cord": 0.1, "em": 0.0, "heart": 0.1,
    "fluorescence": 0.0,
}  # fmt: skip
"""How often a lesion is pasted into a cube."""


@dataclass
class Case:
    """Something to cut cubes from.

    Attributes:
        kind: Key of `WEIGHTS`.
        labels: (l, x, y, z) uint8, labellings.
        spacing: (3,) mm.
        image: (x, y, z) uint8 levels, or ``None`` for synthesis.
        table: Raw value of each level.
        materials: (x, y, z) uint8, for synthesis.
        classes: Of each material; ``None`` for label maps.
    """

    kind: str
    labels: Tensor
    spacing: Tensor
    image: Tensor | None = None
    table: Tensor | None = None
    materials: Tensor | None = None
    classes: list[int] | None = None
    held_out: bool = False

    def __post_init__(self) -> None:
        self.ids = [
            (torch.bincount(labelling.flatten().long(), minlength=256)[1:255] > 15).nonzero().flatten().add(1).tolist()
            for labelling in self.labels
        ]
        if self.image is not None and len(self.labels) > 1:  # basins of noise in the air teach nothing
            counts = torch.bincount(self.labels[1].flatten().long(), minlength=256)
            sums = torch.bincount(self.labels[1].flatten().long(), self.image.flatten().float(), minlength=256)
            bright = (sums / counts.clamp(min=1) > 8).tolist()
            self.ids[1] = [i for i in self.ids[1] if bright[i]]


@dataclass
class Cut:
    """A cube with k objects: `cube` (1, 128³) normalised, `masks` (k, 128³) and `valid` (128³) bool, `spacing` mm."""

    cube: Tensor
    masks: Tensor
    valid: Tensor
    spacing: float
    kind: str


def load(folder: Path, device: torch.device) -> list[Case]:
    """All prepared cases."""

    def one(path: Path) -> dict[str, np.ndarray]:
        return dict(np.load(io.BytesIO(lzma.decompress(path.read_bytes()))))

    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(one, sorted(folder.glob("*.npz.xz"))))
    cases = []
    for file in files:
        labels = torch.from_numpy(file["labels"]).to(device)
        kind = str(file["kind"])
        cases.append(
            Case(
                kind=kind,
                labels=labels,
                spacing=torch.from_numpy(file["spacing"]),
                image=torch.from_numpy(file["image"]).to(device) if "image" in file else None,
                table=torch.from_numpy(file["table"]).to(device) if "table" in file else None,
                materials=labels[0] if kind == "map" else None,
                held_out=bool(file["held_out"]),
            )
        )
    return cases


def synthesise(kind: str, device: torch.device) -> Case:
    """A new scene as a case."""
    scene = (body if kind == "body" else medley)(device)
    spacing = 200 * scene.half / (scene.n - 1)
    labels = scene.objects[None]
    if kind == "medley":
        spacing *= uniform(0.4, 1.0)
    else:
        labels = torch.cat([labels, wholes(scene)[None]])
    return Case(kind, labels, torch.full((3,), spacing), materials=scene.materials, classes=scene.classes)


def wholes(scene: Scene) -> Tensor:
    """A second labelling of a trunk: what one click on a large even region means (each lung, the air, fat, gas, fluid).

    Lobes and the vessels in a lung belong to it.
    """
    classes = torch.tensor(scene.classes, dtype=torch.uint8, device=scene.device)[scene.materials.long()].cpu().numpy()
    out = np.zeros(classes.shape, dtype=np.uint8)
    count = 0
    for kind in (AIR, FAT, FLUID, GAS, LUNG):
        mask = classes == kind
        if kind == LUNG:
            mask = ndimage.binary_closing(np.pad(mask, 3), iterations=2)[3:-3, 3:-3, 3:-3]
        pieces, _ = ndimage.label(mask)
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        for piece in np.argsort(-sizes)[:8]:
            if sizes[piece] > 200 and count < 250:
                count += 1
                out[pieces == piece] = count
    return torch.from_numpy(out).to(scene.device)


def frame(case: Case, spacing: float, centre: Tensor, n: int, device: torch.device) -> Tensor:
    """Source voxel of each cube voxel, (3, n, n, n): flips, turns, sometimes axes exchanged, sometimes elastic."""
    matrix = torch.eye(3)
    if chance(0.5):
        matrix = matrix * torch.tensor([-1.0 if chance(0.5) else 1.0, 1.0, 1.0])
    if chance(0.25):
        matrix = matrix[torch.randperm(3)] * (2 * torch.randint(2, (3, 1)) - 1)
    if chance(0.4):
        a = (0.15 if chance(0.75) else 0.5) * torch.randn(3)  # most people lie straight, some volumes do not
        matrix = torch.linalg.matrix_exp(torch.tensor([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])) @ matrix
    if chance(0.3):
        matrix = matrix * torch.empty(3).uniform_(0.85, 1.18)
    matrix = matrix * spacing / case.spacing[:, None]
    axis = torch.arange(n, device=device) - (n - 1) / 2
    at = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
    if case.classes is None and chance(0.35):
        at = at + uniform(1, 5) * smooth_noise(n, int(torch.randint(2, 6, ())), device, 3)
    return torch.einsum("ij,jabc->iabc", matrix.to(device), at) + centre.to(device)[:, None, None, None]


def cut(
    case: Case, k: int, device: torch.device, n: int = 128, spacing: float | None = None, *, pasted: bool = True
) -> Cut | None:
    """A random cube round a random object, with k objects to segment, sometimes one of them a pasted lesion.

    ``None`` when chance gave nothing.
    """
    rows = [i for i, ids in enumerate(case.ids) if ids]
    pseudo = [i for i in rows if i > 0]
    row = 0 if chance(LABELLED[case.kind]) or not pseudo else pseudo[int(torch.randint(len(pseudo), ()))]
    if row not in rows:
        return None
    obj = case.ids[row][int(torch.randint(len(case.ids[row]), ()))]
    voxels = (case.labels[row] == obj).nonzero()
    extent = ((voxels.amax(0) - voxels.amin(0) + 1).cpu() * case.spacing).max().item()
    anchor = voxels[int(torch.randint(len(voxels), ()))].float().cpu()
    finest = (
        max(FINEST, 0.45 * case.spacing.min().item()) if case.image is not None else 0.6 * case.spacing.min().item()
    )
    size = torch.tensor(case.labels.shape[1:])
    low, high = -0.5 * torch.ones(3), size - 0.5
    if chance(0.15):  # a smaller field of view round the object
        for axis in range(3):
            reach = 0.5 * max(extent, 12.0) / case.spacing[axis] * uniform(0.7, 2.5)
            low[axis] = max(low[axis], anchor[axis] - reach * uniform(0.5, 1.5))
            high[axis] = min(high[axis], anchor[axis] + reach * uniform(0.5, 1.5))
    if spacing is None:
        usual = uniform(0, 1)  # the session's first cube, a coarse one, or one that fits the object
        fitting = extent / n / np.exp(uniform(np.log(0.15), np.log(0.9)))
        spacing = 3.0 if usual < 0.35 else 1.5 if usual < 0.45 else fitting
        longest = ((high - low) * case.spacing).max().item()
        spacing = min(spacing, longest / CROP * uniform(0.8, 1.2))  # as the session does for small volumes
    spacing = float(np.clip(spacing * uniform(0.93, 1.07), finest, COARSEST))
    room = (size * case.spacing - n * spacing).clamp(min=0) / case.spacing / 2
    middle = (size - 1) / 2
    inside = torch.minimum(torch.maximum(anchor, middle - room), middle + room)  # keeps the cube in the volume
    centre = anchor + (inside - anchor) * (1.0 if chance(0.6) else uniform(0, 1))
    centre = centre + torch.randn(3) * 0.03 * n * spacing / case.spacing
    at = frame(case, spacing, centre, n, device)

    column = (slice(None), None, None, None)
    valid = ((at > low.to(device)[column]) & (at < high.to(device)[column])).all(0)

    thin = (slice(None),) + (slice(None, None, 2),) * 3
    index = at[thin].round().long()
    for axis in range(3):
        index[axis].clamp_(0, size[axis] - 1)
    flat = (index[0] * size[1] + index[1]) * size[2] + index[2]
    seen_here = valid[thin[1:]]
    choices: list[tuple[int, int]] = []
    for labelling in rows:
        labels = case.labels[labelling].flatten()[flat]
        counts = torch.bincount((labels.long() * seen_here).flatten(), minlength=256)[1:255]
        fit = ((counts >= 8) & (counts < 0.7 * labels.numel())).nonzero().flatten().add(1).tolist()
        fit = [i for i in fit if i in case.ids[labelling]]
        share = LABELLED[case.kind] if labelling == 0 else (1 - LABELLED[case.kind]) / max(1, len(rows) - 1)
        wanted = max(1, round(2 * k * share)) if share > 0 else 0
        choices += [(labelling, fit[i]) for i in torch.randperm(len(fit))[:wanted].tolist()]
    if not choices:
        return None
    order = torch.randperm(len(choices)).tolist()
    picked = [choices[order[i % len(order)]] for i in range(k)]

    scale = torch.tensor([2.0 / max(1, int(s) - 1) for s in size], device=device)[column]
    grid = (at * scale - 1).movedim(0, -1).flip(-1)[None]
    mode = "bilinear"
    sources = []
    for labelling, chosen in picked:
        mask = case.labels[labelling] == chosen
        if case.kind == "hippocampus" and chance(0.35):
            mask = case.labels[labelling] > 0
        elif chance(0.05):
            mask = mask | (
                case.labels[labelling] == case.ids[labelling][int(torch.randint(len(case.ids[labelling]), ()))]
            )
        sources.append(mask)
    masks = torch.stack(
        [grid_sample(mask[None, None].float(), grid, mode, "zeros", align_corners=True)[0, 0] > 0.5 for mask in sources]
    )
    masks = masks & valid

    if case.image is not None:
        assert case.table is not None
        raw = case.table[case.image.long()][None, None]
        image = grid_sample(raw, grid, mode, "border", align_corners=True)[0, 0]
    else:
        assert case.materials is not None
        index = at.round().long()
        for axis in range(3):
            index[axis].clamp_(0, size[axis] - 1)
        materials = case.materials[index[0], index[1], index[2]]
        image = draw(materials, case.classes)
    if pasted and chance(PASTED[case.kind]):
        found = paste(image, valid)
        if found is not None:
            image = found[0]
            masks[int(torch.randint(k, ()))] = found[1]
    image = scan(image, synthetic=case.image is None)
    cube = normalise("equalised", image * valid)
    return Cut(cube[None], masks, valid, spacing, case.kind)


class Source:
    """Draws cubes: real cases by weight, scenes from a pool that is renewed all the time.

    Attributes:
        fed: Whether others (`training.feed.Drawers`) renew the pool.
    """

    def __init__(self, folder: Path, device: torch.device, pool: int, n: int = 128) -> None:
        self.device, self.n, self.limit, self.fed = device, n, pool, False
        cases = load(folder, device)
        self.cases = {kind: [c for c in cases if c.kind == kind and not c.held_out] for kind in WEIGHTS}
        self.held_out = [c for c in cases if c.held_out]
        self.kinds = [kind for kind in WEIGHTS if kind in ("body", "medley") or self.cases[kind]]
        self.weights = torch.tensor([WEIGHTS[kind] for kind in self.kinds])

    def add(self, case: Case) -> None:
        """Take a new scene into the pool, in place of some old one when the pool is full."""
        pool = self.cases[case.kind]
        if len(pool) < self.limit:
            pool.append(case)
        else:
            pool[int(torch.randint(len(pool), ()))] = case

    def next(self, k: int) -> Cut:
        """A cube with k objects."""
        while True:
            kind = self.kinds[int(torch.multinomial(self.weights, 1))]
            cases = self.cases[kind]
            if kind in ("body", "medley") and (not cases or (not self.fed and (len(cases) < 8 or chance(0.12)))):
                self.add(synthesise(kind, self.device))
            case = cases[int(torch.randint(len(cases), ()))]
            found = cut(case, k, self.device, self.n)
            if found is not None and bool((found.masks.flatten(1).sum(1) >= 50).all()):
                return found
