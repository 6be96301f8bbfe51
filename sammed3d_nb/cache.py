"""Embeddings by cube: the least recently used goes first, bounded in bytes, each computed once."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from sammed3d_nb.cube import Cube

LIMIT_BYTES = 512 * 2**20


class EmbeddingCache:
    """Safe to use from several threads: who asks for a cube that is being encoded waits for that one encoding.

    Args:
        limit: Bytes to hold.
        least: Newest embeddings to hold even if they are larger than that, so that an object that needs several cubes
            does not push out its own.
    """

    def __init__(self, limit: int = LIMIT_BYTES, *, least: int = 1) -> None:
        self.limit = limit
        self.least = least
        self._lock = threading.Lock()
        self._embeddings: OrderedDict[Cube, Future[Any]] = OrderedDict()

    def get(self, cube: Cube, encode: Callable[[], Any]) -> tuple[Any, bool]:
        """The embedding of a cube, and whether it was there before (or under way in another thread)."""
        with self._lock:
            future = self._embeddings.get(cube)
            known = future is not None
            if future is None:
                future = self._embeddings[cube] = Future()
            self._embeddings.move_to_end(cube)
        if not known:
            try:
                future.set_result(encode())
            except BaseException as error:
                with self._lock:
                    self._embeddings.pop(cube, None)
                future.set_exception(error)
            self._shrink()
        return future.result(), known

    def __contains__(self, cube: Cube) -> bool:
        with self._lock:
            return cube in self._embeddings

    def _shrink(self) -> None:
        with self._lock:
            sizes = {cube: _bytes(future.result()) for cube, future in self._embeddings.items() if _done(future)}
            total = sum(sizes.values())
            for cube in list(sizes)[: -self.least]:
                if total <= self.limit:
                    break
                total -= sizes[cube]
                del self._embeddings[cube]


def _done(future: "Future[Any]") -> bool:
    return future.done() and future.exception() is None


def _bytes(embedding: Any) -> int:
    parts = embedding if isinstance(embedding, tuple) else (embedding,)
    return sum(int(part.element_size() * part.nelement()) for part in parts)
