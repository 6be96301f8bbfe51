"""The bytes of image files, unpacked, so that truncation and damage are found before anyone trusts the voxels."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from sammed3d_nb.errors import VolumeError

_CHUNK = 1 << 20  # a multiple of every voxel's size


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


def inflated(path: Path, start: int) -> Iterator[bytes]:
    """Yield what the zlib (or gzip) data from byte ``start`` of a file unpack to, in chunks of at most 1 MiB.

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
    if not inflate.eof:
        raise VolumeError(f"{path.name} is truncated (its compressed data end early); copy or export it again.")


def count_inflated(path: Path, start: int) -> int:
    """How many bytes the zlib (or gzip) data from byte ``start`` of a file unpack to; see `inflated`."""
    return sum(len(chunk) for chunk in inflated(path, start))


def _damaged(path: Path) -> VolumeError:
    return VolumeError(f"{path.name} is damaged (its compressed data do not unpack); copy or export it again.")
