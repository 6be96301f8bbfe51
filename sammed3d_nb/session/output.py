"""What comes out of a session for others to read: numbers, tables, label maps, files of masks."""

import os
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.imaging.writers import refuse_name
from sammed3d_nb.session.export import label_map, refuse_identifying, write_export
from sammed3d_nb.session.handwork import Handwork
from sammed3d_nb.session.statistics import Known, Measured, csv_text, measured, write_table


class Output(Handwork):
    """The part of a `Session` that hands out what was made; nothing is changed.

    Args:
        volume: The volume.

    Attributes:
        annotator: Who works on it.
        anonymous: Whether what is handed out must not tell whose image it is.
    """

    annotator: str | None
    anonymous: bool

    def __init__(self, volume: Volume) -> None:
        super().__init__(volume)
        self._figures: Known = weakref.WeakKeyDictionary()

    @property
    def labels(self) -> NDArray[np.uint16]:
        """uint16 (z, y, x): n in the n-th object, else 0; where objects overlap a locked one wins, else the later."""
        return label_map(self.objects, self.volume).astype(np.uint16, copy=False)

    def measure(self) -> list[Measured]:
        """Volume, intensities, extents, prompts and seconds of work of every object."""
        with self._lock:
            return measured(self.objects, self.volume, self.steps, self._figures)

    def table_text(self) -> str:
        """What `measure` tells as comma-separated values, see `statistics.COLUMNS`; anonymous where the session is."""
        return csv_text(self.measure(), self.volume.name, self.annotator, anonymous=self.anonymous)

    def export_table(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `table_text` as a .csv file, whole or not at all.

        Raises:
            UserError: It is there already, or cannot be written.
        """
        return write_table(self.table_text(), absolute(path), overwrite=overwrite)

    def export(
        self, path: str | Path, *, overwrite: bool = False, each: bool = False, anonymous: bool | None = None
    ) -> Path:
        """Write all objects in the format that the suffix names; what was written is read back and compared first.

        Label maps (.nii, .nii.gz, .nrrd, .mha, .mhd) hold 1, 2, … in the order of `objects`, and a JSON file of the
        same name lists them; objects that share voxels with earlier ones go to further files, ``….layer2.nii.gz``,
        under their own numbers. 3D Slicer's .seg.nrrd holds them all in one file. A .dcm is a DICOM SEG, of images
        that were read from DICOM. Surfaces are .stl and .obj, in LPS mm, and .glb; see `surfaces.write_surface`.

        Args:
            path: The file.
            overwrite: Whether a file that is there may be replaced.
            each: Write a file for each object, ``….liver.nii.gz``, in which a label map holds 1.
            anonymous: As for `save`. A file holds no name but the objects' and its own, so that `path` alone is
                looked at; a DICOM SEG names the patient of its image, and is refused.

        Raises:
            UserError: There is no mask, a file is there already or cannot be written, or `path` names the image and
                the export is to be anonymous.
        """
        with self._lock:
            if self._checked_anonymous(anonymous, absolute(path)):
                refuse_identifying(absolute(path))
            return write_export(self.objects, self.volume, absolute(path), overwrite=overwrite, each=each)

    def _checked_anonymous(self, anonymous: bool | None, path: Path) -> bool:
        wanted = self.anonymous if anonymous is None else anonymous
        if wanted:
            refuse_name(path, self.volume.path)
        return wanted


def absolute(path: str | Path) -> Path:
    """An absolute path; ``~`` is the user's home."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111  links are not followed
