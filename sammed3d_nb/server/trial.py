"""A server of the nnInteractive protocol under trial: clients, requests that no client sends, and an image made up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
from numpy.typing import NDArray

SHAPE = (36, 72, 96)
SPACING = (3.0, 1.5, 1.0)
"""mm along k, j, i."""
CENTRES = ((18, 16, 62), (14, 52, 24))
RADIUS_MM = 14.0
Mask = NDArray[np.uint8]


class Failed(Exception):  # noqa: N818  it says what is the case
    """Something is not as the protocol has it; the sentence says what."""


@dataclass
class Trial:
    """A server under trial.

    Attributes:
        url: Its address.
        key: The key that it asks for.
        session: The client that is connected, once it is.
        mask: The client's copy of the mask, (k, j, i).
        remarks: What is allowed and yet not good, of the present attempt.
    """

    url: str
    key: str | None
    session: Any = None
    mask: Mask = field(default_factory=lambda: np.zeros(SHAPE, np.uint8))
    remarks: list[str] = field(default_factory=list)

    def connect(self) -> Any:
        """Another client."""
        return nnInteractiveRemoteInferenceSession(self.url, api_key=self.key)

    def renew(self) -> None:
        """A client that nothing is known of, with the image, in place of the one before."""
        if self.session is not None:
            self.session.close()
        self.session = self.connect()
        self.mask = self.begin(self.session)

    def begin(self, session: Any) -> Mask:
        """Send the image; the client's copy of the mask."""
        session.set_image(image()[None], {"spacing": list(SPACING)})
        mask = np.zeros(SHAPE, np.uint8)
        session.set_target_buffer(mask)
        return mask

    def raw(self, method: str, path: str, token: str | None = None, **rest: Any) -> httpx.Response:
        """A request as no client sends it."""
        headers = {**rest.pop("headers", {})}
        if token:
            headers["X-Lease-Token"] = token
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        return httpx.request(method, self.url.rstrip("/") + path, headers=headers, timeout=60, **rest)

    @property
    def alive(self) -> bool:
        """Whether the server answers at all."""
        try:
            self.raw("GET", "/healthz")
        except httpx.HTTPError:
            return False
        return True

    def expect(self, holds: bool, sentence: str) -> None:
        """Go on if something holds.

        Raises:
            Failed: It does not.
        """
        if not holds:
            raise Failed(sentence)


def image() -> NDArray[np.int16]:
    """(k, j, i) of `SHAPE`: bright ellipsoids of `RADIUS_MM` round `CENTRES` in noise."""
    values = np.random.default_rng(7).normal(0, 10, SHAPE)
    for centre in CENTRES:
        values[distance(centre) < RADIUS_MM] += 300
    return values.astype(np.int16)


def distance(centre: Sequence[int]) -> NDArray[np.float64]:
    """Mm from a voxel (k, j, i), for each voxel."""
    grid = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    offsets = [(axis - at) * step for axis, at, step in zip(grid, centre, SPACING, strict=True)]
    found: NDArray[np.float64] = np.sqrt(sum(np.square(offset) for offset in offsets))
    return found
