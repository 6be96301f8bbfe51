"""Names, selection and cost of steps; objects that share voxels; measures; masks of other programs."""

import numpy as np
import pytest
from support import BallNetwork, FullNetwork, model_of, torso_like

from sammed3d_nb import Box, Lasso, Point, Scribble, Session, StartMask, UserError, Volume
from sammed3d_nb.errors import ClickError, PromptError
from sammed3d_nb.session.replay import replay

CENTRE = (110, 100, 30)


@pytest.fixture
def session() -> Session:
    return Session(torso_like(), model_of(BallNetwork()))


def test_steps_say_what_they_were_and_undo_says_what_it_undoes(session: Session) -> None:
    session.rename("object 1", "spleen")
    session.click(CENTRE)
    session.add(Scribble(np.array([CENTRE, (112, 100, 30)])))
    session.click((118, 100, 30), positive=False)
    session.click((116, 100, 30))
    session.paint([(1, 1, 1)])
    session.apply("largest component")
    session.lock("spleen")
    session.lock("spleen", False)
    session.new_object("liver")
    session.remove("liver")
    names = [
        "rename object 1 to spleen", "click 1 of spleen", "scribble 1 of spleen", "click 2 of spleen",
        "click 3 of spleen", "paint 1 of spleen", "largest component 1 of spleen", "lock spleen", "unlock spleen",
        "new object liver", "remove liver",
    ]  # fmt: skip
    assert [step.name for step in session.steps] == names
    for name in names[::-1]:
        assert session.undo_name == name
        session.undo()
        assert session.redo_name == name
    assert session.undo_name is None


def test_undo_never_moves_the_user_to_another_object_unless_the_step_did(session: Session) -> None:
    session.click(CENTRE)
    session.new_object("b")
    session.click((20, 20, 10))
    session.select("object 1")
    session.undo()  # the click of b
    assert session.current.name == "object 1"
    session.undo()  # b itself
    assert session.current.name == "object 1"
    session.redo()
    session.redo()
    assert session.current.name == "b"
    session.undo()
    session.undo()
    assert session.current.name == "object 1"


def test_a_step_keeps_bytes_in_proportion_to_what_it_changed(session: Session) -> None:
    session.paint(np.ones(session.volume.size[::-1], np.uint8))
    session.paint([(5, 5, 5)], add=False)
    session.paint([(5, 5, 5), (6, 5, 5)])
    assert all(step.nbytes < 200 for step in session.steps[1:])


def test_a_thousand_steps_go_back(session: Session) -> None:
    for number in range(1000):
        session.paint([(number % 200, number // 200, 1)])
    assert sum(step.nbytes for step in session.steps) < 100_000
    for _ in range(1000):
        session.undo()
    assert session.mask.sum() == 0
    assert not session.can_undo


def test_logits_are_bounded_and_what_was_let_go_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sammed3d_nb.session.making.MEMORY_BYTES", 3 * 64**3 * 4)
    bounded, free = Session(torso_like(), model_of(BallNetwork())), None
    monkeypatch.undo()
    free = Session(torso_like(), model_of(BallNetwork()))
    for session in (bounded, free):
        for number in range(6):
            session.new_object(f"ball {number}")
            session.click((20 + 34 * number, 100, 30))
        session.select("ball 0")
        session.click((25, 104, 31))
    held = bounded._maker._memories._held
    assert sum(memory.nbytes for memory in held.values()) <= 3 * 64**3 * 4
    assert len(held) < len(free._maker._memories._held)
    assert np.array_equal(bounded.labels, free.labels)


# -- prompts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        Box((95, 85, 26), (125, 115, 34)),
        Box((95, 85, 30), (125, 115, 30)),
        Scribble(np.array([(110 + n, 100, 30) for n in range(-8, 9)])),
        Lasso(np.array([(98, 90, 30), (122, 90, 30), (122, 110, 30), (98, 110, 30)])),
    ],
)
def test_every_prompt_finds_what_it_shows(session: Session, prompt: object) -> None:
    result = session.add(prompt)  # type: ignore[arg-type]
    assert result.mask[30, 100, 110]
    assert result.prompts == (prompt,)
    assert np.linalg.norm(np.subtract(result.trace["voxel"].point, CENTRE)) <= 2
    assert result.distance_mm == 0
    kind = prompt.kind  # type: ignore[attr-defined]
    assert session.model.prompts[kind] == "translated"
    assert session.undo_name == f"{kind} 1 of object 1"


def test_a_start_mask_is_the_mask_and_clicks_go_on_from_it(session: Session) -> None:
    start = np.zeros(session.volume.size[::-1], np.uint8)
    start[20:40, 80:120, 90:130] = 1
    result = session.add(StartMask(start))
    assert np.array_equal(result.mask, start)
    assert result.quality is None
    grown = session.click((134, 100, 30))
    assert grown.mask[30, 100, 134]
    assert (grown.mask & start).sum() > 0.95 * start.sum()
    cut = session.click((110, 100, 30), positive=False)
    assert not cut.mask[30, 100, 110]
    taken = session.add(StartMask(start, positive=False))
    assert not (taken.mask & start).any()
    assert session.click((140, 100, 30)).mask[30, 100, 110] == 0


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Box((1, 2), (3, 4, 5)), "A box needs two corners of three whole numbers"),
        (lambda: Box((0, 0, 0), (500, 5, 5)), "reaches outside the volume; keep it between"),
        (lambda: Scribble(np.zeros((0, 3))), r"A scribble needs voxels of shape \(N, 3\)"),
        (lambda: Scribble(np.array([(0, 0, -1)])), "reaches outside"),
        (lambda: Lasso(np.array([(0, 0, 0), (1, 1, 1), (2, 0, 2)])), "on one slice"),
        (lambda: Lasso(np.array([(0, 0, 0), (1, 0, 0), (2, 0, 0)])), "on one slice that encloses something"),
        (lambda: StartMask(np.zeros((60, 200, 220))), "The start mask is empty"),
        (lambda: StartMask(np.ones((3, 3, 3))), "bring it onto the volume's grid first"),
        (lambda: StartMask("liver"), "needs an array"),
        (lambda: Box((1, 1, 1), (2, 2, 2), positive=False), "removes from a mask and “object 1” has none yet"),
        (lambda: (110, 100, 30), "tuple is no prompt; give a Point, Box"),
    ],
)
def test_prompts_that_cannot_be_answered_are_one_sentence(session: Session, make: object, sentence: str) -> None:
    with pytest.raises(PromptError, match=sentence):
        session.add(make())  # type: ignore[operator]
    assert not session.steps


def test_a_kind_that_the_model_refuses_is_named(session: Session) -> None:
    session.model.prompts = {"point": "native", "lasso": "refused"}
    with pytest.raises(PromptError, match="ball takes no lasso; it takes point"):
        session.add(Lasso(np.array([(98, 90, 30), (122, 90, 30), (122, 110, 30)])))


# -- several objects ---------------------------------------------------------------------------------------------------


def test_a_prediction_takes_no_voxel_of_another_object_and_says_so(session: Session) -> None:
    first = session.click(CENTRE).mask
    session.new_object("b")
    result = session.click((134, 100, 30))
    assert not (result.mask & first).any()
    assert result.spared.count
    assert any("mL were left to “object 1”, whose they are." in note for note in result.notes)
    assert session.current.answered in session._maker._memories, "nothing has to be computed again"
    with pytest.raises(ClickError, match=r"belongs to the “object 1”; allow overlap, or erase it there"):
        session.click(CENTRE)
    session.allow_overlap("b")
    assert (session.click((133, 100, 30)).mask & first).any()
    assert session.labels[30, 100, 125] == 2


def test_overlap_can_be_allowed_for_the_whole_session_but_never_with_locked_objects() -> None:
    session = Session(torso_like(), model_of(BallNetwork()), overlap=True)
    first = session.click(CENTRE).mask
    session.new_object("b")
    assert (session.click(CENTRE).mask & first).any()
    session.lock("object 1")
    session.new_object("c")
    with pytest.raises(ClickError, match="belongs to the locked “object 1”"):
        session.click(CENTRE)


def test_another_model_keeps_objects_apart(session: Session) -> None:
    session.click(CENTRE)
    session.new_object("b")
    session.click((20, 20, 10))
    session.set_model(model_of(FullNetwork()))
    masks = [item.mask for item in session.objects]
    assert masks[0].sum() > 0
    assert not (masks[0] & masks[1]).any()
    assert session.undo_name == "model ball"


def test_those_who_watch_are_told_of_every_change(session: Session) -> None:
    heard: list[str | None] = []
    stop = session.observe(lambda: heard.append(session.undo_name))
    session.click(CENTRE)
    session.paint([(0, 0, 0)])
    session.undo()
    session.select("object 1")
    stop()
    session.redo()
    assert heard == ["click 1 of object 1", "paint 1 of object 1", "click 1 of object 1", "click 1 of object 1"]


def test_measures_are_those_of_the_mask(session: Session) -> None:
    session.click(CENTRE)
    session.apply("smooth")
    session.new_object("empty")
    ball, empty = session.measure()
    values = session.volume.array[session.objects[0].mask > 0]
    assert ball.mean == pytest.approx(values.mean())
    assert ball.sd == pytest.approx(values.std())
    assert ball.volume_ml == pytest.approx(len(values) * 1.2 * 1.2 * 4 / 1000)
    voxels = np.argwhere(session.objects[0].mask)[:, ::-1]
    assert (ball.first, ball.last) == (tuple(voxels.min(axis=0)), tuple(voxels.max(axis=0)))
    assert (ball.prompts, ball.edits) == (1, 1)
    assert ball.seconds > 0
    assert (empty.volume_ml, empty.mean, empty.prompts) == (0, None, 0)


def test_masks_of_a_file_become_objects_to_go_on_from(session: Session, tmp_path) -> None:  # type: ignore[no-untyped-def]
    session.click(CENTRE)
    session.rename("object 1", "liver")
    session.new_object("spleen")
    session.click((190, 100, 30))
    path = session.export(tmp_path / "masks.nrrd")
    other = Session(Volume.read(session.volume.write_mask(np.ones((60, 200, 220), np.uint8), tmp_path / "i.nii.gz")),
                    model_of(BallNetwork()))  # fmt: skip
    made = other.load_masks(path)
    assert [(item.name, item.colour) for item in made] == [(o.name, o.colour) for o in session.objects]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(made, session.objects, strict=True))
    other.load_masks(path)
    assert [item.name for item in other.objects] == ["object 1", "liver", "spleen", "liver 2", "spleen 2"]
    assert other.objects[3].local.count == 0, "the first liver has its voxels"
    other.undo()
    assert other.undo_name == "load 2 objects of masks.nrrd"
    other.select("liver")
    assert other.click((112, 100, 30)).mask[30, 100, 112]
    with pytest.raises(UserError):
        other.load_masks(tmp_path / "none.nrrd")
    assert other.select("spleen").result is not None
    assert other.load_masks(elsewhere(session, path))[0].result.notes[0].startswith("moved.nrrd lies on another grid")


def elsewhere(session: Session, path):  # type: ignore[no-untyped-def]
    """The same masks on a coarser grid."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    half = sitk.Shrink(image, [2, 2, 1])
    moved = path.with_name("moved.nrrd")
    sitk.WriteImage(half, str(moved))
    return moved


def test_replay_tells_how_many_prompts_another_model_would_need(session: Session, tmp_path) -> None:  # type: ignore[no-untyped-def]
    session.add(Point(CENTRE))
    session.add(Point((150, 100, 30)))
    session.apply("fill holes")
    path = session.save(tmp_path / "case.sammed3d.json")
    (same,) = replay(path, volume=session.volume, model=session.model)
    assert same.recorded == same.curve
    assert same.curve[-1] == 1
    assert (same.prompts_to(0.9), same.prompts_to(0.9, recorded=True)) == (2, 2)
    (other,) = replay(path, volume=session.volume, model=model_of(FullNetwork()), other_model=True)
    assert other.prompts_to(0.9) is None
    assert other.recorded == same.recorded
