"""Simulated clicks and the loss, batched on the GPU."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, binary_cross_entropy_with_logits, interpolate


def deepest(errors: Tensor, sloppy: float) -> tuple[Tensor, Tensor]:
    """Where the next click goes, and how much it matters.

    A fast stand-in for the deepest point of the largest error component: the wrong cell whose surroundings, at several
    reaches, are the most wrong. With probability ``sloppy`` any wrong cell instead.

    Args:
        errors: (b, n, n, n) bool, wrong voxels.
        sloppy: Probability of a random wrong cell.

    Returns:
        Index (b, 3) of a wrong voxel and score (b,); −1 where nothing is wrong.
    """
    b, n = errors.shape[:2]
    cells = avg_pool3d(errors[:, None].to(torch.bfloat16 if errors.is_cuda else torch.float32), 2)
    score = cells.clone()
    around = cells
    for level in range(4):
        near = avg_pool3d(around, 3, 1, 1)
        score = score + (2.0 if level else 1.0) * interpolate(near, size=cells.shape[2:], mode="trilinear")
        around = avg_pool3d(around, 2)
    score = score.float() * (cells > 0) + 1e-3 * torch.rand_like(score, dtype=torch.float32)
    any_cell = (cells > 0).float() * (0.5 + torch.rand_like(score))
    random = torch.rand(b, device=errors.device) < sloppy
    flat = torch.where(random[:, None, None, None, None], any_cell, score * (cells > 0)).flatten(1)
    best = flat.argmax(1)
    weight = torch.where(flat.gather(1, best[:, None])[:, 0] > 0, score.flatten(1).gather(1, best[:, None])[:, 0], -1.0)
    m = n // 2
    cell = torch.stack([best // (m * m), best // m % m, best % m], 1)
    corner = torch.arange(8, device=errors.device)  # no copies from the host: a CUDA graph may be recorded
    corner = torch.stack([corner // 4, corner // 2 % 2, corner % 2], 1)
    voxels = 2 * cell[:, None] + corner  # (b, 8, 3)
    index = (voxels[..., 0] * n + voxels[..., 1]) * n + voxels[..., 2]
    wrong = errors.flatten(1).gather(1, index).float()
    pick = (wrong * (0.5 + torch.rand_like(wrong))).argmax(1)
    return voxels[torch.arange(b, device=errors.device), pick], weight


def next_click(masks: Tensor, predicted: Tensor | None, valid: Tensor, sloppy: float) -> tuple[Tensor, Tensor]:
    """The next click for each object: points (b, 3) float and labels (b,); a positive random one when all is right.

    Args:
        masks: (b, n, n, n) bool.
        predicted: (b, n, n, n) bool, or ``None`` for the first click.
        valid: (b, n, n, n) bool, inside the volume.
        sloppy: Probability of a random wrong cell.
    """
    if predicted is None:
        point, _ = deepest(masks, sloppy)
        return point.float(), torch.ones(len(masks), dtype=torch.long, device=masks.device)
    missed, missed_score = deepest(masks & ~predicted, sloppy)
    extra, extra_score = deepest(predicted & ~masks & valid, sloppy)
    positive = missed_score >= extra_score
    again, _ = deepest(masks, 1.0)
    point = torch.where(positive[:, None], missed, extra)
    nothing = (missed_score < 0) & (extra_score < 0)
    point = torch.where(nothing[:, None], again, point)
    return point.float(), (positive | nothing).long()


def loss_of(
    logits: Tensor, quality: Tensor, masks: Tensor, valid: Tensor, points: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Dice, cross-entropy relative to the object's size, the clicks themselves, and the quality estimate.

    Args:
        logits: (b, 1, n, n, n).
        quality: (b, 1) before the sigmoid.
        masks: (b, n, n, n) bool.
        valid: (b, n, n, n) bool.
        points: (b, m, 3) the clicks so far.
        labels: (b, m) of them.

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
    clicked = binary_cross_entropy_with_logits(at, labels.float(), reduction="none").mean(1)
    with torch.no_grad():
        hard = (x > 0) & valid
        both = (hard & masks).flatten(1).sum(1).float()
        either = (hard | masks).flatten(1).sum(1).float().clamp(min=1)
        score = 2 * both / (either + both)
    guess = (quality[:, 0].float().sigmoid() - both / either).square()
    return dice + 0.04 * entropy.clamp(max=20) + 0.1 * clicked + 0.2 * guess, score
