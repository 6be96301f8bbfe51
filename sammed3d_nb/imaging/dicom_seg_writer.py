"""DICOM SEG files of a DICOM image, written by highdicom: its patient, its study, its slices, and codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError, VolumeError
from sammed3d_nb.imaging import dicom, dicom_header
from sammed3d_nb.imaging.label_maps import NamedMask, read_label_map
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.imaging.terms import Term, term_of
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.version import __version__

SUFFIX = ".dcm"
_WRITTEN_BY = "sammed3d-nb"
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)  # fmt: skip  of every DICOM object's patient and study (type 2); many files lack some


def write_seg(
    masks: Sequence[NamedMask],
    volume: Volume,
    path: Path,
    *,
    answered_by: Sequence[str] = (),
    codes: Sequence[str] = (),
    overwrite: bool = False,
) -> Path:
    """Write masks as one binary DICOM SEG that refers to the slices of the volume's DICOM image.

    It is read back and every mask compared before it takes its place. A code of SNOMED CT is
    told as it is; without one, names that SNOMED CT knows get its codes and others are "tissue". The same object of the
    same series has the same tracking UID in every file.

    Args:
        masks: On the volume's grid; each has a voxel. They may overlap.
        volume: Read from a DICOM series or multi-frame file.
        path: Ends in .dcm.
        answered_by: For each mask what made it, e.g. the model's name; "" for hands alone.
        codes: For each mask its code of SNOMED CT; "" where its name has to do.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        UserError: The volume is no DICOM image, highdicom is not installed, or the file is there or cannot be written.
    """
    check_source(volume)
    if path.exists() and not overwrite:
        raise VolumeError(f"{path} is there already and was not to be overwritten; choose another name.")
    padded = [*codes, *[""] * len(masks)]
    terms = [term_of(mask.name, code) for mask, code in zip(masks, padded, strict=False)]
    data = _dataset(masks, terms, volume, [*answered_by, *[""] * len(masks)])
    with atomic.told(path), atomic.drafts(path, overwrite=overwrite) as folder:
        data.save_as(folder / path.name, enforce_file_format=True)
        found = read_label_map(folder / path.name, volume)
        if [mask for _, _, mask in found] != [_on_slices(mask, volume) for _, _, mask in masks]:
            raise atomic.differs(path)
    return path


def check_source(volume: Volume) -> None:
    """Refuse a volume that no DICOM SEG can refer to, and say so where highdicom is missing."""
    if volume.path is None or volume.series is None:
        raise VolumeError(
            f"{volume.name} was not read from DICOM, and a DICOM segmentation refers to DICOM slices; write .seg.nrrd"
            " or .nii.gz instead."
        )
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise UserError(
            "DICOM segmentations are written by highdicom, which is not installed; install it with"
            ' pip install "sammed3d-nb[dicom]".'
        ) from error


def _dataset(masks: Sequence[NamedMask], terms: Sequence[Term], volume: Volume, answered_by: Sequence[str]) -> Any:
    import highdicom as hd
    from pydicom.uid import generate_uid

    assert volume.path is not None
    sources, order = _sources(volume)
    first = sources[0]
    series = str(first.SeriesInstanceUID)
    described = [
        _described(number, mask, term, made, series)
        for number, (mask, term, made) in enumerate(zip(masks, terms, answered_by, strict=False), start=1)
    ]
    pixels = _pixels(masks, volume)[order]
    columns, rows, gap = volume.spacing
    with dicom_header.tolerant():
        data = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=pixels,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=described,
            series_instance_uid=generate_uid(),
            series_number=9000 + int(first.get("SeriesNumber") or 0) % 1000,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer=_WRITTEN_BY,
            manufacturer_model_name=_WRITTEN_BY,
            software_versions=__version__,
            device_serial_number="0",
            pixel_measures=hd.PixelMeasuresSequence((rows, columns), gap, gap),
            content_label="SEGMENTATION",
            series_description=f"Segmentation of {volume.name}"[:64],
        )
        data.SpecificCharacterSet = "ISO_IR 192"  # names of objects may be in any script
    return data


def _sources(volume: Volume) -> tuple[list[Any], list[int]]:
    """The datasets of the slices, without pixels, and for each of their frames which slice k of the volume it is."""
    import pydicom

    assert volume.path is not None
    frames = dicom.frames_of(volume.path, volume.series)
    if len(frames) != volume.size[2]:
        raise VolumeError(
            f"{volume.path} holds {len(frames)} slices of {volume.name} now, which had {volume.size[2]} when it was"
            " opened; open it again."
        )
    multi = frames[0].index >= 0
    with dicom_header.tolerant():
        paths = [frames[0].path] if multi else [frame.path for frame in frames]
        sources = [pydicom.dcmread(path, stop_before_pixels=True, force=True) for path in paths]
    for source in sources:
        if "SliceThickness" not in source:  # highdicom asks for it
            source.SliceThickness = volume.spacing[2]
        for keyword in _MAY_BE_EMPTY:
            if keyword not in source:
                setattr(source, keyword, "")
        for keyword, told in (("FrameOfReferenceUID", "frame of reference"), ("StudyInstanceUID", "study")):
            if not source.get(keyword):
                raise VolumeError(
                    f"{volume.name} states no {told}, without which nothing can refer to it in DICOM; write .seg.nrrd"
                    " or .nii.gz instead."
                )
    if not multi:
        return sources, list(range(len(frames)))
    return sources, np.argsort([frame.index for frame in frames]).tolist()


def _pixels(masks: Sequence[NamedMask], volume: Volume) -> npt.NDArray[np.uint8]:
    """(slice, row, column), with the numbers of the masks where no two share a voxel, else (…, mask)."""
    shape = volume.array.shape
    numbers = np.zeros(shape, np.uint16 if len(masks) > 255 else np.uint8)
    for number, (_, _, mask) in enumerate(masks, start=1):
        inside = numbers[mask.region.slices]
        if (inside[mask.values > 0] != 0).any():
            break
        inside[mask.values > 0] = number
    else:
        return _taken_back(numbers, volume)
    stacked = np.zeros((*shape, len(masks)), np.uint8)
    for number, (_, _, mask) in enumerate(masks):
        stacked[(*mask.region.slices, number)] = mask.values
    return _taken_back(stacked, volume)


def _taken_back(pixels: npt.NDArray[Any], volume: Volume) -> npt.NDArray[Any]:
    return pixels if volume.slices is None else volume.slices.take_back(pixels)


def _on_slices(mask: LocalMask, volume: Volume) -> LocalMask:
    """What of a mask lies on the slices as they were taken."""
    if volume.slices is None:
        return mask
    return LocalMask.of(volume.slices.take_along(volume.slices.take_back(mask.full), volume.array.shape))


def _described(number: int, mask: NamedMask, term: Term, answered_by: str, series: str) -> Any:
    import highdicom as hd
    from pydicom.uid import generate_uid

    made = hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC if answered_by else hd.seg.SegmentAlgorithmTypeValues.MANUAL
    algorithm = (
        hd.AlgorithmIdentificationSequence(
            name=answered_by[:64],
            family=hd.sr.CodedConcept("123110", "DCM", "Artificial Intelligence"),
            version=__version__,
        )
        if answered_by
        else None
    )
    described = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=mask.name[:64],
        segmented_property_category=_concept(term.category),
        segmented_property_type=_concept(term.kind),
        algorithm_type=made,
        algorithm_identification=algorithm,
        tracking_id=mask.name[:64],
        tracking_uid=generate_uid(entropy_srcs=[series, mask.name]),
        display_color=None if mask.colour is None else hd.color.CIELabColor.from_rgb(*_rgb(mask.colour)),
    )
    if term.side is not None:
        modifiers = described.SegmentedPropertyTypeCodeSequence[0]
        modifiers.SegmentedPropertyTypeModifierCodeSequence = [_concept(term.side)]
    return described


def _concept(code: Any) -> Any:
    import highdicom as hd

    return hd.sr.CodedConcept(code.value, code.scheme, code.meaning)


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue
