"""The bytes of image files, unpacked, so that truncation and damage are found before anyone trusts the voxels."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sammed3d_nb.errors import VolumeError

_CHUNK = 1 << 20  # a multiple of every voxel's size
_MOST_DEFLATED = 1032  # no byte of zlib data unpacks to more
_SURPLUS = 1 << 20  # bytes behind the voxels that some programs leave


def own_file(header: Path, name: str) -> Path:
    """A file that a header names, when it is a regular one in the header's own folder.

    Raises:
        VolumeError: It lies elsewhere, is a link or a device, or is not there.
    """
    plain = name.removeprefix("./")
    data = header.with_name(plain) if plain not in ("", ".", "..") and not set(plain) & set("/\\\0") else None
    if data is not None and not data.exists():
        raise VolumeError(f"{header.name} keeps its voxels in {data.name}, which is not beside it; copy both files.")
    if data is None or data.is_symlink() or not data.is_file():
        shown = plain if len(plain) <= 80 else f"{plain[:77]}…"
        raise VolumeError(
            f"{header.name} keeps its voxels in {shown!r}; expected a regular file in its own folder: copy both there."
        )
    return data


def could_hold(path: Path, announced: int) -> None:
    """Refuse a file too short for what its header announces, before anything is unpacked.

    Args:
        path: The file with the voxels.
        announced: Bytes, header included, after unpacking.
    """
    size = path.stat().st_size
    expect_bytes(path, announced, size * _MOST_DEFLATED if is_gzipped(path) else size)


def expect_bytes(path: Path, expected: int, found: int) -> None:
    """Refuse fewer bytes than a header announces."""
    if found < expected:
        raise VolumeError(
            f"{path.name} is truncated: it holds {found:,} of the {expected:,} bytes that its header announces; copy"
            " or export it again."
        )


def expect_no_more(path: Path, expected: int, found: int) -> None:
    """Refuse compressed data that go on far beyond what a header announces, so that nobody unpacks them for hours."""
    if found > expected + _SURPLUS and is_gzipped(path):
        raise VolumeError(
            f"{path.name} unpacks to more than the {expected:,} bytes of voxels that its header announces, so one of"
            " the two is wrong; export it again."
        )


def is_gzipped(path: Path) -> bool:
    """Whether the file starts as gzip data do, whatever its name."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of the file's content, after gunzip."""
    return next(unpacked(path, chunk=count), b"")


def unpacked(path: Path, *, skip: int = 0, chunk: int = _CHUNK) -> Iterator[bytes]:
    """Yield the file's content after gunzip, in chunks of ``chunk`` bytes (the last may be shorter).

    Args:
        path: A plain or gzipped file; its content decides, not its name.
        skip: How many bytes of the content to leave out at the start.
        chunk: Bytes at a time.

    Raises:
        VolumeError: The compressed data end early, or do not unpack to what was packed.
    """
    try:
        with gzip.open(path) if is_gzipped(path) else path.open("rb") as stream:
            stream.read(skip)
            while block := stream.read(chunk):
                yield block
    except EOFError as error:
        raise VolumeError(f"{path.name} is truncated (its gzip data end early); copy or export it again.") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path) from error


def inflated(path: Path, start: int, ends: list[int] | None = None) -> Iterator[bytes]:
    """Yield what the zlib (or gzip) data from byte ``start`` of a file unpack to, in chunks of at most 1 MiB.

    Args:
        path: The file.
        start: Where the data begin.
        ends: Takes the byte behind the data, once all of them have been read.

    Raises:
        VolumeError: The data end early or are damaged.
    """
    inflate = zlib.decompressobj(wbits=47)  # zlib or gzip, as the data say
    with path.open("rb") as file:
        file.seek(start)
        try:
            while not inflate.eof and (block := inflate.unconsumed_tail or file.read(_CHUNK)):
                yield inflate.decompress(block, _CHUNK)
        except zlib.error as error:
            raise _damaged(path) from error
        if ends is not None:
            ends.append(file.tell() - len(inflate.unused_data))
    if not inflate.eof:
        raise VolumeError(f"{path.name} is truncated (its compressed data end early); copy or export it again.")


@dataclass
class Stored:
    """How the voxels of an NRRD or MetaImage file are stored.

    Attributes:
        encoding: "raw", "gzip", "zlib", "text" (numbers between spaces) or "hex".
        bytes_each: Of one value.
        lines: Lines to leave out before the data.
        skip: Bytes to leave out before the voxels (of what is unpacked); -1: whatever is too much.
        packed: The stated length of compressed data; None where it is not stated.
    """

    encoding: str
    bytes_each: int
    lines: int = 0
    skip: int = 0
    packed: int | None = None

    def could_hold(self, path: Path, start: int, count: int) -> None:
        """Refuse a file too short for `count` values from byte `start`, before anything is unpacked."""
        size, need = path.stat().st_size - start, count * self.bytes_each
        if self.encoding == "raw":
            expect_bytes(path, start + max(self.skip, 0) + need, start + size)
        elif self.encoding in ("gzip", "zlib"):
            expect_bytes(path, need, size * _MOST_DEFLATED)
        else:
            expect_bytes(path, count, size)

    def check(self, path: Path, start: int, count: int) -> None:
        """Read through everything that is not raw: `count` values must be there, compressed ones neither more nor less.

        Raises:
            VolumeError: They are not, or cannot be unpacked.
        """
        if self.skip < -1 or self.lines < 0:
            raise VolumeError(f"{path.name} has a damaged header (it skips {self.skip} bytes); export it again.")
        start = _behind_lines(path, start, self.lines)
        need = count * self.bytes_each
        if self.encoding == "raw":
            expect_bytes(path, start + max(self.skip, 0) + need, path.stat().st_size)
        elif self.encoding in ("gzip", "zlib"):
            self._check_packed(path, start, need)
        else:
            found = _count_texts(path, start) if self.encoding == "text" else _count_digits(path, start) // 2
            expect_bytes(path, count if self.encoding == "text" else need, found)

    def _check_packed(self, path: Path, start: int, need: int) -> None:
        ends: list[int] = []
        found = -max(self.skip, 0)
        for chunk in inflated(path, start, ends):
            found += len(chunk)
            if found > need and self.skip >= 0:
                break
        expect_bytes(path, need, found)
        if found > need and self.skip >= 0:
            raise VolumeError(
                f"{path.name} unpacks to more than the {need:,} bytes of voxels that its header announces, so one of"
                " the two is wrong; export it again."
            )
        if self.packed and self.packed != ends[0] - start:
            raise VolumeError(
                f"{path.name} is damaged: its header announces {self.packed:,} compressed bytes and there are"
                f" {ends[0] - start:,}; copy or export it again."
            )


def _behind_lines(path: Path, start: int, lines: int) -> int:
    with path.open("rb") as file:
        file.seek(start)
        for _ in range(lines):
            if not file.readline(_CHUNK):
                break
        return file.tell()


_LONGEST_WORD = 400
"""Bytes of a number as text: NrrdIO copies one that it refuses into 1024 bytes."""


def _count_texts(path: Path, start: int) -> int:
    """How many words there are from a byte on."""
    count, inside = 0, False
    for chunk in unpacked(path, skip=start):
        words = chunk.split()
        if max(map(len, words), default=0) > _LONGEST_WORD:
            raise VolumeError(f"{path.name} is damaged: what stands for a voxel is no number; copy or export it again.")
        count += len(words) - (inside and bool(words) and not chunk[:1].isspace())
        inside = not chunk[-1:].isspace()
    return count


def _count_digits(path: Path, start: int) -> int:
    return sum(len(re.findall(rb"[0-9a-fA-F]", chunk)) for chunk in unpacked(path, skip=start))


def _damaged(path: Path) -> VolumeError:
    return VolumeError(f"{path.name} is damaged (its compressed data do not unpack); copy or export it again.")
