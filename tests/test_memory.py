"""Freed memory is kept for the next click, unless the user's environment says otherwise."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sammed3d_nb import memory

GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc here")
FAULTS = """
import resource, sys
from sammed3d_nb import memory
if "keep" in sys.argv:
    assert memory.keep_freed()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"1") * 50_000_000  # numpy would ask for huge pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
memory.give_back()
print(faults())
"""


def pages(*arguments: str) -> list[int]:
    """Fresh pages that a block of 50 MB takes: after one was freed, and after free memory was given back."""
    run = subprocess.run([sys.executable, "-c", FAULTS, *arguments], capture_output=True, text=True, check=True)
    return [int(line) for line in run.stdout.split()]


@GLIBC
@pytest.mark.skipif(
    Path("/sys/kernel/mm/transparent_hugepage/enabled").exists()
    and "[always]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text(),
    reason="huge pages: a block of 50 MB is few pages here",
)
def test_what_was_freed_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in memory.SET_BY_USER:
        monkeypatch.delenv(name, raising=False)
    again, given_back = pages("keep")
    assert again < 100
    assert given_back > 1000
    assert pages()[0] > 1000, "without it the system is asked each time: the test can fail"


def test_the_users_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not memory.keep_freed()
