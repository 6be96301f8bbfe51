"""What outlives a lease, the server, and its being killed."""

import signal
import time

import httpx
import numpy as np
import pytest
from nnInteractive.inference.remote import SessionExpiredError, nnInteractiveRemoteInferenceSession
from running import free_port
from running import server as command
from serving import SHAPE, image, running
from support import BallNetwork, model_of

from sammed3d_nb.commands.cli import main
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.replay import replay

PLACES = ([10, 22, 15], [10, 22, 20], [10, 22, 26])


def clicked(server, **how):
    """A client after a few clicks, and the masks after each."""
    session, mask = server.begun(**how)
    states = [mask.copy()]
    for place in PLACES:
        session.add_point_interaction(place, True)
        states.append(mask.copy())
    return session, mask, states


def undone(session, mask, states):
    for before in reversed(states[:-1]):
        assert session.undo() is True
        assert np.array_equal(mask, before)
    assert session.undo() is False


def test_an_idle_lease_ends_frees_its_memory_and_is_found_again(tmp_path):
    with running(tmp_path / "kept", idle=0.6) as server:
        session, mask, states = clicked(server)
        assert server.house.room.used > 0
        assert server.house.served[0].embedded_bytes > 0
        deadline = time.monotonic() + 20
        while len(server.house.leases) and time.monotonic() < deadline:
            time.sleep(0.05)
        while server.house.room.used and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.house.room.used == 0
        assert server.house.served[0].embedded_bytes == 0
        with pytest.raises(SessionExpiredError):
            session.undo()
        server.house.leases.idle = 600
        again, mask = server.begun()
        with again:
            again.add_initial_seg_interaction(states[-1])  # as napari does, and 3D Slicer after a reset
            undone(again, mask, states)


def test_a_lease_without_a_sign_of_life_ends(tmp_path):
    with running(tmp_path / "kept", liveness=0.6) as server:
        session, _ = server.begun()
        session._stop_heartbeat.set()
        deadline = time.monotonic() + 20
        while len(server.house.leases) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not len(server.house.leases)


def test_a_client_that_sends_no_mask_finds_its_work_by_undo(tmp_path):
    with running(tmp_path / "kept") as server:
        session, _, states = clicked(server)
        session.close()
        again, mask = server.begun()
        with again:
            assert again.undo() is True
            assert np.array_equal(mask, states[-2])
            again.add_point_interaction(PLACES[-1], True)
            assert np.array_equal(mask, states[-1])


def test_a_client_whose_copy_still_has_the_mask_gets_all_that_differs(tmp_path):
    with running(tmp_path / "kept") as server:
        session, mask, states = clicked(server)
        session.close()
        again = server.client()
        with again:
            again.set_image(image()[None], {"spacing": [3.0, 1.5, 1.0]})
            again.set_target_buffer(mask)
            assert again.undo() is True
            assert np.array_equal(mask, states[-2])


def test_a_new_sitting_on_the_same_image_begins_with_nothing(tmp_path):
    with running(tmp_path / "kept") as server:
        session, _, states = clicked(server)
        session.close()
        again, mask = server.begun()
        with again:
            again.add_point_interaction(PLACES[0], True)  # where an object of last time is
            assert np.array_equal(mask, states[1])


def test_another_server_on_the_same_folder_goes_on(tmp_path):
    with running(tmp_path / "kept") as server:
        session, _, states = clicked(server)
        session._stop_heartbeat.set()
    with running(tmp_path / "kept") as server:
        again, mask = server.begun()
        with again:
            again.add_initial_seg_interaction(states[-1])
            undone(again, mask, states)


def test_a_mask_from_before_the_last_answer_goes_back_there(tmp_path):
    """The server was killed when it had answered and the client had not heard."""
    with running(tmp_path / "kept") as server:
        session, _, states = clicked(server)
        session.close()
        again, mask = server.begun()
        with again:
            again.add_initial_seg_interaction(states[2])
            assert np.array_equal(mask, states[2])
            undone(again, mask, states[:3])


def test_a_mask_that_a_hand_has_changed_since_keeps_the_prompts(tmp_path):
    with running(tmp_path / "kept") as server:
        session, _, states = clicked(server)
        session.close()
        again, mask = server.begun()
        edited = states[-1].copy()
        edited[:10] = 0
        with again:
            again.add_initial_seg_interaction(edited)
            assert len(server.house.leases.all()[0].desk.session.prompts) == 4
            assert again.undo() is True
            assert np.array_equal(mask, states[-1])


def test_another_lease_that_is_alive_is_left_alone(tmp_path):
    with running(tmp_path / "kept") as server:
        session, mask, states = clicked(server)
        other, theirs = server.begun()
        with session, other:
            other.add_initial_seg_interaction(states[-1])
            undone(other, theirs, states)
            assert np.array_equal(mask, states[-1])
            undone(session, mask, states)
    assert len(list((tmp_path / "kept").rglob("*.sammed3d.json"))) == 2


def test_the_record_says_what_was_assumed_and_replays(tmp_path):
    with running(tmp_path / "kept") as server:
        session, _, _ = clicked(server)
        session.close()
    record = next((tmp_path / "kept").rglob("*.sammed3d.json"))
    text = record.read_text()
    assert "LPS (axial) is assumed" in text
    assert '"space": "array"' in text
    assert '"space": "cube"' in text
    kept = next((tmp_path / "kept" / "images").glob("*.mha"))
    volume = Volume.read(kept)
    assert all(item.same for item in replay(record, volume=volume, model=model_of(BallNetwork())))


def test_images_kept_are_bounded(tmp_path):
    one = image().nbytes
    with running(tmp_path / "kept", images=int(2.5 * one)) as server:
        for seed in range(4):
            session, _ = server.begun(image(seed=seed))
            session.close()
    assert len(list((tmp_path / "kept" / "images").glob("*.mha"))) == 2


def test_a_killed_server_is_started_again_and_goes_on(tmp_path):
    """The real command with the shipped model, killed without a warning; then `replay` on what it left."""
    port = free_port()
    (tmp_path / "kept").mkdir(mode=0o700)
    line = ["serve", "--port", port, "--records", tmp_path / "kept"]
    array = image()
    array[4:16, 10:34, 15:45] += 500
    url = f"http://127.0.0.1:{port}"

    def begun():
        session = nnInteractiveRemoteInferenceSession(url)
        session.set_image(array[None], {"spacing": [3.0, 1.5, 1.0]})
        mask = np.zeros(SHAPE, np.uint8)
        session.set_target_buffer(mask)
        session.reset_interactions()
        return session, mask

    with command(*line) as (process, lines):
        _wait(url, lines)
        session, mask = begun()
        session.add_point_interaction([10, 22, 30], True)
        first = mask.copy()
        session.add_point_interaction([10, 22, 24], True)
        last = mask.copy()
        assert first.any()
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        session._stop_heartbeat.set()
    with command(*line) as (_, lines):
        _wait(url, lines)
        with pytest.raises(SessionExpiredError):
            session.undo()
        session, mask = begun()
        session.add_initial_seg_interaction(last)
        assert session.undo() is True
        assert np.array_equal(mask, first)
        session.close()
    records = list((tmp_path / "kept").rglob("*.sammed3d.json"))
    assert len(records) == 1
    assert main(["replay", str(records[0])]) == 0
    kept = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert len(kept) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)


def _wait(url, lines):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/healthz", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise AssertionError(lines)
