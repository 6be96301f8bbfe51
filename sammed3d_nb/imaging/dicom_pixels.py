"""Whether the pixels that a DICOM header announces are all there, of every transfer syntax, before any is decoded.

The decoders are too forgiving: of a short pixel element GDCM gives what lies in memory, of a short RLE or JPEG frame it
fills up.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging import dicom_header

_UNDEFINED = 0xFFFFFFFF
_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_MOST_RLE = 64  # two bytes tell at most 128
_RLE = "1.2.840.10008.1.2.5"
_JPEG, _JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_FRAME_HEADERS = {0xC0, 0xC1, 0xC2, 0xC3, 0xF7}  # markers of JPEG, lossless JPEG and JPEG-LS before rows and columns


def announced_bytes(header: Any, count: int) -> int:
    """What the pixels of `count` frames take when they are unpacked."""
    values = int(header.Rows) * int(header.Columns) * count * int(header.get("SamplesPerPixel", 1) or 1)
    return -(-values * int(header.get("BitsAllocated", 8) or 8) // 8)


def check_pixels(path: Path, header: Any, count: int) -> None:
    """Refuse a file that holds fewer pixels than its header announces.

    Args:
        path: The file.
        header: What `dicom_header.read` gave.
        count: The number of frames.

    Raises:
        VolumeError: It is truncated or damaged.
    """
    need = announced_bytes(header, count)
    syntax = dicom_header.syntax(header)
    if syntax is not None and syntax.is_deflated:
        found = len(dicom_header.read_whole(path).get("PixelData", b""))
        _expect(path, need, found)
        return
    with path.open("rb") as file:
        length = _open_element(file, header)
        if syntax is None or not syntax.is_encapsulated:
            left = path.stat().st_size - file.tell()
            _expect(path, need, left if length == _UNDEFINED else min(length, left))
            if length != _UNDEFINED:
                if length > left:
                    raise dicom_header.endless(path)
                file.seek(length, 1)
                _check_behind(path, file, syntax)
            return
        if str(syntax) == _RLE:
            _expect(path, need, path.stat().st_size * _MOST_RLE)
        found = 0
        for frame in _frames(path, file, count):
            found += 1
            if not _whole(frame, header, str(syntax)):
                raise VolumeError(
                    f"{path.name} is truncated or damaged: frame {found} of its compressed pixels is not whole; copy or"
                    " export it again."
                )
        file.seek(4, 1)
        _check_behind(path, file, syntax)
        if found != count:
            raise VolumeError(
                f"{path.name} is truncated: it holds {found:,} of the {count:,} frames that its header announces; copy"
                " or export it again."
            )


def _check_behind(path: Path, file: BinaryIO, syntax: Any) -> None:
    """Refuse elements behind the pixels that announce more bytes than there are: GDCM asks for that much memory."""
    order = ">" if syntax is not None and not syntax.is_little_endian else "<"
    explicit, size = syntax is None or not syntax.is_implicit_VR, path.stat().st_size
    while len(head := file.read(8)) == 8:
        kind = head[4:6]
        if not (explicit and kind.isalpha() and kind.isupper()):
            length = int(struct.unpack(order + "I", head[4:8])[0])
        elif kind in _LONG:
            length = int(struct.unpack(order + "I", file.read(4).ljust(4, b"\0"))[0])
        else:
            length = int(struct.unpack(order + "H", head[6:8])[0])
        if length == _UNDEFINED:
            return
        if length > size - file.tell():
            raise dicom_header.endless(path)
        file.seek(length, 1)


def _expect(path: Path, need: int, found: int) -> None:
    if found < need:
        raise VolumeError(
            f"{path.name} is truncated: it holds {found:,} bytes of pixels and its size needs {need:,}; copy or export"
            " it again."
        )


def _open_element(file: BinaryIO, header: Any) -> int:
    """Go to the first byte of the pixel data; returns their stated length."""
    file.seek(dicom_header.pixels_at(header))
    syntax = dicom_header.syntax(header)
    order = ">" if syntax is not None and not syntax.is_little_endian else "<"
    head = file.read(12)
    if head[4:6] in (b"OB", b"OW", b"UN", b"OF", b"OD"):
        return int(struct.unpack(order + "I", head[8:12])[0])
    file.seek(-4, 1)
    return int(struct.unpack(order + "I", head[4:8])[0])


def _frames(path: Path, file: BinaryIO, count: int) -> Iterator[bytes]:
    """The compressed frames, one after the other; without a table of offsets, by what their first bytes say."""
    frame, size = b"", path.stat().st_size
    first, single = True, count == 1
    while (tag := file.read(4)) == _ITEM:
        length = int.from_bytes(file.read(4), "little")
        if length > size - file.tell():
            break
        fragment = file.read(length)
        if first:  # the table of offsets
            first = False
        elif frame and (single or not _begins(fragment)):
            frame += fragment
        else:
            if frame:
                yield frame
            frame = fragment
    if tag != _END:
        raise VolumeError(
            f"{path.name} is damaged or truncated (its compressed pixels end early); copy or export it again."
        )
    if frame:
        yield frame


def _begins(fragment: bytes) -> bool:
    """Whether a fragment is the first of a frame; of RLE each is."""
    return fragment.startswith((_JPEG, _JPEG_2000)) or int.from_bytes(fragment[:4], "little") in range(1, 16)


def _whole(frame: bytes, header: Any, syntax: str) -> bool:
    """Whether a compressed frame goes on to its end and has the size that the header says."""
    rows, columns = int(header.Rows), int(header.Columns)
    if syntax == _RLE:
        planes = int(header.get("SamplesPerPixel", 1) or 1) * int(header.get("BitsAllocated", 8)) // 8
        return _whole_rle(frame, rows * columns, planes)
    if frame.startswith((_JPEG, _JPEG_2000)):
        stated = _jpeg_size(frame)
        return frame.rstrip(b"\0").endswith(b"\xff\xd9") and stated in (None, (rows, columns))
    return True  # no kind that is known here: its decoder must tell


def _jpeg_size(frame: bytes) -> tuple[int, int] | None:
    """Rows and columns by the stream's own header; None where it has none that is known."""
    if frame.startswith(_JPEG_2000):
        if len(frame) < 24:
            return None
        x1, y1, x0, y0 = struct.unpack(">4I", frame[8:24])
        return y1 - y0, x1 - x0
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _FRAME_HEADERS:
            return int.from_bytes(frame[at + 5 : at + 7], "big"), int.from_bytes(frame[at + 7 : at + 9], "big")
        at += 2 + max(length, 2)
    return None


def _whole_rle(frame: bytes, pixels: int, planes: int) -> bool:
    """Whether each byte plane unpacks to as many bytes as there are pixels."""
    if len(frame) < 64 or int.from_bytes(frame[:4], "little") != planes or not 1 <= planes <= 15:
        return False
    starts = [*struct.unpack(f"<{planes}I", frame[4 : 4 + 4 * planes]), len(frame)]
    for start, stop in pairwise(starts):
        if not 64 <= start <= stop <= len(frame):
            return False
        at, found = start, 0
        while found < pixels and at < stop:
            run = frame[at]
            if run < 128:
                at, found = at + run + 2, found + run + 1
            else:
                at, found = at + 1 + (run > 128), found + (257 - run if run > 128 else 0)
        if found < pixels or at > stop:
            return False
    return True
