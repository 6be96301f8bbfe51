"""The colours of objects: told apart by people who see fewer of them, and marks that stand out from every mask."""

import itertools

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

import sammed3d_nb as snb
from sammed3d_nb.session.palette import COLOURS, MARK_EDGE, NEGATIVE_MARK, POSITIVE_MARK

SIGHT = {  # Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def seen(colour: str, sight: str) -> np.ndarray:
    """CIELAB."""
    light = np.clip(np.asarray(SIGHT[sight]) @ linear(colour), 0, 1)
    return rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def contrast(one: str, other: str) -> float:
    dark, light = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("first", "least"), [(2, 30), (8, 11), (20, 4.5)])
def test_colours_are_told_apart(sight: str, first: int, least: float) -> None:
    lab = [seen(colour, sight) for colour in COLOURS[:first]]
    assert len(lab) == first
    assert min(deltaE_ciede2000(a, b) for a, b in itertools.combinations(lab, 2)) >= least


@pytest.mark.parametrize("sight", SIGHT)
def test_no_colour_is_grey(sight: str) -> None:
    assert all(np.hypot(*seen(colour, sight)[1:]) > 8 for colour in COLOURS)


def test_a_colour_comes_again_only_after_twenty_objects() -> None:
    session = snb.Session(snb.Volume.from_array(np.zeros((4, 4, 4), np.int16), (1, 1, 1)), _Mute())
    for _ in range(19):
        session.new_object()
    assert len({item.colour for item in session.objects}) == 20


@pytest.mark.parametrize("mark", [POSITIVE_MARK, NEGATIVE_MARK])
def test_marks_stand_out_from_every_mask(mark: str) -> None:
    assert contrast(mark, MARK_EDGE) > 10
    for colour in COLOURS:
        assert max(contrast(mark, colour), contrast(MARK_EDGE, colour)) >= 4, "WCAG 1.4.11 asks for 3"


class _Mute:
    """Answers nothing."""

    def segmenter(self, volume: snb.Volume) -> None:
        return None
