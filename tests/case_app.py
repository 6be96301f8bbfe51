"""A worklist in an app without a page: what its panel and its list are asked."""

import time
from collections.abc import Callable

import sammed3d_nb as snb
from sammed3d_nb.worklist.labels import Label, LabelSet

SIZE = (12, 20, 24)
VOXEL, OTHER = (10, 9, 5), (22, 1, 11)
LABELS = LabelSet("t", (Label("liver", "#e69f00", guideline="To the dome."), Label("cyst", "#d55e00", False)), "All.")


def ask(app: snb.App, do: str, value: object = None) -> None:
    app.case.widget._handle_custom_msg({"do": do, "value": value}, [])
    app.wait()


def list_asks(app: snb.App, **content) -> None:
    app.list.rows._handle_custom_msg(content, [])
    app.wait()


def until(there: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def shown(app: snb.App) -> dict:
    return app.case.widget.shown
