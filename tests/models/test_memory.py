"""Freed memory is kept for the next click, unless the user's environment says otherwise."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support import BallNetwork

from sammed3d_nb.models import memory, model
from sammed3d_nb.ui import worker

HUGE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
FAULTS = """
import resource, sys, threading
from sammed3d_nb.models import memory
if "keep" in sys.argv:
    assert memory.keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"1") * 50_000_000
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
def run():
    faults()
    print(faults())
    memory.give_back()
    print(faults())
if "thread" in sys.argv:
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
else:
    run()
"""


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}


def pages(*arguments: str) -> list[int]:
    """Fresh pages that a block of 50 MB takes: after one was freed, and after free memory was given back."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=clean())
    return [int(line) for line in run.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc here")
@pytest.mark.skipif(HUGE.exists() and "[always]" in HUGE.read_text(), reason="huge pages: 50 MB are few pages here")
@pytest.mark.parametrize("where", ["main", "thread"])
def test_what_was_freed_is_used_again(where: str) -> None:
    again, given_back = pages(where, "keep")
    assert again < 100
    assert given_back > 1000
    assert pages(where)[0] > 1000, "without it the system is asked each time"


class Library:
    """A C library that refuses what is too large for it."""

    def __init__(self, largest: int) -> None:
        self.largest, self.told = largest, []

    def mallopt(self, parameter: int, value: int) -> int:
        if parameter == memory.MMAP_THRESHOLD and value > self.largest:
            return 0
        self.told.append((parameter, value))
        return 1


@pytest.mark.parametrize(("largest", "accepted"), [(2**40, 64 * 2**20), (32 * 2**20, 32 * 2**20), (0, None)])
def test_older_libraries_get_what_they_take_or_nothing(largest, accepted, monkeypatch) -> None:
    library = Library(largest)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(memory, "os", SimpleNamespace(environ={}))
    assert memory.keep_freed() == (accepted is not None)
    wanted = [(-3, accepted), (-1, 256 * 2**20), (-8, 1)]
    assert library.told == (wanted if accepted is not None else [])


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_the_users_own_settings_stay(name, monkeypatch) -> None:
    library = Library(2**40)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(memory, "os", SimpleNamespace(environ={name: "1"}))
    assert not memory.keep_freed()
    assert library.told == []


def test_a_model_on_a_cpu_and_the_apps_thread_keep_it(monkeypatch) -> None:
    told = []
    monkeypatch.setattr(memory, "keep_freed", lambda: told.append("model"))
    monkeypatch.setattr(worker, "keep_freed", lambda: told.append("worker"))
    model.Model(BallNetwork(), torch.device("cpu"))
    worker.Worker(lambda: None, lambda error: None).close(lambda: None, wait=True)
    assert told == ["model", "worker"]
