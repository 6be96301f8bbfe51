"""What every reader and writer asks of SimpleITK."""

from __future__ import annotations

import locale
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import SimpleITK as sitk

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.nifti import NiftiGeometry
from sammed3d_nb.imaging.tilt import Slices

# what libjpeg, CharLS, OpenJPEG, GDCM, MetaIO, NrrdIO and niftilib say of data that they cannot read whole
_COMPLAINT = re.compile(
    rb"JPEG|premature end|corrupt|tile part|codestream|CharLS|gdcm|zlib|\*\* ?(ERROR|WARNING)"
    rb"|Meta(Image|Object|IO)|Nrrd|nifti_",
    re.IGNORECASE,
)
_one_listener = threading.RLock()


@dataclass(frozen=True)
class ImageFile:
    """What a reader found: the image, what to call it, and what the user should know about it."""

    image: Any
    name: str
    modality: str = ""
    warnings: tuple[str, ...] = ()
    series: str | None = None
    stated: NiftiGeometry | None = None
    slices: Slices | None = None
    choices: tuple[str, ...] = ()
    tilt: tuple[float, ...] | None = None


def load(path: Path, reader: str, size: Sequence[int] = ()) -> Any:
    """Read the voxels with the named ITK reader, silently.

    Args:
        path: The file.
        reader: Name of ITK's reader.
        size: The numbers of voxels along the first axes that the header was understood to state.

    Raises:
        VolumeError: The reader failed, complained, or understood another size.
    """
    with quiet(), complaints() as heard:
        try:
            image = sitk.ReadImage(str(path), imageIO=reader)
        except RuntimeError as error:
            raise damaged(path) from error
    if heard or tuple(size) != image.GetSize()[: len(size)]:
        raise damaged(path)
    return image


def damaged(path: Path) -> VolumeError:
    """The error for a file whose voxels cannot be read, or not all of them."""
    return VolumeError(
        f"{path.name} is damaged or truncated: its header can be read but its voxels cannot; copy or export it again."
    )


@contextmanager
def complaints() -> Iterator[list[str]]:
    """What the decoders' C libraries print on standard error about the data: kept from the terminal, and told.

    They go on with made-up voxels after such a line (libjpeg's "Corrupt JPEG data", for one). Lines that are none of
    theirs, of other threads, go to the terminal as ever.

    Yields:
        A list that holds the decoders' lines when the block has ended.
    """
    heard: list[str] = []
    with _one_listener:
        _flush()
        try:
            real = os.dup(2)
        except OSError:  # no standard error, as under pythonw
            yield heard
            return
        with _memory_file() as file:
            os.dup2(file.fileno(), 2)
            failed = True
            try:
                yield heard
                failed = False
            finally:
                _flush()
                os.dup2(real, 2)
                file.seek(0)
                said = file.read(1 << 20)
                failed = failed or b"/vnl/" in said  # what is said about a failure is in its sentence
                for line in said.splitlines(keepends=True):
                    if _COMPLAINT.search(line):
                        heard.append(line.decode("utf-8", "replace").strip())
                    elif line.strip() and not failed:
                        os.write(real, line)
                os.close(real)


def _memory_file() -> IO[bytes]:
    """A file without a name, where a full disk does not matter."""
    try:
        return os.fdopen(os.memfd_create("heard"), "w+b")
    except (AttributeError, OSError):
        return tempfile.TemporaryFile()


def _flush() -> None:
    if sys.stderr is not None:
        sys.stderr.flush()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ITK's warnings off the terminal: what matters is checked here and told in sentences.

    The process's locale is as before afterwards: GDCM leaves "C" behind where a JPEG slice does not decode, and Python
    reads the output of other programs as ASCII from then on.
    """
    before, spoken = sitk.ProcessObject.GetGlobalWarningDisplay(), locale.setlocale(locale.LC_ALL)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
        if locale.setlocale(locale.LC_ALL) != spoken:
            locale.setlocale(locale.LC_ALL, spoken)
