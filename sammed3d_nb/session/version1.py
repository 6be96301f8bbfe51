"""Records of version 1: objects with their clicks and masks, without steps."""

import base64
import hashlib
import math
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import LocalMask, Region, triple
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.prompts import Point
from sammed3d_nb.segmenters.segmenter import Options
from sammed3d_nb.session.codec import need, to_cube
from sammed3d_nb.session.objects import LONGEST_NAME, Said, SegmentedObject, Told, checked_colour
from sammed3d_nb.session.steps import State
from sammed3d_nb.spaces import Trace

PARTS = {"objects": list, "current": str}


def to_state(fields: dict[str, Any], volume: Volume) -> State:
    """The objects of a record of version 1; their last click tells how all of them were answered."""
    objects = [_to_object(key, item, volume) for key, item in enumerate(fields["objects"])]
    names = [item.name for item in objects]
    if len(set(names)) != len(names):
        raise ValueError("two objects have one name")
    return State({item.key: item for item in objects}, tuple(range(len(objects))), names.index(fields["current"]))


def _to_object(key: int, fields: dict[str, Any], volume: Volume) -> SegmentedObject:
    name = need(fields, "name", str)
    if not name.strip() or len(name) > LONGEST_NAME:
        raise ValueError(f"an object is called {name!r:.40}")
    item = SegmentedObject.empty(key, name, checked_colour(fields["colour"]), volume.size)
    said: Said | None = None
    for number, click in enumerate(need(fields, "clicks", list), start=1):
        point = Point(triple(click["ijk"]), need(click, "positive", bool))
        point.check(volume)
        told, spared = _to_told(fields["result"], volume)
        options = Options(need(fields["result"], "grow", bool), need(fields["result"], "adapt", bool))
        said = Said(point, options, spared, told, said, number)
    return replace(
        item,
        local=_unpacked(fields["mask"], volume),
        said=said,
        locked=need(fields, "locked", bool),
        visible=need(fields, "visible", bool),
    )


def _to_told(fields: Any, volume: Volume) -> tuple[Told, PackedMask]:
    cubes = [to_cube(cube) for cube in need(fields, "cubes", list)]
    answered = cubes.pop(need(fields, "cube", int))
    name, fingerprint = fields["model"]
    distance = fields["distance_mm"]
    told = Told(
        trace=Trace.from_dict(fields["trace"]),
        distance_mm=math.inf if distance is None else float(need(fields, "distance_mm", (int, float))),
        quality=float(need(fields, "quality", (int, float))),
        volume_ml=float(need(fields, "volume_ml", (int, float))),
        cubes=(*cubes, answered),
        seconds={},
        embedding_reused=False,
        model=(str(name), None if fingerprint is None else str(fingerprint)),
    )
    return told, PackedMask.of(_unpacked(fields["spared"], volume))


def _unpacked(fields: Any, volume: Volume) -> LocalMask:
    region = Region(triple(need(fields, "start", list)), triple(need(fields, "size", list)))
    ends = zip(region.start, region.size, volume.size, strict=True)
    if not all(low >= 0 and size >= 0 and low + size <= most for low, size, most in ends):
        raise ValueError(f"a mask of {region.size} voxels at {region.start} lies outside the volume")
    count = int(np.prod(region.size))
    need_bytes = (count + 7) // 8
    inflate = zlib.decompressobj()
    bits = inflate.decompress(base64.b64decode(need(fields, "bits", str), validate=True), need_bytes + 1)
    if len(bits) != need_bytes or not inflate.eof:
        raise ValueError(f"the bits of a mask unpack to another length than {need_bytes} bytes")
    values = np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=count).reshape(region.shape)
    if hashlib.sha256(values.tobytes()).hexdigest() != fields["sha256"]:
        raise ValueError("a mask does not match its checksum")
    return LocalMask(values, region, volume.size)
