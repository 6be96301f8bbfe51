"""A model, and images of three cases."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from readers import SIZE
from support import BallNetwork, model_of

import sammed3d_nb as snb


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed, case in enumerate(("case1", "case2", "case3")):
        path = tmp_path / "data" / case / "image.nii.gz"
        path.parent.mkdir(parents=True)
        values = np.random.default_rng(seed).integers(-100, 200, SIZE).astype(np.int16)
        sitk.WriteImage(snb.Volume.from_array(values, (2, 2, 4)).image, str(path))
    return tmp_path / "data"
