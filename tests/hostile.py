"""Images for tests of damaged and hostile files, and what every reading of such a file must keep to."""

import zlib

import numpy as np
import psutil
import pytest
import SimpleITK as sitk


def image(shape=(20, 30, 40)):
    made = sitk.GetImageFromArray(np.random.default_rng(3).integers(0, 1000, shape).astype(np.int16))
    made.SetSpacing((0.8, 1.1, 5.0))
    return made


@pytest.fixture(autouse=True)
def silent(capfd):
    """No decoder says anything to the user, and nothing takes more memory than it announces."""
    before = psutil.Process().memory_info().rss
    yield
    assert capfd.readouterr() == ("", "")
    assert psutil.Process().memory_info().rss - before < 500e6


def compressed_mha(path, *, size="", values=None, surplus=b"", name="LOCAL"):
    packed = zlib.compress(sitk.GetArrayFromImage(image()).tobytes() if values is None else values)
    stated = {"": f"CompressedDataSize = {len(packed)}\n", None: ""}.get(size)
    stated = f"CompressedDataSize = {len(packed) + int(size)}\n" if stated is None and size else stated
    head = (
        "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = True\n"
        f"{stated}ElementSpacing = 0.8 1.1 5\nDimSize = 40 30 20\nElementType = MET_SHORT\nElementDataFile = {name}\n"
    ).encode()
    if name == "LOCAL":
        path.write_bytes(head + packed + surplus)
    else:
        path.write_bytes(head)
        (path.parent / name).write_bytes(packed + surplus)
    return path


def bomb(start, megabytes, wbits):
    """Zlib data of a few kilobytes a gigabyte: `start`, then zeros; the checksum at the end is missing."""
    pack = zlib.compressobj(9, zlib.DEFLATED, wbits)
    head = pack.compress(start) + pack.flush(zlib.Z_FULL_FLUSH)
    zeros = pack.compress(bytes(16_000_000)) + pack.flush(zlib.Z_FULL_FLUSH)
    return head + zeros * (megabytes // 16) + pack.flush()
