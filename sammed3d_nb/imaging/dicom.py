"""DICOM series and multi-frame files: headers by pydicom, voxels by SimpleITK, geometry from the slice positions.

SimpleITK stacks slices in order without asking whether one is missing, and drops a gantry's tilt; here every
slice's position is looked at. Slices are ordered along the normal of the image plane (row direction × column
direction), as ITK does, so the third axis of the volume is that normal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import dicom_header, dicom_kinds
from sammed3d_nb.imaging.checks import check_geometry, expect_memory
from sammed3d_nb.imaging.dicom_pixels import announced_bytes, check_pixels
from sammed3d_nb.imaging.dicom_series import Key, choices, described, key_of
from sammed3d_nb.imaging.itk import ImageFile, complaints, load, quiet
from sammed3d_nb.imaging.naming import stem
from sammed3d_nb.imaging.tilt import straightened

_EXPECTED = "expected a series of parallel slices or a multi-frame volume"


@dataclass(frozen=True)
class Frame:
    """One slice: a file of a series, or one frame of a multi-frame file."""

    path: Path
    index: int
    position: npt.NDArray[np.float64]  # LPS mm of the centre of the first voxel
    axes: npt.NDArray[np.float64]  # (2, 3): direction of increasing column, of increasing row
    spacing: tuple[float, float]  # mm between columns (i), between rows (j)
    shape: tuple[int, int]  # columns, rows
    rescale: tuple[float, float]

    @property
    def label(self) -> str:
        """How to call it in a sentence."""
        return self.path.name if self.index < 0 else f"frame {self.index + 1}"


@dataclass(frozen=True)
class Grid:
    """Frames in spatial order and the geometry they span."""

    frames: list[Frame]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: npt.NDArray[np.float64]
    warnings: tuple[str, ...]
    tilt: npt.NDArray[np.float64] | None  # LPS mm across the normal from one slice to the next, of a tilted gantry


def read_folder(folder: Path, series: str | None, *, straighten: bool = False) -> ImageFile:
    """Read the largest DICOM series below a folder, or the one asked for by UID, number or description."""
    found: dict[Key, list[Any]] = defaultdict(list)
    damaged: dict[str, list[Path]] = defaultdict(list)  # "" where the series cannot be read
    others, imageless = [], []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        header = dicom_header.read(path) if dicom_header.is_dicom(path) else None
        if header is not None and dicom_kinds.is_image(header):
            found[key_of(header)].append((path, header))
        elif header is not None and dicom_header.is_damaged(header):
            damaged[dicom_header.series_uid(header)].append(path)
        elif header is not None and "Rows" in header:
            imageless.append((path, header))
        else:
            others.append(path.name)
    if not found and damaged:
        raise dicom_header.truncated(next(iter(damaged.values()))[0])
    if not found:
        for path, header in imageless:
            dicom_kinds.refuse(path, header)
        others += [path.name for path, _ in imageless]
        count = "1 other file" if len(others) == 1 else f"{len(others)} other files"
        holds = f"holds {count} ({', '.join(others[:3])})" if others else "is empty"
        raise VolumeError(f"The folder {folder} {holds}; expected a DICOM series: open an image file or its folder.")
    if series is None:
        chosen = max(found.values(), key=lambda files: sum(dicom_header.voxels(header) for _, header in files))
    else:
        chosen = _named(found, series, folder)
    first, listed = chosen[0][1], tuple[str, ...]()
    name, uid = (
        dicom_header.plain(first.get("SeriesDescription", "")) or folder.resolve().name,
        dicom_header.series_uid(first),
    )
    if uid and damaged[uid]:
        raise dicom_header.truncated(damaged[uid][0])
    notes = dicom_kinds.left_out(folder, imageless)
    if series is None and len(found) > 1:
        notes += (f"{folder.name} holds {len(found)} series; the largest is used: {_describe(chosen)}.",)
        listed = choices([described(files) for files in found.values()], described(chosen))
    shown = ", ".join(path.name for path in damaged[""][:3])
    left_out = f"holds damaged DICOM files, which are left out: {len(damaged[''])} ({shown})"
    if shown:
        notes += (f"{folder.name} {left_out}.",)
    try:
        image = (
            read_file(chosen[0][0], alone=False, straighten=straighten)
            if len(chosen) == 1
            else _read_series(name, chosen, straighten)
        )
    except VolumeError as error:
        if shown:  # perhaps they are what the series lacks
            raise VolumeError(f"{str(error).removesuffix('.')}; {folder.name} {left_out}.") from error
        raise
    return replace(image, name=name, warnings=notes + image.warnings, choices=listed)


def read_file(path: Path, *, alone: bool = True, straighten: bool = False) -> ImageFile:
    """Read one DICOM file that holds a whole volume (enhanced multi-frame)."""
    header = dicom_header.read(path)
    if dicom_header.is_damaged(header):
        raise dicom_header.truncated(path)
    dicom_kinds.refuse(path, header)
    if "Rows" not in header or not dicom_header.pixels_at(header):
        raise VolumeError(f"{path.name} is DICOM but holds no image ({dicom_header.kind(header)}); {_EXPECTED}.")
    _check_channels(path.name, header)
    count = int(header.get("NumberOfFrames", 1) or 1)
    if count < 2:
        where = f"open its folder {path.parent} instead" if alone else "export the whole series"
        raise VolumeError(f"{path.name} is a single 2-D DICOM slice; {_EXPECTED}: {where}.")
    expect_memory(path.name, announced_bytes(header, count))
    frames = _frames(path, header, count)
    check_pixels(path, header, count)
    grid = _grid(path.name, frames)
    if len({frame.rescale for frame in frames}) > 1:
        raise VolumeError(
            f"{path.name} rescales each frame differently, which SimpleITK cannot read; export it as a classic series,"
            " one file a slice."
        )
    image = load(path, "GDCMImageIO", (int(header.Columns), int(header.Rows), count))
    order = [frame.index for frame in grid.frames]
    if order != list(range(count)):
        image = sitk.GetImageFromArray(sitk.GetArrayViewFromImage(image)[order])
    return _image_file(image, grid, stem(path), header, straighten)


def frames_of(path: Path, series: str | None) -> list[Frame]:
    """The slices of a file, or of a series below a folder, in the order of the volume's k."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    frames: list[Frame] = []
    for file in files:
        header = dicom_header.read(file) if dicom_header.is_dicom(file) else None
        if header is not None and dicom_kinds.is_image(header) and dicom_header.series_uid(header) == series:
            frames += _frames(file, header, int(header.get("NumberOfFrames", 1) or 1))
    return _grid(path.name, frames).frames if frames else []


def _read_series(name: str, files: list[tuple[Path, Any]], straighten: bool) -> ImageFile:
    frames = []
    expect_memory(name, sum(announced_bytes(header, 1) for _, header in files))
    for path, header in files:
        _check_channels(path.name, header)
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            there = ", ".join(file.name for file, _ in files[:8]) + (", …" if len(files) > 8 else "")
            raise VolumeError(f"{name} holds several multi-frame files; open one of them: {there}.")
        frames += _frames(path, header, 1)
        check_pixels(path, header, 1)
    grid = _grid(name, frames)
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(frame.path) for frame in grid.frames])
    scales = {frame.rescale for frame in frames}
    if len(scales) > 1:
        reader.SetOutputPixelType(sitk.sitkFloat32)  # else all slices are cast to the type of the first
    damage = VolumeError(f"{name} has a slice that is damaged or truncated; copy or export it again.")
    with quiet(), complaints() as heard:
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise damage from error
    if heard or image.GetSize() != (*frames[0].shape, len(frames)):
        raise damage
    return _image_file(image, grid, name, files[0][1], straighten)


def _image_file(image: Any, grid: Grid, name: str, header: Any, straighten: bool) -> ImageFile:
    """The voxels, put where the grid says."""
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection([float(d) for d in grid.direction.ravel()])
    slices, notes = None, grid.warnings
    if grid.tilt is not None and straighten:
        image, slices = straightened(image, grid.tilt)
        notes += (f"{name} was taken with a tilted gantry and is straightened; masks are written on its own slices.",)
    elif grid.tilt is not None:
        notes += (_tilt_sentence(name, grid),)
    series = dicom_header.series_uid(header) or None
    tilt = None if grid.tilt is None else tuple(grid.tilt.tolist())
    return ImageFile(image, name, str(header.get("Modality", "")), notes, series, slices=slices, tilt=tilt)


def _tilt_sentence(name: str, grid: Grid) -> str:
    assert grid.tilt is not None
    lateral = float(np.linalg.norm(grid.tilt))
    angle = float(np.degrees(np.arctan2(lateral, grid.spacing[2])))
    return (
        f"{name} was taken with a tilted gantry ({angle:.1f}°): its slices are shown on a straight grid, so"
        f" positions in mm are off by up to {lateral * (len(grid.frames) - 1):.1f} mm in the last slice; masks fit the"
        " slices all the same, and it can be opened straightened."
    )


def _grid(name: str, frames: list[Frame]) -> Grid:
    """Order the frames in space and refuse what is no evenly spaced stack.

    Args:
        name: What to call the series in a sentence.
        frames: In any order.

    Raises:
        VolumeError: Different orientation, size or pixel spacing, shared positions, missing or unevenly spaced
            slices, slices not in line.
    """
    first = frames[0]
    for frame in frames:
        same = np.allclose(frame.axes, first.axes, atol=1e-3) and np.allclose(frame.spacing, first.spacing, rtol=1e-3)
        if frame.shape != first.shape or not same:
            raise VolumeError(
                f"{name} mixes slices of different orientation or size ({first.label} and {frame.label}); {_EXPECTED}:"
                " move the odd ones (often a localiser) out of the folder."
            )
    normal = np.cross(*first.axes)
    frames = sorted(frames, key=lambda frame: float(frame.position @ normal))
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    shared = int(np.sum(gaps < 1e-3))
    if shared:
        at = int(np.argmin(gaps))
        raise VolumeError(
            f"{name} has {shared + 1} or more slices that share a position ({frames[at].label} and"
            f" {frames[at + 1].label} at {heights[at]:.2f} mm), as in a 4-D series or with copied files;"
            " expected one slice per position: keep one time point."
        )
    # positions are often rounded to 0.1 mm; a missing slice makes a gap of twice the usual one
    tolerance = min(max(0.02 * usual, 0.101), 0.5 * usual)
    odd = np.flatnonzero(np.abs(gaps - usual) > tolerance)
    if odd.size:
        raise VolumeError(_gap_sentence(name, frames, heights, odd, usual))
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    height = float(step @ normal)
    if np.abs(positions - positions[0] - np.outer(np.arange(len(frames)), step)).max() > max(0.1, 0.5 * height):
        raise VolumeError(f"{name} has slices that do not lie in line; {_EXPECTED}: check the series.")
    notes: tuple[str, ...] = ()
    if np.ptp(gaps) > 0.01 * usual:
        notes += (
            f"{name} has slice gaps from {gaps.min():.3g} to {gaps.max():.3g} mm; they are taken as {height:.4g} mm.",
        )
    lateral = step - height * normal
    tilted = float(np.linalg.norm(lateral)) * (len(frames) - 1) > 0.5 * min(first.spacing)
    axes = np.column_stack([first.axes[0], first.axes[1], normal / np.linalg.norm(normal)])
    origin = (float(positions[0][0]), float(positions[0][1]), float(positions[0][2]))
    check_geometry(name, (*first.spacing, height), axes, origin)
    return Grid(frames, (*first.spacing, height), origin, axes, notes, lateral if tilted else None)


def _gap_sentence(
    name: str, frames: list[Frame], heights: npt.NDArray[np.float64], odd: npt.NDArray[np.intp], usual: float
) -> str:
    """Name the first gap that is not like the others, and what it means."""
    at = int(odd[0])
    gap = float(heights[at + 1] - heights[at])
    between = (
        f"between slices {at + 1} and {at + 2} ({frames[at].label} at {heights[at]:.2f} mm,"
        f" {frames[at + 1].label} at {heights[at + 1]:.2f} mm)"
    )
    more = f", and {odd.size - 1} more such gaps" if odd.size > 1 else ""
    missing = round(gap / usual) - 1
    if missing > 0 and abs(gap - (missing + 1) * usual) <= 0.02 * gap + 0.1:
        count = "1 slice is" if missing == 1 else f"{missing} slices are"
        return (
            f"{name} lacks slices: {count} missing {between}, where the gap is {gap:.2f} mm instead of"
            f" {usual:.2f} mm{more}; export the complete series."
        )
    return (
        f"{name} has unevenly spaced slices: the gap {between} is {gap:.2f} mm instead of {usual:.2f} mm{more};"
        " expected even spacing: export or resample the series evenly."
    )


def _frames(path: Path, header: Any, count: int) -> list[Frame]:
    """Position, direction and spacing of every frame of one file."""
    shared = _group(header.get("SharedFunctionalGroupsSequence"), 0)
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if count > 1 and per_frame is not None and count > len(per_frame) > 0:
        raise VolumeError(f"{path.name} describes {len(per_frame):,} of its {count:,} frames; export it again.")
    frames = []
    for index in range(count):
        own = _group(per_frame, index)

        def find(keyword: str, sequence: str, own: Any = own) -> Any:
            for group in (own, shared):
                item = _group(group.get(sequence), 0) if group is not None else None
                if item is not None and item.get(keyword) is not None:
                    return item.get(keyword)
            return header.get(keyword) if count == 1 or keyword != "ImagePositionPatient" else None

        position = find("ImagePositionPatient", "PlanePositionSequence")
        orientation = find("ImageOrientationPatient", "PlaneOrientationSequence")
        spacing = find("PixelSpacing", "PixelMeasuresSequence")
        slope = find("RescaleSlope", "PixelValueTransformationSequence")
        intercept = find("RescaleIntercept", "PixelValueTransformationSequence")
        if position is None or orientation is None or spacing is None:
            lacking = "position" if position is None else "orientation" if orientation is None else "pixel spacing"
            what = f"frame {index + 1} of {path.name}" if count > 1 else path.name
            raise VolumeError(f"{what} states no {lacking} in the patient ({dicom_header.kind(header)}); {_EXPECTED}.")
        rows, columns = float(spacing[0]), float(spacing[1])
        if min(rows, columns) <= 0:
            raise VolumeError(
                f"{path.name} has spacing {columns:g} × {rows:g} mm; expected positive numbers: export it again."
            )
        frames.append(
            Frame(
                path=path,
                index=index if count > 1 else -1,
                position=np.array(position, dtype=np.float64),
                axes=np.array(orientation, dtype=np.float64).reshape(2, 3),
                spacing=(columns, rows),
                shape=(int(header.Columns), int(header.Rows)),
                rescale=(float(slope or 1), float(intercept or 0)),
            )
        )
    return frames


def _group(sequence: Any, index: int) -> Any:
    return sequence[index] if sequence is not None and len(sequence) > index else None


def _check_channels(name: str, header: Any) -> None:
    channels = int(header.get("SamplesPerPixel", 1) or 1)
    if channels != 1:
        raise VolumeError(f"{name} is a colour image ({channels} values per pixel); expected one value: {_EXPECTED}.")


def _named(found: dict[Key, list[Any]], wanted: str, folder: Path) -> list[Any]:
    matches = [
        files
        for key, files in found.items()
        if wanted in (key[0], str(files[0][1].get("SeriesNumber", "")), str(files[0][1].get("SeriesDescription", "")))
    ]
    if len(matches) == 1:
        return matches[0]
    there = "; ".join(_describe(files) for files in found.values())
    problem = "no" if not matches else f"{len(matches)} times a"
    raise VolumeError(f"{folder.name} has {problem} series {wanted!r}; name one of these by its UID: {there}.")


def _describe(files: list[Any]) -> str:
    one = described(files)
    text = one.description or "without description"
    return f"{one.uid} (number {one.number}, {text}, {len(files)} files)"
