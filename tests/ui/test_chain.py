"""The transform chain panel: what it says of each step, and that it says it exactly."""

import json
import re

import numpy as np
import pytest
from support import BallNetwork, model_of, rotation

import sammed3d_nb as snb
from sammed3d_nb.ui.chain_panel import ChainPanel, ClickPath, chain_html, describe


def affine(linear, offset=(0, 0, 0)) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = linear, offset
    return matrix


@pytest.mark.parametrize(
    ("matrix", "text"),
    [
        (np.eye(4), "the same"),
        (np.diag([-1.0, -1, 1, 1]), "flip 0, 1"),
        (np.eye(4)[[2, 1, 0, 3]], "axes 2, 1, 0"),
        (affine(np.diag([2, 2, 2]), (1, 0, -3.5)), "× 2 · + 1 0 −3.5"),
        (affine(np.diag([0.8, 0.8, 5])), "× 0.8 0.8 5"),
        (affine(rotation(1, 30) @ np.diag([1, 1, 5.0])), "turn · × 1 1 5"),
        (affine(rotation(1, 30) @ np.diag([1, 1, -1.0])), "turn and mirror"),
    ],
)
def test_a_step_in_words(matrix: np.ndarray, text: str) -> None:
    assert describe(matrix) == text


@pytest.fixture(scope="module")
def result() -> snb.Result:
    volume = snb.Volume.from_array(np.zeros((20, 30, 40), np.int16), (1, 1, 3), rotation(3, 20), (5, 6, 7))
    session = snb.Session(volume, model_of(BallNetwork()))
    session.click((20, 15, 10))
    return session.click((2, 3, 4), positive=False)


def test_every_space_and_every_affine_is_listed(result: snb.Result) -> None:
    path = ClickPath(result.trace, positive=False, distance_mm=result.distance_mm, cube="128³", network="ball")
    text = chain_html(path, path, matrices=True)
    assert re.findall('data-space="(.*?)"', text) == ["array", "voxel", "lps", "ras", "cube", "grid"]
    for step in result.trace:
        point = re.search(f'data-space="{step.space}" data-point="(.*?)"', text)[1]
        np.testing.assert_allclose([float(value) for value in point.split()], step.point, rtol=1e-5)
    assert text.count("class='snb-matrix'") == 5
    assert "Negative click by code" in text
    assert "mm away" in text
    assert "128³" in text


def test_a_point_outside_is_marked(result: snb.Result) -> None:
    volume = snb.Volume.from_array(np.zeros((20, 30, 40), np.int16), (1, 1, 3))
    session = snb.Session(volume, model_of(BallNetwork()))
    path = ClickPath(session.preview((50, 3, 4)))
    text = chain_html(path, path)
    assert text.count('<td class="snb-out">OUT</td>') >= 2


def test_hovering_keeps_what_is_known_of_the_last_click(result: snb.Result) -> None:
    panel = ChainPanel()
    assert "Click on an organ" in panel._html.value
    clicked = ClickPath(result.trace, positive=True, distance_mm=0.0, cube="128³ × 1.5 mm", network="ball, cpu")
    panel.click(clicked)
    shown = panel._html.value
    panel.hover(ClickPath(result.trace))
    assert "Under the cursor" in panel._html.value
    assert "inside the mask" in panel._html.value
    assert "ball, cpu" in panel._html.value
    panel.hover(None)
    assert panel._html.value == shown


def test_the_json_holds_the_whole_trace(result: snb.Result) -> None:
    fields = json.loads(ClickPath(result.trace, positive=True, distance_mm=1.5, cube="c", network="n").to_json())
    assert fields["distance_mm"] == 1.5
    assert fields["clicked"] is None
    trace = snb.Trace.from_dict(fields)
    assert trace == result.trace
