"""Arrays on the wire: how large one is going to be is known, and refused, before any memory is asked for.

Packing and unpacking are those of the published ``nninteractive-client``; the older protocol sends NumPy's own files,
gzipped or not.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import blosc2
import numpy as np
from nnInteractive.inference.remote.serialization import MAGIC, VERSION, pack_array, unpack_array
from numpy.typing import NDArray

from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.server.refusals import Refused

MOST_META = 32_000
"""Bytes of the header that goes with an array."""
_SLACK = 2**16
"""Bytes by which packed data may be larger than the array: what does not compress grows a little."""
_MOST_HEAD = 4096
_FRAME = 32
"""Bytes of the smallest compressed frame, its header."""


@dataclass(frozen=True)
class Announced:
    """What an array says of itself.

    Attributes:
        dtype: Of its elements.
        shape: Of the array.
        offset: Where its data begins.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def most(self) -> int:
        """Bytes of the body that it may come in."""
        return self.nbytes + self.nbytes // 64 + self.offset + _SLACK

    @property
    def told(self) -> str:
        """What it is, for a sentence."""
        return f"{' × '.join(map(str, self.shape))} of {self.dtype}"


def announced(body: bytes | bytearray) -> Announced | None:
    """What a packed array (NNIA) says of itself; None as long as more bytes are needed.

    Raises:
        Refused: It is no packed array, or one of a kind that no image or mask is.
    """
    if len(body) < 8:
        return None
    magic, version, _, dims, length = struct.unpack_from("<4sBBBB", body)
    if magic != MAGIC or version != VERSION or not 1 <= dims <= 4:
        raise Refused(400, f"The body is no packed array (NNIA {VERSION}) of 1 to 4 dimensions; send one.")
    offset = 8 + length + 8 * dims
    if len(body) < offset:
        return None
    name = bytes(body[8 : 8 + length])
    return _checked(name, struct.unpack_from(f"<{dims}q", body, 8 + length), offset)


def _checked(name: bytes | str, shape: Sequence[int], offset: int) -> Announced:
    text = name.decode("ascii", "replace") if isinstance(name, bytes) else name
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.kind not in "biuf":
        raise Refused(400, f"The array holds {text[:40]!r}; expected whole or floating numbers.")
    if not shape or min(shape) < 1 or max(shape) > 2**31:
        raise Refused(400, f"The array has the shape {tuple(shape)}; expected at least one element along each axis.")
    return Announced(dtype, tuple(shape), offset)


def unpacked(body: bytes | bytearray) -> NDArray[Any]:
    """The array of a whole body whose announced size has been accepted.

    Raises:
        Refused: It is broken.
    """
    found = announced(body)
    if found is None or len(body) > found.most:
        raise Refused(400, "The packed array breaks off, or something follows it; send it again.")
    _check_frames(body, found)
    try:
        array: NDArray[Any] = unpack_array(body)
    except Exception as error:  # a damaged frame fails in any way inside the decompressor
        raise Refused(400, f"The packed array is damaged ({type(error).__name__}); send it again.") from None
    return array


def _check_frames(body: bytes | bytearray, found: Announced) -> None:
    """See that the compressed frames lie in the body, as the decompressor takes for granted."""
    at, whole = found.offset, 0
    if len(body) >= at + 4:
        (count,) = struct.unpack_from("<I", body, at)
        at += 4
        for _ in range(min(count, 1 + len(body) // (_FRAME + 16))):
            if len(body) < at + 16:
                break
            length, packed = struct.unpack_from("<QQ", body, at)
            frame = memoryview(body)[at + 16 : at + 16 + packed]
            at, whole = at + 16 + packed, whole + length
            if packed < _FRAME or at > len(body) or blosc2.get_cbuffer_sizes(frame)[:2] != (length, packed):
                break
        else:
            if at == len(body) and whole == found.nbytes:
                return
    raise Refused(400, "The packed array breaks off, or holds more or less than it announces; send it again.")


def difference(
    shown: LocalMask, mask: LocalMask, unsure: Sequence[Region] = ()
) -> tuple[list[list[int]] | None, bytes]:
    """What a client has to write into its copy of a mask.

    Args:
        shown: What its copy holds.
        mask: What it is to hold.
        unsure: Boxes in which nobody knows what it holds.

    Returns:
        The box as half-open intervals (k, j, i), or None where nothing changes; and the packed uint8 array over it.
    """
    region = Region.union([(shown ^ mask).region, *unsure])
    if 0 in region.size:
        return None, b""
    box = [[int(low), int(high)] for low, high in zip(region.start[::-1], region.stop[::-1], strict=True)]
    return box, pack_array(mask.crop(region), filters=[blosc2.Filter.NOFILTER], nthreads=1)


def meta_of(header: str | None) -> dict[str, Any]:
    """The JSON object in the header that goes with an array.

    Raises:
        Refused: It is none.
    """
    if header is None:
        return {}
    try:
        found = json.loads(header) if len(header) <= MOST_META else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, f"The header X-Meta holds {header[:40]!r}; expected a JSON object.")
    return found


# -- the older protocol ------------------------------------------------------------------------------------------------


def npy(body: bytes, most: int, expected: tuple[int, ...] | None = None) -> NDArray[Any]:
    """The array of a NumPy file.

    Args:
        body: The file.
        most: Bytes that the array may have.
        expected: The shape that it must have.

    Raises:
        Refused: It is no such file, too large, or of another shape.
    """
    stream = io.BytesIO(body[: max(_MOST_HEAD, 2**16)])
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream, max_header_size=_MOST_HEAD)
    except Exception as error:  # whatever bytes arrive are parsed as a Python literal
        raise Refused(
            400, f"The file is no NumPy array ({type(error).__name__}); send what numpy.save writes."
        ) from None
    found = _checked(dtype.str if dtype.names is None else "record", shape, stream.tell())
    if expected is not None and found.shape != expected:
        raise Refused(400, f"The array is {found.told}; expected the image's shape {expected}.")
    if found.nbytes > most:
        raise Refused(
            413, f"The array is {found.told}, {found.nbytes / 1e6:,.0f} MB; {most / 1e6:,.0f} MB are the most."
        )
    if len(body) - found.offset != found.nbytes:
        raise Refused(400, f"The array is {found.told}, but {len(body) - found.offset} bytes came; send it again.")
    flat = np.frombuffer(body, found.dtype, offset=found.offset)
    return flat.reshape(found.shape, order="F" if fortran else "C")


def gunzipped(body: bytes, most: int) -> bytes:
    """A gzipped body, inflated to `most` bytes and no further.

    Raises:
        Refused: It is none, or holds more.
    """
    inflate = zlib.decompressobj(31)
    try:
        found = inflate.decompress(body, most + _MOST_HEAD + 1)
    except zlib.error:
        raise Refused(400, "The file is not gzipped, or damaged; send what gzip makes of a NumPy file.") from None
    if len(found) > most + _MOST_HEAD:
        raise Refused(
            413, f"The file holds more than the {most / 1e6:,.0f} MB that a mask of this image has; send one."
        )
    if not inflate.eof:
        raise Refused(400, "The gzipped file breaks off; send it again.")
    return found


def bits(mask: LocalMask) -> bytes:
    """The gzipped bits of a whole mask (z, y, x), eight voxels a byte, the first in the highest bit."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, 31)
    return squeeze.compress(np.packbits(mask.full).tobytes()) + squeeze.flush()
