"""A plan of the trunk for `scenes.body`; everything in it is random: place, size, shape, presence, field of view."""

import math
from itertools import pairwise

import torch

from training.scenes import (
    CONTENT,
    CORTEX,
    DISC,
    FAT,
    FLUID,
    GAS,
    LUNG,
    MUSCLE,
    ORGAN,
    SKIN,
    SPONGE,
    VESSEL,
    Scene,
    branch,
    chance,
    uniform,
    walk,
)

SOFT = [FAT]


def fill(scene: Scene) -> None:
    """Draw a trunk in decimetres: x towards R, y towards A, z towards S; pelvis below z ≈ −1, chest above z ≈ 1."""
    offset = uniform(-1.2, 1.2)  # which level of the trunk the grid is centred on
    scene.at[2] += offset
    wide, deep = uniform(1.3, 1.8), uniform(0.85, 1.25)
    scene.at[0] += uniform(-0.4, 0.4) * (scene.half < wide)
    scene.at[1] += uniform(-0.3, 0.3) * (scene.half < wide)
    scene_box(scene)
    wall(scene, wide, deep)
    fat = uniform(0.08, 0.45)
    inner_wide, inner_deep = wide - fat - 0.1, deep - 0.8 * fat - 0.1
    back = -inner_deep * uniform(0.5, 0.62)
    organs(scene, inner_wide, inner_deep, back)
    bowel(scene, inner_wide, inner_deep, back)
    vessels(scene, back)
    muscles(scene, back, inner_wide)
    spine(scene, back)
    ribs(scene, inner_wide, inner_deep)
    pelvis(scene, back, inner_wide)


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
    scene.paint(whole, depth < 0, None, scene.material(SKIN))
    scene.paint(whole, depth < -uniform(0.02, 0.04), None, scene.material(FAT))
    angle = torch.atan2(x, y) / math.pi  # 0 in front, ±1 behind
    shared = scene.material(MUSCLE)
    edges = sorted([0.0, *[uniform(0.05, 0.95) for _ in range(3)], 1.0])
    for side in (-1, 1):
        for low, high in pairwise(edges):
            ring = (depth < -fat) & (depth > -fat - thick) & (side * angle > low + 0.01) & (side * angle < high)
            scene.paint(whole, ring, scene.object(), shared if chance(0.7) else scene.material(MUSCLE))
    scene.paint(whole, depth < -fat - thick, None, scene.material(FAT))


def organs(scene: Scene, wide: float, deep: float, back: float) -> None:
    """Solid organs, hollow ones, lungs."""
    if chance(0.9):  # lungs over the diaphragm's domes, and a heart
        for side in (-1, 1):
            scene.solid(
                scene.ellipsoid([side * 0.55 * wide, -0.05, 1.9], [0.42 * wide, 0.8 * deep, uniform(0.8, 1.2)], 0.1),
                LUNG,
            )
        scene.solid(scene.ellipsoid([-0.15, 0.25, 1.6], [0.5, 0.4, 0.5]), ORGAN, wall=uniform(0, 0.12))
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


def bowel(scene: Scene, wide: float, deep: float, back: float) -> None:
    """Stomach, colon and small bowel: walls round gas above, fluid or food below."""

    def loop(points: torch.Tensor, radius: torch.Tensor | float, obj: int | None = None) -> int:
        box, depth = scene.tube(points, radius)
        obj = scene.solid((box, depth), CONTENT, on=SOFT, wall=uniform(0.015, 0.04), obj=obj)
        if chance(0.7):  # gas rises to the front
            level = points[:, 1].mean().item() + uniform(-0.15, 0.15)
            lumen = (depth < -0.03) & (scene.at[(1, *box)] > level) & (scene.objects[box] == obj)
            scene.paint(box, lumen, None, scene.material(GAS))  # type: ignore[arg-type]
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
    obj = None
    for _ in range(int(torch.randint(1, 5, ()))):  # small bowel: one object of many loops
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
    if chance(0.7):
        branch(
            scene, torch.tensor([0.1, back + 0.5, 0.4]), torch.tensor([0.8, 0.2, 0.5]), uniform(0.05, 0.09),
            scene.material(VESSEL),
            scene.object(), 3,
        )  # fmt: skip


def muscles(scene: Scene, back: float, wide: float) -> None:
    """Muscles along the spine and on the pelvis: long, mirrored, touching, of one intensity."""
    shared = scene.material(MUSCLE)
    for side in (-1, 1):
        long = [
            ([side * 0.28, back - 0.25, 0.0], [0.24, 0.2, 3.0]),
            ([side * 0.6, back - 0.15, -0.2], [0.18, 0.15, uniform(0.8, 2.0)]),
            ([side * 0.35, back + 0.1, -0.6], [0.2, 0.2, uniform(0.8, 1.3)]),  # psoas
            ([side * 0.75, back + 0.15, -1.5], [0.3, 0.12, 0.5]),  # iliacus
            ([side * 0.65, back - 0.25, -1.7], [0.5, 0.22, 0.6]),  # the gluteals, one on the other
            ([side * 0.8, back - 0.05, -1.6], [0.35, 0.15, 0.5]),
            ([side * 0.95, back + 0.1, -1.5], [0.15, 0.3, 0.45]),
        ]
        for centre, radii in long:
            if chance(0.85):
                where = scene.ellipsoid(centre, [r * uniform(0.75, 1.25) for r in radii], 0.12)
                obj = scene.solid(where, MUSCLE, on=[FAT, MUSCLE])
                if chance(0.8):
                    scene.paint(where[0], scene.objects[where[0]] == obj, None, shared)  # type: ignore[arg-type]
                gap = (where[1] > 0) & (where[1] < uniform(0.0, 0.03))
                scene.paint(where[0], gap, 0, scene.material(FAT), on=[MUSCLE])  # type: ignore[arg-type]


def bone(
    scene: Scene, where: tuple[tuple[slice, ...], torch.Tensor], obj: int, marrow: int, cortex: int, thick: float
) -> None:
    """A piece of bone: marrow inside a cortex."""
    box, depth = where
    scene.paint(box, depth < 0, obj, cortex)  # type: ignore[arg-type]
    scene.paint(box, depth < -thick, None, marrow)  # type: ignore[arg-type]


def spine(scene: Scene, back: float) -> None:
    """Vertebrae that nearly touch, discs, canal."""
    pitch, radius = uniform(0.26, 0.4), uniform(0.19, 0.27)
    marrow, cortex = scene.material(SPONGE), scene.material(CORTEX)
    thick = uniform(0.01, 0.04)
    curve = uniform(-0.15, 0.15)
    z = uniform(-1.3, -1.1)
    while z < 2.3:
        y = back + curve * math.sin(1.5 * z)
        vertebra, gap = scene.object(), uniform(0.04, 0.1)
        if chance(0.8):
            scene.solid(
                scene.ellipsoid([0, y, z + pitch / 2], [radius, radius * 0.8, 0.09], 0.05),
                DISC,
                obj=None if chance(0.4) else 255,
            )
        bone(
            scene,
            scene.ellipsoid([0, y, z], [radius, radius * 0.8, (pitch - gap) / 2], 0.06),
            vertebra,
            marrow,
            cortex,
            thick,
        )
        for side in (-1, 1):
            bone(
                scene,
                scene.ellipsoid([side * 0.16, y - 0.25, z], [0.07, 0.14, 0.1], 0.2),
                vertebra,
                marrow,
                cortex,
                thick,
            )
            bone(
                scene,
                scene.ellipsoid([side * 0.33, y - 0.3, z], [0.2, 0.05, 0.06], 0.25),
                vertebra,
                marrow,
                cortex,
                thick,
            )
        bone(scene, scene.ellipsoid([0, y - 0.48, z - 0.06], [0.045, 0.22, 0.12], 0.1), vertebra, marrow, cortex, thick)
        z += pitch
    points = torch.stack(
        [
            torch.zeros(30),
            back + curve * torch.sin(1.5 * torch.linspace(-1.3, 2.3, 30)) - 0.27,
            torch.linspace(-1.3, 2.3, 30),
        ],
        1,
    )
    scene.solid(scene.tube(points, uniform(0.06, 0.1)), FLUID)


def ribs(scene: Scene, wide: float, deep: float) -> None:
    """Thin bent tubes, parallel and not touching."""
    if chance(0.15):
        return
    marrow, cortex = scene.material(SPONGE), scene.material(CORTEX)
    z, radius = uniform(0.2, 0.6), uniform(0.04, 0.075)
    while z < 2.4:
        for side in (-1, 1):
            end = uniform(0.35, 0.9)
            angle = math.pi * (1 - torch.linspace(0.08, end, 40))
            points = torch.stack(
                [
                    side * 1.02 * wide * angle.sin(),
                    1.02 * deep * angle.cos(),
                    z - 0.55 * torch.linspace(0, 1, 40) ** 1.2,
                ],
                1,
            )
            bone(scene, scene.tube(points, radius), scene.object(), marrow, cortex, 0.025)
        z += uniform(0.24, 0.34)


def pelvis(scene: Scene, back: float, wide: float) -> None:
    """Wings, sacrum, femora."""
    marrow, cortex = scene.material(SPONGE), scene.material(CORTEX)
    thick = uniform(0.015, 0.045)
    scene_obj = scene.object()
    bone(scene, scene.ellipsoid([0, back - 0.1, -1.65], [0.5, 0.22, 0.5], 0.1), scene_obj, marrow, cortex, thick)
    for side in (-1, 1):
        hip, femur = scene.object(), scene.object()
        box, depth = scene.ellipsoid([side * 0.45, 0.1, -1.6], [0.55, uniform(0.6, 0.8), uniform(0.6, 0.75)], 0.1)
        sheet = depth.abs() - uniform(0.04, 0.09)
        outer = side * scene.at[(0, *box)] - 0.45 + 0.3 * smooth_cut(scene, box)
        bone(scene, (box, torch.maximum(sheet, -outer)), hip, marrow, cortex, thick)
        bone(scene, scene.ellipsoid([side * 0.9, 0.1, -2.15], [0.28, 0.28, 0.28], 0.2), hip, marrow, cortex, thick)
        ball = scene.ellipsoid([side * 0.95, 0.1, -2.18], [0.23, 0.23, 0.23], 0.2)
        scene.paint(ball[0], ball[1] < 0.03, 0, scene.material(DISC))  # type: ignore[arg-type]
        bone(scene, ball, femur, marrow, cortex, thick)
        shaft = torch.tensor([side * 0.95, 0.1, -2.2]) + torch.linspace(0, 1, 20)[:, None] * torch.tensor(
            [side * 0.45, -0.05, -0.9]
        )
        bone(scene, scene.tube(shaft, uniform(0.12, 0.17)), femur, marrow, cortex, 0.05)


def smooth_cut(scene: Scene, box: tuple[slice, ...]) -> torch.Tensor:
    """A wavy edge for a bone's wing."""
    return torch.sin(3 * scene.at[(2, *box)] + uniform(0, 6)) * torch.cos(3 * scene.at[(1, *box)])
