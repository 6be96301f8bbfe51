"""Our own server as the other side: a model there answers as it does here."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from running import free_port

import sammed3d_nb as snb
from sammed3d_nb import Lasso, Point, Scribble, Session, StartMask, Volume
from sammed3d_nb.errors import ServerError
from sammed3d_nb.session.replay import replay

pytest.importorskip("sammed3d_nb.server", reason="this version has no server of its own yet")
pytest.importorskip("nnInteractive.inference.remote", reason="nninteractive-client is missing: the extra [remote]")


class OwnServer:
    """``sammed3d-nb serve`` in a process of its own, on a port that stays the same."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = home

    @contextmanager
    def running(self) -> Iterator[None]:
        """As long as the block lasts; it ends as a crash does."""
        command = [sys.executable, "-P", "-m", "sammed3d_nb.commands.cli", "serve", "--port", str(self.port)]
        environment = {**os.environ, "XDG_DATA_HOME": str(self.home), "HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        with (self.home / "log.txt").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            for _ in range(1500):
                try:
                    socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                    break
                except OSError:
                    assert process.poll() is None, (self.home / "log.txt").read_text()
                    time.sleep(0.2)
            yield
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def volume() -> Volume:
    """A bright block, stored sagittally and upside down."""
    array = np.random.default_rng(0).normal(40, 10, (50, 40, 30)).astype(np.int16)
    array[15:35, 10:30, 8:22] += 100
    direction = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], float)
    return Volume.from_array(array, (2.5, 1.5, 1.0), direction, (3, -7, 11))


def tell(session: Session) -> list[NDArray[np.uint8]]:
    """Every kind of prompt, undo, paint and a second object."""
    masks = []
    for prompt in (
        Point((15, 20, 25)),
        Point((10, 12, 40), False),
        Scribble(np.array([(11 + n, 15, 20) for n in range(9)])),
        Lasso(np.array([(10, 12, 25), (20, 12, 25), (20, 26, 25), (10, 26, 25)])),
    ):
        session.add(prompt)
        masks.append(session.mask)
    session.undo()
    session.undo()
    session.paint([(3, 3, 3)])
    session.click((14, 21, 26))
    session.new_object("second")
    session.add(StartMask(np.pad(np.ones((4, 4, 4), np.uint8), ((2, 44), (2, 34), (2, 24)))))
    session.select("object 1")
    session.click((13, 20, 26), positive=False)
    masks.append(session.mask)
    return masks


def test_it_answers_and_replays_through_a_crash(volume: Volume, tmp_path: Path) -> None:
    server = OwnServer(tmp_path)
    with server.running():
        model = snb.load_model(server.url)
        assert dict(model.prompts) == {
            **dict.fromkeys(("box", "scribble", "lasso", "mask"), "translated"),
            "point": "native",
        }
        assert model.about["model"] == "compact"
        session = Session(volume, model)
        masks = tell(session)
        assert all(mask.sum() > 100 for mask in masks)
    with pytest.raises(ServerError, match="does not answer"):
        session.click((12, 20, 26))
    path = session.save(tmp_path / "case.sammed3d.json")
    with server.running():
        assert all(item.same for item in replay(path, volume=volume, model=model))


def test_the_mask_is_the_one_that_the_model_makes_here(volume: Volume, tmp_path: Path) -> None:
    """Wherever the image's axes run: the array travels upright, and as that the server takes it."""
    server = OwnServer(tmp_path)
    with server.running():
        there, here = Session(volume, snb.load_model(server.url)), Session(volume, snb.load_model())
        for prompt in (Point((15, 20, 25)), Point((10, 12, 40), False), Point((12, 25, 30))):
            for session in (there, here):
                session.add(prompt)
            assert np.array_equal(there.mask, here.mask)
        for session in (there, here):
            session.undo()
            session.click((12, 22, 28))
        assert there.mask.sum() > 100
        assert np.array_equal(there.mask, here.mask)
