"""Find a Chromium or Chrome for the browser tests and the screenshot, or install one.

``python tools/chromium.py`` prints where it is; with ``--install`` it first installs one if there is none: the
distribution's package where that is allowed, else Playwright's own build.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
)
PACKAGES = (
    (
        "apt-get",
        [["apt-get", "update", "-q"], ["apt-get", "install", "-q", "-y", "--no-install-recommends", "chromium"]],
    ),
    ("dnf", [["dnf", "install", "-q", "-y", "chromium"]]),
    ("apk", [["apk", "add", "-q", "chromium"]]),
    ("pacman", [["pacman", "-Sq", "--noconfirm", "chromium"]]),
    ("zypper", [["zypper", "-q", "install", "-y", "chromium"]]),
)


def find() -> str | None:
    """The executable: SAMMED3D_CHROMIUM, one on the PATH, one in the usual places, or Playwright's; else None."""
    named = os.environ.get("SAMMED3D_CHROMIUM")
    candidates = [named, *(shutil.which(name) for name in NAMES), *PLACES, _playwrights()]
    return next((path for path in candidates if path and _runs(path)), None)


def install() -> None:
    """Install the distribution's Chromium where that is allowed, else Playwright's own."""
    prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not prefix or shutil.which("sudo"):
        for manager, commands in PACKAGES:
            if shutil.which(manager) and all(_succeeds([*prefix, *command]) for command in commands) and find():
                return
    _succeeds([sys.executable, "-m", "playwright", "install", *(["--with-deps"] if not prefix else []), "chromium"])


def _playwrights() -> str | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def _runs(path: str) -> bool:
    """Ubuntu's chromium package is an empty shell where snap is missing, so ask for the version."""
    return Path(path).exists() and subprocess.run([path, "--version"], capture_output=True).returncode == 0


def _succeeds(command: list[str]) -> bool:
    print("+", *command, file=sys.stderr, flush=True)
    return subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL).returncode == 0


def main() -> int:
    """Print the executable; 1 if there is none."""
    if "--install" in sys.argv[1:] and not find():
        install()
    found = find()
    if found is None:  # on standard error: the Makefile captures the other
        print("No Chromium or Chrome here; install one, or name it in SAMMED3D_CHROMIUM.", file=sys.stderr)
        return 1
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
