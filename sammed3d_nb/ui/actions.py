"""What each action of the shortcut table does to an app."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sammed3d_nb.errors import UserError
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.compose import CT_WINDOWS, Window
from sammed3d_nb.ui.planes import PLANES
from sammed3d_nb.ui.worklist import RECORD, file_stem

if TYPE_CHECKING:
    from sammed3d_nb.ui.app import App

_MOST_DOWNLOADED = 200_000_000  # bytes; larger files stay on the server


def table(app: "App") -> dict[str, Callable[[], object]]:
    """The function of every action in `shortcuts`."""
    views, display = app.views, app.views.display

    def toggle(field: str) -> Callable[[], None]:
        return lambda: app.set_display(field, not getattr(display, field))

    def fade(step: float) -> None:
        app.set_display("opacity", round(min(max(display.opacity + step, 0.0), 1.0), 2))

    def zoom(factor: float) -> Callable[[], None]:
        return lambda: views.zoom(factor)

    def scroll(steps: int) -> Callable[[], None]:
        return lambda: views.scroll(steps)

    windows = {
        f"window_{number}": (lambda window=window: app.set_window(window))
        for number, window in enumerate(CT_WINDOWS.values(), start=1)
    }
    return {
        **windows,
        "window_fit": lambda: fit_window(app),
        "slice_up": scroll(1),
        "slice_down": scroll(-1),
        "slice_up_10": scroll(10),
        "slice_down_10": scroll(-10),
        "zoom_in": zoom(1.25),
        "zoom_out": zoom(0.8),
        "fit": views.fit,
        "next_layout": lambda: views.enlarge(PLANES[(PLANES.index(views.large) + 1) % len(PLANES)]),
        "toggle_sign": app.toolbar.toggle_sign,
        "undo": lambda: app.change("Undoing", lambda s: s.undo()),
        "redo": lambda: app.change("Redoing", lambda s: s.redo()),
        "reset": lambda: app.change("Clearing", lambda s: s.reset()),
        "new_object": lambda: app.change("Adding an object", lambda s: s.new_object()),
        "next_object": lambda: app.change("Selecting", _select_next),
        "toggle_masks": toggle("masks"),
        "opacity_down": lambda: fade(-0.1),
        "opacity_up": lambda: fade(0.1),
        "toggle_prompts": toggle("prompts"),
        "toggle_crosshair": toggle("crosshair"),
        "toggle_cube": toggle("cube"),
        "toggle_smooth": toggle("smooth"),
        "toggle_preview": lambda: app.change("Drawing in 3D", lambda s: toggle_preview(app, s)),
        "toggle_growing": lambda: toggle_growing(app),
        "save": lambda: app.background("Saving", lambda s: _save(app, s)),
        "export": lambda: app.background("Exporting", lambda s: _export(app, s)),
        "toggle_help": app.toggle_help,
        "close_help": lambda: app.toggle_help(False),
    }


def fit_window(app: "App") -> None:
    """Set the window that fits the image."""
    if app.session is not None:
        app.set_window(Window.fitting(app.session.volume.array))


def toggle_growing(app: "App") -> None:
    """Let masks grow beyond their cube, or not, from the next click on."""
    if app.session is not None:
        app.session.grow = not app.session.grow
        app.display.show_growing(app.session.grow)


def toggle_preview(app: "App", session: Session) -> None:
    """Open or close the panel with the masks in 3D."""
    if not app.preview.open and not any(item.local.count for item in session.objects):
        raise UserError("There is no mask to show in 3D yet; click on an organ first.")
    app.preview.toggle()


def _select_next(session: Session) -> None:
    names = [item.name for item in session.objects]
    session.select(names[(names.index(session.current.name) + 1) % len(names)])


def _save(app: "App", session: Session) -> str:
    path = session.save(session.autosave or _folder(app) / f"{file_stem(session.volume)}{RECORD}")
    return f"Saved to {path}."


def _export(app: "App", session: Session) -> str:
    if not any(item.local.count for item in session.objects):
        raise UserError("There is no mask to export yet; click on an organ first.")
    path = session.export(_folder(app) / f"{file_stem(session.volume)}.masks.nii.gz")
    if path.stat().st_size <= _MOST_DOWNLOADED:
        app.page.download(path.name, path.read_bytes())
    return f"Exported to {path}."


def _folder(app: "App") -> Path:
    try:
        app.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {app.output} cannot be made ({error.strerror}); start the app where you may write."
        ) from error
    return app.output
