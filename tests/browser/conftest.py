"""The real pages in a real browser: servers on free ports, Chromium, and what a test needs to find on the screen."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import SimpleITK
from chromium import find
from hand import Hand
from screen import Screen, leave
from servers import Server, Tunnel, free_port
from small_models import save, weights

from sammed3d_nb.commands.servers import (
    door_environment,
    lab_command,
    launch_environment,
    notebooks_folder,
    voila_command,
)
from sammed3d_nb.imaging.sample import open_sample

_ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
_MOST_PAGES = 20  # some tests cut pages off, whose kernels stay for a while


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator:
    """A running Chromium."""
    from playwright.sync_api import sync_playwright

    found = find()
    if found is None:
        pytest.skip("no Chromium or Chrome here; `make test` installs one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def contexts_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test opens in the browser is left at its end: a page that is merely cut off keeps its kernel."""
    if "chromium" not in request.fixturenames:
        yield
        return
    chromium = request.getfixturevalue("chromium")
    others = set(chromium.contexts)
    yield
    for context in set(chromium.contexts) - others:
        leave(context)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a network that answers at once, for tests in which the masks do not matter; they are empty."""
    return str(save(tmp_path_factory.mktemp("model") / "small.pth", {"model_state_dict": weights()}))


@pytest.fixture(scope="session")
def phantom_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The phantom as a file, so that the work on it is saved."""
    path = tmp_path_factory.mktemp("image") / "phantom.nii.gz"
    SimpleITK.WriteImage(open_sample("phantom").image, str(path))
    return path


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Starts the dashboard as `sammed3d-nb app` does: serve(paths) → Server."""
    servers = []

    def start(*paths: Path, folder: Path | None = None, port: int | None = None, **options: str) -> Server:
        folder = folder or tmp_path_factory.mktemp("voila")
        port = port or free_port()
        server = Server(
            voila_command(port=port, open_browser=False, most_pages=_MOST_PAGES),
            {**launch_environment(paths, output=folder, **options), **door_environment("secret")},
            f"http://127.0.0.1:{port}/",
            folder / "server.log",
            "secret",
        )
        servers.append(server)
        server.wait(server.url + "voila/static/none")  # the page itself would start a kernel
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def serve_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """Starts JupyterLab on a copy of the notebooks: serve_lab() → Server."""
    servers = []

    def start() -> Server:
        folder = tmp_path_factory.mktemp("lab")
        port = free_port()
        command = lab_command(port=port, open_browser=False)
        notebooks = notebooks_folder()
        copy = shutil.copytree(notebooks, folder / "notebooks", ignore=shutil.ignore_patterns(".*"))
        command[command.index(str(notebooks))] = str(copy)
        settings = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings")}
        tracker = folder / "settings" / "@jupyterlab" / "notebook-extension" / "tracker.jupyterlab-settings"
        tracker.parent.mkdir(parents=True)
        tracker.write_text('{"windowingMode": "none"}')  # all cells are on the page, so that they can be counted
        settings |= door_environment("test")
        command += ["--LabApp.news_url=None", "--LabApp.workspaces_dir=" + str(folder)]
        server = Server(command, settings, f"http://127.0.0.1:{port}/", folder / "server.log", "test")
        servers.append(server)
        server.wait(server.url + "api?token=test")
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def hand(chromium, serve, phantom_file: Path, small_model: str) -> Iterator[Hand]:
    """One page for all tests of a file, since each page has a kernel of its own; the way to its server can be cut."""
    server = serve(phantom_file, model=small_model)
    tunnel = Tunnel(urlsplit(server.url).port)
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, has_touch=True, color_scheme="dark")
    server.forget()
    screen = Screen(context.new_page())
    screen.page.goto(server.page().replace(server.url, f"http://127.0.0.1:{tunnel.port}/"))
    screen.wait_for_status("Click on an organ")
    screen.settle()
    yield Hand(screen, phantom_file, small_model, server, tunnel)
    context.close()
    tunnel.cut()
