"""Finish organs by prompts and tools: ``python benchmarks/finish.py CASE NAME… [--goal 0.95] [--clicks 5]``.

A scripted annotator shows each structure by a click deepest inside, corrects it by clicks as the CVPR 2025 challenge's
simulator does (deepest in the largest error) while a click helps, and then by brush and eraser: it looks for the axial
slice with the largest error and draws one stroke over its largest part, with the thickest brush that stays inside that
error. What such a stroke cannot reach stays wrong, as with a person's. Objects share no voxel. The saved record tells
steps and minutes; it is replayed and must give the same masks. CASE is a folder as `sammed3d-nb evaluate` takes it.

The minutes are the program's: a person also looks and moves the hand.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import sammed3d_nb as snb
from sammed3d_nb.measure.labelled import LabelledCase
from sammed3d_nb.measure.simulation import first_prompt, next_click
from sammed3d_nb.session.replay import replay

Mask = NDArray[np.bool_]
MOST_STROKES = 400


def dice(mask: Mask, truth: Mask) -> float:
    """Of two masks that are not both empty."""
    return 2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())


def stroke(errors: Mask, spacing: tuple[float, float]) -> Mask:
    """Voxels of a slice that one stroke of the thickest round brush inside an error paints."""
    parts, _ = ndimage.label(errors)
    counts = np.bincount(parts.ravel())
    counts[0] = 0
    part = np.pad(parts == counts.argmax(), 1)
    depth = ndimage.distance_transform_edt(part, sampling=spacing)
    radius = max(depth.max() / 2, min(spacing))  # half as thick as the error is at its thickest: reaches into its ends
    centres = depth >= radius
    reached = ndimage.distance_transform_edt(~centres, sampling=spacing) < radius
    return np.asarray((reached & part)[1:-1, 1:-1])


def next_stroke(mask: Mask, truth: Mask, spacing: tuple[float, ...]) -> tuple[Mask, bool]:
    """The voxels (z, y, x) of the next stroke, and whether it adds."""
    missing, spilled = truth & ~mask, mask & ~truth
    worst = int((missing | spilled).sum(axis=(1, 2)).argmax())
    adds = missing[worst].sum() >= spilled[worst].sum()
    found = np.zeros_like(mask)
    found[worst] = stroke((missing if adds else spilled)[worst], (spacing[1], spacing[2]))
    return found, bool(adds)


def finish(session: snb.Session, name: str, truth: Mask, goal: float, clicks: int) -> str:
    """Bring one structure to the goal; returns its row."""
    session.new_object(name)
    spacing = tuple(float(mm) for mm in session.volume.spacing[::-1])
    rng = np.random.default_rng(0)
    mask: Mask = np.asarray(session.add(first_prompt("point", truth, spacing, rng)).mask > 0)
    scores, strokes = [dice(mask, truth)], 0
    while len(scores) < clicks and scores[-1] < goal and (wrong := next_click(truth, mask, spacing, rng)):
        try:
            mask = np.asarray(session.click(*wrong).mask > 0)
        except snb.UserError:
            break  # e.g. a voxel that an earlier object has
        scores.append(dice(mask, truth))
        if scores[-1] < scores[-2]:  # what a person would take back
            session.undo()
            mask = np.asarray(session.mask > 0)
            scores[-1] = dice(mask, truth)
            break
    by_clicks = scores[-1]
    while dice(mask, truth) < goal and strokes < MOST_STROKES:
        where, adds = next_stroke(mask, truth, spacing)
        session.paint(where, adds)
        mask = np.asarray(session.mask > 0)
        strokes += 1
    told = next(found for found in session.measure() if found.name == name)
    return (
        f"{name:24} {scores[0]:7.3f} {by_clicks:8.3f} {len(scores):6} {strokes:7} {dice(mask, truth):7.3f}"
        f" {told.minutes:8.2f}"
    )


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser()
    parser.add_argument("case", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--goal", type=float, default=0.95)
    parser.add_argument("--clicks", type=int, default=5)
    args = parser.parse_args()
    case = LabelledCase.read(args.case)
    numbers = {name: number for number, name in case.unique_names.items()}
    if unknown := [name for name in args.names if name not in numbers]:
        parser.error(f"{args.case} has no {', '.join(unknown)}")
    model = snb.load_model()
    session = snb.Session(case.volume, model)
    print(f"{'structure':24} 1 click  clicked clicks strokes    Dice  minutes")
    for name in args.names:
        print(finish(session, name, case.labels == numbers[name], args.goal, args.clicks), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        record = session.save(Path(folder) / "finished.sammed3d.json")
        replayed = list(replay(record, volume=case.volume, model=model))
    same = all(found.same for found in replayed)
    print(f"{len(session.steps)} steps; replayed, the record gives {'the same masks' if same else 'OTHER MASKS'}")


if __name__ == "__main__":
    main()
