"""Writing label maps on an image's grid: whole, checked and on the disk, or not at all.

The files are written here and not by SimpleITK, which reports success when the disk is full (NIfTI), keeps one NIfTI
geometry of two, and needs further copies of the map.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sammed3d_nb import atomic
from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import label_headers
from sammed3d_nb.imaging.dicom_header import is_dicom
from sammed3d_nb.imaging.naming import names_image
from sammed3d_nb.imaging.nifti import NiftiGeometry
from sammed3d_nb.imaging.streams import first_bytes, inflated, unpacked

MASK_SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
LAYERED = ".seg.nrrd"
"""The suffix of 3D Slicer's segmentations, which hold labels that share voxels, in layers."""

_GZIP, _ZLIB, _LEVEL = 31, 15, 3  # wbits and level of zlib.compressobj; label maps are small at any level


def write_labels(
    values: npt.NDArray[Any],
    like: Any,
    path: Path,
    *,
    source: Path | None = None,
    stated: NiftiGeometry | None = None,
    overwrite: bool | None = None,
    names: Mapping[int, str] | None = None,
    colours: Mapping[int, str] | None = None,
) -> Path:
    """Write a mask or label map with the geometry of an image; see ``Volume.write_mask``.

    What was written is read back and compared, voxels and geometry, before it takes its place; whatever fails leaves an
    older file as it was. Memory: one slice beyond `values`.

    Args:
        values: (z, y, x) whole numbers from 0 or booleans, on the grid of `like`; (z, y, x, layer) for a .seg.nrrd.
        like: The SimpleITK image.
        path: Ends in one of `MASK_SUFFIXES`. Of an .mhd the voxels lie beside it in a .zraw.
        source: The image's own file or folder, which is never written over.
        stated: The geometry as the image's NIfTI file states it: kept whole in NIfTI.
        overwrite: Whether a file that is there may be replaced: True, False, or None for a label map that was written
            here but nothing else.
        names: Of the labels, written into the file.
        colours: Of the labels, ``#rrggbb``, likewise.

    Returns:
        The path written.

    Raises:
        VolumeError: Another type or suffix, the image's own file, a file that must not be replaced, or a place that
            cannot be written.
    """
    check_mask_path(path, source, overwrite=overwrite)
    low, high = (int(values.min()), int(values.max())) if values.dtype.kind in "biu" else (-1, 0)
    if low < 0:
        raise VolumeError(
            f"The mask holds {values.dtype} numbers from {values.min()}; expected booleans or whole numbers from 0:"
            " compare it with a threshold first."
        )
    dtype = np.min_scalar_type(high).newbyteorder("<")
    labels = label_headers.describe(values, names or {}, colours)
    replaces = overwrite or (overwrite is None and path.exists())  # what has come meanwhile is not replaced
    with atomic.told(path), atomic.drafts(path, overwrite=replaces) as folder:
        draft = folder / path.name
        match _suffix(path):
            case ".nrrd":
                layers = values.shape[3] if values.ndim == 4 else None
                _write_behind(draft, label_headers.nrrd(like, dtype, labels, layers), values, dtype)
            case ".mha" | ".mhd":
                _write_metaimage(draft, values, dtype, like, labels)
            case suffix:
                head = label_headers.nifti(like, dtype, stated, labels)
                _write_together(draft, head, values, dtype, packed=suffix == ".nii.gz")
    return path


def check_mask_path(path: Path, source: Path | None = None, *, overwrite: bool | None = None) -> None:
    """Refuse a path that ``Volume.write_mask`` could not write, before any work is done; see ``check_not_source``."""
    if not path.name.lower().endswith(MASK_SUFFIXES):
        raise VolumeError(f"{path.name} ends in no known mask format; use one of {', '.join(MASK_SUFFIXES)}.")
    if not path.absolute().parent.is_dir():
        raise VolumeError(f"The folder {path.absolute().parent} does not exist; make it first or choose another.")
    check_not_source(path, source)
    if overwrite:
        return
    voxels = path.with_name(_voxel_file(path.name))
    pair = _suffix(path) == ".mhd" and voxels.exists()
    if path.is_file() and (overwrite is False or not is_ours(path)):
        raise _taken(path)
    if pair and not path.exists():  # then they are another header's
        raise _taken(voxels)


def check_not_source(path: Path, source: Path | None) -> None:
    """Refuse to write over the image file, or over a slice of the DICOM folder, that a volume is read from."""
    if source is None or not source.exists():
        return
    for written in (path, path.with_name(_voxel_file(path.name))) if _suffix(path) == ".mhd" else (path,):
        if not written.is_file():
            continue
        if written.samefile(source) or (source.resolve() in written.resolve().parents and is_dicom(written)):
            raise VolumeError(f"{written} is the image itself and would be overwritten; choose another name.")


def refuse_name(path: Path, source: Path | None) -> None:
    """Refuse a name of an anonymous file that tells which image it belongs to.

    Raises:
        VolumeError: It does.
    """
    if names_image(path.name, source):
        raise VolumeError(f"{path.name} names the image, which an anonymous file is not to do; choose another name.")


def is_ours(path: Path) -> bool:
    """Whether a file is a label map that `write_labels` wrote."""
    try:
        return label_headers.MARK.encode() in first_bytes(path, 4096)
    except (OSError, VolumeError):
        return False


def _taken(path: Path) -> VolumeError:
    return VolumeError(f"{path} is there already and was not to be overwritten; choose another name, or allow it.")


def _suffix(path: Path) -> str:
    return next((suffix for suffix in reversed(MASK_SUFFIXES) if path.name.lower().endswith(suffix)), "")


def _voxel_file(name: str) -> str:
    """What the .zraw of an .mhd is called; MetaImage takes some names for lists and patterns."""
    stem = name[: -len(".mhd")].replace("%", "_")
    return f"_{stem}.zraw" if stem.upper().startswith(("LIST", "LOCAL")) else f"{stem}.zraw"


def _write_together(draft: Path, head: bytes, values: npt.NDArray[Any], dtype: np.dtype[Any], *, packed: bool) -> None:
    """Header and voxels as one stream, gzipped or not."""
    with draft.open("wb") as file:
        stream = chain([head], _slices(values, dtype))
        file.writelines(_packed(stream, _GZIP) if packed else stream)
    _compare(draft, unpacked(draft), chain([head], _slices(values, dtype)))


def _write_behind(draft: Path, head: bytes, values: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """A readable header, then the voxels gzipped."""
    with draft.open("wb") as file:
        file.write(head)
        file.writelines(_packed(_slices(values, dtype), _GZIP))
    _compare_head(draft, head)
    _compare(draft, inflated(draft, len(head)), _slices(values, dtype))


def _write_metaimage(draft: Path, values: npt.NDArray[Any], dtype: np.dtype[Any], like: Any, labels: Any) -> None:
    """The voxels first, as the header tells how long they are after compression."""
    voxels = draft.with_name(_voxel_file(draft.name[:-4] + ".mhd"))
    alone = _suffix(draft) == ".mha"
    with voxels.open("wb") as file:
        file.writelines(_packed(_slices(values, dtype), _ZLIB))
    where, packed = "LOCAL" if alone else voxels.name, voxels.stat().st_size
    head = label_headers.metaimage(like, dtype, labels, packed=packed, where=where)
    with draft.open("wb") as file:
        file.write(head)
        if alone:
            with voxels.open("rb") as body:
                shutil.copyfileobj(body, file)
    _compare_head(draft, head)
    if alone:
        voxels.unlink()
        voxels = draft
    _compare(draft, inflated(voxels, len(head) if alone else 0), _slices(values, dtype))


def _slices(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> Iterator[bytes]:
    for plane in values:
        yield np.ascontiguousarray(plane, dtype=dtype).tobytes()


def _packed(chunks: Iterable[bytes], wbits: int) -> Iterator[bytes]:
    pack = zlib.compressobj(_LEVEL, zlib.DEFLATED, wbits)
    for chunk in chunks:
        yield pack.compress(chunk)
    yield pack.flush()


def _compare_head(draft: Path, head: bytes) -> None:
    with draft.open("rb") as file:
        if file.read(len(head)) != head:
            raise atomic.differs(draft)


def _compare(draft: Path, found: Iterable[bytes], written: Iterable[bytes]) -> None:
    try:
        same = _digest(found) == _digest(written)
    except VolumeError:  # cut or damaged
        same = False
    if not same:
        raise atomic.differs(draft)


def _digest(chunks: Iterable[bytes]) -> bytes:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()
