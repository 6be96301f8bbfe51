"""Pictures without widgets: the grey-scale window, masks in colour, outlines, and what part of a slice is seen."""

import numpy as np
import pytest

from sammed3d_nb.ui.compose import CT_WINDOWS, Region, Window, compose, default_window, outlines


def test_a_window_maps_its_ends_to_black_and_white() -> None:
    window = CT_WINDOWS["Soft tissue"]
    grey = window.to_grey(np.array([-2000, -160, 40, 240, 3000], dtype=np.int16))
    assert grey.tolist() == [0, 0, 127, 255, 255]


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "float32", "float64", ">i2"])
def test_every_voxel_type_can_be_shown(dtype: str) -> None:
    assert Window(50, 100).to_grey(np.array([0, 50, 100], dtype=dtype)).tolist() == [0, 127, 255]


def test_the_presets_are_those_of_the_design() -> None:
    named = {name: (window.level, window.width) for name, window in CT_WINDOWS.items()}
    assert named == {
        "Soft tissue": (40, 400),
        "Lung": (-600, 1500),
        "Bone": (480, 2500),
        "Brain": (40, 80),
        "Liver": (90, 150),
    }


def test_dragging_right_widens_and_up_raises() -> None:
    window = Window(40, 400)
    assert window.drag(0.5, 0).width == pytest.approx(800)
    assert window.drag(-0.5, 0).width == pytest.approx(200)
    assert window.drag(0, 0.25).level == pytest.approx(140)
    assert window.drag(-50, 0).width > 0


def test_images_without_a_unit_get_a_window_that_fits() -> None:
    values = np.linspace(0, 1000, 5000).reshape(10, 20, 25)
    assert default_window(values, "CT") == CT_WINDOWS["Soft tissue"]
    fitted = default_window(values, "MR")
    assert (fitted.level, fitted.width) == pytest.approx((500, 980), rel=0.02)
    assert Window.fitting(np.full((3, 3, 3), 7)).width > 0


def test_masks_are_blended_and_a_later_one_covers() -> None:
    grey = np.full((2, 2), 100, np.uint8)
    first = np.array([[True, True], [False, False]])
    second = np.array([[False, True], [False, False]])
    picture = compose(grey, [(first, (255, 0, 0)), (second, (0, 0, 200))], 0.5)
    assert picture[0, 0].tolist() == [178, 50, 50]
    assert picture[0, 1].tolist() == [50, 50, 150]
    assert picture[1, 0].tolist() == [100, 100, 100]
    assert (compose(grey, [(first, (255, 0, 0))], 0) == 100).all()


def test_an_outline_runs_half_way_between_voxels() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2:4, 5:8] = True  # touches the border
    (line,) = outlines(mask)
    assert line[:, 0].min() == 4.5
    assert line[:, 0].max() == 7.5
    assert line[:, 1].min() == 1.5
    assert line[:, 1].max() == 3.5
    assert outlines(np.zeros((4, 4), bool)) == []


def test_a_thick_slice_is_drawn_in_its_physical_height() -> None:
    shape, spacing, size = (26, 164), (5.0, 0.8), (600, 400)
    region = Region.whole(shape, spacing, size)
    left, right, bottom, top = region.limits(spacing, size)
    assert left < -0.5 < 163.5 < right
    assert top < -0.5 < 25.5 < bottom
    pixels_per_mm = (600 / (right - left) / 0.8, 400 / (bottom - top) / 5.0)
    assert pixels_per_mm[0] == pytest.approx(pixels_per_mm[1])


def test_zooming_keeps_the_point_under_the_cursor() -> None:
    spacing, size = (2.0, 1.0), (300, 300)
    region = Region.whole((100, 100), spacing, size)
    at = (20.0, 70.0)

    def place(region: Region) -> tuple[float, float]:
        left, right, bottom, top = region.limits(spacing, size)
        return (at[0] - left) / (right - left), (at[1] - top) / (bottom - top)

    assert place(region.zoomed(2.5, at)) == pytest.approx(place(region))
