"""A session of nnInteractive, in this process or on a server, whose errors become sentences."""
# ruff: noqa: D102  the methods are those of `Interactive`, which says what they do

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.segmenters.sayings import Changed


class Guarded:
    """A session of the package or of its published client, as `Interactive`."""

    _session: Any

    def _told(self) -> AbstractContextManager[None]:
        """What goes wrong inside, as a sentence."""
        raise NotImplementedError

    def _say(self, call: str, *arguments: Any, **options: Any) -> Changed:
        with self._told():
            changed: Changed = getattr(self._session, call)(*arguments, **options)
            return changed

    @property
    def supports_undo(self) -> bool:
        return bool(self._session.supports_undo)

    @property
    def do_autozoom(self) -> bool:
        return bool(self._session.do_autozoom)

    def set_do_autozoom(self, do_autozoom: bool) -> None:
        with self._told():
            self._session.set_do_autozoom(do_autozoom)

    def set_image(self, image: NDArray[np.generic], image_properties: dict[str, Any] | None = None) -> None:
        with self._told():
            self._session.set_image(image, image_properties)

    def set_target_buffer(self, target_buffer: NDArray[np.uint8]) -> None:
        with self._told():
            self._session.set_target_buffer(target_buffer)

    def reset_interactions(self) -> None:
        with self._told():
            self._session.reset_interactions()

    def undo(self) -> bool:
        with self._told():
            return bool(self._session.undo())

    def add_point_interaction(self, coordinates: Sequence[int], include_interaction: bool) -> Changed:
        return self._say("add_point_interaction", list(coordinates), include_interaction)

    def add_bbox_interaction(self, bbox_coords: Sequence[Sequence[int]], include_interaction: bool) -> Changed:
        return self._say("add_bbox_interaction", bbox_coords, include_interaction)

    def add_scribble_interaction(
        self, image: NDArray[np.uint8], include_interaction: bool, *, interaction_bbox: Sequence[Sequence[int]]
    ) -> Changed:
        return self._say("add_scribble_interaction", image, include_interaction, interaction_bbox=interaction_bbox)

    def add_lasso_interaction(
        self, image: NDArray[np.uint8], include_interaction: bool, *, interaction_bbox: Sequence[Sequence[int]]
    ) -> Changed:
        return self._say("add_lasso_interaction", image, include_interaction, interaction_bbox=interaction_bbox)

    def add_initial_seg_interaction(self, initial_seg: NDArray[np.uint8], run_prediction: bool = False) -> Changed:
        return self._say("add_initial_seg_interaction", initial_seg, run_prediction)


def short(error: BaseException) -> str:
    """The first line of an error, or else its kind, for a sentence."""
    text = str(error).splitlines()[0] if str(error) else ""
    return (text or type(error).__name__)[:120].rstrip(".")
