"""An existing segmentation beside the work or as its start, and two masks compared."""

import html
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.label_maps import NamedMask, read_label_map
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.measure.distances import Compared, compare_masks
from sammed3d_nb.readable import readable_ml
from sammed3d_nb.session.objects import free_colour
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.describe import rgb
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.quiet import Quiet
from sammed3d_nb.ui.scene import EXTRA
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tabs import Tab, same
from sammed3d_nb.ui.upload import Upload
from sammed3d_nb.ui.view import Shown

ONLY_FIRST, ONLY_SECOND, BOTH = "#ff4d4d", "#4da6ff", "#ffffff"
_NONE = "–"


class ComparePanel(Tab):
    """The panel: files with masks, the layer beside, and two masks next to each other.

    Args:
        stage: What the tools share.
        views: Where the layer beside and the overlap are drawn.

    Attributes:
        beside: Masks of the layer beside; no prompt or edit changes them, and no record or export holds them.
    """

    title, tooltip, action = "Compare", "Open another segmentation, and compare two masks (Shift+K)", "toggle_compare"

    def __init__(self, stage: Stage, views: OrthoViews) -> None:
        self._stage, self._views = stage, views
        self.beside: list[NamedMask] = []
        self._of: tuple[Any, ...] = ()
        self._quiet = Quiet()
        self.upload = Upload(
            stage,
            (
                ("beside", "Open beside…", "A segmentation to look at beside the work, read only"),
                ("start", "Open as objects…", "A segmentation to go on from: its structures become objects"),
            ),
            self._opened_file,
        )
        self.away = widgets.Button(description="✕", tooltip="Take the layer beside away")
        self.away.layout.width = "26px"
        self.away.add_class("snb-beside-away")
        self.away.on_click(lambda _: stage.guarded(self.take_away)())
        files = widgets.HBox([self.upload, self.away])
        files.add_class("snb-foot")
        self.first = self._menu("A", "The first mask")
        self.second = self._menu("B", "The mask that it is compared with")
        self.told = widgets.HTML()
        self.told.add_class("snb-told")
        self.panel = widgets.VBox([files, self.first, self.second, self.told])

    # -- the layer beside ----------------------------------------------------------------------------------------------

    def open_beside(self, path: Path) -> "Future[Any]":
        """Open a segmentation beside the work, in the background: any file that `Session.load_masks` takes."""
        session = self._stage.ready()

        def job() -> list[NamedMask]:
            found = read_label_map(path, session.volume)
            masks = [one for one in found if one.mask.count]
            if not masks:
                raise UserError(f"{path.name} holds no voxel of this volume; choose another file.")
            return masks

        def then(masks: list[NamedMask]) -> None:
            with self._stage.lock:
                if self._stage.session is not session:
                    return
                self.beside = masks
                self._draw_beside(session)
                self._stage.refresh()
                first = ("beside", 0)
                self.second.value = first if first in [value for _, value in self.second.options] else None
            count = f"{len(masks)} structure{'s' if len(masks) > 1 else ''}"
            self._stage.tell(session, f"{path.name}: {count} beside, read only.", notes=())

        return self._stage.run("Opening masks", job, then)

    def take_away(self) -> None:
        """Take the layer beside away."""
        self.beside = []
        self._views.extras.pop("beside", None)
        self._stage.refresh()

    def _opened_file(self, how: str, path: Path) -> "Future[Any]":
        if how == "beside":
            return self.open_beside(path)
        return self._stage.change(
            "Opening masks",
            lambda session: session.load_masks(path),
            notes=lambda made: list(
                dict.fromkeys(note for item in made for note in (item.result.notes if item.result else ()))
            ),
            message=lambda made: f"{path.name}: {len(made)} object{'s' if len(made) > 1 else ''} to go on from.",
        )

    def _draw_beside(self, session: Session) -> None:
        colours = [one.colour or free_colour(session.objects) for one in self.beside]
        self._views.extras["beside"] = [
            Shown(one.mask, rgb(colour), name=f"{EXTRA}beside {number}", fill=False)
            for number, (one, colour) in enumerate(zip(self.beside, colours, strict=True))
        ]

    # -- two masks -----------------------------------------------------------------------------------------------------

    def opened(self) -> None:
        """Compare what is chosen, or show no overlap any more."""
        self._of = ()
        if self.open:
            self.refresh(self._stage.session)
        elif self._views.extras.pop("compare", None) is not None:
            self._stage.refresh()

    def show(self, session: Session) -> None:
        """Another volume: the layer beside was of the one before."""
        self.upload.drop()
        self.beside, self._of = [], ()
        self._views.extras.pop("beside", None)
        self._views.extras.pop("compare", None)
        self.told.value = ""

    def refresh(self, session: Session | None) -> None:
        """Offer the masks that there are, and compare anew what has changed."""
        self.away.disabled = not self.beside
        if session is None:
            return
        ours = [(item.name, ("object", item.key)) for item in session.objects if item.local.count]
        theirs = [(name, ("beside", number)) for number, name in enumerate(self._names())]
        self._fill(self.first, [*ours, *theirs])
        self._fill(self.second, [*ours, *theirs])
        if self.open:
            chosen = self._chosen(session)
            of = tuple(part for name, mask in chosen for part in (name, mask))
            if not same(of, self._of):
                self._of = of
                self._compare(session, chosen, of)

    def release(self) -> None:
        """Let go of the layer beside."""
        self.upload.drop()
        self.beside = []

    def _compare(self, session: Session, chosen: list[tuple[str, LocalMask | None]], of: tuple[Any, ...]) -> None:
        (first, a), (second, b) = chosen
        if a is None or b is None or a is b:
            self.told.value = '<p class="snb-hint">Choose two masks to compare.</p>'
            if self._views.extras.pop("compare", None) is not None:
                self._views.redraw()
            return

        def job() -> None:
            both = a & b
            parts = ((a.without(both), ONLY_FIRST), (b.without(both), ONLY_SECOND), (both, BOTH))
            compared = compare_masks(a, b, session.volume.spacing)
            with self._stage.lock:
                if self.open and of is self._of and self._stage.session is session:
                    self._views.extras["compare"] = [
                        Shown(mask, rgb(colour), name=f"{EXTRA}compare {number}", outline=False)
                        for number, (mask, colour) in enumerate(parts)
                        if mask.count
                    ]
                    self.told.value = _html(compared, first, second)
                    self._stage.refresh()

        self._stage.worker.submit("Comparing", job)

    def _chosen(self, session: Session) -> list[tuple[str, LocalMask | None]]:
        masks: dict[Any, tuple[str, LocalMask]] = {
            **{("object", item.key): (item.name, item.local) for item in session.objects},
            **{
                ("beside", number): (name, one.mask)
                for number, (name, one) in enumerate(zip(self._names(), self.beside, strict=True))
            },
        }
        return [masks.get(menu.value, (_NONE, None)) for menu in (self.first, self.second)]

    def _names(self) -> list[str]:
        """What the menus call the masks beside; those of one name get a number behind it."""
        names = [one.name for one in self.beside]
        counted = (f"{name} ({names[:at].count(name) + 1})" for at, name in enumerate(names))
        return [f"beside: {more if names.count(name) > 1 else name}" for name, more in zip(names, counted, strict=True)]

    def _menu(self, text: str, tooltip: str) -> widgets.Dropdown:
        menu = widgets.Dropdown(
            options=[(_NONE, None)],
            description=text,
            style={"description_width": "18px"},
            layout=widgets.Layout(width="auto"),
        )
        menu.tooltip = tooltip
        menu.add_class(f"snb-compare-{text.lower()}")

        def changed(change: dict[str, Any]) -> None:
            if not self._quiet:
                with self._stage.lock:
                    self.refresh(self._stage.session)

        menu.observe(self._stage.guarded(changed), names="value")
        return menu

    def _fill(self, menu: widgets.Dropdown, options: list[tuple[str, Any]]) -> None:
        wanted = ((_NONE, None), *options)
        if tuple(menu.options) != wanted:
            with self._quiet:
                before = menu.value
                menu.options = wanted
                menu.value = before if before in [value for _, value in wanted] else None


def _html(compared: Compared, first: str, second: str) -> str:
    """What the panel says of two masks."""

    def mm(value: float | None) -> str:
        return _NONE if value is None else f"{value:.2f} mm"

    numbers = (
        ("Dice", f"{compared.dice:.4f}"),
        ("Mean surface distance", mm(compared.mean_mm)),
        ("HD95", mm(compared.hd95_mm)),
    )
    parts = (
        (ONLY_FIRST, f"only {first}", compared.only_first_ml),
        (ONLY_SECOND, f"only {second}", compared.only_second_ml),
        (BOTH, "both", compared.both_ml),
    )
    rows = [f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in numbers] + [
        f'<tr><th><i style="background:{colour}"></i>{html.escape(name)}</th><td>{readable_ml(ml)}</td></tr>'
        for colour, name, ml in parts
    ]
    return f'<table class="snb-facts snb-compared">{"".join(rows)}</table>'
