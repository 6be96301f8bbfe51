"""Where an image lies: assumed, told by the operator, told by the client; all 48 orientations."""

from itertools import permutations, product

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote.serialization import pack_array
from serving import image, running
from support import rotation

from sammed3d_nb import Volume
from sammed3d_nb.errors import UserError, VolumeError
from sammed3d_nb.server.placing import Placing, direction_of

ORIENTATIONS = ["".join(letters) for order in permutations(("LR", "PA", "SI")) for letters in product(*order)]


def test_three_letters_are_directions_in_lps():
    assert len(set(ORIENTATIONS)) == 48
    assert np.array_equal(direction_of("LPS"), np.eye(3))
    assert np.array_equal(direction_of("ras"), np.diag([-1, -1, 1]))
    assert np.array_equal(direction_of("SLP"), np.eye(3)[:, [2, 0, 1]])
    for letters in ORIENTATIONS:
        assert abs(np.linalg.det(direction_of(letters))) == 1


@pytest.mark.parametrize("letters", ["LRS", "LP", "XYZ", "", 7, None, "LPSL"])
def test_other_letters_get_a_sentence(letters):
    with pytest.raises(UserError, match="no orientation"):
        direction_of(letters)


@pytest.mark.parametrize("text", ["1,2", "a,b,c", "0,1,1", "-1,1,1", "1mm,1,1", "nan,1,1", ""])
def test_spacings_that_are_none_get_a_sentence(text):
    with pytest.raises(UserError, match="no voxel size"):
        Placing.of(None, text)


def test_what_is_assumed_is_said(server):
    assert "LPS is assumed" in httpx.get(server.url + "/healthz").json()["orientation"]
    session, _ = server.begun()
    with session:
        volume = server.house.leases.all()[0].desk.image
        assert np.array_equal(volume.direction, np.eye(3))
        assert volume.spacing == (1, 1.5, 3)
        assert any("LPS (axial) is assumed" in sentence for sentence in volume.warnings)


def test_what_a_client_says_is_taken():
    matrix = rotation(3)
    placing = Placing.of("RAS", "9,9,9")
    volume = placing.volume(image(), {"spacing": [3, 1.5, 1], "direction": matrix.tolist(), "origin": [1, 2, 3]})
    assert np.allclose(volume.direction, matrix)
    assert volume.spacing == (1, 1.5, 3)
    assert volume.origin == (1, 2, 3)
    assert not volume.warnings
    like_nnunet = {"spacing": (1.0, 1.5, 3.0), "direction": tuple(matrix.ravel()), "origin": (1.0, 2.0, 3.0)}
    same = placing.volume(image(), {"sitk_stuff": like_nnunet, "spacing": [3, 1.5, 1]})
    assert same.fingerprint == volume.fingerprint
    assert np.array_equal(placing.volume(image(), {"orientation": "SLP"}).direction, direction_of("SLP"))
    assert np.array_equal(placing.volume(image(), {}).direction, direction_of("RAS"))


@pytest.mark.parametrize(
    "said", [{"spacing": [1, 2]}, {"spacing": "x"}, {"spacing": [1, -1, 1]}, {"spacing": [1, 1, float("inf")]},
             {"direction": [1, 2, 3]}, {"direction": [0] * 9}, {"origin": {}}, {"orientation": "XXX"}]
)  # fmt: skip
def test_a_geometry_that_is_none_gets_a_sentence(said):
    with pytest.raises(UserError):
        Placing.of(None, "1,1,1").volume(image(), said)


def test_no_spacing_is_refused():
    with pytest.raises(VolumeError, match="--spacing"):
        Placing().volume(image(), {})


def test_all_orientations_give_the_same_mask_in_space(tmp_path):
    """Told once by the operator, as one server for each, and once by the client."""
    world = np.random.default_rng(5).integers(0, 200, (24, 20, 28)).astype(np.int16)  # towards S, P, L
    steps = {"L": 1.0, "P": 1.4, "S": 2.2}  # mm
    axes = {"L": 2, "P": 1, "S": 0}
    home = {"R": "L", "A": "P", "I": "S"}
    prompts = [("point", (12, 10, 14), True), ("point", (16, 12, 20), True), ("point", (11, 6, 9), False)]
    known = {}
    with running(tmp_path / "kept", placing=Placing.of("LPS", None)) as server:
        for letters in ORIENTATIONS:
            ways = [home.get(letter, letter) for letter in letters[::-1]]  # of k, j, i
            order = [axes[way] for way in ways]
            flips = tuple(slice(None, None, -1 if letter in home else 1) for letter in letters[::-1])
            array = np.ascontiguousarray(world.transpose(order)[flips])
            spacing = [steps[way] for way in ways]

            def there(place, order=order, flips=flips, shape=array.shape):
                return [n - 1 - place[axis] if part.step < 0 else place[axis]
                        for axis, part, n in zip(order, flips, shape, strict=True)]  # fmt: skip

            def back(mask, order=order, flips=flips):
                return mask[flips].transpose(np.argsort(order))

            session, mask = server.begun(array, spacing, orientation=letters)
            with session:
                for number, (_, place, positive) in enumerate(prompts):
                    session.add_point_interaction(there(place), positive)
                    key = ("point", number)
                    assert np.array_equal(known.setdefault(key, back(mask).copy()), back(mask)), (letters, key)
                for kind in ("scribble", "lasso"):
                    drawn = np.zeros(world.shape, np.uint8)
                    if kind == "scribble":
                        drawn[12, 8:12, 4] = drawn[12, 11, 4:18] = drawn[12, 4:12, 17] = 1
                    else:
                        drawn[10, 3:12, 3:15] = 1
                        drawn[10, 3:6, 3:6] = 0
                    session.reset_interactions()
                    session.reset_interactions()
                    show = np.ascontiguousarray(drawn.transpose(order)[flips])
                    getattr(session, f"add_{kind}_interaction")(show, True)
                    assert np.array_equal(known.setdefault(kind, back(mask).copy()), back(mask)), (letters, kind)
            if letters in ("LPS", "RAS", "SRA"):  # as the operator says it
                placed = Placing.of(letters, None).volume(array, {"spacing": spacing})
                assert np.array_equal(placed.direction, direction_of(letters))
    assert all(mask.any() for mask in known.values())


def test_an_image_on_disk_has_the_same_fingerprint(tmp_path):
    import SimpleITK as sitk

    volume = Placing.of(None, None).volume(
        image(), {"spacing": [np.pi, 1 / 3, 0.70312511], "direction": rotation(1).tolist(), "origin": [1 / 7, 2, 3]}
    )
    sitk.WriteImage(volume.image, str(tmp_path / "kept.mha"))
    assert Volume.read(tmp_path / "kept.mha").fingerprint == volume.fingerprint
    assert pack_array(volume.array)
