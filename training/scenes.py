"""Synthetic anatomy, drawn on the GPU: what objects there are, and of which material each voxel is.

A scene is a stack of painted primitives (ellipsoids, tubes, shells, layers, branching trees, Voronoi cells) in warped
coordinates, so that nothing is straight. ``body`` arranges them like a trunk: skin, fat, layered muscles, spine, ribs,
pelvis, solid organs, bowel with gas, vessels. ``medley`` throws them together without any plan, for structures that no
plan foresees. Neighbours touch, and `render` gives many of them nearly the same intensity.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

AIR, SKIN, FAT, MUSCLE, CORTEX, SPONGE, ORGAN, VESSEL, FLUID, GAS, WALL, LUNG, DISC, CONTENT = range(14)
CLASSES = 14
MATERIALS = 250
"""Materials are numbered; ``Scene.classes`` says of which class each is."""


def uniform(low: float, high: float) -> float:
    """A random number; one source of randomness for all: torch's CPU generator."""
    return low + (high - low) * float(torch.rand(()))


def chance(p: float) -> bool:
    """True with probability p."""
    return float(torch.rand(())) < p


def smooth_noise(n: int, cells: int, device: torch.device, channels: int = 1) -> Tensor:
    """Smooth noise of about unit deviation, (channels, n, n, n), with features of n / cells voxels."""
    coarse = torch.randn(channels, cells + 1, cells + 1, cells + 1, device=device)
    at = torch.linspace(0, cells, n, device=device)
    return 1.5 * along_axes(coarse, [between(at, cells + 1)] * 3)


def between(at: Tensor, m: int) -> Tensor:
    """The matrix (n, m) that interpolates linearly between m samples at places ``at`` (n,), in samples."""
    at = at.clamp(0, m - 1)
    return (1 - (at[:, None] - torch.arange(m, device=at.device)).abs()).clamp(min=0)


def along_axes(x: Tensor, matrices: list[Tensor]) -> Tensor:
    """Apply a matrix (n, m) along each of the last three axes: as matrix products, far cheaper than convolutions."""
    x = matrices[1] @ (x @ matrices[2].t())
    flat = x.flatten(-2)
    return (matrices[0] @ flat).unflatten(-1, x.shape[-2:])


@dataclass
class Scene:
    """A drawing in progress; lengths are in decimetres, the axes run towards R, A, S."""

    n: int
    half: float  # the grid covers −half … half
    device: torch.device
    objects: Tensor = field(init=False)
    materials: Tensor = field(init=False)
    classes: list[int] = field(default_factory=lambda: [AIR])
    count: int = 0

    def __post_init__(self) -> None:
        n = self.n
        self.objects = torch.zeros(n, n, n, dtype=torch.uint8, device=self.device)
        self.materials = torch.zeros_like(self.objects)
        axis = torch.linspace(-self.half, self.half, n, device=self.device)
        self.at = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))
        for cells, amount in ((3, uniform(0.02, 0.12)), (8, uniform(0.01, 0.035)), (20, uniform(0.0, 0.008))):
            self.at = self.at + amount * smooth_noise(n, cells, self.device, 3)

    def material(self, kind: int) -> int:
        """A new material of a class."""
        if len(self.classes) >= MATERIALS:
            return len(self.classes) - 1
        self.classes.append(kind)
        return len(self.classes) - 1

    def object(self) -> int:
        """A new object."""
        self.count = min(self.count + 1, 254)
        return self.count

    def box(self, low: list[float], high: list[float]) -> tuple[slice, slice, slice]:
        """The part of the grid that may hold what lies between two corners."""
        scale = (self.n - 1) / (2 * self.half)
        slices = []
        for a, b in zip(low, high, strict=True):
            start = min(self.n - 1, max(0, math.floor((a - 0.3 + self.half) * scale)))
            slices.append(slice(start, max(start + 1, min(self.n, math.ceil((b + 0.3 + self.half) * scale)))))
        return tuple(slices)  # type: ignore[return-value]

    def paint(
        self, box: tuple[slice, slice, slice], inside: Tensor, obj: int | None, mat: int, *, on: list[int] | None = None
    ) -> None:
        """Give voxels an object (``None``: leave it) and a material, only where the material's class is in ``on``."""
        if on is not None:
            allowed = torch.tensor([c in on for c in self.classes], device=self.device)
            inside = inside & allowed[self.materials[box].long()]
        if obj is not None:
            self.objects[box].masked_fill_(inside, obj)
        self.materials[box].masked_fill_(inside, mat)

    def ellipsoid(self, centre: list[float], radii: list[float], tilt: float = 0.4) -> tuple[tuple[slice, ...], Tensor]:
        """The box and signed depth (negative inside, dm) of a randomly tilted ellipsoid, sometimes a superellipsoid."""
        reach = max(radii)
        box = self.box([c - reach for c in centre], [c + reach for c in centre])
        p = self.at[(slice(None), *box)] - torch.tensor(centre, device=self.device)[:, None, None, None]
        angles = tilt * torch.randn(3)
        turn = torch.linalg.matrix_exp(
            torch.tensor([[0, -angles[2], angles[1]], [angles[2], 0, -angles[0]], [-angles[1], angles[0], 0]])
        )
        matrix = (turn / torch.tensor(radii)[:, None]).to(self.device)
        p = torch.einsum("ij,jabc->iabc", matrix, p)
        power = 2.0 if chance(0.6) else uniform(2.0, 4.0)
        depth = (p.abs().pow(power).sum(0).clamp(min=1e-9).pow(1 / power) - 1) * min(radii)
        if chance(0.5):  # lumps
            cells = int(torch.randint(2, 6, ()))
            depth = depth + uniform(0.05, 0.25) * min(radii) * self.lumps(box, cells)
        return box, depth

    def lumps(self, box: tuple[slice, ...], cells: int) -> Tensor:
        """Smooth noise of about unit deviation over a box, ``cells`` features along each side."""
        coarse = torch.randn(cells + 1, cells + 1, cells + 1, device=self.device)
        sides = [part.stop - part.start for part in box]
        return along_axes(
            coarse, [between(torch.linspace(0, cells, side, device=self.device), cells + 1) for side in sides]
        )

    def union(self, *parts: tuple[tuple[slice, ...], Tensor]) -> tuple[tuple[slice, ...], Tensor]:
        """The box and depth of several parts together."""
        box = tuple(
            slice(min(part[0][axis].start for part in parts), max(part[0][axis].stop for part in parts))
            for axis in range(3)
        )
        whole = torch.full([part.stop - part.start for part in box], 1e3, device=self.device)
        for own, depth in parts:
            inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(own, box, strict=True))
            whole[inner] = torch.minimum(whole[inner], depth)
        return box, whole

    def tube(self, points: Tensor, radius: Tensor | float) -> tuple[tuple[slice, ...], Tensor]:
        """The box and signed depth of a tube through points (m, 3) with a radius for each or for all."""
        points = points.to(self.device)
        radii = torch.as_tensor(radius, device=self.device, dtype=torch.float32).expand(len(points))
        reach = radii.max()
        low, high = (points.amin(0) - reach).tolist(), (points.amax(0) + reach).tolist()
        box = self.box(low, high)
        p = self.at[(slice(None), *box)]
        shape = p.shape[1:]
        flat = p.flatten(1).t()
        depth = torch.full((len(flat),), 1e3, device=self.device)
        for start in range(0, len(points), 16):
            some = slice(start, start + 16)
            depth = torch.minimum(depth, (torch.cdist(flat, points[some]) - radii[some]).amin(1))
        return box, depth.view(shape)

    def solid(
        self, where: tuple[tuple[slice, ...], Tensor], kind: int, on: list[int] | None = None, wall: float = 0.0,
        wall_kind: int = WALL, obj: int | None = None,
    ) -> int:  # fmt: skip
        """Paint an object: its inside, and a wall of some thickness (dm)."""
        box, depth = where
        obj = obj or self.object()
        self.paint(box, depth < 0, obj, self.material(kind), on=on)  # type: ignore[arg-type]
        if wall > 0:
            mine = self.objects[box] == obj
            self.paint(box, (depth < 0) & (depth > -wall) & mine, None, self.material(wall_kind))  # type: ignore[arg-type]
        return obj


def walk(steps: int, length: float, start: list[float], wander: float, box: list[float]) -> Tensor:
    """A smooth random walk of ``steps`` points that turns back at ±box, (steps, 3)."""
    at = torch.tensor(start)
    heading = torch.randn(3)
    points = []
    limit = torch.tensor(box)
    for _ in range(steps):
        heading = heading + wander * torch.randn(3)
        heading = torch.where(at.abs() > limit, -at.sign() * heading.abs(), heading)
        heading = heading / heading.norm()
        at = at + length * heading
        points.append(at)
    return torch.stack(points)


def branch(
    scene: Scene, start: Tensor, heading: Tensor, radius: float, kind: int, obj: int | None, depth: int,
    on: list[int] | None = None,
) -> None:  # fmt: skip
    """A branching tree of vessels."""
    points = []
    for _ in range(10):
        heading = heading + 0.25 * torch.randn(3)
        heading = heading / heading.norm()
        start = start + max(radius, 0.04) * heading
        points.append(start)
    box, inside = scene.tube(torch.stack(points), radius)
    scene.paint(box, inside < 0, obj, kind, on=on)  # type: ignore[arg-type]
    if depth:
        for _ in range(2):
            branch(scene, start, heading + 0.8 * torch.randn(3), radius * uniform(0.6, 0.85), kind, obj, depth - 1, on)


def medley(device: torch.device, n: int = 128) -> Scene:
    """Shapes without a plan: cells that touch, blobs, shells, layers, tubes, trees."""
    scene = Scene(n, uniform(0.8, 1.5), device)
    half = scene.half
    whole = (slice(None),) * 3
    kinds = [FAT, MUSCLE, ORGAN, ORGAN, FLUID, SPONGE, CONTENT, WALL, VESSEL, LUNG]

    def pick() -> int:
        return kinds[int(torch.randint(len(kinds), ()))]

    everywhere = torch.ones_like(scene.objects, dtype=torch.bool)
    scene.paint(whole, everywhere, None, scene.material(pick()))
    if chance(0.8):  # a body with air round it
        box, depth = scene.ellipsoid([0, 0, 0], [half * uniform(0.8, 1.5) for _ in range(3)])
        everywhere[box] = depth > 0  # type: ignore[index]
        scene.paint(whole, everywhere, None, 0)
    inner = [scene.classes[-1]] if len(scene.classes) > 1 else None
    if chance(0.6):  # Voronoi cells: neighbours that touch, or are parted by thin sheets
        cells = int(torch.randint(4, 40, ()))
        seeds = (2 * torch.rand(cells, 3, device=device) - 1) * half
        stretch = torch.tensor([uniform(0.5, 1.5) for _ in range(3)], device=device)
        flat = scene.at.flatten(1).t() * stretch
        distance = torch.cdist(flat, seeds * stretch)
        two = distance.topk(2, dim=1, largest=False)
        gap = uniform(0.01, 0.04) if chance(0.6) else 0.0
        apart = (two.values[:, 1] - two.values[:, 0] >= gap).view(n, n, n)
        owner = two.indices[:, 0].view(n, n, n)
        shared = [scene.material(pick()) for _ in range(int(torch.randint(1, 6, ())))]
        for cell in range(cells):
            if chance(0.85):
                material = shared[cell % len(shared)] if gap and chance(0.6) else scene.material(pick())
                scene.paint(whole, (owner == cell) & apart, scene.object(), material, on=inner)
    for _ in range(int(torch.randint(3, 16, ()))):  # blobs, some with a wall or a core
        radius = half * uniform(0.04, 0.45)
        where = scene.ellipsoid(
            [uniform(-half, half) for _ in range(3)], [radius * uniform(0.4, 1.2) for _ in range(3)], 1.5
        )
        obj = scene.solid(where, pick(), wall=radius * uniform(0.05, 0.3) if chance(0.3) else 0.0, wall_kind=pick())
        if chance(0.2):
            scene.paint(
                where[0], where[1] < -radius * 0.3, scene.object() if chance(0.5) else obj, scene.material(pick())
            )  # type: ignore[arg-type]
    for _ in range(int(torch.randint(0, 4, ()))):  # blobs of thresholded noise
        noise = smooth_noise(n, int(torch.randint(3, 12, ())), device)[0]
        where = scene.ellipsoid([uniform(-half, half) for _ in range(3)], [half * uniform(0.2, 0.6) for _ in range(3)])
        scene.paint(where[0], (noise[where[0]] > 0.6) & (where[1] < 0), scene.object(), scene.material(pick()))  # type: ignore[arg-type]
    for _ in range(int(torch.randint(0, 7, ()))):  # tubes
        points = walk(40, 0.05, [uniform(-half, half) for _ in range(3)], uniform(0.1, 0.5), [0.9 * half] * 3)
        scene.solid(scene.tube(points, uniform(0.02, 0.16)), pick(), wall=uniform(0.01, 0.03) if chance(0.4) else 0.0)
    for _ in range(int(torch.randint(0, 3, ()))):  # trees
        start = torch.tensor([uniform(-half, half) for _ in range(3)])
        branch(scene, start, torch.randn(3), uniform(0.03, 0.1), scene.material(VESSEL), scene.object(), 3)
    for _ in range(int(torch.randint(0, 3, ()))):  # sheets
        normal = torch.randn(3, device=device)
        height = torch.einsum("i,iabc->abc", normal / normal.norm(), scene.at) - uniform(-half, half)
        height = height + 0.15 * smooth_noise(n, 3, device)[0]
        near = scene.ellipsoid([uniform(-half, half) for _ in range(3)], [half * uniform(0.3, 0.9) for _ in range(3)])
        thin = height[near[0]].abs() < uniform(0.015, 0.06)
        scene.paint(near[0], thin & (near[1] < 0), scene.object(), scene.material(pick()))  # type: ignore[arg-type]
    return scene
