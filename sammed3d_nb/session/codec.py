"""Steps and what they hold in plain types, for the record; what comes back is checked field by field."""

import base64
import hashlib
import math
from collections.abc import Mapping
from typing import Any

from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import Index, LocalMask, Region
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Prompt, Scribble, StartMask
from sammed3d_nb.segmenters.segmenter import Options
from sammed3d_nb.session.edits import WITH_ANOTHER, Combine, Edit, Operation, Paint, check_operation
from sammed3d_nb.session.objects import LONGEST_NAME, Said, SegmentedObject, Told, checked_code, checked_colour
from sammed3d_nb.session.steps import MASKS, ObjectChange, State, Step
from sammed3d_nb.spaces import Trace

Fields = dict[str, Any]
_LARGEST_CUBE = 1024


def need(fields: Any, name: str, kind: type | tuple[type, ...]) -> Any:
    """A field of a record that has to be there and of a kind.

    Raises:
        ValueError: It is not.
    """
    value = fields.get(name) if isinstance(fields, Mapping) else None
    wrong = not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)
    if wrong or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"{name} is {value!r:.40}")
    return value


# -- masks -----------------------------------------------------------------------------------------------------------


def pack(mask: PackedMask) -> Fields:
    """A packed mask."""
    return {"start": mask.region.start, "size": mask.region.size, "bits": base64.b64encode(mask.data).decode()}


def unpack(fields: Any, volume_size: Index) -> PackedMask:
    """The packed mask, whose box lies in the volume and whose bytes are looked at when it is unpacked."""
    start, size = _index(need(fields, "start", list)), _index(need(fields, "size", list))
    mask = PackedMask(Region(start, size), base64.b64decode(need(fields, "bits", str), validate=True))
    ends = zip(start, size, volume_size, strict=True)
    if not all(low >= 0 and extent >= 0 and low + extent <= most for low, extent, most in ends):
        raise ValueError(f"a mask of {size} voxels at {start} lies outside the volume")
    return mask


def digest(mask: LocalMask) -> str:
    """SHA-256 of a mask's box and bits, in hexadecimal."""
    told = hashlib.sha256(f"{mask.region.start} {mask.region.size} ".encode())
    told.update(mask.packed)
    return told.hexdigest()


def _index(values: Any) -> Index:
    if len(values) != 3 or not all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        raise ValueError(f"{values!r:.40} are no three whole numbers")
    a, b, c = values
    return a, b, c


# -- what is said ----------------------------------------------------------------------------------------------------


def _of_action(action: Prompt | Edit) -> Fields:
    if isinstance(action, Point):
        return {"kind": "point", "ijk": action.ijk, "positive": action.positive}
    if isinstance(action, Box):
        return {"kind": "box", "first": action.first, "last": action.last, "positive": action.positive}
    if isinstance(action, Scribble | Lasso):
        return {"kind": action.kind, "voxels": action.voxels.tolist(), "positive": action.positive}
    if isinstance(action, StartMask):
        return {"kind": "mask", "mask": pack(PackedMask.of(action.mask)), "positive": action.positive}
    if isinstance(action, Paint):
        return {"kind": "paint", "where": pack(action.where), "add": action.add}
    if isinstance(action, Operation):
        return {"kind": "operation", "name": action.name, "options": dict(action.options)}
    if isinstance(action, Combine):
        return {"kind": "combine", "how": action.how, "other": action.other, "mask": pack(action.mask)}
    raise TypeError(f"{type(action).__name__} cannot be recorded")


def _to_action(fields: Any, volume: Volume) -> Prompt | Edit:
    kind = need(fields, "kind", str)
    prompt: Prompt
    if kind == "paint":
        return Paint(unpack(fields["where"], volume.size), need(fields, "add", bool))
    if kind == "operation":
        operation = Operation(need(fields, "name", str), need(fields, "options", dict))
        check_operation(operation)
        return operation
    if kind == "combine":
        how = need(fields, "how", str)
        if how not in (*WITH_ANOTHER, "copy"):
            raise ValueError(f"masks cannot be combined by {how!r:.40}")
        return Combine(how, need(fields, "other", str)[:LONGEST_NAME], unpack(fields["mask"], volume.size))
    positive = need(fields, "positive", bool)
    if kind == "point":
        prompt = Point(_index(need(fields, "ijk", list)), positive)
    elif kind == "box":
        prompt = Box(_index(need(fields, "first", list)), _index(need(fields, "last", list)), positive)
    elif kind == "scribble":
        prompt = Scribble(need(fields, "voxels", list), positive)
    elif kind == "lasso":
        prompt = Lasso(need(fields, "voxels", list), positive)
    elif kind == "mask":
        prompt = StartMask(unpack(fields["mask"], volume.size).unpack(volume.size), positive)
    else:
        raise ValueError(f"there is no prompt or edit {kind!r:.40}")
    prompt.check(volume)
    return prompt


def _of_told(told: Told) -> Fields:
    return {
        "trace": told.trace.to_dict(),
        "distance_mm": None if math.isinf(told.distance_mm) else told.distance_mm,
        "quality": told.quality,
        "volume_ml": told.volume_ml,
        "cubes": [{"affine": cube.affine.tolist(), "size": cube.size} for cube in told.cubes],
        "seconds": told.seconds,
        "embedding_reused": told.embedding_reused,
        "model": told.model,
        "notes": told.notes,
        **({"licence": told.licence} if told.licence else {}),
    }


def _to_told(fields: Any) -> Told:
    distance, quality = fields["distance_mm"], fields["quality"]
    name, fingerprint = need(fields, "model", list)
    seconds = {str(key): float(value) for key, value in need(fields, "seconds", dict).items()}
    return Told(
        trace=Trace.from_dict(fields["trace"]),
        distance_mm=math.inf if distance is None else float(need(fields, "distance_mm", (int, float))),
        quality=None if quality is None else float(need(fields, "quality", (int, float))),
        volume_ml=float(need(fields, "volume_ml", (int, float))),
        cubes=tuple(to_cube(cube) for cube in need(fields, "cubes", list)),
        seconds=seconds,
        embedding_reused=need(fields, "embedding_reused", bool),
        model=(str(name), None if fingerprint is None else str(fingerprint)),
        notes=tuple(str(note) for note in need(fields, "notes", list)),
        licence=need(fields, "licence", str)[:200] if "licence" in fields else "",
    )


def to_cube(fields: Any) -> Cube:
    """A cube from its affine and size."""
    size = need(fields, "size", int)
    if not 1 <= size <= _LARGEST_CUBE:
        raise ValueError(f"a cube of {size} voxels")
    return Cube(need(fields, "affine", list), size=size)


def _of_said(said: Said) -> Fields:
    return {
        "action": _of_action(said.action),
        "options": {"grow": said.options.grow, "adapt": said.options.adapt},
        "spared": pack(said.spared) if said.spared.data else None,
        "told": None if said.told is None else _of_told(said.told),
        "number": said.number,
    }


def _to_said(fields: Any, before: Said | None, volume: Volume) -> Said:
    nothing = PackedMask(Region((0, 0, 0), (0, 0, 0)), b"")
    action = _to_action(need(fields, "action", dict), volume)
    told = None if fields["told"] is None else _to_told(fields["told"])
    spared = nothing if fields["spared"] is None else unpack(fields["spared"], volume.size)
    held = [action.where] if isinstance(action, Paint) else [action.mask] if isinstance(action, Combine) else []
    for mask in (spared, *held):
        mask.unpack(volume.size)  # what does not unpack is found now
    if isinstance(action, Prompt) != (told is not None):
        raise ValueError("an answer without a prompt, or a prompt without an answer")
    return Said(
        action=action,
        options=to_options(fields["options"]),
        spared=spared,
        told=told,
        before=before,
        number=need(fields, "number", int),
    )


def to_options(fields: Any) -> Options:
    """The options of a step: only those that are known, each of its type."""
    return Options(grow=need(fields, "grow", bool), adapt=need(fields, "adapt", bool))


# -- objects and steps -------------------------------------------------------------------------------------------------


def _of_object(item: SegmentedObject, before: SegmentedObject | None) -> Fields:
    """An object without its masks; of what was said, what was not said before."""
    known = None if before is None else before.said
    if item.said is known:
        said: Any = "same"
    elif item.said is not None and item.said.before is known:
        said = {"more": _of_said(item.said)}
    else:
        said = [_of_said(one) for one in item.history]
    return {
        "name": item.name,
        "colour": item.colour,
        "locked": item.locked,
        "visible": item.visible,
        "overlaps": item.overlaps,
        **({"code": item.code} if item.code else {}),
        "said": said,
    }


def _to_object(key: int, fields: Any, before: SegmentedObject | None, volume: Volume) -> SegmentedObject:
    said_fields = fields["said"]
    said = None if before is None else before.said
    if isinstance(said_fields, dict):
        said = _to_said(said_fields["more"], said, volume)
    elif isinstance(said_fields, list):
        said = None
        for one in said_fields:
            said = _to_said(one, said, volume)
    elif said_fields != "same":
        raise ValueError(f"said is {said_fields!r:.40}")
    name = need(fields, "name", str)
    if not name.strip() or len(name) > LONGEST_NAME:
        raise ValueError(f"an object is called {name!r:.40}")
    nothing = LocalMask.empty(volume.size)
    return SegmentedObject(
        key, name, checked_colour(fields["colour"]), nothing, nothing, nothing, said,
        locked=need(fields, "locked", bool), visible=need(fields, "visible", bool),
        overlaps=need(fields, "overlaps", bool), code=checked_code(fields.get("code", "")),
    )  # fmt: skip


def of_state(state: State) -> Fields:
    """A whole state, which the steps go on from."""
    objects = []
    for item in state.listed:
        masks = {name: pack(PackedMask.of(getattr(item, name))) for name in MASKS if getattr(item, name).count}
        objects.append({"key": item.key, **_of_object(item, None), "masks": masks, "sha256": digest(item.local)})
    return {"objects": objects, "selected": state.selected}


def to_state(fields: Any, volume: Volume) -> State:
    """The state that `of_state` described."""
    objects: dict[int, SegmentedObject] = {}
    for one in need(fields, "objects", list):
        key = need(one, "key", int)
        bare = _to_object(key, one, None, volume)
        masks = {name: unpack(mask, volume.size).unpack(volume.size) for name, mask in need(one, "masks", dict).items()}
        objects[key] = _with_masks(bare, masks)
        _check(objects[key], one)
    selected = need(fields, "selected", int)
    names = {item.name for item in objects.values()}
    if selected not in objects or len(names) != len(objects) or len(objects) != len(fields["objects"]):
        raise ValueError("its objects do not fit together")
    return State(objects, tuple(objects), selected)


def _with_masks(item: SegmentedObject, masks: Mapping[str, LocalMask]) -> SegmentedObject:
    unknown = set(masks) - set(MASKS)
    if unknown:
        raise ValueError(f"there is no mask {sorted(unknown)[0]!r:.40}")
    return SegmentedObject(**{**vars(item), **masks})


def _check(item: SegmentedObject, fields: Any) -> None:
    if digest(item.local) != fields["sha256"]:
        raise ValueError("a mask does not match its checksum")


def of_step(step: Step, after: State) -> Fields:
    """A step, and the digests of the masks that it left behind."""
    changes = []
    for key, change in step.changes.items():
        fields: Fields = {"key": key, "object": change.after and _of_object(change.after, change.before)}
        if change.masks:
            fields["masks"] = {name: pack(mask) for name, mask in change.masks.items()}
        if change.after is not None:
            fields["sha256"] = digest(after.objects[key].local)
        changes.append(fields)
    told: Fields = {"step": step.name, "time": step.time, "seconds": step.seconds, "changes": changes}
    if step.order is not None:
        told["order"] = step.order[1]
    if step.selected is not None:
        told["selected"] = step.selected
    return told


def to_step(fields: Any, state: State, volume: Volume) -> Step:
    """The step that `of_step` described, from the state before it."""
    nothing = LocalMask.empty(volume.size)
    changes: dict[int, ObjectChange] = {}
    for one in need(fields, "changes", list):
        key = need(one, "key", int)
        held = state.objects.get(key)
        before = held and _with_masks(held, dict.fromkeys(MASKS, nothing))
        after = None if one["object"] is None else _to_object(key, one["object"], before, volume)
        if before is None and after is None:
            raise ValueError(f"object {key} is not there")
        masks = {name: unpack(mask, volume.size) for name, mask in one.get("masks", {}).items()}
        if set(masks) - set(MASKS):
            raise ValueError("a mask of an unknown kind")
        changes[key] = ObjectChange(before, after, masks)
    keys = {key for key in state.order if key not in changes or changes[key].after is not None}
    keys |= {key for key, change in changes.items() if change.after is not None}
    order = tuple(need(fields, "order", list)) if "order" in fields else state.order
    selected = None
    if "selected" in fields:
        old, new = need(fields, "selected", list)
        if not isinstance(old, int) or old not in {*state.objects, *keys} or new not in keys:
            raise ValueError("an object is selected that is not there")
        selected = old, new
    if set(order) != keys or len(order) != len(keys) or not keys:
        raise ValueError("its objects do not fit together")
    return Step(
        need(fields, "step", str)[: 4 * LONGEST_NAME],
        need(fields, "time", str)[:40],
        float(need(fields, "seconds", (int, float))),
        changes,
        None if order == state.order else (state.order, order),
        selected,
    )


def check_step(fields: Any, state: State) -> None:
    """Compare the masks that a step has left behind with its digests."""
    for one in fields["changes"]:
        if one["object"] is not None:
            _check(state.objects[one["key"]], one)
