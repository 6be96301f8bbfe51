"""What the server's calls share: models, places, memory, records, turns; and how one call runs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models import memory
from sammed3d_nb.server.desk import Desk
from sammed3d_nb.server.keeping import Keeping
from sammed3d_nb.server.keys import Keys
from sammed3d_nb.server.leases import Lease, Leases
from sammed3d_nb.server.placing import Placing
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.room import Room
from sammed3d_nb.server.served import Served
from sammed3d_nb.server.turns import Turns
from sammed3d_nb.server.wire import Announced, announced
from sammed3d_nb.version import __version__

MOST_JSON = 64_000
"""Bytes of a JSON body."""
ON_THE_WAY = 3
"""Copies of an array while it arrives: packed, unpacked, and as the volume or the mask that is made of it."""
Call = Callable[[Request], Awaitable[Response]]
T = TypeVar("T")
_log = logging.getLogger("sammed3d_nb.server")


@dataclass
class House:
    """Everything but the calls.

    Attributes:
        served: The models, the first one at the address itself.
        placing: What the operator says of images.
        keeping: Where records and images are kept.
        room: Memory for images.
        keys: Who may come in.
        leases: Places.
        turns: Who works when.
    """

    served: Sequence[Served]
    placing: Placing
    keeping: Keeping
    room: Room
    keys: Keys
    leases: Leases
    turns: Turns
    older: dict[tuple[str, str], str] = field(default_factory=dict)
    """Leases of clients of the older protocol, which show none: by who they are and the model's name."""
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def health(self) -> dict[str, Any]:
        """What everybody may know."""
        return {
            "ok": True,
            "software": f"sammed3d-nb {__version__}",
            "models": {one.name: f"/m/{one.name}" for one in self.served},
            "key_needed": self.keys.needed,
            **self.placing.told,
            "places": {"taken": len(self.leases), "most": self.leases.most},
            "memory": {"images": self.room.images, "bytes": self.room.used, "most": self.room.most,
                       "embeddings": sum(one.embedded_bytes for one in self.served)},
            "waiting": self.turns.waiting,
        }  # fmt: skip

    # -- leases --------------------------------------------------------------------------------------------------

    def claim(self, who: str, waiter: str, served: Served, *, older: bool = False) -> Lease:
        """A place for somebody; see `Leases.claim`."""
        desk = Desk(who, served, self.keeping, older=older)
        lease = self.leases.claim(desk, waiter)
        desk.tell_as(lease.name)
        return lease

    def lease(self, request: Request, served: Served, *, acted: bool = True) -> Lease:
        """The lease of a request, with the sign of life that it is.

        Raises:
            Refused: There is none (410), it is somebody else's, or for another model.
        """
        lease = self.leases.get(request.headers.get("x-lease-token"))
        if lease.desk.who != request.scope["who"]:
            raise Refused(403, "This session was begun with another key; connect once more.")
        if lease.desk.served is not served:
            raise Refused(
                409, f"This session is for the model {lease.desk.served.name}; connect once more for {served.name}."
            )
        lease.mark(acted=acted)
        return lease

    async def retire(self, lease: Lease) -> None:
        """Free what a lease that is over has held; its record stays."""
        lease.end_uploads()
        await self._put_away(lease)

    async def make_room(self, lease: Lease, size: int) -> None:
        """Put a lease's image away, where only that makes room for its next one of so many bytes."""
        volume = lease.desk.image
        if volume is not None and self.room.makes_room(volume, lease.desk.served.name, ON_THE_WAY * size):
            await self._put_away(lease)

    async def _put_away(self, lease: Lease) -> None:
        async with lease.busy:
            volume = lease.desk.image
            try:
                await asyncio.to_thread(lease.desk.close)
            finally:
                self._left(volume, lease.desk.served)

    async def sweep(self) -> None:
        """Retire the leases whose time is over."""
        for lease in self.leases.expired():
            await self.retire(lease)

    async def close(self) -> None:
        """Retire all, and wait for images that are being kept."""
        for lease in self.leases.all():
            self.leases.release(lease.token)
            await self.retire(lease)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=60)

    # -- work ----------------------------------------------------------------------------------------------------

    async def work(self, lease: Lease, what: Callable[[Desk], T], *, turn: bool = True) -> T:
        """Do something at a lease's desk, after what it has asked for before.

        Args:
            lease: The lease.
            what: What to do; it runs in a thread.
            turn: Whether it computes, so that others take turns with it.
        """
        async with lease.busy:
            self.leases.get(lease.token)  # it may have been given back while this waited
            if not turn:
                done = await asyncio.to_thread(what, lease.desk)
            else:
                async with self.turns.turn(lease.desk.who if self.keys.needed else lease.token):
                    done = await asyncio.to_thread(what, lease.desk)
            lease.mark()
            return done

    async def show(self, lease: Lease, make: Callable[[], tuple[Any, Mapping[str, Any]]]) -> Volume:
        """Put an image on a lease's desk.

        Args:
            lease: The lease.
            make: Gives the array (k, j, i) and what its client says of it; it runs in a thread.

        Raises:
            UserError: It cannot be used.
        """

        def put(desk: Desk) -> Volume:
            array, properties = make()
            volume = self.placing.volume(array, properties)
            path = self.keeping.image(volume.fingerprint)
            kept = desk.served.kept_of(volume.array.size)
            volume = volume if path is None else volume.kept_at(path)
            before = desk.image
            held = self.room.enter(volume, desk.served.name, kept, before=before)
            try:
                desk.set_image(held)
            finally:  # whatever the desk has then, and be it nothing
                if desk.image is not before:
                    self._left(before, desk.served)
                if desk.image is not held or held is before:  # which has been entered twice
                    self._left(held, desk.served)
            return held

        volume = await self.work(lease, put, turn=False)
        _log.info("%s: %r, image %s…", lease.name, volume, volume.fingerprint[:12])
        for sentence in volume.warnings:
            _log.info("%s: %s", lease.name, sentence)
        task = asyncio.create_task(asyncio.to_thread(self.keeping.keep, volume))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return volume

    def _left(self, volume: Volume | None, served: Served) -> None:
        if volume is not None and self.room.leave(volume, served.name):
            served.forget(volume)
            memory.give_back()


class Calls:
    """The calls of one protocol for one model.

    Args:
        house: What all calls share.
        served: The model.
    """

    def __init__(self, house: House, served: Served) -> None:
        self.house, self.served = house, served

    def room_for(self, size: int, what: str) -> AbstractContextManager[None]:
        """Memory for an array of so many bytes while it arrives and is made use of; `what` it is, for the sentence."""
        return self.house.room.reserved(ON_THE_WAY * size, what)


async def packed_body(request: Request, lease: Lease, accept: Callable[[Announced], Awaitable[None]]) -> bytearray:
    """The body that holds a packed array.

    Args:
        request: The request.
        lease: Whose it is: no more is read when it is over.
        accept: Called with what the array says of itself before the rest is read; refuses it if it is too large.

    Raises:
        Refused: It is none, or longer than it says, or the lease is over.
    """
    body, found = bytearray(), None
    async with lease.upload():
        async for chunk in request.stream():
            body += chunk
            if found is None and (found := announced(body)) is not None:
                await accept(found)
            if found is not None and len(body) > found.most:
                raise Refused(
                    413, f"The body is larger than the array of {found.told} that it announces; send that alone."
                )
    if found is None:
        raise Refused(400, "The body is no packed array (NNIA); send one.")
    return body


async def json_body(request: Request) -> dict[str, Any]:
    """The JSON object in the body.

    Raises:
        Refused: It is none, or too long.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_JSON:
            raise Refused(413, f"The JSON body is longer than {MOST_JSON} bytes; send less.")
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, f"The body is {bytes(body[:40])!r}; expected a JSON object.")
    return found


def flag(fields: Mapping[str, Any], name: str, default: bool | None = None) -> bool:
    """A yes or no.

    Raises:
        Refused: It is missing, or neither.
    """
    value = fields.get(name, default)
    if isinstance(value, bool) or (isinstance(value, int) and value in (0, 1)):
        return bool(value)
    raise Refused(400, f"{name} is {value!r:.40}; expected true or false.")
