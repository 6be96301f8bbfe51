"""Supervoxels of several scales: pieces of an image merged by the cheapest border, until so many are left.

A border is cheap where it is long and the brightness on both sides nearly the same: what is left is parted by borders
that one can see, at every scale (the full-lambda schedule of Koepfler, Lopez and Morel, 1994).
"""

import heapq

import numpy as np
import SimpleITK as sitk


def supervoxels(image: sitk.Image, wanted: tuple[int, ...], pieces: float = 0.3) -> list[np.ndarray]:
    """Labellings (z, y, x) int32 of an image by ever fewer regions, one for each number in ``wanted`` (falling).

    Args:
        image: Grey levels from 0 to 1.
        wanted: Numbers of regions.
        pieces: Depth of the watershed basins to begin with, in the median of the gradient.
    """
    smooth = sitk.GradientAnisotropicDiffusion(image, 0.03, 2.0, 5)
    edge = sitk.GradientMagnitude(smooth)
    middle = float(np.median(sitk.GetArrayViewFromImage(edge)))
    start = sitk.GetArrayFromImage(
        sitk.MorphologicalWatershed(edge, pieces * middle, markWatershedLine=False, fullyConnected=False)
    )
    _, labels = np.unique(start, return_inverse=True)
    labels = labels.reshape(start.shape)
    grey = sitk.GetArrayViewFromImage(smooth)
    size = np.bincount(labels.ravel()).astype(float)
    mean = np.bincount(labels.ravel(), grey.ravel()) / size
    return [root[labels].astype(np.int32) for root in merged(size, mean, borders(labels), wanted)]


def borders(labels: np.ndarray) -> list[dict[int, int]]:
    """Faces shared by each region with each of its neighbours."""
    count = int(labels.max()) + 1
    pairs = []
    for axis in range(3):
        low = np.moveaxis(labels, axis, 0)[:-1].ravel().astype(np.int64)
        high = np.moveaxis(labels, axis, 0)[1:].ravel().astype(np.int64)
        apart = low != high
        pairs.append(np.minimum(low, high)[apart] * count + np.maximum(low, high)[apart])
    found, faces = np.unique(np.concatenate(pairs), return_counts=True)
    near: list[dict[int, int]] = [{} for _ in range(count)]
    for pair, number in zip(found.tolist(), faces.tolist(), strict=True):
        a, b = divmod(pair, count)
        near[a][b] = near[b][a] = number
    return near


def merged(size: np.ndarray, mean: np.ndarray, near: list[dict[int, int]], wanted: tuple[int, ...]) -> list[np.ndarray]:
    """For each number in ``wanted``: the region of each first piece, numbered from 1, when so many regions are left."""
    sizes, means = size.tolist(), mean.tolist()

    def cost(a: int, b: int) -> float:
        both = sizes[a] * sizes[b] / (sizes[a] + sizes[b])
        return float(both * (means[a] - means[b]) ** 2 / near[a][b])

    heap = [(cost(a, b), a, b, 0, 0) for a, others in enumerate(near) for b in others if a < b]
    heapq.heapify(heap)
    age, parent, left = [0] * len(sizes), list(range(len(sizes))), len(sizes)
    found = []
    for number in wanted:
        while left > number and heap:
            _, a, b, age_a, age_b = heapq.heappop(heap)
            if age[a] != age_a or age[b] != age_b:
                continue  # one of them has changed since
            if len(near[a]) < len(near[b]):
                a, b = b, a
            means[a] = (sizes[a] * means[a] + sizes[b] * means[b]) / (sizes[a] + sizes[b])
            sizes[a] += sizes[b]
            parent[b], left = a, left - 1
            age[a] += 1
            age[b] = -1
            for other, faces in near[b].items():
                del near[other][b]
                if other != a:
                    near[a][other] = near[other][a] = near[a].get(other, 0) + faces
            near[b] = {}
            for other in near[a]:
                heapq.heappush(heap, (cost(a, other), a, other, age[a], age[other]))
        root = np.array(parent)
        while not np.array_equal(root, root[root]):
            root = root[root]
        found.append(np.unique(root, return_inverse=True)[1] + 1)
    return found
