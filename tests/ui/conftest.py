"""An app on a worklist of three cases."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from case_app import SIZE
from support import BallNetwork, model_of

import sammed3d_nb as snb


@pytest.fixture(scope="module")
def model():
    return model_of(BallNetwork())


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for seed in range(3):
        path = tmp_path / "data" / f"case{seed}" / "image.nii.gz"
        path.parent.mkdir(parents=True)
        values = np.random.default_rng(seed).integers(-100, 200, SIZE).astype(np.int16)
        sitk.WriteImage(snb.Volume.from_array(values, (2, 2, 4)).image, str(path))
    return tmp_path / "data"


@pytest.fixture
def begin(data: Path, model):
    """begin(who, …) → the app of an annotator."""
    apps: list[snb.App] = []

    def make(who: str, **options) -> snb.App:
        worklist = snb.Worklist(data, output=data.parent / "out", annotator=who, **options)
        app = snb.App(model=model, worklist=worklist)
        apps.append(app)
        app.open_first().result()
        app.list.rows.got = []
        send = app.list.rows.send

        def keep(content, buffers=None) -> None:
            app.list.rows.got.append((content, buffers))
            send(content, buffers)

        app.list.rows.send = keep
        return app

    yield make
    for app in apps:
        app.close()
