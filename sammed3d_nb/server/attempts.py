"""What is tried on a server of the nnInteractive protocol; see `conformance`."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
from nnInteractive.inference.remote import ServerAtCapacityError
from nnInteractive.inference.remote.serialization import pack_array, unpack_array

from sammed3d_nb.server.trial import CENTRES, RADIUS_MM, SHAPE, SPACING, Mask, Trial, distance, image

_KEYS = ("supported_interactions", "channel_mapping", "num_interaction_channels", "supports_initial_label",
         "supports_zero_shot_label_refinement", "preferred_scribble_thickness", "interaction_decay",
         "inference_session_version")  # fmt: skip


def _health(trial: Trial) -> str:
    response = trial.raw("GET", "/healthz")
    trial.expect(response.status_code == 200, f"GET /healthz answers {response.status_code}")
    return ""


def _claim(trial: Trial) -> str:
    trial.session = trial.connect()
    beats = trial.session.liveness_timeout_seconds
    trial.expect(trial.session.idle_timeout_seconds > 0, "no idle time is told")
    if not 0 < beats <= 600:
        trial.remarks.append(f"a client that has died keeps its place for {beats:.0f} s")
    return f"idle time {trial.session.idle_timeout_seconds:.0f} s"


def _capabilities(trial: Trial) -> str:
    found = trial.raw("GET", "/capabilities", trial.session._lease_token).json()
    missing = [key for key in _KEYS if key not in found]
    trial.expect(not missing, f"{', '.join(missing)} missing: the client fails without")
    supported = found["supported_interactions"]
    trial.expect(any(supported.values()), "supported_interactions is empty: extensions then enable every tool")
    if found.get("license") in (None, "!!MISSING!!"):
        trial.remarks.append("the licence of the weights is not told")
    return ", ".join(tool for tool, on in supported.items() if on)


def _image(trial: Trial) -> str:
    shape = tuple(trial.session.original_image_shape)
    trial.expect(shape == (1, *SHAPE), f"the image of (1, k, j, i) = {(1, *SHAPE)} is told to be {shape}")
    return ""


def _point(trial: Trial) -> str:
    return _prompted(trial, lambda s, on: s.add_point_interaction(list(CENTRES[0]), on))


def _box2d(trial: Trial) -> str:
    return _prompted(trial, lambda s, on: s.add_bbox_interaction(_around(0, flat=True), on), "bbox2d")


def _box3d(trial: Trial) -> str:
    return _prompted(trial, lambda s, on: s.add_bbox_interaction(_around(0), on), "bbox3d")


def _scribble(trial: Trial) -> str:
    k, j, i = CENTRES[0]
    stroke = np.ones((1, 1, 9), np.uint8)
    where = [[k, k + 1], [j, j + 1], [i - 4, i + 5]]
    return _prompted(trial, lambda s, on: s.add_scribble_interaction(stroke, on, interaction_bbox=where), "scribble")


def _lasso(trial: Trial) -> str:
    where = _around(0, flat=True)
    inside = (distance(CENTRES[0]) < RADIUS_MM)[tuple(slice(*ends) for ends in where)].astype(np.uint8)
    return _prompted(trial, lambda s, on: s.add_lasso_interaction(inside, on, interaction_bbox=where), "lasso")


def _around(number: int, *, flat: bool = False) -> list[list[int]]:
    reach = [int(RADIUS_MM / step) for step in SPACING]
    ends = [[at - r, at + r + 1] for at, r in zip(CENTRES[number], reach, strict=True)]
    return [[CENTRES[number][0], CENTRES[number][0] + 1], *ends[1:]] if flat else ends


def _prompted(trial: Trial, say: Callable[[Any, bool], Any], tool: str = "points") -> str:
    """Say something positive about the first ellipsoid from the beginning, and look where the mask is."""
    session, mask = trial.session, trial.mask
    if not session.supported_interactions.get(tool, False):
        return "not offered"
    say(session, True)
    trial.expect(bool(mask.any()), "the mask is empty")
    trial.expect(set(np.unique(mask)) <= {0, 1}, f"the mask holds {np.unique(mask)[:5].tolist()}")
    if not mask[CENTRES[0]]:
        trial.remarks.append("the voxel that was shown is not in the mask")
    middle = np.argwhere(mask).mean(axis=0)
    off = np.linalg.norm((middle - CENTRES[0]) * np.array(SPACING))
    if off > 2 * RADIUS_MM:
        trial.remarks.append(f"the mask lies {off:.0f} mm from what was shown: are axes confused?")
    return f"{int(mask.sum())} voxels, {off:.0f} mm off the middle"


def _negative(trial: Trial) -> str:
    session, mask = trial.session, trial.mask
    session.add_point_interaction(list(CENTRES[0]), True)
    at = tuple(int(n) for n in np.argwhere(mask)[0])
    before = int(mask.sum())
    session.add_point_interaction(list(at), False)
    if mask[at]:
        trial.remarks.append("the voxel of a negative click stays in the mask")
    return f"{before} → {int(mask.sum())} voxels"


def _difference(trial: Trial) -> str:
    """The answer itself: a half-open box and the array over it."""
    session = trial.session
    body = {"coordinates": list(CENTRES[1]), "include_interaction": True, "run_prediction": True}
    response = trial.raw("POST", "/add_point_interaction", session._lease_token, json=body)
    response.raise_for_status()
    meta = json.loads(response.headers["X-Meta"])
    trial.expect(meta.get("ran_prediction") is True, f"X-Meta says {meta}")
    box = meta.get("bbox")
    trial.expect(box is not None, "nothing changed")
    size = tuple(high - low for low, high in box)
    inside = all(0 <= low < high <= n for (low, high), n in zip(box, SHAPE, strict=True))
    trial.expect(inside, f"the box {box} is not half-open inside {SHAPE}")
    array = unpack_array(response.content)
    trial.expect(array.shape == size, f"the array is {array.shape}, its box {size}")
    return f"{len(response.content)} bytes for a box of {' × '.join(map(str, size))}"


def _reset(trial: Trial) -> str:
    session, mask = trial.session, trial.mask
    session.add_point_interaction(list(CENTRES[0]), True)
    first = mask.copy()
    session.reset_interactions()
    trial.expect(not session.undo() and not mask.any(), "a reset is not the beginning: there is something to undo")
    session.add_point_interaction(list(CENTRES[1]), True)
    if (mask & first).any():
        trial.remarks.append(f"the next object takes {int((mask & first).sum())} voxels of the one before")
    return ""


def _undo(trial: Trial) -> str:
    session, mask = trial.session, trial.mask
    if not session.supports_undo:
        trial.remarks.append("there is no undo")
        return ""
    states = [mask.copy()]
    k, j, i = CENTRES[0]
    for step in (0, 3, 6):
        session.add_point_interaction([k, j, i + step], True)
        states.append(mask.copy())
    depth = 0
    for before in reversed(states[:-1]):
        if not session.undo():
            break
        trial.expect(bool(np.array_equal(mask, before)), f"undo {depth + 1} does not bring back the mask before")
        depth += 1
    trial.expect(depth > 0, "undo says that there is nothing to undo")
    if depth < 3:
        trial.remarks.append(f"undo goes back {depth} step{'s' if depth > 1 else ''} only")
    return f"goes back {depth} of 3 steps, to the byte"


def _later(trial: Trial) -> str:
    session, mask = trial.session, trial.mask
    session.add_point_interaction(list(CENTRES[0]), True, run_prediction=False)
    trial.expect(not mask.any(), "a prompt that was not to be answered changes the mask")
    session._predict()
    trial.expect(bool(mask.any()), "what waited is not answered by /predict")
    return ""


def _start(trial: Trial) -> str:
    session, mask = trial.session, trial.mask
    if not session.supports_initial_label:
        return "not offered"
    seed = (distance(CENTRES[1]) < RADIUS_MM / 2).astype(np.uint8)
    session.add_initial_seg_interaction(seed, run_prediction=False)
    trial.expect(bool(np.array_equal(mask, seed)), "the mask is not what was sent")
    k, j, i = CENTRES[1]
    session.add_point_interaction([k, j, i + 8], True)
    if not mask[CENTRES[1]]:
        trial.remarks.append("the next prompt forgets the mask that was sent")
    return f"{int(seed.sum())} → {int(mask.sum())} voxels after a click"


def _outside(trial: Trial) -> str:
    return _refused(
        trial, "/add_point_interaction", json={"coordinates": [SHAPE[0] + 20, 10, 10], "include_interaction": True}
    )


def _constant(trial: Trial) -> str:
    click = {"coordinates": list(CENTRES[0]), "include_interaction": True}
    return _refused(
        trial,
        "/set_image",
        content=pack_array(np.zeros((1, *SHAPE), np.int16)),
        headers={"X-Meta": json.dumps({"image_properties": {"spacing": SPACING}})},
        then=lambda: trial.raw("POST", "/add_point_interaction", trial.session._lease_token, json=click),
    )


def _damaged(trial: Trial) -> str:
    packed = pack_array(image()[None])
    return _refused(trial, "/set_image", content=packed[: len(packed) // 2], headers={"X-Meta": "{}"})


def _bomb(trial: Trial) -> str:
    head = struct.pack("<4sBBBB7s", b"NNIA", 1, 1, 4, 7, b"float64") + struct.pack("<4q", 1, 2**15, 2**15, 2**15)
    return _refused(trial, "/set_image", content=head + struct.pack("<I", 0), headers={"X-Meta": "{}"})


def _refused(
    trial: Trial,
    path: str,
    *,
    then: Callable[[], httpx.Response] | None = None,
    **rest: Any,
) -> str:
    """What must be answered 4xx, with a sentence; the session goes on."""
    response = trial.raw("POST", path, trial.session._lease_token, **rest)
    if response.status_code == 200 and then is not None:
        trial.remarks.append("it is taken, and refused at the first prompt")
        response = then()
    status = response.status_code
    trial.expect(status != 200, "it is taken as if nothing were wrong")
    trial.expect(status < 500, f"the server fails ({status}): {response.text[:120]}")
    detail = ""
    with suppress(ValueError):
        detail = str(response.json().get("detail", ""))
    if not detail:
        trial.remarks.append("the answer has no sentence in “detail”")
    return f"{status}: {detail[:140]}"


def _apart(trial: Trial) -> str:
    session, mask = trial.session, trial.mask
    session.add_point_interaction(list(CENTRES[0]), True)
    before = mask.copy()
    try:
        other = trial.connect()
    except ServerAtCapacityError as error:
        trial.remarks.append(f"there is one place only ({str(error)[:80]})")
        return ""
    with other:
        theirs = trial.begin(other)
        other.add_point_interaction(list(CENTRES[1]), True)
        trial.expect(bool(theirs.any()), "the second session has no answer")
        shared = int((theirs & before).sum())
    k, j, i = CENTRES[0]
    session.add_point_interaction([k, j, i + 3], True)
    trial.expect(bool(mask[CENTRES[0]]) == bool(before[CENTRES[0]]), "another session has changed this one's mask")
    return f"{shared} voxels shared"


def _tokens(trial: Trial) -> str:
    response = trial.raw("POST", "/undo", "0" * 32)
    trial.expect(response.status_code == 410, f"an unknown session is answered {response.status_code}, expected 410")
    token = trial.session._lease_token
    trial.session.close()
    response = trial.raw("POST", "/undo", token)
    trial.expect(response.status_code == 410, f"a session given back is answered {response.status_code}, expected 410")
    return ""


def _beats(trial: Trial) -> str:
    left = trial.session.heartbeat()
    trial.expect(left > 0, f"a heartbeat is told {left} s")
    return f"{trial.session.lease_status()['remaining_seconds']:.0f} s left"


def _kinds(trial: Trial) -> str:
    known: Mask | None = None
    for dtype in (np.int16, np.uint16, np.float32):
        values = image().astype(np.int32) - int(image().min())
        session, mask = trial.session, np.zeros(SHAPE, np.uint8)
        session.set_image(np.ascontiguousarray(values.astype(dtype)[None]), {"spacing": list(SPACING)})
        session.set_target_buffer(mask)
        session.add_point_interaction(list(CENTRES[0]), True)
        trial.expect(bool(mask.any()), f"{np.dtype(dtype)} gives an empty mask")
        if known is not None and not np.array_equal(mask, known):
            trial.remarks.append(f"the same values as {np.dtype(dtype)} give another mask")
        known = mask
    return ""


Attempt = tuple[str, Callable[[Trial], str]]
ATTEMPTS: tuple[Attempt, ...] = (
    ("healthz", _health),
    ("claim", _claim),
    ("capabilities", _capabilities),
    ("image", _image),
    ("point", _point),
    ("box, 2D", _box2d),
    ("box, 3D", _box3d),
    ("scribble", _scribble),
    ("lasso", _lasso),
    ("negative", _negative),
    ("difference", _difference),
    ("reset", _reset),
    ("undo", _undo),
    ("predict", _later),
    ("start mask", _start),
    ("outside", _outside),
    ("all zero", _constant),
    ("damaged", _damaged),
    ("too large", _bomb),
    ("two clients", _apart),
    ("leases", _tokens),
    ("heartbeat", _beats),
    ("voxel types", _kinds),
)
"""What it is called, and how it is tried: returns what was found."""
