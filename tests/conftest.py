"""Settings of every test, and the app that those of the page share."""

import locale
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("ci", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("ci")


@pytest.fixture
def app(tmp_path) -> Iterator:
    """The app on `ui_page.ball_volume`, drawn by matplotlib in the kernel: its frames can be looked at here."""
    from support import BallNetwork, model_of
    from ui_page import ball_volume

    import sammed3d_nb as snb

    app = snb.App(ball_volume(), model_of(BallNetwork()), output=tmp_path, renderer="ipympl")
    yield app
    app.close()


@pytest.fixture
def page_app(tmp_path) -> Iterator:
    """The same, drawn by the page."""
    from support import BallNetwork, model_of
    from ui_page import ball_volume

    import sammed3d_nb as snb

    app = snb.App(ball_volume(), model_of(BallNetwork()), output=tmp_path, renderer="page")
    yield app
    app.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nnInteractive's weights, tiny ones."""
    from nninteractive_weights import write

    return write(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(autouse=True)
def locale_as_before() -> Iterator[None]:
    """GDCM, which writes JPEG slices for tests, leaves "C" behind: then other programs' output is read as ASCII."""
    spoken = locale.setlocale(locale.LC_ALL)
    yield
    locale.setlocale(locale.LC_ALL, spoken)
