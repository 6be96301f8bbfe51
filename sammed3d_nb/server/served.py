"""A model that is served: one copy of the weights for everybody, and what it says of itself."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.embeddings import EmbeddingCache
from sammed3d_nb.segmenters.segmenter import Engine, Segmenter
from sammed3d_nb.version import __version__

EMBEDDINGS = 1024 * 2**20
"""Bytes of embeddings that are held for all images of a model together."""
_TOOLS = {"points": "point", "bbox2d": "box", "bbox3d": "box", "scribble": "scribble", "lasso": "lasso"}
"""The protocol's names for kinds of prompts."""
UNKNOWN = "!!MISSING!!"
"""What the protocol says of a licence that nobody knows."""


class Served:
    """A model under its name in the server's addresses; an engine whose segmenters share what they have encoded.

    Args:
        engine: What `load_model` gave.
        name: Its name in addresses, ``/m/NAME/…``.
        licence: Of its weights.
        embeddings: Bytes of embeddings to hold.
    """

    def __init__(self, engine: Engine, name: str, licence: str = UNKNOWN, *, embeddings: int = EMBEDDINGS) -> None:
        self.engine = engine
        self.name = name
        self.licence = licence
        self._cache = EmbeddingCache(embeddings, least=12)
        self._lock = threading.Lock()
        self.prompts: Mapping[str, str] = engine.prompts
        self.notes: list[str] = engine.notes

    @property
    def spec(self) -> Any:
        """What the model is."""
        return self.engine.spec

    @property
    def fingerprint(self) -> str | None:
        """What tells its weights from others."""
        found: str | None = self.engine.fingerprint
        return found

    @property
    def files(self) -> Any:
        """The files of its weights."""
        return self.engine.files

    @property
    def about(self) -> Mapping[str, str]:
        """What records and exports tell of it."""
        return self.engine.about

    @property
    def described(self) -> str:
        """It in a few words."""
        return self.engine.described

    @property
    def ahead(self) -> bool:
        """Nobody's mouse rests on a server."""
        return False

    def segmenter(self, volume: Volume) -> Segmenter:
        """A segmenter for a volume; of networks that see cubes, with the embeddings of everybody on that image."""
        segmenter: Any = self.engine.segmenter(volume)
        if isinstance(getattr(segmenter, "cache", None), EmbeddingCache):
            segmenter.cache = _OfImage(self._cache, volume.fingerprint)
        given: Segmenter = segmenter
        return given

    @property
    def bytes_per_voxel(self) -> int:
        """Bytes that the model keeps of an image for each of its voxels."""
        return self.engine.bytes_per_voxel

    def kept_of(self, voxels: int) -> int:
        """Bytes that the model keeps of an image of so many voxels, beside the image and what it has encoded of it."""
        return voxels * self.bytes_per_voxel

    def forget(self, volume: Volume) -> None:
        """Let go of what is kept of an image that nobody works on any more."""
        self._cache.drop(lambda key: key[0] == volume.fingerprint)
        self.engine.forget(volume)

    @property
    def embedded_bytes(self) -> int:
        """Bytes of the embeddings held."""
        return self._cache.nbytes

    @property
    def capabilities(self) -> dict[str, Any]:
        """What it takes, in the protocol's words; nothing that it refuses."""
        supported = {tool: self.prompts.get(kind, "refused") != "refused" for tool, kind in _TOOLS.items()}
        starts = self.prompts.get("mask", "refused") != "refused"
        return {
            "supported_interactions": supported,
            # of a network with prompts as channels; ours has none, and clients ask for numbers all the same
            "channel_mapping": {"points": [1, 2], "bbox2d": [3, 4], "bbox3d": [3, 4], "lasso": [3, 4],
                                "scribble": [5, 6], "prev_seg": 0},
            "num_interaction_channels": 7,
            "supports_initial_label": starts,
            "supports_zero_shot_label_refinement": False,
            "preferred_scribble_thickness": [2, 2, 2],
            "interaction_decay": 1.0,
            "patch_size": [self.spec.cube_size] * 3 if getattr(self.spec, "cube_size", 0) else None,
            "do_autozoom": True,
            "inference_session_version": __version__,
            "license": self.licence,
            "supports_undo": True,
            "model": self.name,
            "prompts": dict(self.prompts),
        }  # fmt: skip


class _OfImage:
    """The part of a cache that belongs to one image; see `EmbeddingCache`."""

    def __init__(self, cache: EmbeddingCache, fingerprint: str) -> None:
        self._cache, self._fingerprint = cache, fingerprint

    def get(self, cube: Any, encode: Callable[[], Any]) -> tuple[Any, bool]:
        return self._cache.get((self._fingerprint, cube), encode)

    def __contains__(self, cube: Any) -> bool:
        return (self._fingerprint, cube) in self._cache


def serve(source: str | Path | None, engine: Any, **options: Any) -> Served:
    """A loaded model as it is served: under the name or the file's stem that it was loaded by, with its licence."""
    from sammed3d_nb.models.hub import KNOWN

    name = "compact" if source is None else str(source)
    stem = name if name in KNOWN or source is None else Path(name).stem or name
    by_sum = {known.sha256: known.licence for known in KNOWN.values()}
    licence = getattr(engine, "licence", None) or by_sum.get(getattr(engine.spec, "sha256", None) or "")
    if licence is None and name == "compact":
        licence = "Apache-2.0"
    return Served(
        engine, re.sub(r"[^a-z0-9._-]+", "-", stem.lower()).strip("-.") or "model", licence or UNKNOWN, **options
    )
