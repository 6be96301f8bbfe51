"""tools/chromium.py, whose standard output the Makefile takes for the browser's path."""

import os
import subprocess
import sys
from pathlib import Path

import chromium
import pytest


def found(folder, **environment):
    """Run it where nothing is installed but what the environment names."""
    places = {"PATH": str(folder), "PLAYWRIGHT_BROWSERS_PATH": str(folder), **environment}
    kept = {name: value for name, value in os.environ.items() if name != "SAMMED3D_CHROMIUM"}
    return subprocess.run(
        [sys.executable, chromium.__file__], env={**kept, **places}, capture_output=True, text=True, timeout=60
    )


def test_no_browser_is_told_on_standard_error(tmp_path):
    if any(Path(place).exists() for place in chromium.PLACES):
        pytest.skip("a browser is in one of the fixed places")
    done = found(tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "No Chromium or Chrome here; install one, or name it in SAMMED3D_CHROMIUM.\n"


@pytest.mark.skipif(os.name != "posix", reason="a shell script stands for the browser")
def test_the_named_browser_is_printed_and_nothing_else(tmp_path):
    browser = tmp_path / "browser"
    browser.write_text("#!/bin/sh\nexit 0\n")
    browser.chmod(0o755)
    done = found(tmp_path, SAMMED3D_CHROMIUM=str(browser))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{browser}\n", "")
