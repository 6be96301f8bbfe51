"""What a click through the server costs, next to the same click in our own session; and many users at once.

    python benchmarks/server.py [--size 300,512,512] [--users 1,4,16] [--official FOLDER --official-python PYTHON]

The real command in a process of its own with the compact default, driven by the published client on 127.0.0.1. The
click without the server runs in turn with the one through it, on the same image, so that both see the same machine.
With a folder of nnInteractive weights and the Python of an environment that has the package nnInteractive, its official
server answers the same calls beside ours: a tiny network in its real format (see tests) tells what the servers
themselves cost.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession

from sammed3d_nb import Point, Session, Volume, load_model

PORT = 15927


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="300,512,512", help="voxels k,j,i (default %(default)s)")
    parser.add_argument("--clicks", type=int, default=7, help="clicks of each kind (default %(default)s)")
    parser.add_argument("--users", default="1,4,16", help="users at once (default %(default)s)")
    parser.add_argument(
        "--think", type=float, default=3.0, help="seconds between a user's clicks (default %(default)s)"
    )
    parser.add_argument("--official", type=Path, metavar="FOLDER", help="weights for the official server")
    parser.add_argument("--official-python", type=Path, metavar="PYTHON", help="where nnInteractive is installed")
    options = parser.parse_args()
    k, j, i = (int(n) for n in options.size.split(","))
    array = image((k, j, i))
    offsets = [(0, 0, 0), (2, 8, 4), (-3, -6, 9), (4, 10, -8), (-2, 4, 12), (5, -9, -4), (1, 3, -11), (3, 7, 2)]
    places = [(k // 2 + dk, j // 2 + dj, i // 2 + di) for dk, dj, di in offsets]
    places = places[: options.clicks + 1]
    with tempfile.TemporaryDirectory() as folder:
        ours = ["-m", "sammed3d_nb.commands.cli", "serve", "--port", str(PORT), "--records", f"{folder}/kept",
                "--images", "0", "--places", "64"]  # fmt: skip
        with served([sys.executable, *ours], f"http://127.0.0.1:{PORT}") as url:
            clicks(url, array, places)
            for users in (int(n) for n in options.users.split(",")):
                crowd(url, array, places, users, options.think)
    if options.official:
        theirs = ["-m", "nnInteractive.inference.server.main", "--model-dir", str(options.official), "--fold", "0",
                  "--device", "cpu", "--port", str(PORT + 1), "--max-sessions", "64", "--no-torch-compile"]  # fmt: skip
        with served([str(options.official_python), *theirs], f"http://127.0.0.1:{PORT + 1}") as url:
            print("the official server, its own network:")
            through(url, array, places)


def image(shape: tuple[int, int, int]) -> "np.ndarray":
    """A bright ellipsoid in the middle of noise, int16, compressible as a CT is."""
    random = np.random.default_rng(0)
    values = random.normal(0, 20, shape).astype(np.int16)
    grid = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside = sum(((axis - n / 2) / (n / 6)) ** 2 for axis, n in zip(grid, shape, strict=True)) < 1
    values[inside] += 300
    return values


SPACING = (1.0, 0.8, 0.8)


@contextmanager
def served(command: list[str], url: str) -> Iterator[str]:
    """A server in a process of its own."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    try:
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert process.poll() is None, f"{command} ended"
            try:
                httpx.get(f"{url}/healthz", timeout=2)
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def begun(url: str, array: "np.ndarray") -> tuple[nnInteractiveRemoteInferenceSession, "np.ndarray", float]:
    """A client with the image, and the seconds that this took."""
    session = nnInteractiveRemoteInferenceSession(url)
    started = time.perf_counter()
    session.set_image(array[None], {"spacing": list(SPACING)})
    mask = np.zeros(array.shape, np.uint8)
    session.set_target_buffer(mask)
    return session, mask, time.perf_counter() - started


def through(url: str, array: "np.ndarray", places: list[tuple[int, int, int]]) -> None:
    """Clicks through a server alone."""
    session, _, seconds = begun(url, array)
    times = []
    for place in places:
        started = time.perf_counter()
        session.add_point_interaction(list(place), True)
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    session.undo()
    undo = time.perf_counter() - started
    print(
        f"  image {seconds:.2f} s, first point → difference {times[0]:.3f} s, next {told(times[1:])}, undo {undo:.3f} s"
    )
    session.close()


def clicks(url: str, array: "np.ndarray", places: list[tuple[int, int, int]]) -> None:
    """Each click once through the server and once in our own session, in turn."""
    volume = Volume.from_array(array, SPACING[::-1])
    own = Session(volume, load_model())
    session, mask, seconds = begun(url, array)
    print(
        f"{array.shape} int16, {array.nbytes / 1e6:.0f} MB: image sent and taken in {seconds:.2f} s (packing included)"
    )
    far, near = [], []
    for k, j, i in places:
        started = time.perf_counter()
        session.add_point_interaction([k, j, i], True)
        far.append(time.perf_counter() - started)
        started = time.perf_counter()
        own.add(Point((i, j, k)))
        near.append(time.perf_counter() - started)
        assert np.array_equal(mask, own.mask), "the server's mask is another one"
    started = time.perf_counter()
    session.undo()
    undo = time.perf_counter() - started
    more = [a - b for a, b in zip(far[1:], near[1:], strict=True)]
    print(f"  first point → difference {far[0]:.3f} s, in our own session {near[0]:.3f} s")
    print(f"  next points              {told(far[1:])}, in our own session {told(near[1:])}")
    ratio = statistics.median(far[1:]) / statistics.median(near[1:])
    print(f"  transport and record     {told(more)} of it; ratio {ratio:.2f}")
    print(f"  undo                     {undo:.3f} s")
    session.close()


def crowd(url: str, array: "np.ndarray", places: list[tuple[int, int, int]], users: int, think: float) -> None:
    """Users who click, look, and click again; all on one image."""
    times: list[float] = []
    random = np.random.default_rng(users)
    waits = random.exponential(think, (users, len(places)))
    sessions = [begun(url, array)[:2] for _ in range(users)]

    def work(number: int) -> None:
        session, _ = sessions[number]
        for place, wait in zip(places, waits[number], strict=True):
            time.sleep(wait)
            started = time.perf_counter()
            session.add_point_interaction([place[0], place[1], place[2] + number % 5], True)
            times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(users)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    memory = httpx.get(f"{url}/healthz").json()["memory"]
    for session, _ in sessions:
        session.close()
    print(
        f"  {users:>2} users, {think:g} s to think: {told(times)}, 95 % within {np.percentile(times, 95):.2f} s, "
        f"{len(times) / seconds:.2f} clicks a second; embeddings {memory['embeddings'] / 1e6:.0f} MB"
    )


def told(times: list[float]) -> str:
    """A median and what it is of."""
    return f"{statistics.median(times):.3f} s (median of {len(times)}, {min(times):.3f} to {max(times):.3f})"


if __name__ == "__main__":
    main()
