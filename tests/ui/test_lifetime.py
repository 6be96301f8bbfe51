"""An app that nobody holds any more ends, and gives its memory back."""

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from ipywidgets.widgets.widget import _instances
from jupyter_client.manager import start_new_kernel
from support import BallNetwork, model_of, torso_like

import sammed3d_nb as snb
from sammed3d_nb.ui.worklist import Case

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's

VOXEL = (110, 100, 30)


def threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("sammed3d")}


def used() -> tuple[snb.App, weakref.ref, weakref.ref]:
    """An app with a mask, a 3D panel, and another case on the screen; its two volumes."""
    first, second = torso_like(), torso_like(seed=4)
    case = Case("second", lambda model, _, volume=second: snb.Session(volume, model))
    app = snb.App(first, model_of(BallNetwork()), cases=[case])
    app.click(VOXEL)
    app.act("toggle_preview")
    app.open(1).result()
    app.click(VOXEL)
    app.under_cursor.rest(app.session, VOXEL)
    return app, weakref.ref(first), weakref.ref(second)


def test_a_closed_app_holds_no_volume_even_if_a_variable_holds_the_app() -> None:
    running = threads()
    app, *volumes = used()
    widget = app.widget  # as IPython's Out would hold it
    app.close()
    gc.collect()
    assert [volume() for volume in volumes] == [None, None]
    assert threads() == running
    assert app.session is None
    assert widget.children == ()
    app.close()  # a second time is no error


def test_an_app_that_no_variable_holds_ends_by_itself() -> None:
    widgets, running = set(_instances), threads()
    app, *volumes = used()
    widget = app.widget
    assert set(_instances) > widgets
    app.wait()
    del app
    gc.collect()
    assert [volume() for volume in volumes] == [None, None]
    assert set(_instances) == widgets
    for thread in threads() - running:
        thread.join(10)
    assert threads() == running
    assert widget.comm is None


def test_an_app_that_ends_does_not_wait_for_its_job_which_shows_nothing_more() -> None:
    app = snb.App(torso_like(), model_of(BallNetwork()))
    started, go_on = threading.Event(), threading.Event()

    def slow(session: snb.Session) -> None:
        started.set()
        assert go_on.wait(20)
        session.new_object("late")

    running, status = app.change("Adding", slow), app.status
    assert started.wait(20)
    del app
    said = status.message
    go_on.set()
    running.result()
    assert status.message == said


class Notebook:
    """A kernel, as JupyterLab speaks to it."""

    def __init__(self) -> None:
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code: str, cell: str | None = None) -> str:
        """Run a cell; what it prints."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell} if cell else {})
        self.client.shell_channel.send(message)
        printed = ""
        while True:
            answer = self.client.get_iopub_msg(timeout=120)
            if answer["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            content = answer["content"]
            assert answer["msg_type"] != "error", "\n".join(content["traceback"])
            printed += content["text"] if answer["msg_type"] == "stream" and content["name"] == "stdout" else ""
            if answer["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed.strip()


@pytest.fixture(scope="module")
def kernel() -> Iterator[Notebook]:
    notebook = Notebook()
    yield notebook
    notebook.client.stop_channels()
    notebook.manager.shutdown_kernel(now=True)


@pytest.fixture
def notebook(kernel: Notebook) -> Notebook:
    """A notebook whose `alive()` tells how many of the volumes that `fresh()` made are still there."""
    places = [str(Path(snb.__file__).parents[1]), str(Path(__file__).parents[1])]
    kernel.run(f"import sys; sys.path[:0] = {places}")
    kernel.run(
        """
import gc, weakref
import sammed3d_nb as snb
from support import BallNetwork, model_of, torso_like

app, made, model = None, [], model_of(BallNetwork())

def fresh():
    volume = torso_like()
    made.append(weakref.ref(volume))
    return volume

def alive():
    gc.collect()
    return sum(volume() is not None for volume in made)
"""
    )
    return kernel


@pytest.mark.parametrize("told", [True, False], ids=["the page tells the cell", "it does not"])
@pytest.mark.parametrize(
    "shows",
    [
        "app = snb.App(fresh(), model)\napp.widget",
        "snb.App(fresh(), model).widget",
        "display(snb.App(fresh(), model).widget)",
    ],
    ids=["in a variable", "shown only", "displayed"],
)
def test_running_a_cell_again_ends_the_app_that_it_showed(notebook: Notebook, shows: str, told: bool) -> None:
    cell = "cell of " + shows if told else None
    shows += f"  # {told}"
    for _ in range(4):
        notebook.run(shows, cell)
        assert notebook.run("print(alive())", "another") == "1", "the last one, which is on the page"


def test_apps_of_other_cells_and_in_variables_stay(notebook: Notebook) -> None:
    notebook.run("app = snb.App(fresh(), model)\napp.widget", "first")
    notebook.run("apps = []\napp = snb.App(fresh(), model)\napp.widget", "second")
    assert notebook.run("print(alive())") == "2", "both are on the page"
    for count in (3, 4):
        notebook.run("apps.append(snb.App(fresh(), model))", "third")
        assert notebook.run("print(alive())") == str(count), "the list holds them"
    assert notebook.run("_ = app.click((110, 100, 30)); print(len(app.session.clicks))") == "1"
    notebook.run("print('no app any more')", "first")
    assert notebook.run("print(alive())") == "3"
    notebook.run("app.close(); apps.clear()")
    notebook.run("pass", "third")
    assert notebook.run("print(alive())") == "0"
