"""A plan of the trunk; everything in it is random: place, size, shape, presence, field of view."""

import math
from itertools import pairwise

import torch

from training.scenes import (
    CONTENT,
    CORTEX,
    FAT,
    FLUID,
    GAS,
    LUNG,
    MUSCLE,
    ORGAN,
    SKIN,
    VESSEL,
    WALL,
    Scene,
    branch,
    chance,
    uniform,
    walk,
)
from training.skeleton import muscles, pelvis, ribs, spine

SOFT = [FAT]
CHAMBERS = ((0.2, -0.15, 0.1), (-0.2, 0.0, -0.1), (0.15, 0.15, -0.15), (-0.1, -0.25, 0.2))
"""Middles of the heart's chambers from its own, dm."""


def body(device: torch.device, n: int = 144) -> Scene:
    """A trunk, or a part of one."""
    scene = Scene(n, uniform(1.1, 2.3), device)
    fill(scene)
    return scene


def fill(scene: Scene) -> None:
    """Draw a trunk in decimetres: x towards R, y towards A, z towards S; pelvis below z ≈ −1, chest above z ≈ 1."""
    offset = uniform(-1.8, 1.4)  # which level of the trunk the grid is centred on
    scene.at[2] += offset
    wide, deep = uniform(1.3, 1.8), uniform(0.85, 1.25)
    scene.at[0] += uniform(-0.4, 0.4) * (scene.half < wide)
    scene.at[1] += uniform(-0.3, 0.3) * (scene.half < wide)
    scene_box(scene)
    scene.paint((slice(None),) * 3, scene.at[0] < 99, None, scene.material(FAT))
    fat = uniform(0.08, 0.45)
    inner_wide, inner_deep = wide - fat - 0.1, deep - 0.8 * fat - 0.1
    back = -inner_deep * uniform(0.5, 0.62)
    organs(scene, inner_wide, inner_deep, back)
    bowel(scene, inner_wide, inner_deep, back)
    wall(scene, wide, deep)  # cuts off what grew through it
    vessels(scene, back)
    muscles(scene, back)
    pelvis(scene, back)
    spine(scene, back)
    ribs(scene, inner_wide, inner_deep)


def scene_box(scene: Scene) -> None:
    """Boxes are looked up in the unwarped frame: with a shifted frame every primitive looks at the whole grid."""
    mean = scene.at.flatten(1).mean(1).tolist()

    def box(low: list[float], high: list[float]) -> tuple[slice, slice, slice]:
        shifted = [[v - m for v, m in zip(corner, mean, strict=True)] for corner in (low, high)]
        return Scene.box(scene, *shifted)

    scene.box = box  # type: ignore[method-assign]


def wall(scene: Scene, wide: float, deep: float) -> None:
    """Skin, fat under it, and the wall's muscles in compartments."""
    whole = (slice(None),) * 3
    x, y, _ = scene.at
    power = uniform(2.0, 2.8)
    depth = (((x.abs() / wide) ** power + (y.abs() / deep) ** power) ** (1 / power) - 1) * deep
    fat = uniform(0.06, 0.4)
    thick = uniform(0.08, 0.22)
    scene.paint(whole, depth > -fat - thick, 0, scene.material(FAT))
    scene.paint(whole, depth > -uniform(0.015, 0.03), 0, scene.material(SKIN))
    scene.paint(whole, depth > 0, 0, 0)
    angle = torch.atan2(x, y) / math.pi  # 0 in front, ±1 behind
    shared = scene.material(MUSCLE)
    edges = sorted([0.0, *[uniform(0.05, 0.95) for _ in range(3)], 1.0])
    for side in (-1, 1):
        for low, high in pairwise(edges):
            ring = (depth < -fat) & (depth > -fat - thick) & (side * angle > low + 0.01) & (side * angle < high)
            scene.paint(whole, ring, scene.object(), shared if chance(0.7) else scene.material(MUSCLE))


def organs(scene: Scene, wide: float, deep: float, back: float) -> None:
    """Solid organs, hollow ones, lungs."""
    if chance(0.9):  # lungs over the diaphragm's domes, and a heart
        for side in (-1, 1):
            lung(scene, side, wide, deep)
        heart(scene)
    place = [  # x, y, z, radii, the chance to be there
        (0.5 * wide, 0.05, 0.75, (0.75, 0.6, 0.7), 0.95),  # liver, two lobes
        (0.0, 0.3, 0.8, (0.6, 0.3, 0.35), 0.7),
        (-0.72 * wide, -0.25, 0.7, (0.28, 0.4, 0.5), 0.95),  # spleen
        (0.55, back + 0.1, 0.1, (0.28, 0.25, 0.5), 0.9),  # kidneys
        (-0.55, back + 0.1, 0.2, (0.28, 0.25, 0.5), 0.9),
        (0.4, 0.35, 0.35, (0.16, 0.17, 0.3), 0.7),  # gallbladder
        (0.0, 0.25, -1.75, (0.4, 0.35, 0.35), 0.85),  # bladder
        (0.0, 0.05, -2.05, (0.2, 0.18, 0.2), 0.6),  # prostate, uterus
        (0.3, back + 0.15, 0.7, (0.06, 0.2, 0.14), 0.6),  # adrenals
        (-0.3, back + 0.15, 0.7, (0.06, 0.2, 0.14), 0.6),
    ]
    shared = scene.material(ORGAN)
    liver = 0
    for index, (x, y, z, radii, there) in enumerate(place):
        if not chance(there):
            continue
        centre = [x + uniform(-0.15, 0.15), y + uniform(-0.12, 0.12), z + uniform(-0.2, 0.2)]
        grown = [r * uniform(0.7, 1.35) for r in radii]
        where = scene.ellipsoid(centre, grown)
        hollow = index in (5, 6)
        if index == 1 and liver:
            scene.paint(where[0], where[1] < 0, liver, shared)  # type: ignore[arg-type]
            continue
        obj = scene.solid(where, FLUID if hollow else ORGAN, wall=uniform(0.0, 0.05) if hollow else 0.0)
        if index == 0:
            liver = obj
            scene.paint(where[0], scene.objects[where[0]] == obj, None, shared)  # type: ignore[arg-type]
        elif not hollow and chance(0.4):
            scene.paint(where[0], scene.objects[where[0]] == obj, None, shared)  # type: ignore[arg-type]
        if index in (3, 4) and chance(0.7):  # a kidney's medulla and sinus
            scene.paint(where[0], where[1] < -0.09, None, scene.material(ORGAN), on=[ORGAN])  # type: ignore[arg-type]
            sinus = scene.ellipsoid([centre[0] * 0.75, centre[1], centre[2]], [0.16, 0.1, 0.2])
            scene.paint(sinus[0], sinus[1] < 0, 0, scene.material(FAT))  # type: ignore[arg-type]
    if chance(0.8):  # pancreas
        points = walk(16, 0.09, [0.4, 0.05, 0.4], 0.2, [1, 0.3, 2])
        scene.solid(scene.tube(points, uniform(0.08, 0.16)), ORGAN, on=SOFT)
    if chance(0.4):  # lesions
        for _ in range(int(torch.randint(1, 6, ()))):
            radius = uniform(0.04, 0.25)
            centre = [uniform(-wide, wide), uniform(-0.5, 0.5), uniform(-1.5, 1)]
            scene.solid(
                scene.ellipsoid(centre, [radius * uniform(0.7, 1.3) for _ in range(3)]), ORGAN, on=[ORGAN, MUSCLE, FAT]
            )


def lung(scene: Scene, side: int, wide: float, deep: float) -> None:
    """A lung, its lobes parted by thin oblique fissures, with a tree of vessels."""
    where = scene.ellipsoid([side * 0.55 * wide, -0.05, 2.0], [0.42 * wide, 0.85 * deep, uniform(0.9, 1.4)], 0.1)
    box, depth = where
    upper = scene.solid(where, LUNG)
    kind = scene.material(LUNG)
    scene.paint(box, depth < 0, None, kind)  # type: ignore[arg-type]
    for _ in range(int(torch.randint(0, 3, ()))):
        cut = scene.at[(2, *box)] - uniform(1.3, 2.2) + uniform(0.3, 1.2) * scene.at[(1, *box)]
        mine = (scene.objects[box] == upper) & (depth < 0)
        scene.paint(box, mine & (cut < 0), scene.object(), kind if chance(0.8) else scene.material(LUNG))  # type: ignore[arg-type]
        if chance(0.7):
            scene.paint(box, mine & (cut.abs() < 0.012), None, scene.material(WALL))  # type: ignore[arg-type]
    if chance(0.7):
        hilum = torch.tensor([side * 0.3, -0.1, uniform(1.7, 2.2)])
        for _ in range(int(torch.randint(2, 5, ()))):
            heading = torch.tensor([side * 1.0, 0.0, 0.0]) + 0.7 * torch.randn(3)
            # vessels belong to their lobe, as annotators label them
            branch(scene, hilum, heading, uniform(0.03, 0.06), scene.material(VESSEL), None, 3, on=[LUNG])


def heart(scene: Scene) -> None:
    """A heart of chambers, an arch, a windpipe and a gullet."""
    centre = [-0.2, 0.25, uniform(1.5, 1.8)]
    whole = scene.solid(scene.ellipsoid(centre, [0.55, 0.42, 0.5]), MUSCLE)
    blood = [scene.material(VESSEL), scene.material(VESSEL)]
    for index in range(4 if chance(0.8) else 0):
        x, y, z = (c + d for c, d in zip(centre, CHAMBERS[index], strict=True))
        where = scene.ellipsoid([x, y, z], [uniform(0.17, 0.28) for _ in range(3)], 0.6)
        obj = whole if chance(0.4) else scene.object()
        scene.paint(where[0], (where[1] < 0) & (scene.objects[where[0]] == whole), obj, blood[index % 2])  # type: ignore[arg-type]
    t = torch.linspace(0, math.pi, 24)
    arch = torch.stack([-0.1 + 0.1 * t.cos(), -0.05 + 0.3 * t.cos(), 2.3 + 0.35 * t.sin()], 1)
    scene.solid(scene.tube(arch, uniform(0.1, 0.15)), VESSEL)
    pipe = torch.tensor([[0.05, 0.05, 3.5], [0.05, -0.1, 2.5], [0.05, -0.12, 2.1]])
    pipe = torch.cat([a + (b - a) * torch.linspace(0, 1, 20)[:, None] for a, b in pairwise(pipe)])
    box, depth = scene.tube(pipe, uniform(0.08, 0.11))
    windpipe = scene.object()
    scene.paint(box, depth < 0.02, 0, scene.material(WALL))  # type: ignore[arg-type]
    scene.paint(box, depth < 0, windpipe, scene.material(GAS))  # type: ignore[arg-type]
    for side in (-1, 1):
        end = torch.tensor([side * 0.45, -0.1, 1.75])
        limb = pipe[-1] + (end - pipe[-1]) * torch.linspace(0, 1, 14)[:, None]
        box, depth = scene.tube(limb, uniform(0.05, 0.08))
        scene.paint(box, depth < 0, windpipe, scene.material(GAS))  # type: ignore[arg-type]
    gullet = torch.tensor([-0.05, -0.3, 3.4]) + torch.linspace(0, 1, 40)[:, None] * torch.tensor([-0.15, 0.15, -2.4])
    scene.solid(scene.tube(gullet + 0.02 * torch.randn(1, 3), uniform(0.06, 0.11)), MUSCLE, wall=0.02)


def bowel(scene: Scene, wide: float, deep: float, back: float) -> None:
    """Stomach, colon and small bowel: walls round gas above, fluid or food below."""

    def loop(points: torch.Tensor, radius: torch.Tensor | float, obj: int | None = None) -> int:
        box, depth = scene.tube(points, radius)
        obj = scene.solid((box, depth), CONTENT, on=SOFT, wall=uniform(0.015, 0.04), obj=obj)
        if chance(0.7):  # gas rises to the front
            level = points[:, 1].mean().item() + uniform(-0.15, 0.15)
            lumen = (depth < -0.03) & (scene.at[(1, *box)] > level) & (scene.objects[box] == obj)
            scene.paint(box, lumen, None, scene.material(GAS))  # type: ignore[arg-type]
        if chance(0.4):  # faeces are mottled
            bubbles = (scene.lumps(box, 24) > uniform(0.6, 1.2)) & (depth < -0.04) & (scene.objects[box] == obj)
            scene.paint(box, bubbles, None, scene.material(GAS if chance(0.6) else CONTENT))  # type: ignore[arg-type]
        return obj

    if chance(0.85):
        points = walk(14, 0.09, [-0.75, 0.3, 0.9], 0.2, [0.9, 0.5, 1.2])
        loop(points, torch.linspace(uniform(0.2, 0.4), uniform(0.08, 0.2), 14))
    if chance(0.85):  # colon: a frame round the rest
        x, top, low = 0.8 * wide, uniform(-0.1, 0.4), uniform(-1.3, -0.9)
        corners = torch.tensor(
            [[x, -0.1, low], [x, -0.1, top], [0, 0.45 * deep, top - 0.1], [-x, -0.1, top + 0.1], [-x, -0.1, low],
             [-0.3, 0.1, low - 0.3], [0, back + 0.35, low - 0.6], [0, back + 0.3, low - 1.1]]
        )  # fmt: skip
        corners = corners + 0.1 * torch.randn_like(corners)
        parts = [corners[i] + (corners[i + 1] - corners[i]) * torch.linspace(0, 1, 14)[:, None] for i in range(7)]
        points = torch.cat(parts) + 0.03 * torch.randn(98, 3)
        bulge = uniform(0.15, 0.3) * (1 + 0.15 * torch.sin(torch.arange(98) * 1.2) + 0.1 * torch.randn(98))
        obj = None
        for some in range(0, 98, 14):
            obj = loop(points[some : some + 16], bulge[some : some + 16], obj)
    if chance(0.8):  # duodenum: a C round the pancreas's head
        t = torch.linspace(0.3, 5.0, 30)
        points = torch.stack([0.45 + 0.22 * t.cos(), 0 * t + 0.05, 0.25 + 0.3 * t.sin()], 1) + 0.02 * torch.randn(30, 3)
        loop(points, uniform(0.09, 0.16))
    obj = None
    for _ in range(int(torch.randint(2, 9, ()))):  # small bowel: one object of many loops
        points = walk(80, 0.09, [uniform(-0.5, 0.5), 0.2, -0.6], 0.5, [0.65 * wide, 0.45 * deep, 1.3])
        obj = loop(points, uniform(0.09, 0.17), obj if chance(0.8) else None)


def vessels(scene: Scene, back: float) -> None:
    """Aorta and vena cava with their forks, and a tree in the liver."""
    kind = scene.material(VESSEL)
    for x, radius in ((-0.1, uniform(0.08, 0.14)), (0.15, uniform(0.09, 0.16))):
        top = torch.tensor([x, back + 0.42, 2.2])
        fork = torch.tensor([x, back + 0.42, uniform(-1.0, -0.7)])
        points = top + (fork - top) * torch.linspace(0, 1, 32)[:, None] + 0.02 * torch.randn(1, 3)
        points = points + 0.03 * torch.sin(torch.linspace(0, 6, 32))[:, None]
        mine = kind if chance(0.5) else scene.material(VESSEL)
        trunk = scene.object()
        box, depth = scene.tube(points, radius)
        scene.paint(box, depth < 0, trunk, mine)  # type: ignore[arg-type]
        if chance(0.3):
            scene.paint(box, (depth < 0) & (depth > -0.03), None, scene.material(CORTEX if chance(0.3) else MUSCLE))  # type: ignore[arg-type]
        for side in (-1, 1):
            end = torch.tensor([side * uniform(0.6, 0.9), 0.3, -2.0])
            bend = (fork + end) / 2 + torch.tensor([side * 0.1, -0.15, 0.0])
            t = torch.linspace(0, 1, 28)[:, None]
            points = (1 - t) ** 2 * fork + 2 * t * (1 - t) * bend + t**2 * end
            box, depth = scene.tube(points, radius * uniform(0.5, 0.75))
            scene.paint(box, depth < 0, scene.object(), mine)  # type: ignore[arg-type]
    if chance(0.7):  # portal and splenic vein, one object
        portal = scene.object()
        bends = torch.tensor(
            [[-0.9, -0.2, 0.65], [-0.4, back + 0.55, 0.5], [0.15, back + 0.6, 0.35], [0.5, 0.05, 0.65]]
        )
        bends = bends + 0.05 * torch.randn_like(bends)
        points = torch.cat([a + (b - a) * torch.linspace(0, 1, 14)[:, None] for a, b in pairwise(bends)])
        box, depth = scene.tube(points, torch.linspace(0.035, uniform(0.06, 0.1), len(points)))
        scene.paint(box, depth < 0, portal, scene.material(VESSEL))  # type: ignore[arg-type]
    for side in (-1, 1):  # to the kidneys
        if chance(0.6):
            points = torch.tensor([0.0, back + 0.4, 0.15]) + torch.linspace(0, 1, 16)[:, None] * torch.tensor(
                [side * 0.5, uniform(-0.4, -0.1), uniform(-0.15, 0.1)]
            )
            box, depth = scene.tube(points, uniform(0.03, 0.06))
            scene.paint(box, depth < 0, 0, kind)  # type: ignore[arg-type]
    if chance(0.7):
        branch(
            scene, torch.tensor([0.1, back + 0.5, 0.4]), torch.tensor([0.8, 0.2, 0.5]), uniform(0.05, 0.09),
            scene.material(VESSEL),
            scene.object(), 3,
        )  # fmt: skip
