"""The current protocol: SlicerNNInteractive 1.x, napari-nninteractive 2.5 and whoever uses ``nninteractive-client``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.segmenters.prompts import Point, Prompt
from sammed3d_nb.server import drawn
from sammed3d_nb.server.desk import Change, Desk
from sammed3d_nb.server.house import Call, Calls, flag, json_body, packed_body
from sammed3d_nb.server.refusals import Refused
from sammed3d_nb.server.wire import Announced, difference, meta_of, unpacked

_NOTES = 2000


class Current(Calls):
    """The calls of the current protocol for one model."""

    @property
    def posts(self) -> dict[str, Call]:
        """What answers a POST, by path."""
        return {
            "/claim": self.claim,
            "/release": self.release,
            "/heartbeat": self.heartbeat,
            "/set_image": self.set_image,
            "/set_target_buffer": self.set_target_buffer,
            "/reset_interactions": self.reset_interactions,
            "/set_do_autozoom": self.set_do_autozoom,
            "/undo": self.undo,
            "/predict": self.predict,
            "/add_point_interaction": self.add_point,
            "/add_bbox_interaction": self.add_box,
            "/add_scribble_interaction": self.add_scribble,
            "/add_lasso_interaction": self.add_lasso,
            "/add_initial_seg_interaction": self.add_mask,
        }

    @property
    def gets(self) -> dict[str, Call]:
        """What answers a GET, by path."""
        return {"/healthz": self.healthz, "/capabilities": self.capabilities, "/lease_status": self.lease_status}

    # -- leases --------------------------------------------------------------------------------------------------

    async def healthz(self, request: Request) -> Response:
        """Who is there, and what is assumed."""
        return JSONResponse(self.house.health)

    async def capabilities(self, request: Request) -> Response:
        """What the model takes, and its licence."""
        return JSONResponse(self.served.capabilities)

    async def claim(self, request: Request) -> Response:
        """A place."""
        leases = self.house.leases
        lease = self.house.claim(request.scope["who"], request.scope["waiter"], self.served)
        return JSONResponse(
            {
                "lease_token": lease.token,
                "idle_timeout_seconds": leases.idle,
                "liveness_timeout_seconds": leases.liveness,
                "max_sessions": leases.most,
            }
        )

    async def release(self, request: Request) -> Response:
        """Give the place back; the record stays."""
        lease = self.house.leases.release(request.headers.get("x-lease-token"))
        if lease is not None:
            await self.house.retire(lease)
        return JSONResponse({"released": lease is not None})

    async def heartbeat(self, request: Request) -> Response:
        """The client is there; whether it does something is another question."""
        lease = self.house.lease(request, self.served, acted=False)
        return JSONResponse({"remaining_seconds": self.house.leases.remaining(lease)})

    async def lease_status(self, request: Request) -> Response:
        """How long there is."""
        lease = self.house.leases.get(request.headers.get("x-lease-token"))
        leases = self.house.leases
        return JSONResponse({"remaining_seconds": leases.remaining(lease), "idle_timeout_seconds": leases.idle})

    # -- the image and the mask ----------------------------------------------------------------------------------

    async def set_image(self, request: Request) -> Response:
        """An image to work on; what was said about it before is found again."""
        lease = self.house.lease(request, self.served)
        properties = meta_of(request.headers.get("x-meta")).get("image_properties") or {}
        if not isinstance(properties, dict):
            raise Refused(400, f"image_properties is {properties!r:.40}; expected an object.")
        with ExitStack() as stack:

            async def accept(found: Announced) -> None:
                if len(found.shape) != 4 or found.shape[0] != 1 or min(found.shape[1:]) < 2:
                    raise Refused(
                        400,
                        f"The image is {found.told}; expected one channel of a volume, (1, k, j, i), with at least two "
                        "voxels along each axis.",
                    )
                await self.house.make_room(lease, found.nbytes)
                stack.enter_context(self.room_for(found.nbytes, f"An image of {found.told}"))

            body = await packed_body(request, lease, accept)
            volume = await self.house.show(lease, lambda: (unpacked(body)[0], properties))
            lease.desk.one_object = properties.get("one_object") is True
        return JSONResponse({"original_image_shape": [1, *volume.array.shape], "remarks": list(volume.warnings)})

    async def set_target_buffer(self, request: Request) -> Response:
        """The client has a new copy of the mask."""
        lease = self.house.lease(request, self.served)
        fields = await json_body(request)
        shape = fields.get("shape")
        if not isinstance(shape, list) or not all(isinstance(n, int) for n in shape):
            raise Refused(400, f"The shape of the target buffer is {shape!r:.40}; expected a list of whole numbers.")
        await self.house.work(lease, lambda desk: desk.set_target(shape), turn=False)
        return JSONResponse({})

    async def reset_interactions(self, request: Request) -> Response:
        """The client begins anew."""
        lease = self.house.lease(request, self.served)
        await self.house.work(lease, Desk.reset, turn=False)
        return JSONResponse({})

    async def set_do_autozoom(self, request: Request) -> Response:
        """Whether masks may grow beyond a cube, and cubes be chosen by size."""
        lease = self.house.lease(request, self.served)
        on = flag(await json_body(request), "do_autozoom")
        await self.house.work(lease, lambda desk: desk.set_zoom(on), turn=False)
        return JSONResponse({})

    # -- prompts -------------------------------------------------------------------------------------------------

    async def undo(self, request: Request) -> Response:
        """Take back what was said last."""
        return await self._answer(request, Desk.undo, turn=False)

    async def predict(self, request: Request) -> Response:
        """Answer what waits."""
        return await self._answer(request, Desk.predict)

    async def add_point(self, request: Request) -> Response:
        """A click."""
        self.house.lease(request, self.served)
        fields = await json_body(request)
        positive, run = flag(fields, "include_interaction"), flag(fields, "run_prediction", True)
        return await self._answer(
            request, lambda desk: desk.prompt(Point(drawn.point(fields.get("coordinates"), desk.volume), positive), run)
        )

    async def add_box(self, request: Request) -> Response:
        """A box."""
        self.house.lease(request, self.served)
        fields = await json_body(request)
        positive, run = flag(fields, "include_interaction"), flag(fields, "run_prediction", True)
        return await self._answer(
            request, lambda desk: desk.prompt(drawn.box(fields.get("bbox_coords"), positive, desk.volume), run)
        )

    async def add_scribble(self, request: Request) -> Response:
        """A stroke, as painted voxels in a box."""

        def made(desk: Desk, mask: Any, where: Any, positive: bool) -> tuple[Prompt, str]:
            return drawn.scribble(drawn.painted(mask, where, desk.volume), positive), ""

        return await self._add_painted(request, made)

    async def add_lasso(self, request: Request) -> Response:
        """A closed line on a slice, as the painted voxels inside it."""

        def made(desk: Desk, mask: Any, where: Any, positive: bool) -> tuple[Prompt, str]:
            return drawn.lasso(drawn.painted(mask, where, desk.volume), positive)

        return await self._add_painted(request, made)

    async def _add_painted(self, request: Request, made: Callable[..., tuple[Prompt, str]]) -> Response:
        lease = self.house.lease(request, self.served)
        meta = meta_of(request.headers.get("x-meta"))
        positive, run = flag(meta, "include_interaction"), flag(meta, "run_prediction", True)
        with ExitStack() as stack:

            async def accept(found: Announced) -> None:
                _fits(found, lease.desk)
                stack.enter_context(self.room_for(found.nbytes, f"A mask of {found.told}"))

            body = await packed_body(request, lease, accept)

            def say(desk: Desk) -> Change:
                prompt, note = made(desk, unpacked(body), meta.get("interaction_bbox"), positive)
                return desk.prompt(prompt, run, [note] if note else [])

            return await self._answer(request, say)

    async def add_mask(self, request: Request) -> Response:
        """A mask that the client has, to go on from."""
        lease = self.house.lease(request, self.served)
        run = flag(meta_of(request.headers.get("x-meta")), "run_prediction", False)
        with ExitStack() as stack:

            async def accept(found: Announced) -> None:
                shape = lease.desk.volume.array.shape
                if found.shape != shape:
                    raise PromptError(f"The mask is {found.told}; expected the image's shape {shape} (k, j, i).")
                _fits(found, lease.desk)
                stack.enter_context(self.room_for(found.nbytes, f"A mask of {found.told}"))

            body = await packed_body(request, lease, accept)
            return await self._answer(request, lambda desk: desk.seed(LocalMask.of(unpacked(body)), run))

    async def _answer(self, request: Request, what: Callable[[Desk], Change], *, turn: bool = True) -> Response:
        """Do something at the desk; what changes in the client's mask goes back."""
        lease = self.house.lease(request, self.served)
        change = await self.house.work(lease, what, turn=turn)
        box, body = await asyncio.to_thread(difference, change.shown, change.mask, change.unsure)
        meta: dict[str, Any] = {"ran_prediction": change.ran, "bbox": box}
        if change.notes:
            meta["notes"] = " ".join(change.notes)[:_NOTES]
        return Response(
            body,
            media_type="application/octet-stream",
            headers={"X-Meta": json.dumps(meta, separators=(",", ":"))},
        )


def _fits(found: Announced, desk: Desk) -> None:
    """Refuse a mask larger than the image."""
    shape = desk.volume.array.shape
    if len(found.shape) != 3 or any(n > most for n, most in zip(found.shape, shape, strict=True)):
        raise PromptError(f"The mask is {found.told}; the image has {shape} voxels (k, j, i).")
    if found.dtype.itemsize > 8:
        raise PromptError(f"The mask holds {found.dtype}; expected whole numbers of 8 bits.")
