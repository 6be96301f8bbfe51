"""What network a dictionary of tensors is, from names and shapes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import torch
from torch import Tensor

from sammed3d_nb.errors import CheckpointError
from sammed3d_nb.network.compact import Compact
from sammed3d_nb.network.encoder import EncoderShape
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import ModelSpec

CUBE = 128
ENCODER = "image_encoder."
_NOT_WEIGHTS = ("pixel_mean", "pixel_std")  # constants of the original SAM; SAM-Med3D never uses them

SAM_MED3D_SHAPE = EncoderShape(grid=8, patch=16, width=768, heads=12, windows=(14, 14, 8) * 4, hidden=3072, out=384)
FASTSAM3D_SHAPE = EncoderShape(grid=8, patch=16, width=768, heads=6, windows=(0, 0, 8, 8, 8, 8), hidden=3072, out=384)


class Kind(Enum):
    """What a file can be."""

    COMPACT = "compact"
    SAM_MED3D = "sam-med3d"
    FASTSAM3D = "fastsam3d"
    TEACHER = "sam-med3d encoder alone"
    STUDENT = "fastsam3d encoder alone"
    SAM_2D = "sam-2d"
    UNKNOWN = "unknown"


@dataclass
class Recognised:
    """What was recognised.

    Attributes:
        kind: what it is.
        title: the same in words.
        layers: blocks of its image encoder, 0 when it has none that is known.
        needs_decoder: it is an image encoder alone.
        refusal: why it cannot be loaded, to follow the file's name; ``None`` when it can.
        misfits: per known network, the tensors that keep the file from being it.
        notes: what else to say.
    """

    kind: Kind
    title: str
    layers: int = 0
    needs_decoder: bool = False
    refusal: str | None = None
    misfits: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def recognise(state: dict[str, Tensor], wanted: str | None = None) -> Recognised:
    """Tell what the tensors are.

    Args:
        state: name to tensor. Constants of the original SAM are taken out, bare encoder names completed, in place.
        wanted: refuse anything else than ``"sam-med3d"``, ``"fastsam3d"`` or ``"compact"``.
    """
    if state and all(name.startswith(("encoder.", "decoder.")) for name in state):
        found = Recognised(Kind.COMPACT, "the compact network of this package", refusal=_check_compact(state))
    else:
        for name in _NOT_WEIGHTS:
            state.pop(name, None)
        found = _recognise_sam(state)
    if wanted is not None and found.refusal is None and wanted not in found.kind.value:
        misfits = found.misfits.get(wanted, [])
        detail = f" ({list_some(misfits)})" if misfits else ""
        found.refusal = f"is {found.title} and cannot be loaded as {wanted}{detail}; leave the architecture out."
    return found


def _recognise_sam(state: dict[str, Tensor]) -> Recognised:
    bare = "patch_embed.proj.weight" in state
    if bare:
        for name in list(state):
            state[ENCODER + name] = state.pop(name)
    patch = state.get(f"{ENCODER}patch_embed.proj.weight")
    if patch is not None and patch.ndim == 4:
        return Recognised(
            Kind.SAM_2D,
            f"a 2-D SAM image encoder ({patch.shape[0]} channels)",
            refusal="is a 2-D SAM, which reads RGB slices; this app needs a 3-D network such as sam_med3d_turbo.pth.",
        )
    try:
        shape = EncoderShape.of(state, ENCODER)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        some = ", ".join(list(state)[:3])
        refusal = f"holds {len(state)} tensors of a network that this app does not know ({some}, …)"
        return Recognised(
            Kind.UNKNOWN, "not recognised", refusal=f"{refusal}; give a SAM-Med3D, FastSAM3D or compact file."
        )
    alone = not any(name.startswith(("prompt_encoder.", "mask_decoder.")) for name in state)
    if shape.student:
        kind, title = (Kind.STUDENT if alone else Kind.FASTSAM3D), "FastSAM3D"
        title = "FastSAM3D's student encoder" if alone else title
    else:
        kind, title = (Kind.TEACHER if alone else Kind.SAM_MED3D), "SAM-Med3D"
        title = "SAM-Med3D's image encoder" if alone else title
    title += f" ({len(shape.windows)} blocks, width {shape.width}, {shape.heads} heads, {shape.cube}³)"
    found = Recognised(kind, title, len(shape.windows), needs_decoder=alone)
    for name, known in (("sam-med3d", SAM_MED3D_SHAPE), ("fastsam3d", FASTSAM3D_SHAPE)):
        wanted = expected(known)
        found.misfits[name] = misfits(
            state, {k: v for k, v in wanted.items() if not alone or k.startswith(ENCODER)}, ENCODER if bare else ""
        )
    if shape.cube != CUBE:
        found.refusal = f"is a SAM-Med3D for cubes of {shape.cube}³ voxels; this app works with {CUBE}³."
    elif not alone:
        found.refusal = check(state)
    return found


def expected(shape: EncoderShape) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a whole network with such an image encoder."""
    with torch.device("meta"):
        network = SamMed3D(shape, ModelSpec("", "", 0, 0, 0))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def check(state: Mapping[str, Tensor]) -> str | None:
    """Why these tensors are not one whole network of the size that they tell, to follow the file's name."""
    wrong = misfits(state, expected(EncoderShape.of(state, ENCODER)))
    if not wrong:
        return None
    count = f"{len(wrong)} tensors do" if len(wrong) > 1 else "one tensor does"
    return f"is nearly a SAM-Med3D or FastSAM3D file, but {count} not fit: {list_some(wrong)}; take another checkpoint."


def _check_compact(state: Mapping[str, Tensor]) -> str | None:
    try:
        Compact.from_state(state)
    except (RuntimeError, IndexError, KeyError, ValueError) as error:  # in torch's words: names and shapes
        wrong = " ".join(str(error).split())[:160]
        return f"is no compact network of this version of the package ({wrong}…); take another file."
    return None


def misfits(state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]], hidden_prefix: str = "") -> list[str]:
    """What keeps the tensors from being the wanted ones: missing, misshapen and unexpected, one phrase each."""
    wrong = []
    for name, shape in wanted.items():
        shown = name.removeprefix(hidden_prefix)
        if name not in state:
            wrong.append(f"{shown} is missing")
        elif tuple(state[name].shape) != shape:
            wrong.append(f"{shown} has the shape {tuple(state[name].shape)} instead of {shape}")
    unexpected = [name for name in state if name not in wanted]
    return wrong + [f"{name.removeprefix(hidden_prefix)} is unexpected" for name in unexpected]


def list_some(phrases: Sequence[str], most: int = 3) -> str:
    """The first few of many phrases."""
    rest = len(phrases) - most
    return ", ".join(phrases[:most]) + (f" and {rest} more" if rest > 0 else "")


def join(encoder: Mapping[str, Tensor], other: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """An encoder alone, completed by the prompt encoder and mask decoder of another file.

    Raises:
        CheckpointError: the other file (called ``name``) has none, or ones of another size.
    """
    rest = {key: tensor for key, tensor in other.items() if key.startswith(("prompt_encoder.", "mask_decoder."))}
    if not rest:
        raise CheckpointError(f"{name} has no prompt encoder and mask decoder; give decoder= a whole SAM-Med3D file.")
    state = dict(encoder) | rest
    wrong = misfits(state, expected(EncoderShape.of(state, ENCODER)))
    if wrong:
        raise CheckpointError(f"{name} does not complete the encoder: {list_some(wrong)}; give another decoder=.")
    return state
