"""Leases: who has a place at the server, and for how long."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sammed3d_nb.server.desk import Desk
from sammed3d_nb.server.refusals import Refused

RESERVED = 30.0
"""Seconds for which a free place is kept for the one who has waited longest."""
_OVER = (
    "There is no such session any more: it was idle for too long, or the server was started again. Connect once more; "
    "what was said is kept and found again."
)
_log = logging.getLogger("sammed3d_nb.server")


@dataclass
class Lease:
    """A place at the server.

    Attributes:
        token: What its client has to show.
        desk: What it works at.
        acted: When it last did something (monotonic seconds).
        seen: When it last gave a sign of life.
        busy: Held while one of its requests is at work: they never interleave.
        silent: Whether its client gives no signs of life, so that only the idle time counts.
    """

    token: str
    desk: Desk
    acted: float = field(default_factory=time.monotonic)
    seen: float = field(default_factory=time.monotonic)
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    silent: bool = False
    _uploads: set[asyncio.Timeout] = field(default_factory=set)

    @property
    def name(self) -> str:
        """What logs call it: enough to tell it from others, too little to use it."""
        return f"{self.desk.who}/{self.token[:6]}…"

    def mark(self, *, acted: bool = True) -> None:
        """Take a sign of life."""
        self.seen = time.monotonic()
        if acted:
            self.acted = self.seen

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[None]:
        """While something arrives for it that takes memory: it ends with the lease.

        Raises:
            Refused: The lease is over (410).
        """
        ending = asyncio.timeout(None)
        try:
            async with ending:
                self._uploads.add(ending)
                try:
                    yield
                finally:
                    self._uploads.discard(ending)
        except TimeoutError:
            if not ending.expired():
                raise
            raise Refused(410, _OVER) from None

    def end_uploads(self) -> None:
        """Take no more of what is arriving."""
        for ending in self._uploads:
            ending.reschedule(asyncio.get_running_loop().time())


class Leases:
    """All places; used from one event loop.

    Args:
        most: How many there are.
        idle: Seconds without anything done after which a lease expires.
        liveness: Seconds without a sign of life after which it does.
    """

    def __init__(self, most: int, idle: float, liveness: float) -> None:
        self.most, self.idle, self.liveness = most, idle, liveness
        self._leases: dict[str, Lease] = {}
        self._queue: OrderedDict[str, float] = OrderedDict()  # who waits for a place, and when they last asked

    def __len__(self) -> int:
        return len(self._leases)

    def claim(self, desk: Desk, waiter: str) -> Lease:
        """A place.

        Args:
            desk: What it is for.
            waiter: What tells who asks from others who do.

        Raises:
            Refused: There is none (503); the sentence has the place in the queue.
        """
        now = time.monotonic()
        for other in [other for other, asked in self._queue.items() if now - asked > RESERVED]:
            del self._queue[other]
        place = list(self._queue).index(waiter) if waiter in self._queue else len(self._queue)
        if place >= self.most - len(self._leases):
            self._queue[waiter] = now
            raise Refused(
                503,
                f"All {self.most} places of the server are taken; you are number {place + 1} in the queue. Ask again "
                f"within {RESERVED:.0f} s to keep it; the next place is free in {self._soonest():.0f} s at the latest.",
                {"Retry-After": "10", "X-Queue-Place": str(place + 1)},
            )
        self._queue.pop(waiter, None)
        lease = Lease(secrets.token_hex(16), desk)
        self._leases[lease.token] = lease
        _log.info("%s: a place claimed (%d of %d)", lease.name, len(self._leases), self.most)
        return lease

    def _soonest(self) -> float:
        return max(0.0, min((self.remaining(lease) for lease in self._leases.values()), default=0.0))

    def get(self, token: str | None) -> Lease:
        """The lease of a token.

        Raises:
            Refused: There is none (410).
        """
        found = None if token is None else self._leases.get(token)  # 128 random bits: nobody guesses their hash's time
        if found is None:
            raise Refused(410, _OVER)
        return found

    def release(self, token: str | None) -> Lease | None:
        """Give a place back."""
        lease = self._leases.pop(token, None) if token is not None else None
        if lease is not None:
            _log.info("%s: given back (%d of %d)", lease.name, len(self._leases), self.most)
        return lease

    def remaining(self, lease: Lease) -> float:
        """Seconds until it expires if nothing more is done."""
        return max(0.0, self.idle - (time.monotonic() - lease.acted))

    def expired(self) -> list[Lease]:
        """The leases whose time is over; they are no more."""
        now = time.monotonic()
        over = [
            lease
            for lease in self._leases.values()
            if now - lease.acted > self.idle or (now - lease.seen > self.liveness and not lease.silent)
        ]
        gone = [lease for lease in over if not lease.busy.locked()]
        for lease in gone:
            del self._leases[lease.token]
            _log.info("%s: expired (%d of %d)", lease.name, len(self._leases), self.most)
        return gone

    def all(self) -> list[Lease]:
        """All of them."""
        return list(self._leases.values())
