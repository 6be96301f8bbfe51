"""Our own server as the other side: a model there answers as it does here."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from running import free_port
from small_models import save, weights

import sammed3d_nb as snb
from sammed3d_nb import Box, Lasso, Point, Scribble, Session, StartMask, Volume
from sammed3d_nb.errors import ServerError
from sammed3d_nb.session.replay import replay

pytest.importorskip("sammed3d_nb.server", reason="this version has no server of its own yet")
pytest.importorskip("nnInteractive.inference.remote", reason="nninteractive-client is missing: the extra [remote]")


class OwnServer:
    """``sammed3d-nb serve`` in a process of its own, on a port that stays the same."""

    def __init__(self, model: Path, home: Path, *options: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home, self.options, self.model = home, options, model

    @contextmanager
    def running(self) -> Iterator[None]:
        """As long as the block lasts; it ends as a crash does."""
        command = [
            *(sys.executable, "-P", "-m", "sammed3d_nb.commands.cli", "serve", "--port", str(self.port)),
            *("--model", str(self.model), *self.options),
        ]
        environment = {**os.environ, "XDG_DATA_HOME": str(self.home), "HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        with (self.home / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            for _ in range(300):
                try:
                    httpx.get(f"{self.url}/healthz", timeout=5)
                    break
                except httpx.HTTPError:
                    assert process.poll() is None, (self.home / "log.txt").read_text()
                    time.sleep(0.2)
            yield
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "small.pth", {"model_state_dict": weights()})


@pytest.fixture(scope="module")
def volume() -> Volume:
    """A bright block, stored sagittally and upside down."""
    array = np.random.default_rng(0).normal(40, 10, (50, 40, 30)).astype(np.int16)
    array[15:35, 10:30, 8:22] += 100
    direction = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], float)
    return Volume.from_array(array, (2.5, 1.5, 1.0), direction, (3, -7, 11))


def tell(session: Session) -> list[np.ndarray]:
    masks = []
    for prompt in (
        Point((15, 20, 25)),
        Point((20, 28, 33)),
        Point((15, 20, 25), False),
        Scribble(np.array([(9 + n, 15, 20) for n in range(9)])),
        Lasso(np.array([(10, 12, 25), (20, 12, 25), (20, 26, 25), (10, 26, 25)])),
        Box((9, 11, 16), (20, 28, 33)),
    ):
        if prompt.positive or session.current.local.count:
            session.add(prompt)
        masks.append(session.mask)
    session.undo()
    session.undo()
    session.paint([(3, 3, 3)])
    session.click((14, 21, 26))
    masks.append(session.mask)
    session.new_object("second")
    session.add(StartMask(np.pad(np.ones((4, 4, 4), np.uint8), ((2, 44), (2, 34), (2, 24)))))
    session.click((5, 5, 5))
    masks.append(session.mask)
    session.select("object 1")
    session.click((13, 20, 26))
    masks.append(session.mask)
    return masks


def test_it_answers_and_replays_through_a_crash(checkpoint: Path, volume: Volume, tmp_path: Path) -> None:
    server = OwnServer(checkpoint, tmp_path)
    with server.running():
        model = snb.load_model(server.url)
        assert model.prompts["point"] == "native"
        assert "server" in model.about
        session = Session(volume, model)
        masks = tell(session)
        assert sum(mask.any() for mask in masks) > 4
    with pytest.raises(ServerError, match="does not answer"):
        session.click((12, 20, 26))
    path = session.save(tmp_path / "case.sammed3d.json")
    with server.running():
        assert all(item.same for item in replay(path, volume=volume, model=model))
        session.click((12, 20, 26))
        again = tell(Session(volume, snb.load_model(server.url)))
        assert all(np.array_equal(one, other) for one, other in zip(again, masks, strict=True))


def test_clicks_give_the_mask_that_the_model_gives_here(checkpoint: Path, volume: Volume, tmp_path: Path) -> None:
    """Wherever the image's axes run: the array travels upright, as which the server takes it."""
    server = OwnServer(checkpoint, tmp_path)
    with server.running():
        there = Session(volume, snb.load_model(server.url))
        here = Session(volume, snb.load_model(checkpoint))
        for click in ((15, 20, 25), (12, 25, 30), (18, 14, 20)):
            for session in (there, here):
                session.click(click)
            assert np.array_equal(there.mask, here.mask)
        for session in (there, here):
            session.undo()
            session.click((12, 22, 28))
        assert np.array_equal(there.mask, here.mask)
