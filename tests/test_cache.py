"""An open page that nobody uses gives its embeddings' GPU memory back. A meta tensor stands for one on a GPU."""

import gc
import threading
import time
import weakref

import pytest
import torch
from support import torso_like

from sammed3d_nb.cache import EmbeddingCache
from sammed3d_nb.cube import Cube

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
