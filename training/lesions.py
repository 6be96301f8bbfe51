"""Lesions pasted into an image: blobs that differ a little from what they lie in, on real texture too."""

import torch
from torch import Tensor

from training.scenes import chance, smooth_noise, uniform


def paste(image: Tensor, valid: Tensor) -> tuple[Tensor, Tensor] | None:
    """An image with a lesion in it, and the lesion.

    Args:
        image: (n, n, n) raw intensities.
        valid: (n, n, n) bool, inside the volume.

    Returns:
        The changed image and the lesion (n, n, n) bool; ``None`` when chance put it outside.
    """
    n, device = image.shape[0], image.device
    places = valid[::4, ::4, ::4].nonzero()
    if not len(places):
        return None
    centre = 4.0 * places[int(torch.randint(len(places), ()))]
    radius = n * uniform(0.025, 0.05) if chance(0.4) else n * uniform(0.04, 0.18)
    depth = lump(n, centre, radius, device)
    lesion = (depth < 0) & valid
    size = int(lesion.sum())
    if size < 60:
        return None
    inside = image[lesion]
    mean, near = inside.mean(), inside.std().clamp(min=1e-6)
    far = image[valid][::64].std().clamp(min=1e-6)
    contrast = uniform(0.3, 1.5) * near + uniform(0.05, 0.5) * far
    soft = torch.sigmoid(-depth / uniform(0.3, 1.2))
    filled = mean + contrast * (1.0 if chance(0.5) else -1.0)
    filled = filled + uniform(0, 0.5) * near * smooth_noise(n, int(torch.randint(12, 50, ())), device)[0]
    if chance(0.3):  # a core that died, or a rim that takes up contrast
        core = torch.sigmoid(-(depth + uniform(0.15, 0.7) * radius) / 0.7)
        filled = filled + core * contrast * uniform(-2.0, 2.0)
    soft = soft * uniform(0.6, 1.0)
    return image + soft * (filled - image), lesion


def lump(n: int, centre: Tensor, radius: float, device: torch.device) -> Tensor:
    """The depth in voxels (negative inside) of an uneven, tilted ellipsoid, (n, n, n)."""
    axis = torch.arange(n, device=device, dtype=torch.float32)
    p = torch.stack(torch.meshgrid(*[axis - float(c) for c in centre], indexing="ij"))
    turn = torch.linalg.qr(torch.randn(3, 3))[0] / torch.tensor([uniform(0.6, 1.5) for _ in range(3)])[:, None]
    reach = torch.einsum("ij,jabc->iabc", turn.to(device), p).norm(dim=0)
    cells = max(2, min(40, round(n / radius * uniform(0.8, 2.0))))
    return reach - radius * (1 + uniform(0.05, 0.3) * smooth_noise(n, cells, device)[0])
