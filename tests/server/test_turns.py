"""Places and turns: who waits how long, and that nobody's requests interleave."""

import asyncio
import gc
import threading
import time
import warnings

import numpy as np
import pytest
from nnInteractive.inference.remote import ServerAtCapacityError
from serving import running
from support import BallNetwork

from sammed3d_nb.server.leases import Leases
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.turns import Turns


def served(orders, at_once=1):
    """In which order users come to work, each of whom has so many requests at the same time."""
    done = []

    async def run():
        turns = Turns(at_once)

        async def ask(who):
            async with turns.turn(who):
                done.append(who)
                await asyncio.sleep(0.001)

        await asyncio.gather(*[ask(who) for who in orders])
        assert turns.waiting == 0

    asyncio.run(run())
    return "".join(done)


def test_users_take_turns_however_much_one_asks():
    assert served("aaaaabbc") == "aabcabaa"
    assert served("ab") == "ab"


def test_who_waits_for_too_long_is_told_its_place():
    async def run():
        turns = Turns(patience=0.05)
        async with turns.turn("a"):
            waiting = [asyncio.create_task(turns.turn(who).__aenter__()) for who in "bbc"]
            sentences = [str(error) for error in await asyncio.gather(*waiting, return_exceptions=True)]
        assert "number 1 of 3" in sentences[0]
        assert turns.waiting == 0
        async with turns.turn("d"):  # and nothing is left behind
            pass

    asyncio.run(run())


def test_a_request_that_is_given_up_leaves_its_place():
    async def run():
        turns = Turns()
        async with turns.turn("a"):
            task = asyncio.create_task(turns.turn("b").__aenter__())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert turns.waiting == 0
        async with turns.turn("c"):
            pass

    asyncio.run(run())


class _Desk:
    who = "x"


def test_places_are_kept_for_those_who_have_waited_longest():
    leases = Leases(1, 600, 60)
    first = leases.claim(_Desk(), "a")
    for waiter, place in (("b", 1), ("c", 2), ("b", 1)):
        with pytest.raises(Refused, match=f"number {place} in the queue") as caught:
            leases.claim(_Desk(), waiter)
        assert caught.value.status == 503
        assert caught.value.headers["X-Queue-Place"] == str(place)
    leases.release(first.token)
    with pytest.raises(Refused):
        leases.claim(_Desk(), "c")
    assert leases.claim(_Desk(), "b")


def test_a_full_server_says_so_to_the_client(tmp_path):
    with warnings.catch_warnings(record=True) as told, running(tmp_path / "kept", places=1) as server:
        warnings.simplefilter("always", ResourceWarning)
        session = server.client()
        with pytest.raises(ServerAtCapacityError, match="number 1 in the queue"):
            server.client()
        session.close()
        server.client().close()
        gc.collect()
    assert not [str(one.message) for one in told if issubclass(one.category, ResourceWarning)], "no socket stays open"


class SlowNetwork(BallNetwork):
    """Takes its time, and notices when it is asked twice at once."""

    def __init__(self):
        super().__init__()
        self.inside, self.most = 0, 0

    def encode(self, cube):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.05)
        self.inside -= 1
        return super().encode(cube)


def test_requests_of_one_lease_never_interleave(tmp_path):
    network = SlowNetwork()
    with running(tmp_path / "kept", {"slow": network}) as server:
        session, _ = server.begun()
        bodies = [{"coordinates": [10, 22, i], "include_interaction": True} for i in range(12, 48, 4)]
        statuses = []

        def ask(body):
            statuses.append(server.post("/add_point_interaction", session, json=body).status_code)

        threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
        for thread in threads:
            thread.start()
        assert server.house.lease is not None
        session.heartbeat()  # is answered all the while
        for thread in threads:
            thread.join()
        assert statuses == [200] * len(bodies)
        kept = server.house.leases.all()[0].desk.session
        assert sorted(prompt.ijk[0] for prompt in kept.prompts) == list(range(12, 48, 4))
        assert network.most == 1
        mask = kept.mask.copy()
        for _ in bodies:
            kept.undo()
        for _ in bodies:
            kept.redo()
        assert np.array_equal(kept.mask, mask)
        session.close()


def test_many_users_at_once_get_their_own_answers(tmp_path):
    with running(tmp_path / "kept", places=8) as server:
        masks = {}

        def work(number):
            session, mask = server.begun()
            session.add_point_interaction([10, 22, 10 + 5 * number], True)
            masks[number] = mask.copy()
            session.undo()
            assert not mask.any()
            session.add_point_interaction([10, 22, 10 + 5 * number], True)
            assert np.array_equal(mask, masks[number])
            session.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(masks) == 6
        assert len({mask.tobytes() for mask in masks.values()}) == 6
        assert server.house.room.images == 0 or len(server.house.leases)
