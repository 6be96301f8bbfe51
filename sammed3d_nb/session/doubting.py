"""Where the network is unsure of the current object, and where to look next."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import PromptError
from sammed3d_nb.imaging.region import Index, LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.doubt import APART_MM, SCORES, UNSURE, Doubt, Place, places
from sammed3d_nb.session.making import Maker
from sammed3d_nb.session.objects import SegmentedObject
from sammed3d_nb.session.table import ObjectTable

MOST_PLACES = 30
"""So many are offered of one answer: nobody goes on to those that hardly count."""


class Doubting(ObjectTable, ABC):
    """The part of a `Session` that tells how sure the network is.

    Args:
        volume: The volume.
    """

    _maker: Maker

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume)
        self._doubt: tuple[list[Any], Doubt] | None = None  # what it was made of, and it
        self._places: tuple[Doubt, str, Iterator[Place]] | None = None  # those that come next
        self._looked: dict[int, list[Index]] = {}  # places that were looked at, by object

    def doubt(self) -> NDArray[np.float32]:
        """How unsure the network is of each voxel of the current object.

        Returns:
            float32 (z, y, x) over the volume: 1 − |2p − 1| with p the probability that the voxel belongs to the
            object, so 0 where the network is sure of one or the other, 1 where p is a half. 0 in voxels that a hand
            has set and in those that other objects keep.

        Raises:
            PromptError: The model has not answered for this object, or gives masks alone.
        """
        return self.local_doubt().full

    def unsure(self, level: float = UNSURE) -> LocalMask:
        """The voxels of at least so much doubt (0 to 1), e.g. as `within` of `Session.paint`.

        Raises:
            PromptError: As `doubt`.
        """
        if not (isinstance(level, int | float | np.number) and 0 < level <= 1):
            raise PromptError(f"Doubt goes from 0 to 1; a level of {level!r:.20} chooses nothing of it.")
        return self.local_doubt().above(level)

    def look_next(self, score: str = SCORES[0]) -> Place | None:
        """Where to look next: the most unsure place of the current object that was not looked at yet.

        Args:
            score: How regions are ranked, one of `doubt.SCORES`; see `doubt.places`.

        Returns:
            The place; None when all were looked at: the next call begins with the first again.

        Raises:
            PromptError: As `doubt`; or there is no such score.
        """
        with self._lock:
            key, doubt = self.current.key, self.local_doubt()
            if self._places is None or self._places[0] is not doubt or self._places[1] != score:
                self._places = doubt, score, islice(places(doubt, self.volume.spacing, score), MOST_PLACES)
            looked = self._looked.setdefault(key, [])
            for place in self._places[2]:
                ways = np.reshape(looked, (-1, 3)) - place.at
                if (np.linalg.norm(ways * self.volume.spacing, axis=1) >= APART_MM).all():
                    looked.append(place.at)
                    return place
            looked.clear()
            self._places = None
            return None

    def local_doubt(self) -> Doubt:
        """`doubt`, stored only where there is some.

        Raises:
            PromptError: As `doubt`.
        """
        with self._lock:
            item = self.current
            others = [other.local for other in self._others(item)]
            state = [self._maker, item.local, item.fixed, item.edited, item.said, *others]
            if self._doubt is not None and list(map(id, self._doubt[0])) == list(map(id, state)):
                return self._doubt[1]  # what it was made of is held, so that no other object has its id
            found = self._maker.doubt(item)
            if found is None:
                raise PromptError(self._no_doubt(item))
            self._doubt = state, found.without(item.fixed, item.edited, *others)
            return self._doubt[1]

    @abstractmethod
    def _others(self, item: SegmentedObject) -> list[SegmentedObject]:
        """The objects whose voxels this one must leave alone."""

    def _no_doubt(self, item: SegmentedObject) -> str:
        name = self._maker.engine.spec.name
        if item.answered is None:
            return f"{name} has not answered for “{item.name}” yet; click on it first."
        if self._maker.segmenter.tells_doubt:
            return f"{name} has not answered for “{item.name}” since its mask was loaded; click once more."
        return f"{name} gives masks alone and does not tell how sure it is of them; use a model of the SAM-Med3D kind."
