"""The older protocol: SlicerNNInteractive up to 0.3.2, and the FastSAM3D body that this project began from.

It knows no leases: who a client is says its key, or else its address. Errors are told as its extension shows them: an
answer with status 200 and ``{"status": "error", "message": …}``; of any other status it drops the text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.segmenters.prompts import Point, Prompt
from sammed3d_nb.server import drawn
from sammed3d_nb.server.desk import Desk
from sammed3d_nb.server.house import ON_THE_WAY, Call, Calls, flag, json_body
from sammed3d_nb.server.leases import Lease
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.wire import bits, gunzipped, npy

AGAIN = "No image uploaded"
"""What makes the extension send the image and the segment once more, and then the prompt."""
_FORM = 2**16
"""Bytes round a file in a form."""


class Older(Calls):
    """The calls of the older protocol for one model."""

    @property
    def posts(self) -> dict[str, Call]:
        """What answers a POST without a lease token, by path."""
        calls = {
            "/upload_image": self.upload_image,
            "/upload_segment": self.upload_segment,
            "/add_point_interaction": self.add_point,
            "/add_fastsam3d_interaction": self.add_point,
            "/add_bbox_interaction": self.add_box,
            "/add_scribble_interaction": self.add_scribble,
            "/add_lasso_interaction": self.add_lasso,
        }
        return {path: _told(call) for path, call in calls.items()}

    # -- the image and the mask ----------------------------------------------------------------------------------

    async def upload_image(self, request: Request) -> Response:
        """An image, a NumPy file in a form."""
        most = self.house.room.most // ON_THE_WAY
        coming = int(length) if (length := request.headers.get("content-length", "")).isdigit() else most
        size = min(coming, most + 1)
        if earlier := self._lease(request):
            await self.house.make_room(earlier, size)
        with self.room_for(size, "The image"):
            lease = self._lease(request, new=True)
            assert lease is not None
            async with lease.upload():
                file = await _file(await _form(request, min(coming, most) + _FORM))
            await self.house.show(lease, lambda: (npy(file, most), {}))
        return JSONResponse({"status": "ok"})

    async def upload_segment(self, request: Request) -> Response:
        """The mask that the client has, a gzipped NumPy file in a form; an empty one begins anew."""
        lease = self._needed(request)
        with self.room_for(lease.desk.volume.array.size, "A mask of the image"):
            mask = await self._mask(request, lease)
            await self.house.work(lease, lambda desk: desk.seed(LocalMask.of(mask())))
        return JSONResponse({"status": "ok"})

    # -- prompts -------------------------------------------------------------------------------------------------

    async def add_point(self, request: Request) -> Response:
        """A click."""
        fields = await json_body(request)
        positive = flag(fields, "positive_click")
        return await self._answer(
            request, lambda desk: Point(drawn.point(fields.get("voxel_coord"), desk.volume), positive)
        )

    async def add_box(self, request: Request) -> Response:
        """A box of two corners that both belong to it."""
        fields = await json_body(request)
        positive = flag(fields, "positive_click")

        def made(desk: Desk) -> Prompt:
            corners = [drawn.point(fields.get(f"outer_point_{n}"), desk.volume)[::-1] for n in ("one", "two")]
            ends = [[min(pair), max(pair) + 1] for pair in zip(*corners, strict=True)]
            return drawn.box(ends, positive, desk.volume)

        return await self._answer(request, made)

    async def add_scribble(self, request: Request) -> Response:
        """A stroke, as a mask of the whole image."""
        return await self._add_painted(request, lambda voxels, positive: (drawn.scribble(voxels, positive), ""))

    async def add_lasso(self, request: Request) -> Response:
        """A closed line on a slice, as a mask of the whole image."""
        return await self._add_painted(request, drawn.lasso)

    async def _add_painted(self, request: Request, made: Callable[..., tuple[Prompt, str]]) -> Response:
        lease = self._needed(request)
        fields: dict[str, Any] = {}
        with self.room_for(lease.desk.volume.array.size, "A mask of the image"):
            mask = await self._mask(request, lease, fields)
            positive = str(fields.get("positive_click", "")).lower() in ("true", "1", "yes")
            return await self._answer(request, lambda desk: made(drawn.painted(mask(), None, desk.volume), positive)[0])

    async def _answer(self, request: Request, made: Callable[[Desk], Prompt]) -> Response:
        """Say something; the whole mask goes back."""
        lease = self._needed(request)
        change = await self.house.work(lease, lambda desk: desk.prompt(made(desk)))
        body = await asyncio.to_thread(bits, change.mask)
        return Response(body, media_type="application/octet-stream", headers={"Content-Encoding": "gzip"})

    # -- inside --------------------------------------------------------------------------------------------------

    def _lease(self, request: Request, *, new: bool = False) -> Lease | None:
        who = (request.scope["waiter"], self.served.name)
        try:
            lease = self.house.leases.get(self.house.older.get(who))
        except Refused:
            self.house.older.pop(who, None)
            if not new:
                return None
            lease = self.house.claim(request.scope["who"], request.scope["waiter"], self.served, older=True)
            # these clients never give a sign of life: only the idle time counts
            self.house.older[who] = lease.token
        lease.mark()
        lease.silent = True
        return lease

    def _needed(self, request: Request) -> Lease:
        lease = self._lease(request)
        if lease is None or lease.desk.image is None:
            raise Refused(409, AGAIN)
        return lease

    async def _mask(self, request: Request, lease: Lease, fields: dict[str, Any] | None = None) -> Callable[[], Any]:
        """How to get the mask in a form; its other fields go to `fields`."""
        volume = lease.desk.volume
        voxels = volume.array.size
        async with lease.upload():
            form = await _form(request, voxels + voxels // 64 + 2 * _FORM)
            file = await _file(form)
        if fields is not None:
            fields.update(form)
        return lambda: npy(gunzipped(file, 8 * voxels), 8 * voxels, volume.array.shape)


def _told(call: Call) -> Call:
    """A call whose errors are told as the older extension shows them."""

    async def told(request: Request) -> Response:
        try:
            return await call(request)
        except UserError as error:
            if isinstance(error, Refused) and error.status in (401, 403):
                raise
            return JSONResponse({"status": "error", "message": str(error), "detail": str(error)})

    return told


async def _form(request: Request, most: int) -> Mapping[str, Any]:
    """The fields of a form; the extension says that it is gzipped, and it is not."""
    taken = 0

    async def receive() -> Message:
        nonlocal taken
        message = await request.receive()
        taken += len(message.get("body", b""))
        if taken > most:
            raise Refused(413, f"More than the {most / 1e6:,.1f} MB came that can be the file; send that alone.")
        return message

    try:
        form = await Request(request.scope, receive).form(max_files=2, max_fields=8, max_part_size=2**16)
    except (HTTPException, MultiPartException) as error:
        detail = getattr(error, "detail", None) or getattr(error, "message", "")
        raise Refused(400, f"The form cannot be read ({detail}); send the file as multipart/form-data.") from None
    return dict(form)


async def _file(form: Mapping[str, Any]) -> bytes:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refused(400, "The form has no file called “file”; send one.")
    content = await file.read()
    await file.close()
    return content
