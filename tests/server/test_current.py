"""The current protocol, spoken by the published client."""

import json

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import SessionExpiredError
from nnInteractive.inference.remote.serialization import unpack_array
from serving import SHAPE, SPACING, image, running, show
from support import BallNetwork

from sammed3d_nb import Box, Lasso, Point, Scribble, Session, Volume
from sammed3d_nb.server.served import Served

MIDDLE = (10, 22, 30)


def refusal(call, *arguments, **options):
    """Status and sentence of a call that is refused."""
    with pytest.raises(httpx.HTTPStatusError) as caught:
        call(*arguments, **options)
    return caught.value.response.status_code, caught.value.response.json()["detail"]


def volume(array, spacing=SPACING):
    return Volume.from_array(array, spacing[::-1])


def own(server, array, *prompts, spacing=SPACING):
    """The mask of our own session after the same prompts."""
    session = Session(volume(array, spacing), server.house.served[0].engine)
    for prompt in prompts:
        session.add(prompt)
    return session.mask


ARRAYS = {
    "int16": image(),
    "uint16": image(dtype=np.uint16),
    "float32": image().astype(np.float32) / 7,
    "flipped": np.ascontiguousarray(image()[::-1, :, ::-1]),
    "tall": image((50, 12, 30)),
    "cubic": image((32, 32, 32)),
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.parametrize("spacing", [(3.0, 1.5, 1.0), (1.0, 1.0, 1.0), (0.7, 2.5, 1.3)])
def test_a_click_answers_as_our_own_session_does(server, kind, spacing):
    array = ARRAYS[kind]
    k, j, i = (n // 3 for n in array.shape)
    session, mask = server.begun(array, spacing)
    with session:
        box = session.add_point_interaction([k, j, i], True)
        assert np.array_equal(mask, own(server, array, Point((i, j, k)), spacing=spacing))
        assert mask[k, j, i]
        assert mask[tuple(slice(*ends) for ends in box)].sum() == mask.sum()
        session.add_point_interaction([k, j, i + 4], False)
        assert np.array_equal(mask, own(server, array, Point((i, j, k)), Point((i + 4, j, k), False), spacing=spacing))


def stroke():
    painted = np.zeros((1, 3, 9), np.uint8)
    painted[0, 1] = 1
    return painted, [[10, 11], [21, 24], [26, 35]]


def line():
    painted = np.ones((1, 9, 12), np.uint8)
    painted[0, :3, :4] = 0
    return painted, [[10, 11], [18, 27], [24, 36]]


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", ["point", "box", "slice box", "scribble", "lasso"])
def test_every_kind_of_prompt_answers_as_ours_and_undo_restores_every_byte(server, kind, positive):
    session, mask = server.begun()
    first = Point((30, 22, 10))
    with session:
        session.add_point_interaction(list(MIDDLE), True)
        before = mask.copy()
        if kind == "point":
            session.add_point_interaction([10, 22, 34], positive)
            prompt = Point((34, 22, 10), positive)
        elif kind == "box":
            session.add_bbox_interaction([[8, 14], [18, 30], [24, 40]], positive)
            prompt = Box((24, 18, 8), (39, 29, 13), positive)
        elif kind == "slice box":
            session.add_bbox_interaction([[9, 10], [18, 30], [24, 40]], positive)
            prompt = Box((24, 18, 9), (39, 29, 9), positive)
        elif kind == "scribble":
            painted, where = stroke()
            session.add_scribble_interaction(painted, positive, interaction_bbox=where)
            prompt = Scribble([(i, 22, 10) for i in range(26, 35)], positive)
        else:
            painted, where = line()
            session.add_lasso_interaction(painted, positive, interaction_bbox=where)
            prompt = Lasso(server.house.leases.all()[0].desk.session.prompts[-1].voxels, positive)
            inside = np.zeros(SHAPE, np.uint8)
            inside[tuple(slice(*ends) for ends in where)] = painted
            assert {tuple(v) for v in prompt.inside} == {tuple(v[::-1]) for v in np.argwhere(inside)}
        assert np.array_equal(mask, own(server, image(), first, prompt))
        assert session.undo() is True
        assert np.array_equal(mask, before)


def test_a_stroke_over_the_whole_image_needs_no_box(server):
    session, mask = server.begun()
    whole = np.zeros(SHAPE, np.uint8)
    whole[10, 22, 26:35] = 1
    with session:
        session.add_scribble_interaction(whole, True)
        assert np.array_equal(mask, own(server, image(), Scribble([(i, 22, 10) for i in range(26, 35)])))


def test_undo_goes_back_to_the_beginning(server):
    session, mask = server.begun()
    states = [mask.copy()]
    with session:
        for step in range(6):
            session.add_point_interaction([10, 22, 20 + 4 * step], step != 3)
            states.append(mask.copy())
        for before in states[-2::-1]:
            assert session.undo() is True
            assert np.array_equal(mask, before)
        assert session.undo() is False
        assert not mask.any()


def test_prompts_can_wait_for_the_next_answer(server):
    session, mask = server.begun()
    with session:
        session.add_point_interaction(list(MIDDLE), True, run_prediction=False)
        session.add_point_interaction([10, 22, 40], True, run_prediction=False)
        assert not mask.any()
        assert session._predict() is not None
        assert np.array_equal(mask, own(server, image(), Point((30, 22, 10)), Point((40, 22, 10))))
        assert session._predict() is None
        session.add_point_interaction([10, 22, 12], True, run_prediction=False)
        assert session.undo() is True  # it waited, so the mask stays
        assert session._predict() is None


def test_a_prompt_that_waits_and_cannot_be_answered_is_in_nobodys_way(server):
    session, mask = server.begun()
    with session:
        session.add_point_interaction(list(MIDDLE), False, run_prediction=False)
        status, sentence = refusal(session.add_point_interaction, list(MIDDLE), True)
        assert status == 400
        assert "none yet" in sentence
        session.add_point_interaction(list(MIDDLE), True)
        assert np.array_equal(mask, own(server, image(), Point((30, 22, 10))))


def test_the_difference_is_a_half_open_box_and_the_array_over_it(server):
    session, _ = server.begun()
    with session:
        body = {"coordinates": [5, 9, 13], "include_interaction": True}
        response = server.post("/add_point_interaction", session, json=body)
        meta = json.loads(response.headers["X-Meta"])
        array = unpack_array(response.content)
        assert array.shape == tuple(high - low for low, high in meta["bbox"])
        assert array.dtype == np.uint8
        again = server.post("/predict", session, json={"force_full_refine": True})
        assert json.loads(again.headers["X-Meta"]) == {"ran_prediction": False, "bbox": None}
        assert again.content == b""


def test_a_start_mask_is_gone_on_from(server):
    session, mask = server.begun()
    seed = np.zeros(SHAPE, np.uint8)
    seed[8:12, 10:20, 40:55] = 1
    with session:
        session.add_initial_seg_interaction(seed)
        assert np.array_equal(mask, seed)
        session.add_point_interaction([10, 30, 20], True)
        assert mask[10, 30, 20]
        assert mask[9, 12, 50]
        session.undo()
        assert np.array_equal(mask, seed)
        session.undo()
        assert not mask.any()


@pytest.mark.parametrize("place", [[-1, 0, 0], [20, 0, 0], [0, 44, 0], [0, 0, 60], [10**9, 0, 0]])
def test_clicks_outside_get_a_sentence(server, place):
    session, mask = server.begun()
    with session:
        session.add_point_interaction(list(MIDDLE), True)
        before = mask.copy()
        status, sentence = refusal(session.add_point_interaction, place, True)
        assert status == 400
        assert "outside the volume" in sentence
        session.add_point_interaction([10, 22, 33], True)
        session.undo()
        assert np.array_equal(mask, before)


def test_a_box_is_cut_to_the_image(server):
    session, mask = server.begun()
    with session:
        session.add_bbox_interaction([[-5, 12], [18, 99], [24, 40]], True)
        assert np.array_equal(mask, own(server, image(), Box((24, 18, 0), (39, 43, 11))))
        status, sentence = refusal(session.add_bbox_interaction, [[30, 40], [0, 4], [0, 4]], True)
        assert status == 400
        assert "outside the image" in sentence


@pytest.mark.parametrize("value", [0, 7])
def test_an_image_with_nothing_to_see_gets_a_sentence(server, value):
    session, mask = server.begun()
    with session:
        session.add_point_interaction(list(MIDDLE), True)
        status, sentence = refusal(session.set_image, np.full((1, *SHAPE), value, np.int16), {"spacing": SPACING})
        assert status == 400
        assert f"holds the value {value} in every voxel" in sentence
        session.add_point_interaction([10, 22, 34], True)  # the image before is still there
        assert mask.any()


def test_images_that_are_no_volume_get_a_sentence(server):
    nan = image().astype(np.float32)
    nan[3, 4, 5] = np.nan
    with server.client() as session:
        for array, why in ((np.stack([image(), image()]), "one channel"), (image((1, 44, 60))[None], "two voxels"),
                           (nan[None], "no finite numbers")):  # fmt: skip
            status, sentence = refusal(session.set_image, array, {"spacing": SPACING})
            assert status == 400
            assert why in sentence
        status, sentence = refusal(session.add_point_interaction, [0, 0, 0], True)
        assert status == 409
        assert "No image" in sentence


def test_two_clients_do_not_know_of_each_other(server):
    one, mask = server.begun()
    other, theirs = server.begun()
    with one, other:
        one.add_point_interaction(list(MIDDLE), True)
        before = mask.copy()
        other.add_point_interaction([10, 22, 36], True)
        assert not np.array_equal(theirs, mask)
        assert other.undo() is True
        assert other.undo() is False
        assert np.array_equal(mask, before)
        assert one.undo() is True
        assert not mask.any()


def test_clients_on_one_image_share_it_and_what_was_encoded(server):
    network = server.house.served[0].engine.network
    one, mask = server.begun()
    other, theirs = server.begun()
    third, _ = server.begun(image(seed=1))
    with one, other, third:
        one.add_point_interaction(list(MIDDLE), True)
        encoded = network.encoded
        other.add_point_interaction(list(MIDDLE), True)
        assert network.encoded == encoded
        assert np.array_equal(mask, theirs)
        third.add_point_interaction(list(MIDDLE), True)
        assert network.encoded > encoded
        images = {id(lease.desk.image.image) for lease in server.house.leases.all()}
        assert len(images) == 2
        assert server.house.room.images == 2


def test_capabilities_claim_what_the_model_takes(server):
    class Clicks(BallNetwork):
        pass

    with server.client() as session:
        assert session.supported_interactions == dict.fromkeys(
            ("points", "bbox2d", "bbox3d", "scribble", "lasso"), True
        )
        assert session.license == "CC0-1.0"
        assert session.supports_undo
        assert session.supports_initial_label
    engine = server.house.served[0].engine
    kinds = {"point": "native", "box": "refused", "scribble": "translated", "lasso": "refused", "mask": "refused"}
    refusing = type("Refusing", (), {"prompts": kinds, "spec": engine.spec, "fingerprint": None, "notes": []})()
    said = Served(refusing, "less").capabilities
    assert said["supported_interactions"] == {
        "points": True, "bbox2d": False, "bbox3d": False, "scribble": True, "lasso": False}  # fmt: skip
    assert said["supports_initial_label"] is False
    assert said["license"] == "!!MISSING!!"


def test_several_models_by_their_paths(tmp_path):
    with running(tmp_path / "kept", {"ball": BallNetwork(), "other": BallNetwork()}) as server:
        first, mask = server.begun()
        second, _ = server.begun(path="/m/other")
        with first, second:
            first.add_point_interaction(list(MIDDLE), True)
            assert mask.any()
            assert second.add_point_interaction(list(MIDDLE), True)
            assert httpx.get(f"{server.url}/m/other/capabilities").json()["model"] == "other"
            response = server.post("/m/other/undo", first)
            assert response.status_code == 409
            assert "for the model ball" in response.json()["detail"]
        assert httpx.get(f"{server.url}/m/none/capabilities").status_code == 404


def test_autozoom_off_keeps_the_mask_in_its_cube(server):
    session, _ = server.begun()
    with session:
        session.set_do_autozoom(False)
        session.add_point_interaction(list(MIDDLE), True)
        assert server.house.leases.all()[0].desk.session.grow is False


def test_a_token_that_nobody_has_is_gone(server):
    session, _ = server.begun()
    session.close()
    again = server.client()
    with again:
        again._http.headers["X-Lease-Token"] = "0" * 32
        with pytest.raises(SessionExpiredError, match="Connect once more"):
            again.undo()


def test_the_same_image_sent_again_keeps_the_session(server):
    session, mask = server.begun()
    with session:
        session.add_point_interaction(list(MIDDLE), True)
        before = mask.copy()
        desk = server.house.leases.all()[0].desk
        kept = desk.session
        show(session, image())
        assert desk.session is kept
        session.add_initial_seg_interaction(before)
        assert len(desk.session.steps) == 1  # it is the mask that the object has: nothing had to be said
