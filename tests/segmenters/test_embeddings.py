"""Embeddings are computed once, bounded in bytes, and let go of when idle; a meta tensor stands for one on a GPU."""

import gc
import threading
import time
import weakref

import pytest
import torch
from support import torso_like

from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.embeddings import EmbeddingCache

NEAR, FAR = Cube.at(torso_like(), (110, 100, 30)), Cube.at(torso_like(), (20, 20, 10))


def wait_until(condition, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def test_an_idle_cache_lets_go_of_gpu_memory_alone_and_encodes_again() -> None:
    cache = EmbeddingCache(idle=0.2)
    cache.get(NEAR, lambda: torch.zeros(4))
    for _ in range(2):
        assert cache.get(FAR, lambda: (torch.zeros(4, device="meta"),))[1] is False
        wait_until(lambda: FAR not in cache)
        assert FAR not in cache
        assert NEAR in cache


def test_a_cache_in_use_keeps_all() -> None:
    cache = EmbeddingCache(idle=1.0)
    end = time.monotonic() + 2.5
    encoded = []
    while time.monotonic() < end:
        cache.get(FAR, lambda: encoded.append(1) or torch.zeros(4, device="meta"))
        time.sleep(0.05)
    assert encoded == [1]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_waiting_holds_neither_a_thread_for_a_cpu_nor_a_cache_that_is_gone(device: str) -> None:
    before = threading.active_count()
    cache = EmbeddingCache(idle=0.3)
    cache.get(FAR, lambda: torch.zeros(4, device=device))
    assert threading.active_count() - before == (device == "meta")
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert gone() is None
    wait_until(lambda: threading.active_count() <= before)
    assert threading.active_count() <= before


class Sized:
    def __init__(self, count: int) -> None:
        self.count = count
        self.device = torch.device("cpu")

    def element_size(self) -> int:
        return 1

    def nelement(self) -> int:
        return self.count


def test_the_least_recently_used_embedding_goes_first() -> None:
    cache, volume = EmbeddingCache(limit=100), torso_like()
    cubes = [Cube.at(volume, (90 + n, 100, 30)) for n in range(4)]
    for cube in cubes[:2]:
        cache.get(cube, lambda: Sized(40))
    cache.get(cubes[0], lambda: pytest.fail("it is there"))
    cache.get(cubes[2], lambda: Sized(40))
    assert [cube in cache for cube in cubes] == [True, False, True, False]
    cache.get(cubes[3], lambda: Sized(500))
    assert [cube in cache for cube in cubes] == [False, False, False, True]
    held = EmbeddingCache(limit=1, least=3)
    for cube in cubes:
        held.get(cube, lambda: Sized(40))
    assert [cube in held for cube in cubes] == [False, True, True, True]


def test_two_threads_encode_a_cube_once() -> None:
    cache, cube = EmbeddingCache(), NEAR
    started, go, calls = threading.Event(), threading.Event(), []

    def encode() -> Sized:
        calls.append(1)
        started.set()
        assert go.wait(10)
        return Sized(1)

    threads = [threading.Thread(target=cache.get, args=(cube, encode)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert started.wait(10)
    go.set()
    for thread in threads:
        thread.join(10)
    assert calls == [1]


def test_a_failed_encoding_is_tried_again() -> None:
    cache, cube = EmbeddingCache(), NEAR
    with pytest.raises(ZeroDivisionError):
        cache.get(cube, lambda: 1 / 0)
    assert cache.get(cube, lambda: Sized(1))[1] is False
