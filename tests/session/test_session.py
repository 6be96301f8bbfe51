import numpy as np
import pytest
from support import BallNetwork, BrightNetwork, FullNetwork, TubeNetwork, bright_ball, model_of, torso_like

from sammed3d_nb import Session, UserError, Volume
from sammed3d_nb.errors import ClickError

RADIUS_MM = BallNetwork.RADIUS * 1.5
CENTRE = (110, 100, 30)


@pytest.fixture
def network() -> BallNetwork:
    return BallNetwork()


@pytest.fixture
def session(network: BallNetwork) -> Session:
    return Session(torso_like(), model_of(network))


def ball_of(volume: Volume, *centres: tuple[int, int, int]) -> np.ndarray:
    """Distance in mm from every voxel to the nearest centre."""
    k, j, i = np.meshgrid(*[np.arange(n) for n in volume.array.shape], indexing="ij")
    points = volume.voxel_to_ras(np.stack([i, j, k], -1))
    return np.min([np.linalg.norm(points - volume.voxel_to_ras(centre), axis=-1) for centre in centres], axis=0)


# -- clicks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ijk", [CENTRE, (3, 5, 2), (219, 199, 59), (20, 180, 31)])
def test_the_mask_lies_where_the_click_is(session: Session, ijk: tuple[int, int, int]) -> None:
    result = session.click(ijk)
    distance = ball_of(session.volume, ijk)
    assert result.mask.dtype == np.uint8
    assert result.mask.shape == session.volume.array.shape
    assert (result.mask[distance < RADIUS_MM - 2] == 1).all()
    assert (result.mask[distance > RADIUS_MM + 2] == 0).all()
    assert result.distance_mm == 0
    assert result.volume_ml == pytest.approx(result.mask.sum() * 1.2 * 1.2 * 4 / 1000)
    assert result.trace["voxel"].point == ijk
    assert result.trace.inside
    assert result.trace.round_trip_error < 1e-6


def test_the_embedding_is_reused_while_clicks_stay_in_the_cube(session: Session, network: BallNetwork) -> None:
    first = session.click(CENTRE)
    second = session.click((120, 110, 32))
    assert (first.embedding_reused, second.embedding_reused) == (False, True)
    assert network.encoded == 1
    assert second.cube == first.cube
    third = session.click((215, 100, 30))
    assert network.encoded == 2
    assert third.cube != first.cube


def test_a_click_outside_the_cube_moves_it_and_the_mask_goes_along(session: Session) -> None:
    session.click(CENTRE)
    moved = session.click((190, 100, 30))
    distance = ball_of(session.volume, CENTRE, (190, 100, 30))
    assert (moved.mask[distance < RADIUS_MM - 3] == 1).all()
    assert (moved.mask[distance > RADIUS_MM + 3] == 0).all()
    assert len(moved.cubes) == 2


@pytest.mark.parametrize("along", [72, 76])
def test_a_click_is_obeyed_wherever_two_cubes_overlap(along: int) -> None:
    volume = Volume.from_array(np.zeros((60, 60, 192), np.int16), (1.5, 1.5, 1.5))
    session = Session(volume, model_of(BallNetwork()))
    session.click((20, 30, 30))
    session.click((170, 30, 30))  # a second cube; the first one is not told of the clicks that follow
    result = session.click((along, 30, 30))
    assert len(result.cubes) == 2
    assert result.mask[30, 30, along] == 1
    assert session.click((along, 30, 30), positive=False).mask[30, 30, along] == 0


def test_a_negative_click_removes(session: Session) -> None:
    before = session.click(CENTRE)
    after = session.click((118, 100, 30), positive=False)
    assert after.mask.sum() < before.mask.sum()
    assert after.mask[30, 100, 118] == 0
    assert after.distance_mm > 0
    assert [click.positive for click in session.clicks] == [True, False]


def test_clicks_that_cannot_be_answered_change_nothing(session: Session) -> None:
    session.click(CENTRE)
    before = session.mask
    with pytest.raises(ClickError, match=r"\(220, 0, 0\) lies outside the volume; .* \(219, 199, 59\)"):
        session.click((220, 0, 0))
    with pytest.raises(ClickError, match=r"three whole numbers \(i, j, k\), got \[1.5, 2.0, 3.0\]"):
        session.click((1.5, 2, 3))
    for wrong in [(1, 2), (np.inf, 0, 0), (np.nan, 0, 0), ("a", 0, 0)]:
        with pytest.raises(ClickError, match="three whole numbers"):
            session.click(wrong)
    session.lock("object 1")
    with pytest.raises(ClickError, match="“object 1” is locked"):
        session.click(CENTRE)
    session.new_object("cyst")
    with pytest.raises(ClickError, match="“cyst” has none yet"):
        session.click(CENTRE, positive=False)
    session.select("object 1")
    assert np.array_equal(session.mask, before)


def test_a_failing_network_loses_nothing(
    session: Session, network: BallNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.click(CENTRE)
    before = session.mask

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(network, "encode", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        session.click((215, 100, 30))
    assert np.array_equal(session.mask, before)
    assert len(session.clicks) == 1
    monkeypatch.undo()
    session.click((215, 100, 30))
    assert len(session.clicks) == 2


def test_a_correction_in_a_grown_cube_keeps_what_was_grown() -> None:
    """A tube through five cubes, from which one click takes a little ball."""
    volume = Volume.from_array(np.zeros((60, 60, 400), np.int16), (1.5, 1.5, 1.5), np.diag([-1, -1, 1]))
    session = Session(volume, model_of(TubeNetwork()))
    grown = session.click((30, 30, 30))
    assert len(grown.cubes) > 2
    assert grown.mask[30, 30, 5:395].all()
    corrected = session.click((300, 30, 30), positive=False)
    assert corrected.mask[30, 30, 300] == 0
    lost = grown.mask.sum() - corrected.mask.sum()
    assert 0 < lost <= 1.3 * 4 / 3 * np.pi * TubeNetwork.BITE**3


def test_encoding_ahead_makes_the_first_click_reuse_it(session: Session, network: BallNetwork) -> None:
    session.prepare(CENTRE)
    assert network.encoded == 1
    assert session.click(CENTRE).embedding_reused
    assert network.encoded == 1
    session.prepare((112, 100, 30))  # inside the object's cube: nothing to do
    assert network.encoded == 1


def test_encoding_ahead_stops_between_cubes_when_something_waits(session: Session, network: BallNetwork) -> None:
    session.prepare(CENTRE, lambda: True)
    assert network.encoded == 0
    asked = iter([False, True])
    session.prepare(CENTRE, lambda: next(asked))
    assert network.encoded == 1
    assert session.click(CENTRE).embedding_reused, "what was done is kept"


def test_preview_predicts_nothing(session: Session, network: BallNetwork) -> None:
    trace = session.preview((10.5, 20, 900))
    assert trace["voxel"].inside is False
    assert network.encoded == 0
    assert session.preview(CENTRE).steps == session.click(CENTRE).trace.steps


# -- history -----------------------------------------------------------------------------------------------------


def test_undo_and_redo_bring_back_every_bit(session: Session) -> None:
    masks = [session.mask]
    for offset in range(9):  # more than the steps whose logits are held
        masks.append(session.click((100 + 3 * offset, 100, 30)).mask)
    for mask in masks[-2::-1]:
        session.undo()
        assert np.array_equal(session.mask, mask)
    assert not session.can_undo
    assert session.undo() is None
    for mask in masks[1:]:
        session.redo()
        assert np.array_equal(session.mask, mask)
    assert not session.can_redo


def test_a_click_after_undo_goes_on_from_there(session: Session) -> None:
    for offset in range(9):
        session.click((100 + 3 * offset, 100, 30))
    expected = session.mask
    for _ in range(8):
        session.undo()
    for offset in range(1, 9):
        session.click((100 + 3 * offset, 100, 30))
    assert np.array_equal(session.mask, expected)
    assert not session.can_redo


def test_reset_can_be_undone(session: Session) -> None:
    before = session.click(CENTRE).mask
    session.reset()
    assert session.mask.sum() == 0
    assert session.clicks == ()
    session.undo()
    assert np.array_equal(session.mask, before)


# -- objects -----------------------------------------------------------------------------------------------------


def test_a_locked_object_is_never_overwritten(session: Session) -> None:
    first = session.click(CENTRE).mask
    session.lock("object 1")
    session.new_object("neighbour")
    with pytest.raises(ClickError, match=r"Voxel \(120, 100, 30\) belongs to the locked “object 1”; unlock it"):
        session.click((120, 100, 30))
    answer = session.click((134, 100, 30))
    second = answer.mask
    assert second.sum() > 0
    assert not (first & second).any()
    assert answer.spared.count
    assert any("left to “object 1”" in note for note in answer.notes)
    labels = session.labels
    assert np.array_equal(labels == 1, first == 1)
    assert np.array_equal(labels == 2, second == 1)


def test_names_are_unique_and_known(session: Session) -> None:
    assert session.new_object("spleen").name == "spleen"
    assert session.new_object().name == "object 3"
    assert len({item.colour for item in session.objects}) == 3
    with pytest.raises(UserError, match="“spleen” already"):
        session.new_object("spleen")
    with pytest.raises(UserError, match="“spleen” already"):
        session.rename("object 3", "spleen")
    with pytest.raises(UserError, match="no object “liver”; there are “object 1”, “spleen”, “object 3”"):
        session.select("liver")
    session.rename("spleen", "milt")
    session.show("milt", False)
    session.recolour("milt", "#010203")
    milt = session.select("milt")
    assert (milt.visible, milt.colour) == (False, "#010203")


def test_removing_can_be_undone(session: Session) -> None:
    before = session.click(CENTRE).mask
    session.remove("object 1")
    assert [item.name for item in session.objects] == ["object 1"]
    assert session.mask.sum() == 0
    session.undo()
    assert np.array_equal(session.mask, before)


def test_another_model_keeps_the_clicks(session: Session) -> None:
    session.click(CENTRE)
    ball = session.mask
    session.set_model(model_of(FullNetwork()))
    assert session.mask.sum() > ball.sum()
    assert session.clicks[0].ijk == CENTRE
    session.undo()
    assert np.array_equal(session.mask, ball)
    full = session.click((112, 100, 30))  # goes on with the new model, whose grid is another one
    assert full.mask.sum() > ball.sum()


def test_locked_objects_stay_as_they_are(session: Session) -> None:
    before = session.click(CENTRE).mask
    session.lock("object 1")
    for change in (session.reset, lambda: session.remove("object 1"), lambda: session.click(CENTRE)):
        with pytest.raises(UserError, match="“object 1” is locked; unlock it"):
            change()
    session.new_object("neighbour")
    session.click((134, 100, 30))
    session.set_model(model_of(FullNetwork()))
    assert np.array_equal(session.objects[0].mask, before)
    assert not (session.mask & before).any()


def test_a_model_that_fails_changes_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    session.click(CENTRE)
    before, model, broken = session.mask, session.model, BallNetwork()
    monkeypatch.setattr(broken, "encode", lambda cube: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        session.set_model(model_of(broken))
    assert session.model is model
    assert np.array_equal(session.mask, before)


def test_removing_another_object_keeps_the_current_one(session: Session) -> None:
    for name in ("b", "c"):
        session.new_object(name)
    session.select("b")
    session.remove("object 1")
    assert session.current.name == "b"
    session.remove("c")
    assert session.current.name == "b"


def test_colours_stay_apart_after_a_removal(session: Session) -> None:
    session.new_object("b")
    session.remove("object 1")
    session.new_object("c")
    assert len({item.colour for item in session.objects}) == 2


@pytest.mark.parametrize("name", ["", "  "])
def test_objects_need_names(session: Session, name: str) -> None:
    with pytest.raises(UserError, match="needs a name"):
        session.new_object(name)
    with pytest.raises(UserError, match="“red” is no colour; expected #rrggbb"):
        session.recolour("object 1", "red")


# -- networks that know several spacings --------------------------------------------------------------------------


SMALL_MM = 12.0


@pytest.fixture
def small() -> Volume:
    return bright_ball((110, 100, 30), SMALL_MM)


def test_a_small_object_is_asked_again_in_a_finer_cube() -> None:
    radius_mm = 9.0
    session = Session(bright_ball((110, 100, 30), radius_mm), model_of(BrightNetwork()))
    first = session.click((110, 100, 30))
    assert first.cube.spacing == pytest.approx(0.6 * 1.5)  # no finer yet: it may be a part of something larger
    result = session.click((111, 100, 30))
    assert result.cube.spacing < 0.75
    assert len(result.cubes) == 1
    distance = ball_of(session.volume, (110, 100, 30))
    assert (result.mask[distance < radius_mm - 1.5] == 1).all()
    assert (result.mask[distance > radius_mm + 2.0] == 0).all()
    again = session.click((112, 100, 30))
    assert again.embedding_reused
    assert again.cube == result.cube


def test_encoding_ahead_covers_the_finer_cube(small: Volume) -> None:
    session = Session(small, model_of(BrightNetwork()))
    session.prepare((110, 100, 30))
    assert session.click((110, 100, 30)).embedding_reused
    assert session.preview((111, 100, 30))["cube"] == session.click((111, 100, 30)).trace["cube"]


def test_a_finer_cube_that_loses_the_object_is_not_taken(small: Volume) -> None:
    result = Session(small, model_of(BrightNetwork(most=1000))).click((110, 100, 30))
    assert result.cube.spacing == pytest.approx(1.5)
    assert result.mask.any()


def test_zoom_can_be_switched_off(small: Volume) -> None:
    result = Session(small, model_of(BrightNetwork()), adapt=False).click((110, 100, 30))
    assert result.cube.spacing == pytest.approx(1.5)


# -- objects larger than the cube --------------------------------------------------------------------------------


def test_a_mask_grows_until_the_volume_ends() -> None:
    session = Session(torso_like(), model_of(FullNetwork()))
    result = session.click((3, 5, 2))
    assert result.mask.all()
    assert len(result.cubes) == 8
    session.reset()
    session.grow = False
    alone = session.click((3, 5, 2))
    assert len(alone.cubes) == 1
    assert np.array_equal(alone.mask, alone.cube.bring_home(np.ones((8, 8, 8)), session.volume))
