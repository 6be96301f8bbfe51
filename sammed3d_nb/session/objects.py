"""What a session holds: named objects, and what has been said about each."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError
from sammed3d_nb.imaging.packed import PackedMask
from sammed3d_nb.imaging.region import LocalMask
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.prompts import Point, Prompt
from sammed3d_nb.segmenters.segmenter import Options
from sammed3d_nb.session.edits import Edit
from sammed3d_nb.session.palette import COLOURS
from sammed3d_nb.spaces import Trace

LONGEST_NAME = 200
SNOMED = "[0-9]{1,18}"
"""A code of SNOMED CT."""


@dataclass(frozen=True)
class Told:
    """What the answer to a prompt said of itself.

    Attributes:
        trace: The prompt's path through every space, of the voxel that stands for it.
        distance_mm: From that voxel to the mask: 0 inside it, infinite if the mask is empty.
        quality: The network's own estimate of the mask's IoU; None if it gave none.
        volume_ml: Volume of the mask.
        cubes: Every cube that was asked for the mask, the one that answered at the end; may be none.
        seconds: Time spent on "encode", "decode", "home" (bringing the mask home) and "other"; empty when resumed.
        embedding_reused: Whether no cube had to be encoded.
        model: Name and fingerprint (or None) of the model that answered.
        notes: Sentences that the user should read.
        licence: Of the model that answered, where it is one that masks may inherit; else empty.
    """

    trace: Trace
    distance_mm: float
    quality: float | None
    volume_ml: float
    cubes: tuple[Cube, ...]
    seconds: dict[str, float]
    embedding_reused: bool
    model: tuple[str, str | None]
    notes: tuple[str, ...] = ()
    licence: str = ""


@dataclass(frozen=True, eq=False)
class Said:
    """A prompt or an edit of an object, behind those before it: what its mask is made of.

    Attributes:
        action: The prompt or the edit.
        options: How it was to be answered.
        spared: What it would have taken of other objects, and left to them.
        told: What the answer said; None for an edit.
        before: What was said before; None for the first.
        number: 1 for the first of its kind in this object, 2 for the second, …
    """

    action: Prompt | Edit
    options: Options
    spared: PackedMask
    told: Told | None
    before: "Said | None"
    number: int

    def back(self) -> Iterator["Said"]:
        """Everything that was said so far, the last first."""
        link: Said | None = self
        while link is not None:
            yield link
            link = link.before


@dataclass(frozen=True, kw_only=True)
class Result(Told):
    """The answer to a prompt.

    Attributes:
        local: The object's mask as it is now, edits since the answer included, stored only where it lies; what the
            answer told (volume, distance, …) is of the mask then.
        prompts: All prompts of the object so far.
        options: How the prompt was to be answered.
        spared: What was left out of the mask because it belongs to other objects.
    """

    local: LocalMask
    prompts: tuple[Prompt, ...]
    options: Options
    spared: LocalMask

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x) on the volume's own grid, 1 inside the object; a new array at each call."""
        return self.local.full

    @property
    def cube(self) -> Cube | None:
        """The cube that answered the prompt; None for engines that know no cubes."""
        return self.cubes[-1] if self.cubes else None

    @property
    def clicks(self) -> tuple[Point, ...]:
        """The clicks among the prompts."""
        return tuple(prompt for prompt in self.prompts if isinstance(prompt, Point))


@dataclass(frozen=True)
class SegmentedObject:
    """One named object.

    Attributes:
        key: Its number, which it keeps and no other object of the session gets.
        name: Unique in its session.
        colour: ``#rrggbb``.
        local: Its mask, stored only where it lies.
        fixed: Voxels that a hand has set; prompts leave them as they are.
        edited: Voxels that edits have changed since the last answer: the network is told of them at the next prompt.
        said: The last prompt or edit, with those before it; None before the first.
        locked: Whether changes of it are refused, and other objects must leave its voxels alone whatever they may.
        visible: Whether to draw it.
        overlaps: Whether it may share voxels with others that are not locked.
        code: What it is, in SNOMED CT, where its label set says so; "" where nobody has.
    """

    key: int
    name: str
    colour: str
    local: LocalMask
    fixed: LocalMask
    edited: LocalMask
    said: Said | None = None
    locked: bool = False
    visible: bool = True
    overlaps: bool = False
    code: str = ""

    @classmethod
    def empty(cls, key: int, name: str, colour: str, volume_size: tuple[int, int, int]) -> "SegmentedObject":
        """An object without a voxel on a volume of that many voxels (i, j, k)."""
        nothing = LocalMask.empty(volume_size)
        return cls(key, name, colour, nothing, nothing, nothing)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """uint8 (z, y, x) on the volume's own grid, 1 inside; a new array at each call."""
        return self.local.full

    @property
    def history(self) -> tuple[Said, ...]:
        """Everything that its mask is made of, the first first."""
        return () if self.said is None else tuple(self.said.back())[::-1]

    @property
    def answered(self) -> Said | None:
        """The last of what was said that a segmenter has answered; None before the first prompt."""
        back = self.said.back() if self.said is not None else iter(())
        return next((said for said in back if said.told is not None), None)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Its prompts, in order."""
        return tuple(said.action for said in self.history if isinstance(said.action, Prompt))

    @property
    def clicks(self) -> tuple[Point, ...]:
        """The clicks among its prompts."""
        return tuple(prompt for prompt in self.prompts if isinstance(prompt, Point))

    @property
    def result(self) -> Result | None:
        """The answer to its last prompt, with the mask as it is now; None before the first one."""
        last = self.answered
        if last is None or last.told is None:
            return None
        return Result(
            local=self.local,
            prompts=self.prompts,
            options=last.options,
            spared=last.spared.unpack(self.local.volume_size),
            **vars(last.told),
        )

    @property
    def quality(self) -> float | None:
        """The network's own estimate of the mask's IoU; None without one."""
        last = self.answered
        return None if last is None or last.told is None else last.told.quality


def find(objects: Sequence[SegmentedObject], name: str) -> SegmentedObject:
    """The object of a name.

    Raises:
        UserError: There is none.
    """
    for item in objects:
        if item.name == name:
            return item
    raise UserError(f"There is no object “{name}”; there are {', '.join(f'“{item.name}”' for item in objects)}.")


def free_name(objects: Sequence[SegmentedObject], name: str | None) -> str:
    """The name, if no object has it; without one, the first free “object n”.

    Raises:
        UserError: It is empty, too long or taken.
    """
    taken = {item.name for item in objects}
    if name is None:
        return next(f"object {n}" for n in count(len(taken) + 1) if f"object {n}" not in taken)
    if not name.strip():
        raise UserError("An object needs a name; type one.")
    if len(name) > LONGEST_NAME:
        raise UserError(f"The name “{name[:20]}…” has {len(name)} characters; {LONGEST_NAME} are the most.")
    if name in taken:
        raise UserError(f"There is an object “{name}” already; select it or choose another name.")
    return name


def numbered(name: str) -> Iterable[str]:
    """A name, then with 2, 3, … behind it."""
    yield name
    number = 2
    while True:
        yield f"{name} {number}"
        number += 1


def free_colour(objects: Sequence[SegmentedObject]) -> str:
    """The first of the colours that is used least."""
    used = [item.colour for item in objects]
    return min(COLOURS, key=used.count)


def checked_colour(colour: str) -> str:
    """A colour that is one.

    Raises:
        UserError: It is not ``#rrggbb``.
    """
    if not (isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour)):
        raise UserError(f"“{colour}” is no colour; expected #rrggbb, e.g. {COLOURS[0]}.")
    return colour


def checked_code(code: str) -> str:
    """A code of SNOMED CT, or none ("").

    Raises:
        UserError: It is neither.
    """
    if not (isinstance(code, str) and re.fullmatch(f"({SNOMED})?", code)):
        raise UserError(f"“{code!s:.40}” is no code of SNOMED CT; expected up to 18 digits, e.g. 10200004.")
    return code
