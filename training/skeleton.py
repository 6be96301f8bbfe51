"""Bones and the muscles upon them, for `trunk.fill`: spine, ribs, shoulder blades, hips, thighs."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch

from training.scenes import CORTEX, DISC, FAT, FLUID, MUSCLE, SPONGE, Scene, chance, uniform

Part = tuple[tuple[slice, ...], torch.Tensor]
"""A box of the scene and the signed depth in it."""


def muscles(scene: Scene, back: float) -> None:
    """Muscles along the spine: long, mirrored, touching, of one intensity."""
    shared = scene.material(MUSCLE)
    for side in (-1, 1):
        long = [
            ([side * 0.28, back - 0.3, 0.0], [0.26, 0.22, 3.0]),
            ([side * 0.6, back - 0.15, -0.2], [0.18, 0.15, uniform(0.8, 2.0)]),
        ]
        for centre, radii in long:
            if chance(0.9):
                where = scene.ellipsoid(centre, [r * uniform(0.75, 1.25) for r in radii], 0.08)
                muscle(scene, where, scene.object(), shared)


def muscle(scene: Scene, where: Part, obj: int, material: int) -> None:
    """A muscle in fat or beside other muscles, with a thin sheet of fat round it."""
    box, depth = where
    gap = uniform(0.0, 0.035)
    scene.paint(box, (depth > 0) & (depth < gap), 0, scene.material(FAT), on=[MUSCLE])  # type: ignore[arg-type]
    scene.paint(box, depth < 0, obj, material if chance(0.8) else scene.material(MUSCLE), on=[FAT, MUSCLE])  # type: ignore[arg-type]


def bone(scene: Scene, where: Part, obj: int, marrow: int, cortex: int, thick: float) -> None:
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
    """Thin bent tubes, parallel and not touching, that end in cartilage before a breastbone."""
    if chance(0.15):
        return
    marrow, cortex = scene.material(SPONGE), scene.material(CORTEX)
    soft, cartilage = scene.material(DISC), scene.object()
    z, radius = uniform(0.2, 0.6), uniform(0.03, 0.06)
    slope, number = uniform(0.5, 1.0), 0
    front = scene.union(
        scene.ellipsoid([0, 1.02 * deep, 2.3], [uniform(0.12, 0.2), uniform(0.05, 0.08), uniform(0.8, 1.1)], 0.05)
    )
    while z < 3.2:
        reach = min(0.92, 0.3 + 0.13 * number + uniform(0, 0.1))
        sternum = z - slope * 1.1 if reach > 0.8 else None
        for side in (-1, 1):
            angle = math.pi * (1 - torch.linspace(0.06, reach, 48))
            t = torch.linspace(0, 1, 48)
            points = torch.stack(
                [side * 1.02 * wide * angle.sin(), 1.02 * deep * angle.cos(), z - slope * reach * t**1.2], 1
            )
            bony = 48 if reach < 0.6 else int(48 * uniform(0.7, 0.85))
            flat = torch.linspace(0.8, 1.15, 48) * radius
            bone(scene, scene.tube(points[:bony], flat[:bony]), scene.object(), marrow, cortex, uniform(0.012, 0.025))
            if bony < 48:
                end = torch.tensor([side * 0.15, 1.02 * deep, max(sternum or z, 1.5)])
                if sternum is not None:
                    last = points[-1] + (end - points[-1]) * torch.linspace(0, 1, 12)[:, None]
                    points = torch.cat([points, last])
                box, depth = scene.tube(points[bony:], radius)
                scene.paint(box, depth < 0, cartilage, soft)  # type: ignore[arg-type]
        z += uniform(0.24, 0.34)
        number += 1
    if chance(0.8):
        bone(scene, front, scene.object(), marrow, cortex, uniform(0.01, 0.02))
    for side in (-1, 1):  # shoulder blades
        if chance(0.6):
            flat_bone(scene, side, [side * 1.0 * wide, -0.9 * deep, 2.6], 0.5, marrow, cortex)


def flat_bone(scene: Scene, side: int, centre: list[float], size: float, marrow: int, cortex: int) -> None:
    """A thin bent plate."""
    _, sheet, _ = plate(scene, centre, [side * 0.4, -0.8, 0.2], size, 1.3 * size, uniform(0.1, 0.4))
    bone(scene, sheet(uniform(0.02, 0.035), 1.0), scene.object(), marrow, cortex, 0.015)


def plate(
    scene: Scene, centre: list[float], normal: list[float], across: float, along: float, bend: float
) -> tuple[Part, Callable[[float, float], Part], Callable[[float, float, float], Part]]:
    """A bent oval plate: its height field, the plate of some thickness, and layers upon it.

    Returns:
        The box with signed height over the plate; ``sheet(thickness, share)``; ``layer(low, high, share)``.
    """
    reach = 1.4 * max(across, along)
    box = scene.box([c - reach for c in centre], [c + reach for c in centre])
    n = torch.tensor(normal)
    n = n / n.norm()
    up = torch.tensor([0.0, 0.0, 1.0]) - n[2] * n
    up = up / up.norm()
    frame = torch.stack([torch.linalg.cross(up, n), up, n]).to(scene.device)
    p = scene.at[(slice(None), *box)] - torch.tensor(centre, device=scene.device)[:, None, None, None]
    u, v, h = torch.einsum("ij,jabc->iabc", frame, p)
    h = h + bend * (u.square() + 0.5 * v.square()) / across + 0.03 * scene.lumps(box, 4)
    r = ((u / across).square() + (v / along).square()).sqrt() * (1 + 0.06 * scene.lumps(box, 4))

    def layer(low: float, high: float, share: float) -> Part:
        middle, half = (low + high) / 2, (high - low) / 2
        taper = half * (1.15 - 0.6 * (r / share).square()).clamp(min=0.1)
        return box, torch.maximum((h - middle).abs() - taper, (r - share) * min(across, along))

    def sheet(thickness: float, share: float) -> Part:
        thicker = thickness * (1 + 0.9 * (r > 0.85) + 1.5 * (-v / along - 0.3).clamp(min=0))
        return box, torch.maximum(h.abs() - thicker, (r - share) * min(across, along))

    return (box, h), sheet, layer


def pelvis(scene: Scene, back: float) -> None:
    """Hip bones with muscles layered on them, sacrum, femora with the thighs' muscles."""
    marrow, cortex = scene.material(SPONGE), scene.material(CORTEX)
    flesh = scene.material(MUSCLE)
    thick = uniform(0.012, 0.04)
    scale = uniform(0.88, 1.12)

    def at(x: float, y: float, z: float) -> list[float]:
        return [scale * x, back + scale * y + uniform(-0.03, 0.03), -1.6 + scale * (z + 1.6) + uniform(-0.03, 0.03)]

    def line(*corners: list[float], steps: int = 14) -> torch.Tensor:
        nodes = torch.tensor(corners)
        return torch.cat([a + (b - a) * torch.linspace(0, 1, steps)[:, None] for a, b in pairwise(nodes)])

    tail = line(at(0, 0, -1.3), at(0, -0.25, -1.6), at(0, -0.4, -1.95), at(0, -0.2, -2.35), steps=8)
    for side in (-1, 1):
        turn = uniform(0.5, 0.95)
        _, sheet, layer = plate(
            scene, at(side * 0.88, 0.22, -1.45), [side * 0.85, -turn, -0.35], 0.62 * scale, 0.66 * scale,
            uniform(-0.25, 0.1),
        )  # fmt: skip
        bare = uniform(0.03, 0.06)
        small, middle = uniform(0.08, 0.15), uniform(0.2, 0.4)
        psoas = scene.object()
        top = at(side * 0.3, 0.05, uniform(-0.3, 0.4))
        run = line(top, at(side * 0.5, 0.25, -1.2), at(side * 0.85, 0.75, -2.0), at(side * 0.9, 0.4, -2.4))
        belly = uniform(0.14, 0.28) * torch.sin(torch.linspace(0.25, 2.8, len(run))).clamp(min=0.3)
        muscle(scene, scene.tube(run, belly), psoas, flesh)
        muscle(scene, layer(-bare - uniform(0.15, 0.25), -bare, 0.95), psoas if chance(0.6) else scene.object(), flesh)
        buttock = scene.ellipsoid(
            at(side * 0.75, -0.5, -1.95), [0.62 * scale, uniform(0.22, 0.38), uniform(0.65, 0.85)], 0.15
        )
        muscle(scene, buttock, scene.object(), flesh)
        muscle(scene, layer(bare + small, bare + small + middle, 1.0), scene.object(), flesh)
        muscle(scene, layer(bare, bare + small, 0.75), scene.object(), flesh)
        for _ in range(int(torch.randint(4, 9, ()))):  # the thigh's
            angle, far = uniform(0, 2 * math.pi), uniform(0.25, 0.5)
            x, y = 1.15 + far * math.cos(angle), 0.3 + far * math.sin(angle)
            ends = line(at(side * (0.6 + 0.5 * x), y * 0.6, -2.15), at(side * x, y, -2.7), at(side * x * 0.95, y, -4.2))
            muscle(scene, scene.tube(ends, uniform(0.12, 0.28)), scene.object(), flesh)

        hip, femur = scene.object(), scene.object()
        socket, pubis, seat = at(side * 0.88, 0.38, -2.05), at(side * 0.08, 0.85, -2.35), at(side * 0.55, 0.0, -2.7)
        ball = uniform(0.21, 0.26) * scale
        parts = [
            sheet(bare, 1.0),
            scene.ellipsoid(socket, [ball + 0.1] * 3, 0.1),
            scene.tube(line(socket, at(side * 0.45, 0.75, -2.1), pubis), uniform(0.08, 0.12)),
            scene.tube(line(pubis, at(side * 0.3, 0.5, -2.6), seat), uniform(0.06, 0.1)),
            scene.tube(line(socket, seat), torch.linspace(0.24, 0.17, 14)),
        ]
        bone(scene, scene.union(*parts), hip, marrow, cortex, thick)
        head = scene.ellipsoid([socket[0] + side * 0.08, socket[1], socket[2] - 0.04], [ball] * 3, 0.05)
        scene.paint(head[0], head[1] < uniform(0.015, 0.035), 0, scene.material(DISC))  # type: ignore[arg-type]
        knob = at(side * 1.4, 0.2, -2.1)
        shaft = line(knob, at(side * 1.35, 0.2, -2.5), at(side * 1.15, 0.3, -4.3), steps=24)
        femora = scene.union(
            head, scene.tube(line(socket, knob), torch.linspace(0.2, 0.16, 14)),
            scene.ellipsoid(knob, [0.17, 0.2, 0.24], 0.2), scene.tube(shaft, uniform(0.12, 0.17)),
        )  # fmt: skip
        bone(scene, femora, femur, marrow, cortex, uniform(0.02, 0.06))
    first = scene.object()
    sacrum = scene.object() if chance(0.5) else first
    parts = [scene.tube(tail, torch.linspace(0.22, 0.05, len(tail)))]
    for step, half in ((0, 0.52), (6, 0.5), (11, 0.4), (17, 0.25)):
        parts.append(scene.ellipsoid(tail[step].tolist(), [half * scale, 0.17, 0.2], 0.05))
    bone(scene, scene.union(*parts), sacrum, marrow, cortex, thick)
    bone(scene, scene.ellipsoid(tail[0].tolist(), [0.26, 0.18, 0.15], 0.05), first, marrow, cortex, thick)
    for step in (4, 9, 14):  # the nerves' holes
        for side in (-1, 1):
            x, y, z = tail[step].tolist()
            hole = scene.ellipsoid([x + side * 0.2, y, z], [0.05, 0.2, 0.05], 0.1)
            scene.paint(hole[0], hole[1] < 0, 0, scene.material(FAT))  # type: ignore[arg-type]
