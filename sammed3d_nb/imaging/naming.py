"""What to call an image by where it lies, and which files are no images to segment: exports and label maps."""

from __future__ import annotations

import os
from pathlib import Path

MASKS = ".masks"
"""Stands before the suffix of masks that are exported under a name of the program's own."""

_FOR_EVERY_PATIENT = frozenset(
    """image images img imgs imaging volume vol scan scans series data raw input anat ct cbct pet mr mri
    t1 t1w t1c t1ce t1gd t2 t2w flair dwi adc dicom dcm nifti nii nrrd""".split()  # noqa: SIM905  a list of words
)
_LABELS = frozenset({"label", "labels", "labelmap", "mask", "masks", "seg", "segmentation", "segmentations", "gt"})


def stem(path: Path) -> str:
    """The file's name without its suffix, .nii.gz included."""
    name = path.name
    for suffix in (".nii.gz", ".img.gz", ".hdr.gz"):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return path.stem


def telling_name(name: str, path: Path) -> str:
    """The name of an image; where it is the same for every patient, that of the nearest folder that tells more.

    ``case17/image.nii.gz`` is called case17, and so is ``case17/CT/`` with a DICOM series that is described as "CT".

    Args:
        name: What the file itself says.
        path: The file or folder; links are not followed.
    """
    place = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow a link into a store of hashes
    candidates = (name, stem(place), *(folder.name for folder in place.parents))
    return next((found for found in candidates if found and found.lower() not in _FOR_EVERY_PATIENT), name)


def names_image(text: str, path: Path | None) -> bool:
    """Whether a file's name tells from which file or folder its image came, which may be named after a patient."""
    if path is None:
        return False
    name = telling_name(stem(Path(os.path.abspath(path))), path).lower()  # noqa: PTH100  as above
    return len(name) > 3 and name not in _FOR_EVERY_PATIENT and name in text.lower()


def is_export(path: Path) -> bool:
    """Whether a file's name says that it holds exported masks; `writers.is_ours` looks into the file."""
    return stem(path).lower().endswith((MASKS, ".seg"))


def is_label_map(path: Path) -> bool:
    """Whether a file's name says that it holds the labels of the image beside it, as in ``case17/label.nii.gz``."""
    return stem(path).lower() in _LABELS
