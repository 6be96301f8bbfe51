"""Fair turns: so much work at a time, and users in turn, however many requests one of them has waiting."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sammed3d_nb.server.refusals import Refused

PATIENCE = 45.0
"""Seconds after which a request that still waits is told its place in the queue: clients give up at 60."""


class Turns:
    """A queue for work; used from one event loop.

    Args:
        at_once: How many may work at a time.
        patience: Seconds to wait at most.
    """

    def __init__(self, at_once: int = 1, patience: float = PATIENCE) -> None:
        self._free = at_once
        self.patience = patience
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(len(queue) for queue in self._waiting.values())

    @asynccontextmanager
    async def turn(self, who: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it for the length of the block.

        Args:
            who: The user; those who wait are served in a round.

        Raises:
            Refused: It takes too long (503); the sentence has the place in the queue.
        """
        await self._wait(who)
        try:
            yield
        finally:
            self._free += 1
            self._next()

    async def _wait(self, who: str) -> None:
        if self._free > 0 and not self._waiting:
            self._free -= 1
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(who, deque()).append(mine)
        try:
            await asyncio.wait_for(asyncio.shield(mine), self.patience)
        except TimeoutError:
            if mine.done():  # its turn came at the last moment
                return
            place = self._place(who, mine)
            self._give_up(who, mine)
            raise Refused(
                503,
                f"The server is busy: this request waited {self.patience:.0f} s and is number {place} of "
                f"{self.waiting + 1} in the queue; nothing has changed, try again.",
                {"Retry-After": "10"},
            ) from None
        except BaseException:
            self._give_up(who, mine)
            raise

    def _give_up(self, who: str, mine: asyncio.Future[None]) -> None:
        if mine.done() and not mine.cancelled():  # its turn came at the last moment
            self._free += 1
            self._next()
            return
        mine.cancel()
        queue = self._waiting.get(who, deque())
        if mine in queue:
            queue.remove(mine)
        if not queue:
            self._waiting.pop(who, None)

    def _place(self, who: str, mine: asyncio.Future[None]) -> int:
        """Which one it is, if nobody else comes: users take turns."""
        depth = self._waiting[who].index(mine)
        order = list(self._waiting)
        before = 0
        for number, (name, queue) in enumerate(self._waiting.items()):
            before += min(len(queue), depth + (number < order.index(who))) if name != who else depth
        return before + 1

    def _next(self) -> None:
        while self._free > 0 and self._waiting:
            who, queue = next(iter(self._waiting.items()))
            future = queue.popleft()
            self._waiting.move_to_end(who)
            if not queue:
                del self._waiting[who]
            if not future.done():
                self._free -= 1
                future.set_result(None)
