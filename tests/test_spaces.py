import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import rotation, volumes

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.spaces import LPS_TO_RAS, Trace, Transform, TransformChain, box


def shift(source: str, target: str, offset: float) -> Transform:
    return Transform.from_parts(source, target, (1, 1, 1), (offset,) * 3)


def test_transform_maps_any_leading_shape() -> None:
    double = Transform.from_parts("a", "b", (2, 3, 4), (1, 0, 0))
    assert np.array_equal(double([1, 1, 1]), [3, 3, 4])
    assert double(np.zeros((5, 2, 3))).shape == (5, 2, 3)
    assert np.allclose(double.inverse(double([7, 8, 9])), [7, 8, 9])
    assert (double.inverse.source, double.inverse.target) == ("b", "a")


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.eye(3), r"shape \(4, 4\), got \(3, 3\)"),
        (np.diag([1, 1, 0, 1]), "singular"),
        (np.diag([1, 1, np.nan, 1]), "finite"),
        (np.diag([1, 1, 1, 2]), "last row"),
    ],
)
def test_transform_refuses_what_is_no_invertible_affine(matrix: np.ndarray, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Transform("voxel", "ras", matrix)


def test_transform_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="read-only"):
        LPS_TO_RAS.affine[0, 0] = 5


def test_points_of_the_wrong_shape_are_named() -> None:
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 3\), got \(2,\)"):
        LPS_TO_RAS([1, 2])


def test_transforms_join_only_where_they_meet() -> None:
    assert shift("a", "b", 1).then(shift("b", "c", 2))([0, 0, 0]).tolist() == [3, 3, 3]
    with pytest.raises(ValueError, match="spaces differ"):
        shift("a", "b", 1).then(shift("c", "d", 1))
    with pytest.raises(ValueError, match="spaces differ"):
        TransformChain([shift("a", "b", 1), shift("c", "d", 1)])
    with pytest.raises(ValueError, match="twice"):
        TransformChain([shift("a", "b", 1), shift("b", "a", 1)])
    with pytest.raises(ValueError, match="at least one"):
        TransformChain([])


def test_chain_between_any_two_spaces() -> None:
    chain = TransformChain([shift("a", "b", 1), shift("b", "c", 2), shift("c", "d", 4)])
    assert chain.spaces == ("a", "b", "c", "d")
    assert chain.between("b", "d")([0, 0, 0]).tolist() == [6, 6, 6]
    assert chain.between("d", "a")([0, 0, 0]).tolist() == [-7, -7, -7]
    assert chain.between("c", "c")([1, 2, 3]).tolist() == [1, 2, 3]
    assert chain.inverse([7, 7, 7]).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="no space 'x'; it has a, b, c, d"):
        chain.between("a", "x")


def test_trace_from_the_middle_fills_both_ends() -> None:
    chain = TransformChain([shift("a", "b", 1), shift("b", "c", 2)], bounds={"a": box((3, 3, 3)), "c": box((4, 4, 4))})
    trace = chain.trace([2, 2, 2], "b")
    assert [step.point for step in trace] == [(1, 1, 1), (2, 2, 2), (4, 4, 4)]
    assert [step.inside for step in trace] == [True, None, False]
    assert not trace.inside
    assert trace.round_trip_error == 0
    assert trace["b"].matrix == ((1, 0, 0, 1), (0, 1, 0, 1), (0, 0, 1, 1), (0, 0, 0, 1))
    with pytest.raises(KeyError, match="no space 'x'"):
        trace["x"]


def test_bounds_are_half_open_at_the_faces_of_voxels() -> None:
    chain = TransformChain([shift("a", "b", 0)], bounds={"a": box((2, 2, 2))})
    assert chain.trace([-0.5, 0, 0])["a"].inside
    assert not chain.trace([1.5, 0, 0])["a"].inside


def test_trace_as_text_and_json() -> None:
    volume = Volume.from_array(np.zeros((5, 6, 7), np.int16), (1, 2, 3))
    trace = Cube.at(volume, (3, 3, 2)).chain(volume).trace((3, 3, 2), "voxel")
    lines = str(trace).splitlines()
    assert [line.split()[0] for line in lines[:-1]] == ["array", "voxel", "lps", "ras", "cube", "grid"]
    assert "inside" in lines[0]
    assert "round trip error" in lines[-1]
    assert Trace.from_dict(json.loads(trace.to_json())) == trace


@given(volumes(), st.integers(0, 2**32 - 1))
def test_round_trip_is_exact_for_any_geometry(volume: Volume, seed: int) -> None:
    random = np.random.default_rng(seed)
    ijk = random.uniform(-0.5, np.array(volume.size) - 0.5)
    chain = Cube.at(volume, ijk).chain(volume)
    assert chain.trace(ijk, "voxel").round_trip_error < 1e-6
    assert np.abs(chain.inverse(chain(ijk[::-1])) - ijk[::-1]).max() < 1e-6


@given(volumes(), st.integers(0, 2**32 - 1))
def test_chain_agrees_with_simpleitk(volume: Volume, seed: int) -> None:
    ijk = np.random.default_rng(seed).integers(0, volume.size)
    expected = np.array(volume.image.TransformIndexToPhysicalPoint(ijk.tolist())) * (-1, -1, 1)
    trace = Cube.at(volume, ijk).chain(volume).trace(ijk, "voxel")
    assert np.allclose(trace["ras"].point, expected, rtol=0, atol=1e-6)
    assert np.allclose(trace["lps"].point, expected * (-1, -1, 1), rtol=0, atol=1e-6)
    assert trace["array"].point == tuple(ijk[::-1])


@given(st.integers(0, 2**32 - 1))
def test_inverse_of_a_rotation_with_scale(seed: int) -> None:
    random = np.random.default_rng(seed)
    transform = Transform.from_parts("a", "b", rotation(seed) * random.uniform(0.2, 9, 3), random.uniform(-900, 900, 3))
    points = random.uniform(-700, 700, (20, 3))
    assert np.abs(transform.inverse(transform(points)) - points).max() < 1e-9
