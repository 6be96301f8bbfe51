"""The server on a free port in a thread, over networks whose answers are known, so that tests can look inside."""

import contextlib
import threading
import time

import httpx
import numpy as np
import uvicorn
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from running import free_port
from support import BallNetwork, model_of

from sammed3d_nb.server.app import App
from sammed3d_nb.server.house import House
from sammed3d_nb.server.keeping import Keeping
from sammed3d_nb.server.keys import Keys
from sammed3d_nb.server.leases import Leases
from sammed3d_nb.server.placing import Placing
from sammed3d_nb.server.room import Room
from sammed3d_nb.server.served import Served
from sammed3d_nb.server.turns import Turns

SHAPE = (20, 44, 60)
SPACING = (3.0, 1.5, 1.0)
"""mm along k, j, i."""


class Running:
    """A server that runs: its address, and what is inside."""

    def __init__(self, house, app):
        self.house, self.app = house, app
        self.url = f"http://127.0.0.1:{free_port()}"
        self.clients = []

    def client(self, path="", key=None):
        session = nnInteractiveRemoteInferenceSession.__new__(nnInteractiveRemoteInferenceSession)
        try:
            session.__init__(self.url + path, api_key=key)
        except BaseException:
            session._http.close()  # which one that was refused leaves open
            raise
        self.clients.append(session)
        return session

    def begun(self, array=None, spacing=SPACING, *, path="", key=None, **more):
        """A client with an image, and its copy of the mask."""
        session = self.client(path, key)
        return session, show(session, image() if array is None else array, spacing, **more)

    def post(self, path, session=None, **rest):
        headers = rest.pop("headers", {})
        if session is not None:
            headers["X-Lease-Token"] = session._lease_token
        return httpx.post(self.url + path, headers=headers, timeout=60, **rest)


def show(session, array, spacing=SPACING, **more):
    session.set_image(array[None], {"spacing": list(spacing), **more})
    mask = np.zeros(array.shape, np.uint8)
    session.set_target_buffer(mask)
    return mask


def house(folder, networks=None, **parts):
    """What a server is made of; `parts` replace some."""
    folder.mkdir(mode=0o700, exist_ok=True)
    networks = networks or {"ball": BallNetwork()}
    return House(
        served=[Served(model_of(network), name, "CC0-1.0") for name, network in networks.items()],
        placing=parts.get("placing", Placing()),
        keeping=parts.get("keeping") or Keeping(folder, parts.get("images", 10**9)),
        room=parts.get("room") or Room(10**9),
        keys=parts.get("keys") or Keys(None),
        leases=parts.get("leases") or Leases(parts.get("places", 8), parts.get("idle", 600), parts.get("liveness", 60)),
        turns=parts.get("turns") or Turns(),
    )


@contextlib.contextmanager
def running(folder, networks=None, hosts=frozenset({"127.0.0.1", "localhost"}), **parts):
    """A running server; it has ended, and kept everything, when the block has."""
    inside = house(folder, networks, **parts)
    app = App(inside, hosts)
    one = Running(inside, app)
    config = uvicorn.Config(app, port=int(one.url.rsplit(":", 1)[1]), http="h11", ws="none", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield one
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server did not end"
        for session in one.clients:
            session.close()  # and its heartbeat, where the test has not


def image(shape=SHAPE, seed=0, dtype=np.int16):
    """(k, j, i) of noise."""
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)
