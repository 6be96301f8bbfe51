"""Saving the session and exporting the masks."""

import itertools
import os
from pathlib import Path

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.label_names import beside
from sammed3d_nb.imaging.naming import MASKS
from sammed3d_nb.session import record
from sammed3d_nb.session.bundle import bundle
from sammed3d_nb.session.export import files_of
from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.bar import Menu, button
from sammed3d_nb.ui.page import Page
from sammed3d_nb.ui.stage import Stage
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.worklist.records import file_stem, made

_FORMATS = (
    ("NIfTI", ".nii.gz"),
    ("NRRD", ".nrrd"),
    ("3D Slicer", ".seg.nrrd"),
    ("DICOM SEG", ".dcm"),
    ("STL", ".stl"),
    ("OBJ", ".obj"),
    ("GLB", ".glb"),
)
_MOST_DOWNLOADED = 200_000_000  # bytes; larger files stay on the server


class Files(Tool):
    """The buttons and keys that write files.

    Args:
        stage: What the tools share.
        page: Takes the exported masks as a download.
        folder: Where the files go.
    """

    def __init__(self, stage: Stage, page: Page, folder: Path) -> None:
        self.page, self.folder = page, folder
        self._written: set[Path] = set()
        self.format = Menu("Format", lambda suffix: None)
        self.format.fill(_FORMATS, ".nii.gz")
        act = stage.guarded(stage.act)
        self.bar_end = (
            button("Save", "save", "Save the session (Ctrl+S)", act),
            button("Export", "export", "Write the masks and download everything as a zip (Ctrl+E)", act),
            self.format.widget,
        )
        self.actions = {
            "save": lambda: stage.background("Saving", self._save),
            "export": lambda: stage.background("Exporting", self._export),
        }

    def _save(self, session: Session) -> str:
        if session.autosave is not None:
            return f"Saved to {session.save(session.autosave)}."
        path = self._free(file_stem(session.volume, anonymous=session.anonymous), record.SUFFIX)
        session.save(path)
        self._written.add(path)
        return f"Saved to {path}."

    def _export(self, session: Session) -> str:
        if not any(item.local.count for item in session.objects):
            raise UserError("There is no mask to export yet; click on an organ first.")
        name = file_stem(session.volume, anonymous=session.anonymous)
        path = self._free(f"{name}{MASKS}", self.format.value)
        session.export(path, overwrite=not {path, beside(path)}.isdisjoint(self._written))
        files = files_of(path)
        self._written.update(files)
        if sum(file.stat().st_size for file in files) <= _MOST_DOWNLOADED:
            self.page.download(f"{name}.zip", bundle(session, files, name))
        return f"Exported to {path}."

    def _free(self, stem: str, suffix: str) -> Path:
        """The first of the names stem, stem-2, … that is free, or that this app has written: it is no one else's."""
        folder = made(self.folder)
        numbered = (folder / f"{stem}{f'-{n}' if n > 1 else ''}{suffix}" for n in itertools.count(1))
        return next(path for path in numbered if self._is_free(path) and self._is_free(beside(path)))

    def _is_free(self, path: Path) -> bool:
        return path in self._written or not os.path.lexists(path)
