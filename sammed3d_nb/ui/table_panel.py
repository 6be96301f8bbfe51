"""Every object in numbers, and the same as a file."""

import html

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.readable import readable_number
from sammed3d_nb.session.session import Session
from sammed3d_nb.session.statistics import Measured
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tabs import Tab
from sammed3d_nb.worklist.records import file_stem

_HEAD = (  # what stands there, and what it means
    ("Object", ""), ("mL", "Volume"), ("mean ± SD", "Of the intensities"),
    ("mm", "Edges of the box round it, i × j × k"), ("P", "Prompts"), ("E", "Edits"), ("min", "Minutes of work"),
)  # fmt: skip


class TablePanel(Tab):
    """The table while it is open.

    Args:
        stage: What the tools share.
        page: Takes the file as a download.
    """

    title, tooltip, action = "Table", "Volumes, intensities, extents and effort of all objects (K)", "toggle_table"

    def __init__(self, stage: Stage, page: Page) -> None:
        self._stage, self._page = stage, page
        self.table = widgets.HTML()
        self.table.add_class("snb-measures")
        download = widgets.Button(description="Download CSV", tooltip="The table as a file, with everything measured")
        download.layout.width = "auto"
        download.add_class("snb-csv")
        download.on_click(lambda _: stage.guarded(self._download)())
        self.panel = widgets.VBox([self.table, widgets.HBox([download])])

    def opened(self) -> None:
        """Measure what has changed while it was closed."""
        session = self._stage.session
        if self.open and session is not None:
            self._stage.worker.submit("Measuring", lambda: self.settle(session))

    def settle(self, session: Session | None) -> None:
        """Measure anew; only masks that have changed are looked at."""
        if self.open and session is not None:
            told = table_html(session.measure(), {item.name: item.colour for item in session.objects})
            if session is self._stage.session:
                self.table.value = told

    def show(self, session: Session) -> None:
        """Another case: its table follows."""
        self.table.value = ""
        self.opened()

    def _download(self) -> None:
        def job(session: Session) -> str:
            if not any(item.local.count for item in session.objects):
                raise UserError("There is no mask to measure yet; click on an organ first.")
            name = f"{file_stem(session.volume, anonymous=session.anonymous)}-objects.csv"
            self._page.download(name, session.table_text().encode())
            return f"Downloaded {name}."

        self._stage.background("Measuring", job)


def table_html(found: list[Measured], colours: dict[str, str]) -> str:
    """The table, a row for each object."""
    rows = []
    for one in found:
        extent = "–" if one.extent_mm is None else "×".join(f"{mm:.0f}" for mm in one.extent_mm)
        spread = (
            "–" if one.mean is None or one.sd is None else f"{readable_number(one.mean)} ± {readable_number(one.sd, 2)}"
        )
        cells = (
            readable_number(one.volume_ml, 4),
            spread,
            extent,
            str(one.prompts),
            str(one.edits),
            f"{one.minutes:.1f}",
        )
        dot = f'<i style="background:{html.escape(colours.get(one.name, "#888"))}"></i>'
        name, rest = html.escape(one.name), "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th title="{name}">{dot}{name}</th>{rest}</tr>')
    head = "".join(f'<th title="{meaning}">{text}</th>' for text, meaning in _HEAD)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
