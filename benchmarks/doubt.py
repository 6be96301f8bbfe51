"""Does following the network's doubt save prompts? Simulated users who all begin with the same click.

Each structure is shown by one click deepest inside. Then every user corrects it up to the same Dice: one looks where
the network is most unsure (for each way of ranking), one clicks on errors at random, one looks through the axial slices
in order and clicks at the first error that is seen. All click alike: deepest in an error of the slice they look at.
An error is seen when it holds a square of 3 × 3 voxels; smaller ones count when there is no other. For comparison, the
challenge's user, who knows every error and clicks deepest in the largest one; structures that not even this one brings
to the goal are left out, and counted.

    python benchmarks/doubt.py CASE… [--structures 16] [--most 8] [--seconds 840] [--hard] [--scores depth]
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import sammed3d_nb as snb
from sammed3d_nb.imaging.region import dice
from sammed3d_nb.measure.evaluate import structures
from sammed3d_nb.measure.labelled import LabelledCase
from sammed3d_nb.measure.simulation import deepest, first_prompt, next_click
from sammed3d_nb.segmenters.cube import closest_canonical
from sammed3d_nb.segmenters.doubt import SCORES

GOAL = 0.9
NEAR_MM = 10.0  # of a place: errors this near are seen by who looks there
Mask = NDArray[np.bool_]
Click = tuple[tuple[int, int, int], bool]


class Errors:
    """What is wrong with a mask, as somebody sees it who scrolls through axial slices.

    Args:
        truth: bool (z, y, x).
        mask: The same.
        axial: The array axis along which axial slices lie.
        spacing: mm along the array's axes.
    """

    def __init__(self, truth: Mask, mask: Mask, axial: int, spacing: tuple[float, ...]) -> None:
        self.axial = axial
        self.spacing = spacing
        self.parts = (np.moveaxis(truth & ~mask, axial, 0), np.moveaxis(mask & ~truth, axial, 0))
        square = np.ones((1, 3, 3), bool)
        seen = [ndimage.binary_opening(part, square) for part in self.parts]
        self.seen = seen if any(part.any() for part in seen) else list(self.parts)

    @property
    def slices(self) -> NDArray[np.int64]:
        """The slices in which an error is seen."""
        return np.flatnonzero(self.seen[0].any(axis=(1, 2)) | self.seen[1].any(axis=(1, 2)))

    def click(self, index: int, at: tuple[int, int, int] | None, rng: np.random.Generator) -> Click | None:
        """The click on the largest error of a slice that is seen, or on one near a voxel (z, y, x) of it."""
        best: tuple[int, Mask, bool] | None = None
        plane_mm = [mm for axis, mm in enumerate(self.spacing) if axis != self.axial]
        for part, seen, positive in zip(self.parts, self.seen, (True, False), strict=True):
            labels, count = ndimage.label(part[index])
            for number in range(1, count + 1):
                error = labels == number
                if not (error & seen[index]).any():
                    continue
                if at is not None:
                    there = np.argwhere(error) - [n for axis, n in enumerate(at) if axis != self.axial]
                    if np.linalg.norm(there * plane_mm, axis=1).min() > NEAR_MM:
                        continue
                if best is None or error.sum() > best[0]:
                    best = int(error.sum()), error, positive
        if best is None:
            return None
        whole = np.zeros(self.parts[0].shape, bool)
        whole[index] = best[1]
        thin = np.moveaxis(whole, 0, self.axial)
        spacing = list(self.spacing)
        spacing[self.axial] = 1e6  # depth is judged within the slice
        return deepest(thin, spacing, rng), best[2]


User = Callable[[snb.Session, Errors, Mask], tuple[Click | None, int]]
"""From a session, its errors and the truth to the next click, and how many places or slices were looked at."""


def unsure(score: str, rng: np.random.Generator) -> User:
    """Looks where the network is most unsure; through slices in order when nothing is wrong there."""
    rest = in_order(rng)

    def next_of(session: snb.Session, errors: Errors, truth: Mask) -> tuple[Click | None, int]:
        for looks in range(1, 40):
            place = session.look_next(score)
            if place is None:
                break
            at = place.at[::-1]
            click = errors.click(at[errors.axial], at, rng)
            if click is not None:
                return click, looks
        click, more = rest(session, errors, truth)
        return click, looks + more

    return next_of


def in_order(rng: np.random.Generator) -> User:
    """Looks through the axial slices, goes on where the last click was, and begins again at the end."""
    now = 0

    def next_of(session: snb.Session, errors: Errors, truth: Mask) -> tuple[Click | None, int]:
        nonlocal now
        found = errors.slices
        if not len(found):
            return None, 0
        ahead = found[found >= now]
        before, now = now, int(ahead[0] if len(ahead) else found[0])
        return errors.click(now, None, rng), (now - before) % len(errors.parts[0]) + 1

    return next_of


def at_random(rng: np.random.Generator) -> User:
    """Comes upon a random voxel of an error that is seen."""

    def next_of(session: snb.Session, errors: Errors, truth: Mask) -> tuple[Click | None, int]:
        voxels = np.argwhere(errors.seen[0] | errors.seen[1])
        if not len(voxels):
            return None, 0
        index, *_ = voxels[rng.integers(len(voxels))]
        return errors.click(int(index), None, rng), 1

    return next_of


def all_knowing(rng: np.random.Generator) -> User:
    """The challenge's user: deepest in the largest error component."""

    def next_of(session: snb.Session, errors: Errors, truth: Mask) -> tuple[Click | None, int]:
        return next_click(truth, session.mask > 0, errors.spacing, rng), 1

    return next_of


def corrected(session: snb.Session, truth: Mask, axial: int, user: User, most: int) -> tuple[list[float], int]:
    """Dice after each prompt up to the goal, and places looked at; the session goes back to its first click."""
    spacing = session.volume.spacing[::-1]
    scores, looks = [dice(session.mask > 0, truth)], 0
    while scores[-1] < GOAL and len(scores) < most:
        click, looked = user(session, Errors(truth, session.mask > 0, axial, spacing), truth)
        looks += looked
        if click is None:
            break
        try:
            session.click(*click)
        except snb.UserError as error:
            print(f"    {error}", flush=True)
            break
        scores.append(dice(session.mask > 0, truth))
    while len(session.prompts) > 1:
        session.undo()
    session._looked.clear()
    return scores, looks


def sample(folders: list[Path], seed: int) -> Iterator[tuple[LabelledCase, int]]:
    """Structures of all cases in a random order, case by case in turn."""
    rng = np.random.default_rng(seed)
    cases = [LabelledCase.read(folder) for folder in folders]
    waiting = [list(rng.permutation(structures(case, 5.0))) for case in cases]
    while any(waiting):
        for case, left in zip(cases, waiting, strict=True):
            if left:
                yield case, int(left.pop())


def main() -> None:
    """Measure, and print a line for each structure and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="CASE")
    parser.add_argument("--structures", type=int, default=16, help="that are not right after one click")
    parser.add_argument("--most", type=int, default=8, help="prompts for each user")
    parser.add_argument("--seconds", type=float, default=840)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--hard", action="store_true", help="only structures that nobody brings to the goal: Dice counts"
    )
    parser.add_argument("--scores", nargs="+", choices=SCORES, default=SCORES, help="ways of ranking to measure")
    options = parser.parse_args()
    started, model = time.monotonic(), snb.load_model()
    sessions: dict[str, snb.Session] = {}
    names = [*(f"doubt: {score}" for score in options.scores), "random error", "slices in order", "all-knowing"]
    print("prompts up to Dice 0.9, the first click included; › means not within that many")
    print(f"{'structure':<34}{'Dice@1':>7}  " + "".join(f"{name:>18}" for name in names), flush=True)
    counts: dict[str, list[int]] = {name: [] for name in names}
    curves: dict[str, list[list[float]]] = {name: [] for name in names}
    seen: dict[str, int] = dict.fromkeys(names, 0)
    right = left_out = 0
    for case, label in sample(options.folders, options.seed):
        if len(counts[names[0]]) >= options.structures or time.monotonic() - started > options.seconds:
            break
        truth = case.labels == label
        session = sessions.setdefault(case.name, snb.Session(case.volume, model))
        session.reset()
        spacing = case.volume.spacing[::-1]
        session.add(first_prompt("point", truth, spacing, np.random.default_rng([options.seed, label])))
        first = dice(session.mask > 0, truth)
        if first >= GOAL:
            right += 1
            continue
        axes, _ = closest_canonical(case.volume.voxel_to_ras.affine[:3, :3])
        row: list[str] = []
        for name in (names[-1], *names[:-1]):
            rng = np.random.default_rng([options.seed, label])
            if name.startswith("doubt"):
                user = unsure(name.removeprefix("doubt: "), rng)
            else:
                user = {"random error": at_random, "slices in order": in_order, "all-knowing": all_knowing}[name](rng)
            scores, looks = corrected(session, truth, 2 - axes[2], user, options.most)
            reached = scores[-1] >= GOAL
            if name == names[-1] and reached == options.hard:
                break
            counts[name].append(len(scores) if reached else options.most + 1)
            curves[name].append(scores + [scores[-1]] * (options.most - len(scores)))
            seen[name] += looks
            row.append(f"{'' if reached else '›'}{len(scores) if reached else options.most} ({max(scores):.3f})")
        if not row:
            left_out += 1
            continue
        row.append(row.pop(0))
        print(
            f"{case.name + ' ' + case.unique_names[label]:<34.34}{first:>7.3f}  " + "".join(f"{r:>18}" for r in row),
            flush=True,
        )
    print(
        f"\n{len(counts[names[0]])} structures; {right} more were right after one click, {left_out} "
        f"{'within' if options.hard else 'beyond'} reach"
    )
    print(
        f"{'':<18}{'mean prompts':>14}{'reached':>9}{'looks/prompt':>14}"
        + "".join(f"{f'Dice@{n}':>9}" for n in range(1, options.most + 1))
    )
    for name in names:
        means = np.mean(curves[name], axis=0)
        reached = sum(n <= options.most for n in counts[name])
        prompts = sum(min(n, options.most) - 1 for n in counts[name])
        print(
            f"{name:<18}{np.mean(counts[name]):>14.2f}{reached:>9}{seen[name] / max(prompts, 1):>14.1f}"
            + "".join(f"{mean:>9.3f}" for mean in means)
        )
    for name in names[: len(options.scores)]:
        for other in names[-3:-1]:
            difference = np.subtract(counts[name], counts[other])
            fewer, more = (difference < 0).sum(), (difference > 0).sum()
            print(f"{name} against {other}: {np.mean(difference):+.2f} prompts; fewer in {fewer}, more in {more}")


if __name__ == "__main__":
    main()
