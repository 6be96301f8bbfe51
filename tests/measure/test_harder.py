"""The harder forms of a case stay where the case is."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import harder
from sammed3d_nb import Volume
from sammed3d_nb.measure.labelled import LabelledCase


@pytest.fixture(scope="module")
def case() -> LabelledCase:
    """A ball of 20 mm radius, bright, in 50 × 60 × 40 voxels of 3 × 2 × 4 mm, axes flipped."""
    k, j, i = np.ogrid[:40, :60, :50]
    ball = ((3.0 * (i - 22)) ** 2 + (2.0 * (j - 31)) ** 2 + (4.0 * (k - 18)) ** 2) < 20.0**2
    volume = Volume.from_array(
        np.where(ball, 100, -1000).astype(np.int16), (3, 2, 4), np.diag([-1, 1, -1]), (5, -40, 70), name="ball"
    )
    return LabelledCase("ball", volume, ball.astype(np.int32), {1: "ball"})


def test_labels_and_images_keep_their_place(case: LabelledCase) -> None:
    names = []
    for variant in harder.variants(case):
        names.append(variant.name)
        k, j, i = np.nonzero(variant.labels == 1)
        middle = variant.volume.voxel_to_ras(np.stack([i, j, k], axis=1)).mean(axis=0)
        coarse = variant.volume.spacing == harder.THICK_MM  # labels lie up to half an old slice beside
        assert np.linalg.norm(middle - case.volume.voxel_to_ras((22, 31, 18))) < (2.2 if coarse else 0.5)
        ml = len(i) * np.prod(variant.volume.spacing) / 1000
        assert ml == pytest.approx(33.5, rel=0.06)
        inside = variant.volume.array[variant.labels == 1].mean()
        outside = variant.volume.array[variant.labels == 0].mean()
        assert (inside - outside) * (-1 if variant.name == "inverted, noisy" else 1) > 500
    assert names == ["ball", "2 × 2 × 8 mm", "turned by 25° and 15°", "inverted, noisy", "crops of 35 voxels"]


def test_thick_slices_cover_the_volume(case: LabelledCase) -> None:
    old, thick = case.volume, harder.thick(case).volume
    lost = np.multiply(old.size, old.spacing) - np.multiply(thick.size, thick.spacing)
    assert (abs(lost) <= np.divide(harder.THICK_MM, 2)).all()
    middles = [volume.voxel_to_ras((np.array(volume.size) - 1) / 2) for volume in (old, thick)]
    assert np.allclose(*middles)


def test_a_small_crop_is_as_large_as_the_case_allows(case: LabelledCase) -> None:
    (crop,) = harder.crops(case)
    assert crop.volume.size == (35, 35, 35)
    assert np.array_equal(np.unique(crop.labels), [0, 1])
