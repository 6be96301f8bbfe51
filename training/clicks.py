"""Simulated clicks and the loss, batched on the GPU."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, binary_cross_entropy_with_logits, interpolate, max_pool3d

SPOILT = 0.2
"""Weight of what a click made wrong."""
GOOD = 0.75
"""Dice from which a mask is good enough to be defended by a negative click beside it."""


class Habits(NamedTuple):
    """How people click, as probabilities.

    Attributes:
        sloppy: Any wrong cell, at the border too.
        anywhere: Any cell well inside what is wrong, not its deepest point.
        beside: A negative click next to an object whose mask is good already.
    """

    sloppy: float = 0.0
    anywhere: float = 0.0
    beside: float = 0.0


SIMULATOR = Habits()
"""As `sammed3d-nb evaluate` clicks."""


def cells_of(mask: Tensor) -> Tensor:
    """(b, n, n, n) bool → the filled part of each of its 2³ cells, (b, 1, n/2, n/2, n/2)."""
    return avg_pool3d(mask[:, None].to(torch.bfloat16 if mask.is_cuda else torch.float32), 2)


def deepest(errors: Tensor, habits: Habits) -> tuple[Tensor, Tensor]:
    """Where the next click goes, and how much it matters.

    A fast stand-in for the deepest point of the largest error component: the wrong cell whose surroundings, at several
    reaches, are the most wrong; by luck (`Habits`) another wrong cell instead.

    Args:
        errors: (b, n, n, n) bool, wrong voxels.
        habits: Of the one who clicks.

    Returns:
        Index (b, 3) of a wrong voxel and score (b,); −1 where nothing is wrong.
    """
    cells = cells_of(errors)
    score = cells.clone()
    around = cells
    for level in range(4):
        near = avg_pool3d(around, 3, 1, 1)
        if level == 0:
            inner = near
        score = score + (2.0 if level else 1.0) * interpolate(near, size=cells.shape[2:], mode="trilinear")
        around = avg_pool3d(around, 2)
    wrong = cells > 0
    score = score.float() * wrong + 1e-3 * torch.rand_like(score, dtype=torch.float32)
    chance = 0.5 + torch.rand_like(score)
    any_cell = wrong.float() * chance
    # three voxels at least from the border, where there is such a place; the innermost cells where there is none
    inside = any_cell * ((inner > 0.99).float() + 0.01 * inner.float())
    luck = torch.rand(len(errors), device=errors.device)[:, None, None, None, None]
    flat = torch.where(luck < habits.sloppy, any_cell, score * wrong)
    flat = torch.where(luck > 1 - habits.anywhere, inside, flat).flatten(1)
    best = flat.argmax(1)
    weight = torch.where(flat.gather(1, best[:, None])[:, 0] > 0, score.flatten(1).gather(1, best[:, None])[:, 0], -1.0)
    return voxel_in(errors, best), weight


def voxel_in(errors: Tensor, best: Tensor) -> Tensor:
    """The index (b, 3) of one of the wrong voxels of a cell, whose flat index (b,) is given."""
    b, n = errors.shape[:2]
    m = n // 2
    cell = torch.stack([best // (m * m), best // m % m, best % m], 1)
    corner = torch.arange(8, device=errors.device)  # no copies from the host: a CUDA graph may be recorded
    corner = torch.stack([corner // 4, corner // 2 % 2, corner % 2], 1)
    voxels = 2 * cell[:, None] + corner  # (b, 8, 3)
    index = (voxels[..., 0] * n + voxels[..., 1]) * n + voxels[..., 2]
    wrong = errors.flatten(1).gather(1, index).float()
    pick = (wrong * (0.5 + torch.rand_like(wrong))).argmax(1)
    return voxels[torch.arange(b, device=errors.device), pick]


def beside(masks: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """A place just outside each object, up to two cells from it: index (b, 3), and whether there is one (b,)."""
    inside = cells_of(masks)
    outside = ~masks & valid
    near = (max_pool3d(inside, 5, 1, 2) > 0) & (inside == 0) & (cells_of(outside) > 0)
    flat = (near.float() * (0.5 + torch.rand_like(near, dtype=torch.float32))).flatten(1)
    best = flat.argmax(1)
    return voxel_in(outside, best), flat.gather(1, best[:, None])[:, 0] > 0


def next_click(
    masks: Tensor, predicted: Tensor | None, valid: Tensor, habits: Habits = SIMULATOR
) -> tuple[Tensor, Tensor]:
    """The next click for each object: points (b, 3) float and labels (b,); a positive random one when all is right.

    Args:
        masks: (b, n, n, n) bool.
        predicted: (b, n, n, n) bool, or ``None`` for the first click.
        valid: (b, n, n, n) bool, inside the volume.
        habits: Of the one who clicks.
    """
    if predicted is None:
        point, _ = deepest(masks, habits)
        return point.float(), torch.ones(len(masks), dtype=torch.long, device=masks.device)
    missed, missed_score = deepest(masks & ~predicted, habits)
    extra, extra_score = deepest(predicted & ~masks & valid, habits)
    positive = missed_score >= extra_score
    again, _ = deepest(masks, Habits(sloppy=1.0))
    point = torch.where(positive[:, None], missed, extra)
    nothing = (missed_score < 0) & (extra_score < 0)
    point = torch.where(nothing[:, None], again, point)
    positive = positive | nothing
    if habits.beside:
        place, there = beside(masks, valid)
        both = 2 * (masks & predicted).flatten(1).sum(1)
        good = both > GOOD * (masks.flatten(1).sum(1) + (predicted & valid).flatten(1).sum(1))
        defended = there & good & (torch.rand(len(masks), device=masks.device) < habits.beside)
        point = torch.where(defended[:, None], place, point)
        positive = positive & ~defended
    return point.float(), positive.long()


def polish(logits: Tensor, masks: Tensor, often: float) -> Tensor:
    """Previous masks, some of them replaced by nearly right ones: what later clicks must keep.

    Args:
        logits: (b, 1, n, n, n).
        masks: (b, n, n, n) bool, the truth.
        often: How often.
    """
    truth = 2 * masks[:, None].to(logits.dtype) - 1
    soft = interpolate(avg_pool3d(truth, 2), scale_factor=2, mode="trilinear")
    coarse = torch.randn(len(logits), 1, 12, 12, 12, device=logits.device, dtype=logits.dtype)
    uneven = interpolate(coarse, size=logits.shape[2:], mode="trilinear")  # where the border is off, and to which side
    luck = torch.rand(len(logits), 3, 1, 1, 1, 1, device=logits.device, dtype=logits.dtype)
    right = (2 + 6 * luck[:, 1]) * (soft + 0.9 * luck[:, 2] * uneven)
    right = torch.where(luck[:, 1] < 0.3, 6 * right.sign(), right)  # a start mask, as the session shows it
    return torch.where(luck[:, 0] < often, right, logits)


def loss_of(
    logits: Tensor,
    quality: Tensor,
    masks: Tensor,
    valid: Tensor,
    points: Tensor,
    labels: Tensor,
    before: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Dice, cross-entropy relative to the object's size, the clicks themselves, and the quality estimate.

    What was right before a click and is wrong after it counts `SPOILT` more; a first click on an object that is larger
    than half the cube counts twice.

    Args:
        logits: (b, 1, n, n, n).
        quality: (b, 1) before the sigmoid.
        masks: (b, n, n, n) bool.
        valid: (b, n, n, n) bool.
        points: (b, m, 3) the clicks so far.
        labels: (b, m) of them; negative where there is none.
        before: (b, 1, n, n, n) the logits that the last click was made on, or ``None`` at the first.

    Returns:
        The loss of each object (b,) and its Dice (b,).
    """
    x = logits[:, 0].float()
    y = masks.float()
    inside = valid.float()
    p = x.sigmoid() * inside
    size = y.flatten(1).sum(1)
    overlap = (p * y).flatten(1).sum(1)
    total = p.flatten(1).sum(1)
    dice = 1 - (2 * overlap + 10) / (total + size + 10)
    entropy = (binary_cross_entropy_with_logits(x, y, reduction="none") * inside).flatten(1).sum(1)
    entropy = entropy / (0.5 * (size + total.detach()) + 100)
    n = x.shape[-1]
    cell = points.long().clamp(0, n - 1)
    at = x.flatten(1).gather(1, (cell[..., 0] * n + cell[..., 1]) * n + cell[..., 2])
    made = (labels >= 0).float()
    clicked = binary_cross_entropy_with_logits(at, labels.clamp(min=0).float(), reduction="none")
    clicked = (clicked * made).sum(1) / made.sum(1).clamp(min=1)
    with torch.no_grad():
        hard = (x > 0) & valid
        both = (hard & masks).flatten(1).sum(1).float()
        either = (hard | masks).flatten(1).sum(1).float().clamp(min=1)
        score = 2 * both / (either + both)
    guess = (quality[:, 0].float().sigmoid() - both / either).square()
    loss = dice + 0.04 * entropy.clamp(max=20) + 0.1 * clicked + 0.2 * guess
    if before is not None:
        right = ((before[:, 0] > 0) == masks).float() * inside
        spoilt = ((p - y).abs() * right).flatten(1).sum(1) / (total.detach() + size + 10)
        return loss + SPOILT * spoilt, score
    extent = torch.stack([masks.any(a).any(b).sum(1) for a, b in ((3, 2), (3, 1), (2, 1))]).amax(0)
    return loss * (1 + (extent > n // 2).float()), score
