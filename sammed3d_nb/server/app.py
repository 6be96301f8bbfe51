"""The server's address: which call answers what, who is let in, and how errors are told."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from sammed3d_nb.errors import UserError
from sammed3d_nb.server.current import Current
from sammed3d_nb.server.house import House
from sammed3d_nb.server.older import Older
from sammed3d_nb.server.refusals import Refused, status_of

SWEEP = 2.0
"""Seconds between two looks for leases that have expired."""
STALLED = 30.0
"""Seconds that the next part of a body may take: what waits for it holds memory that others could have."""
_MOST_DRAINED = 2**30
_DRAINING = 20.0
_log = logging.getLogger("sammed3d_nb.server")
Call = Callable[[Request], Awaitable[Response]]


class App:
    """The server as an ASGI application.

    Args:
        house: What the calls share.
        hosts: Names by which the server may be addressed; None: any. A page of another site that has its name point
            here is told from programs by this.
    """

    def __init__(self, house: House, hosts: frozenset[str] | None = None) -> None:
        self.house, self.hosts = house, hosts
        self._gets: dict[str, Call] = {}
        self._posts: dict[str, Call] = {}
        self._older: dict[str, Call] = {}
        for number, served in enumerate(house.served):
            current, older = Current(house, served), Older(house, served)
            for prefix in (f"/m/{served.name}", *([""] if number == 0 else [])):
                self._gets |= {f"{prefix}{path}": call for path, call in current.gets.items()}
                self._posts |= {f"{prefix}{path}": call for path, call in current.posts.items()}
                self._older |= {f"{prefix}{path}": call for path, call in older.posts.items()}
        self._gets["/"] = self._front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        more, stalled = True, False

        async def watched() -> Message:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def patient() -> Message:
            nonlocal stalled
            try:
                async with asyncio.timeout(STALLED):
                    return await watched()
            except TimeoutError:
                stalled = True
                raise Refused(
                    408,
                    f"Nothing of what is being sent has come for {STALLED:.0f} s; look at the connection and send it "
                    "once more.",
                ) from None

        request = Request(scope, patient)
        try:
            response = await self._call(request)
        except ClientDisconnect:
            return
        except UserError as error:
            status = status_of(error)
            headers = error.headers if isinstance(error, Refused) else {}
            _log.info("%s %s: %d, %s", scope["method"], scope["path"][:80], status, error)
            response = JSONResponse({"detail": str(error)}, status, headers)
        except Exception:
            number = secrets.token_hex(4)
            _log.exception("error %s in %s %s", number, scope["method"], scope["path"][:80])
            response = JSONResponse({"detail": f"The server failed; its log says why under {number}."}, 500)
        if stalled:
            response.headers["Connection"] = "close"  # what might still come is no request
        elif more and scope["method"] == "POST":  # a client that is still sending would never read the answer
            await _drain(watched, lambda: more)
        await response(scope, receive, send)

    async def _call(self, request: Request) -> Response:
        self._check_door(request)
        path = request.url.path.rstrip("/") or "/"
        calls = self._gets if request.method in ("GET", "HEAD") else self._posts if request.method == "POST" else {}
        if request.method == "POST" and "x-lease-token" not in request.headers and path in self._older:
            calls = self._older
        call = calls.get(path)
        if call is None:
            known = path in self._gets or path in self._posts or path in self._older
            raise Refused(
                405 if known else 404,
                f"There is no {request.method[:10]} {path[:80]} here; this is a server of the nnInteractive protocol, "
                "for 3D Slicer, napari and their like.",
            )
        open_to_all = path == "/" or path.endswith("/healthz")
        who = "" if open_to_all else self.house.keys.who(request.headers.get("authorization"))
        address = request.client.host if request.client else "socket"
        request.scope["who"] = who
        request.scope["waiter"] = who if self.house.keys.needed else address
        return await call(request)

    def _check_door(self, request: Request) -> None:
        """Refuse what only a page in a browser sends: the programs that this is for are none."""
        if "origin" in request.headers:
            raise Refused(403, "This server is for programs, not for pages in a browser.")
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.hosts is not None and name.strip("[]").lower() not in self.hosts:
            raise Refused(403, f"The server is not called {host[:80]!r}; address it as 127.0.0.1 or localhost.")

    async def _front(self, request: Request) -> Response:
        return JSONResponse(self.house.health)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async def sweep() -> None:
            pause = min(SWEEP, self.house.leases.idle / 4, self.house.leases.liveness / 4)
            while True:
                await asyncio.sleep(pause)
                try:
                    await self.house.sweep()
                except Exception:
                    _log.exception("an expired session could not be closed")

        task = asyncio.create_task(sweep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.house.close()


async def _drain(receive: Receive, more: Callable[[], bool]) -> None:
    """Take the rest of a body, and throw it away."""
    taken = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAINING):
            while more() and taken < _MOST_DRAINED:
                taken += len((await receive()).get("body", b""))
