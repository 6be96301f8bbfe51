"""nnInteractive in this process: its own package, with tiny weights in its real format."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
from nninteractive_story import AWAY, PROMPTS, image, tell
from nninteractive_weights import LICENCE, write
from official_server import needs_package
from test_translation import Orientation
from test_upright import ORIENTATIONS

import sammed3d_nb as snb
from sammed3d_nb import Point, Session, StartMask, Volume
from sammed3d_nb.errors import PromptError
from sammed3d_nb.models.nninteractive import NNInteractive
from sammed3d_nb.session.replay import replay

needs_package()


@pytest.fixture(scope="module")
def model(folder: Path) -> NNInteractive:
    found = snb.load_model(folder)
    assert isinstance(found, NNInteractive)
    return found


SAID = [PROMPTS["point"], PROMPTS["scribble"], PROMPTS["lasso"], AWAY["box"]]


@pytest.fixture(scope="module")
def straight(model: NNInteractive) -> Session:
    """What was said of the axial image."""
    session = Session(image(), model)
    for prompt in SAID:
        session.add(prompt)
    return session


def official(folder: Path, volume: Volume) -> object:
    """The package's own session on an axial volume, as its own programs use it."""
    import torch
    from nnInteractive.inference.inference_session import nnInteractiveInferenceSession

    session = nnInteractiveInferenceSession(device=torch.device("cpu"), torch_n_threads=1)
    session.initialize_from_trained_model_folder(str(folder), 0)
    session.set_image(volume.array[None])
    session.set_target_buffer(np.zeros(volume.array.shape, np.uint8))
    return session


def test_all_prompts_are_native(model: NNInteractive) -> None:
    assert model.prompts == dict.fromkeys(("point", "box", "scribble", "lasso", "mask"), "native")


def test_answers_are_those_of_the_package(folder: Path, model: NNInteractive) -> None:
    """The calls of its own programs, in array order, on the same image."""
    volume = image()
    session, theirs = Session(volume, model), official(folder, volume)
    session.add(PROMPTS["point"])
    theirs.add_point_interaction((11, 16, 20), True)
    assert 0 < session.mask.sum() < 1000
    assert np.array_equal(session.mask, theirs.target_buffer)
    session.add(PROMPTS["slice box"])
    theirs.add_bbox_interaction([[11, 12], [9, 16], [8, 20]], True)
    assert np.array_equal(session.mask, theirs.target_buffer)
    session.add(PROMPTS["lasso"])
    inside = np.zeros(volume.array.shape, np.uint8)
    i, j, k = PROMPTS["lasso"].inside.T
    inside[k, j, i] = 1
    theirs.add_lasso_interaction(inside, True)
    assert np.array_equal(session.mask, theirs.target_buffer)
    session.add(AWAY["point"])
    theirs.add_point_interaction((11, 16, 20), False)
    assert np.array_equal(session.mask, theirs.target_buffer)


@pytest.mark.parametrize("name", PROMPTS)
def test_each_prompt_marks_what_it_names(model: NNInteractive, name: str) -> None:
    session = Session(image(), model)
    session.add(PROMPTS[name])
    region = PROMPTS[name].region
    inside = session.mask[region.slices].sum()
    assert inside > 0.5 * np.prod(region.size) or name == "lasso"
    assert inside >= 0.5 * session.mask.sum() or name in ("point", "scribble")  # which are thicker than what they name
    assert session.result.distance_mm == 0


@pytest.mark.parametrize("name", AWAY)
def test_each_negative_prompt_takes_away_what_it_names(model: NNInteractive, name: str) -> None:
    session = Session(image(), model)
    session.add(StartMask(np.pad(np.ones((3, 18, 20), np.uint8), ((10, 9), (6, 10), (8, 13)))))
    before = session.mask
    session.add(AWAY[name])
    taken = (before > session.mask)[AWAY[name].region.slices].sum()
    assert taken > 0
    assert session.mask.sum() > 0.3 * before.sum()


def test_a_box_with_depth_is_shown_on_its_middle_slice_and_that_is_said(model: NNInteractive) -> None:
    session = Session(image(), model)
    result = session.add(snb.Box((8, 9, 8), (19, 15, 14)))
    flat = Session(image(), model)
    flat.add(snb.Box((8, 9, 11), (19, 15, 11)))
    assert np.array_equal(result.mask, flat.mask)
    assert result.notes == ("This model takes boxes on a slice: it was shown the middle axial slice of the box.",)


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=repr)
def test_every_orientation_gives_the_same_mask(
    model: NNInteractive, straight: Session, orientation: Orientation
) -> None:
    turned = Session(orientation.volume(image()), model)
    for prompt in SAID:
        turned.add(orientation.prompt(prompt))
    assert straight.mask.sum() > 100
    assert np.array_equal(orientation.home(turned.mask), straight.mask)
    assert turned.result.trace["upright"].point == straight.result.trace["upright"].point


def test_an_object_is_a_function_of_its_steps(model: NNInteractive, tmp_path: Path) -> None:
    """Whatever was said between, taken back or said again: the record replays, to the voxel."""
    session = Session(image(), model)
    masks = tell(session)
    assert len({mask.tobytes() for mask in masks}) > 14
    path = session.save(tmp_path / "case.sammed3d.json")
    assert [(item.name, item.same, item.note) for item in replay(path, volume=image(), model=model)] == [
        ("object 1", True, ""),
        ("other", True, ""),
        ("third", True, ""),
    ]
    again = Session.resume(path, volume=image(), model=model)
    for one in (session, again):
        one.select("object 1")
        one.click((25, 10, 9))
    assert np.array_equal(session.mask, again.mask)


def test_a_change_that_was_taken_back_leaves_nothing(model: NNInteractive) -> None:
    """Undo is deeper than the package's single level."""
    session, straight = Session(image(), model), Session(image(), model)
    for one in (session, straight):
        one.add(PROMPTS["point"])
    before = session.mask
    for prompt in (PROMPTS["slice box"], AWAY["point"], PROMPTS["lasso"], PROMPTS["scribble"]):
        session.add(prompt)
    for _ in range(4):
        session.undo()
    assert np.array_equal(session.mask, before)
    for one in (session, straight):
        one.click((26, 20, 9))
    assert np.array_equal(session.mask, straight.mask)


def test_painted_voxels_stay_and_the_model_is_told_of_them(model: NNInteractive) -> None:
    session = Session(image(), model)
    session.click((20, 16, 11))
    session.paint([(5, 5, 5), (6, 5, 5)])
    session.paint([(20, 16, 11)], add=False)
    result = session.click((24, 16, 11))
    assert result.mask[5, 5, 5]
    assert result.mask[5, 5, 6]
    assert not result.mask[11, 16, 20]
    untold = Session(image(), model)
    untold.click((20, 16, 11))
    untold.click((24, 16, 11))
    assert result.mask[11, 15, 20]  # what was there stays
    assert not np.array_equal(result.mask, untold.mask)


def test_objects_do_not_take_each_others_voxels(model: NNInteractive) -> None:
    session = Session(image(), model)
    session.click((20, 16, 11))
    first = session.mask
    session.new_object("second")
    result = session.click((24, 16, 11))
    assert not (result.mask & first).any()
    assert result.notes
    session.select("object 1")
    assert np.array_equal(session.mask, first)


def test_going_on_from_another_models_mask(model: NNInteractive) -> None:
    from support import BallNetwork, model_of

    session = Session(image(), model_of(BallNetwork()))
    session.click((20, 16, 11))
    ball = session.mask
    session.lock("object 1")  # so that it is not said again
    session.set_model(model)
    assert np.array_equal(session.mask, ball)
    session.lock("object 1", False)
    after = session.click((20, 16, 4), positive=False).mask
    assert ball.sum() * 0.8 < after.sum() < ball.sum()


def test_record_and_export_keep_the_licence(model: NNInteractive, tmp_path: Path) -> None:
    import json

    session = Session(image(), model)
    session.click((20, 16, 11))
    session.new_object("by hand")
    session.paint([(5, 5, 5)])
    path = session.save(tmp_path / "case.sammed3d.json")
    head = json.loads(path.read_text())["model"]
    assert head["about"] == {"licence": LICENCE, "version": "2.6.0"}
    assert head["architecture"] == "nninteractive"
    again = Session.resume(path, volume=image(), model=model)
    assert again.objects[0].result.licence == LICENCE
    again.export(tmp_path / "masks.nii.gz")
    listed = json.loads((tmp_path / "masks.labels.json").read_text())
    assert (listed["1"]["model"], listed["1"]["licence"]) == ("tiny", LICENCE)
    assert "licence" not in listed["2"]


def test_images_without_anything_in_them_get_a_sentence(model: NNInteractive) -> None:
    for value in (0, 7):
        session = Session(Volume.from_array(np.full((9, 9, 9), value, np.int16), (1, 1, 1), name="empty"), model)
        with pytest.raises(PromptError, match=f"empty holds the value {value} in every voxel"):
            session.click((4, 4, 4))
        assert session.steps == ()


def test_the_packages_chatter_is_kept_from_standard_output(
    folder: Path, model: NNInteractive, capsys: pytest.CaptureFixture[str]
) -> None:
    session = Session(image(3), model)
    session.click((20, 16, 11))
    session.add(PROMPTS["lasso"])
    session.undo()
    session.click((20, 17, 11))
    assert capsys.readouterr().out == ""


def test_the_same_folder_is_loaded_once_and_given_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "own")
    model = snb.load_model(folder)
    assert snb.load_model(folder) is model
    session = Session(image(), model)
    session.click((20, 16, 11))
    gone = weakref.ref(model)
    del model, session
    gc.collect()
    assert gone() is None


def test_only_what_is_new_is_computed(model: NNInteractive, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "sammed3d_nb")
    session = Session(image(5), model)
    first = session.click((20, 16, 11))
    assert not first.embedding_reused  # the image was given
    assert session.click((21, 16, 11)).embedding_reused
    session.undo()
    assert session.click((22, 16, 11)).embedding_reused  # one step back suffices
    assert "once more" not in caplog.text
    session.undo()
    session.undo()
    session.redo()
    session.click((23, 16, 11))
    assert "once more" not in caplog.text
    session.undo()
    session.undo()
    session.click(Point((20, 16, 11)).ijk)
    assert "once more" not in caplog.text


def test_growing_is_its_autozoom_and_replays_although_the_package_draws_lots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bright ball with a hole, larger than what the network sees at once, which takes everything bright."""
    from nnInteractive.utils import bboxes

    weights = (3.0, 0.0, 0.0, -9.0, 9.0, -9.0, 0.0, 0.0)
    greedy = snb.load_model(write(tmp_path / "greedy", weights=weights))
    k, j, i = np.indices((72, 72, 72)) - 36
    away = k**2 + j**2 + i**2
    ball = (away < 34**2) & (away > 10**2)
    volume = Volume.from_array((np.where(ball, 300, -100) + k % 7).astype(np.int16), (1, 1, 1))

    drawn: list[int] = []
    fallback = bboxes.random_sampling_fallback

    def watched(*given: object) -> object:
        drawn.append(1)
        return fallback(*given)

    monkeypatch.setattr(bboxes, "random_sampling_fallback", watched)
    near = Session(volume, greedy, grow=False)
    near.click((58, 36, 36))
    assert 0 < near.mask.sum() < 0.9 * ball.sum()
    assert not drawn
    far = Session(volume, greedy)
    far.click((58, 36, 36))
    assert far.mask.sum() > 0.97 * ball.sum()
    assert drawn, "the package drew no lots: this shows nothing"
    path = far.save(tmp_path / "case.sammed3d.json")
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    assert [item.same for item in replay(path, volume=volume, model=greedy)] == [True]
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
