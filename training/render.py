"""How a scene or a label map looks to a scanner, and what scanners do to images; all on the GPU."""

import math

import torch
from torch import Tensor

from training.scenes import CLASSES, GAS, ORGAN, VESSEL, along_axes, between, chance, smooth_noise, uniform

HU = (  # mean and spread of each class in CT: air, skin, fat, muscle, cortex, sponge, organ, vessel, fluid, gas, ...
    (-1000, 5), (20, 30), (-100, 15), (55, 15), (700, 250), (180, 90), (75, 45), (110, 80), (10, 12), (-900, 100),
    (40, 20), (-800, 70), (80, 25), (30, 60),
)  # fmt: skip
T1 = (0.0, 0.5, 0.95, 0.4, 0.05, 0.75, 0.5, 0.3, 0.15, 0.02, 0.45, 0.08, 0.35, 0.4)


def intensities(classes: list[int] | None, count: int) -> Tensor:
    """A raw intensity for each of ``count`` materials: a CT, an MR, or anything."""
    kind = float(torch.rand(()))
    if classes is None or kind < 0.25:  # anything: few shades, so that many neighbours are nearly alike
        shades = torch.rand(int(torch.randint(6, 30, ())))
        value = shades[torch.randint(len(shades), (count,))] + uniform(0.01, 0.08) * torch.randn(count)
        if chance(0.5):
            value[0] = value.min() if chance(0.7) else value.max()
        return value * 1000 * uniform(0.2, 2) + (uniform(-500, 500) if chance(0.3) else 0)
    index = torch.tensor(classes)
    if kind < 0.75:
        mean = torch.tensor([m for m, _ in HU], dtype=torch.float32)
        spread = torch.tensor([s for _, s in HU], dtype=torch.float32)
        of_class = mean + 0.3 * spread * torch.randn(CLASSES)
        of_class[VESSEL] = uniform(30, 60) if chance(0.4) else uniform(90, 350)  # with contrast or without
        value = of_class[index] + 0.6 * spread[index] * torch.randn(len(index))
        bright = (index == ORGAN) & (torch.rand(len(index)) < (0.3 if chance(0.6) else 0.0))  # contrast taken up
        value = torch.where(bright, value + 120 * torch.rand(len(index)), value)
        value = torch.where(index == GAS, value.clamp(max=-600), value)
    else:
        of_class = (torch.tensor(T1) if chance(0.5) else torch.rand(CLASSES)) + 0.05 * torch.randn(CLASSES)
        value = (of_class[index] + 0.06 * torch.randn(len(index))).clamp(min=0) * uniform(300, 3000)
        if chance(0.2):
            value = value.max() - value
    return value


def draw(materials: Tensor, classes: list[int] | None) -> Tensor:
    """(n, n, n) numbers of materials → raw intensities (n, n, n) with texture and sharp borders."""
    n, device = materials.shape[0], materials.device
    count = len(classes) if classes is not None else 256
    value = intensities(classes, count)
    scale = float((value.quantile(0.9) - value.quantile(0.1)).clamp(min=60))
    rough = (uniform(0, 0.06) if chance(0.85) else uniform(0, 0.2)) * scale
    table = torch.stack([value, rough * torch.rand(count) ** 2, rough * torch.rand(count) ** 2], 1).to(device)
    looked = table[materials.long()]
    fine = smooth_noise(n, int(torch.randint(24, 60, ())), device)[0]
    broad = smooth_noise(n, int(torch.randint(5, 16, ())), device)[0]
    return looked[..., 0] + looked[..., 1] * fine + looked[..., 2] * broad


def blurring(n: int, sigma: float, device: torch.device) -> Tensor:
    """The matrix (n, n) of a Gaussian blur."""
    at = torch.arange(n, device=device)
    weight = (-0.5 * ((at[:, None] - at) / max(sigma, 0.1)).square()).exp()
    return weight / weight.sum(1, keepdim=True)


def coarsening(n: int, factor: float, sharp: float, device: torch.device, *, blocky: bool) -> Tensor:
    """The matrix (n, n) that samples voxels ``factor`` times as thick and interpolates them back.

    ``sharp``: the part of its thickness over which a voxel is a mean. ``blocky``: each place gets the nearest voxel.
    """
    m = max(8, round(n / factor))
    at = torch.arange(n, device=device)
    centres = (torch.arange(m, device=device) + 0.5) * (n / m) - 0.5
    reach = max(1.0, factor * sharp) / 2
    mean = (reach + 0.5 - (centres[:, None] - at).abs()).clamp(0, 1)
    mean = mean / mean.sum(1, keepdim=True)
    back = (at + 0.5) * (m / n) - 0.5
    return between(back.round() if blocky else back, m) @ mean


def scan(image: Tensor, *, synthetic: bool) -> Tensor:
    """What a scanner does; real images get less of it."""
    n, device = image.shape[0], image.device
    scale = float(image[::8, ::8, ::8].std().clamp(min=1e-3))
    low = float(image[::8, ::8, ::8].min())
    if synthetic:
        if chance(0.9):
            image = along_axes(image, [blurring(n, uniform(0.3, 1.0), device) for _ in range(3)])
    elif chance(0.15):
        image = along_axes(image, [blurring(n, uniform(0.3, 1.2), device)] * 3)
    if chance(0.25):
        field = smooth_noise(n, int(torch.randint(1, 4, ())), device)[0]
        image = (image - low) * (uniform(0.05, 0.3) * field).exp() + low
    if chance(0.02 if not synthetic else 0.05):  # metal: a bright blob and streaks
        centre = torch.randint(n // 4, 3 * n // 4, (3,), device=device)
        axis = torch.arange(n, device=device)
        p = [(axis - c).float() for c in centre]
        radius = (p[0].square()[:, None] + p[1].square()[None]).sqrt()
        angle = torch.atan2(p[1][None].expand(n, n), p[0][:, None].expand(n, n))
        rays = torch.sin(angle * int(torch.randint(3, 12, ())) + uniform(0, 6)) * (-radius / 40).exp()
        near = (-(p[2] / uniform(2, 6)).square()).exp()
        image = (
            image + (2 * scale * rays)[:, :, None] * near + 6 * scale * ((radius[:, :, None] < 4) & (p[2].abs() < 5))
        )
    before = chance(0.5)
    amount = scale * math.exp(uniform(math.log(0.003), math.log(0.2))) * (1.0 if synthetic else 0.4)
    if before:
        image = image + amount * torch.randn_like(image)
    if chance(0.55 if synthetic else 0.35):
        factors = [1.0, 1.0, 1.0]
        if chance(0.6):  # thick slices
            factors[int(torch.randint(3, ()))] = uniform(1.5, 6)
        else:
            factors = [uniform(1.2, 3)] * 3
        blocky, sharp = chance(0.1), uniform(0.6, 1.0)
        image = along_axes(image, [coarsening(n, f, sharp, device, blocky=blocky) for f in factors])
    if not before:
        image = image + amount * torch.randn_like(image)
    if chance(0.05):  # ringing: high frequencies cut off
        spectrum = torch.fft.rfftn(image)
        keep = torch.fft.fftfreq(n, device=device).abs() < uniform(0.2, 0.4)
        axis = int(torch.randint(2, ()))
        spectrum = spectrum * (keep[:, None, None] if axis else keep[None, :, None])
        image = torch.fft.irfftn(spectrum, s=image.shape)
    if chance(0.2):  # a monotone change of contrast
        span = (image.amax() - low).clamp(min=1e-6)
        image = ((image - low) / span).clamp(0, 1) ** math.exp(uniform(-0.6, 0.6)) * span + low
    if chance(0.08):
        image = image.amax() - image
    if chance(0.12):  # a narrow display window
        a, b = torch.rand(2).sort().values.tolist()
        some = image[::4, ::4, ::4].flatten()
        image = image.clamp(float(some.quantile(0.25 * a)), float(some.quantile(1 - 0.25 * (1 - b))))
    return image
