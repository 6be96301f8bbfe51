"""Embeddings by cube (or any key): the least recently used goes first, bounded in bytes, computed once.

A page that is left open keeps its kernel, so what lies in a GPU's memory is let go after a while without a click: to
encode a cube again takes a GPU milliseconds. A CPU's memory is kept.
"""

import contextlib
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

LIMIT_BYTES = 256 * 2**20
IDLE_SECONDS = 600.0


class EmbeddingCache:
    """Safe to use from several threads: who asks for a cube that is being encoded waits for that one encoding.

    Args:
        limit: Bytes to hold.
        least: Newest embeddings to hold even if they are larger than that, so that an object that needs several cubes
            does not push out its own.
        idle: Seconds without a call of `get` after which embeddings in a GPU's memory are let go.
    """

    def __init__(self, limit: int = LIMIT_BYTES, *, least: int = 1, idle: float = IDLE_SECONDS) -> None:
        self.limit = limit
        self.least = least
        self.idle = idle
        self._used = time.monotonic()
        self._watched = False
        self._lock = threading.Lock()
        self._embeddings: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    def get(self, cube: Hashable, encode: Callable[[], Any]) -> tuple[Any, bool]:
        """The embedding of a cube, and whether it was there before (or under way in another thread)."""
        with self._lock:
            self._used = time.monotonic()
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

    def __contains__(self, cube: Hashable) -> bool:
        with self._lock:
            return cube in self._embeddings

    def drop(self, gone: Callable[[Any], bool]) -> None:
        """Let go of the embeddings of those cubes of which `gone` says so."""
        with self._lock:
            for cube in [cube for cube in self._embeddings if gone(cube)]:
                del self._embeddings[cube]

    @property
    def nbytes(self) -> int:
        """Bytes of what is held."""
        with self._lock:
            return sum(_bytes(future.result()) for future in self._embeddings.values() if _done(future))

    def _shrink(self) -> None:
        with self._lock:
            sizes = {cube: _bytes(future.result()) for cube, future in self._embeddings.items() if _done(future)}
            total = sum(sizes.values())
            for cube in list(sizes)[: -self.least]:
                if total <= self.limit:
                    break
                total -= sizes[cube]
                del self._embeddings[cube]
            if not self._watched and any(map(_on_gpu, self._embeddings.values())):
                self._watched = True
                _watch(weakref.ref(self), self.idle)

    def _look(self) -> float | None:
        """Let go of what lies on a GPU if nobody has asked for long; else, seconds until the next look."""
        with self._lock:
            left = self._used + self.idle - time.monotonic()
            if left > 0:
                return left
            self._watched = False
            self._embeddings = OrderedDict(
                (cube, future) for cube, future in self._embeddings.items() if not _on_gpu(future)
            )
        import torch

        with contextlib.suppress(RuntimeError):  # another thread may be recording a CUDA graph: then it stays reserved
            for accelerator in (torch.cuda, torch.mps):
                if accelerator.is_available():
                    accelerator.empty_cache()  # what was let go goes back to the GPU's other users
        return None


def _watch(reference: "weakref.ref[EmbeddingCache]", seconds: float) -> None:
    """Look at a cache after some seconds, again and again until it is idle or gone; the timer does not hold it."""

    def look() -> None:
        cache = reference()
        left = None if cache is None else cache._look()
        if left is not None:
            _watch(reference, left)

    timer = threading.Timer(seconds, look)
    timer.daemon = True
    timer.start()


def _done(future: "Future[Any]") -> bool:
    return future.done() and future.exception() is None


def _on_gpu(future: "Future[Any]") -> bool:
    return _done(future) and any(part.device.type != "cpu" for part in _parts(future.result()))


def _bytes(embedding: Any) -> int:
    return sum(int(part.element_size() * part.nelement()) for part in _parts(embedding))


def _parts(embedding: Any) -> tuple[Any, ...]:
    return embedding if isinstance(embedding, tuple) else (embedding,)
