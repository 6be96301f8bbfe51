"""Where an image lies in the patient: what its client says, what the operator says, and what is assumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sammed3d_nb.errors import UserError, VolumeError
from sammed3d_nb.imaging.volume import Triple, Volume

AXIAL = "LPS"
"""The axes i, j, k of an axial image as scanners and 3D Slicer's usual exports have them: to the Left, Posterior,
Superior."""
MILLIMETRE = "1mm"
"""The name by which voxels of 1 mm are accepted where a client sends no size."""
_WAYS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}


@dataclass(frozen=True)
class Placing:
    """What the operator says of images.

    Args:
        orientation: Where i, j and k run, three of the letters L, R, A, P, S, I, one of each pair; None if nothing is
            said: then `AXIAL` is assumed, aloud.
        spacing: mm along i, j, k where a client sends none; None: such an image is refused.
        accepted: Whether `spacing` is the 1 mm that was accepted by name.
    """

    orientation: str | None = None
    spacing: Triple | None = None
    accepted: bool = False

    @classmethod
    def of(cls, orientation: str | None, spacing: str | None) -> Placing:
        """From what was typed.

        Raises:
            UserError: It cannot be understood.
        """
        if orientation is not None:
            direction_of(orientation)
            orientation = orientation.upper()
        if spacing is None:
            return cls(orientation)
        if spacing == MILLIMETRE:
            return cls(orientation, (1.0, 1.0, 1.0), accepted=True)
        try:
            i, j, k = (float(part) for part in spacing.split(","))
            if not all(1e-6 < step < 1e6 for step in (i, j, k)):
                raise ValueError
        except ValueError:
            raise UserError(
                f"--spacing {spacing} is no voxel size; expected mm along i, j, k as 0.8,0.8,5, or {MILLIMETRE}."
            ) from None
        return cls(orientation, (i, j, k))

    @property
    def told(self) -> dict[str, str]:
        """What is said and assumed, for those who ask."""
        direction = (
            f"{AXIAL} is assumed for images whose client sends none; --orientation says otherwise"
            if self.orientation is None
            else f"{self.orientation} for images whose client sends none"
        )
        size = "refused where the client sends none"
        if self.spacing is not None:
            size = f"{' × '.join(f'{step:g}' for step in self.spacing)} mm where the client sends none"
        return {"orientation": direction, "spacing": size + (", as was accepted by name" if self.accepted else "")}

    def volume(self, array: NDArray[Any], properties: Mapping[str, Any]) -> Volume:
        """The volume of an image that a client has sent; what was assumed is among its warnings.

        Args:
            array: (k, j, i).
            properties: What the client says: ``spacing`` (mm along k, j, i), and if it can ``direction`` (nine numbers,
                the columns of the 3 × 3 matrix are where i, j, k run in LPS), ``origin`` (LPS mm of the first voxel)
                or ``orientation`` (three letters); or the ``sitk_stuff`` of nnU-Net, with the same in order i, j, k.

        Raises:
            UserError: It cannot be used, or there is nothing to see in it.
        """
        more = properties.get("sitk_stuff")
        more = more if isinstance(more, Mapping) else {}
        spacing = _numbers(properties, "spacing", 3)
        spacing = _numbers(more, "spacing", 3) if spacing is None else spacing[::-1]
        remarks = []
        if spacing is None:
            if self.spacing is None:
                raise VolumeError(
                    "The image came without the size of its voxels; start the server with --spacing I,J,K (mm), or "
                    f"accept 1 mm by --spacing {MILLIMETRE}."
                )
            spacing = list(self.spacing)
            who = "accepted by name" if self.accepted else "set by --spacing"
            remarks.append(f"The client sent no voxel size: {' × '.join(f'{s:g}' for s in spacing)} mm, {who}.")
        direction = _numbers(properties, "direction", 9) or _numbers(more, "direction", 9)
        letters = properties.get("orientation")
        if direction is None and letters is not None:
            direction = direction_of(letters).ravel().tolist()
        if direction is None:
            direction = direction_of(self.orientation or AXIAL).ravel().tolist()
            said = (
                f"{AXIAL} (axial) is assumed" if self.orientation is None else f"--orientation says {self.orientation}"
            )
            remarks.append(f"The client sent no direction of the axes: {said}.")
        origin = _numbers(properties, "origin", 3) or _numbers(more, "origin", 3) or [0.0, 0.0, 0.0]
        name = properties.get("name")
        first = array.flat[0]
        if all(bool((plane == first).all()) for plane in array):
            raise VolumeError(
                f"The image holds the value {first:g} in every voxel, so there is nothing to see in it; send another."
            )
        return Volume.from_array(
            array,
            spacing,
            np.reshape(direction, (3, 3)),
            origin,
            name=name[:100] if isinstance(name, str) and name.strip() else "image",
            warnings=remarks,
        )


def direction_of(letters: Any) -> NDArray[np.float64]:
    """(3, 3): the columns are the LPS directions of i, j, k.

    Args:
        letters: Where i, j and k run, e.g. "LPS" or "RAS".

    Raises:
        UserError: They are not three letters, one of each of the pairs L and R, P and A, S and I.
    """
    ways = [_WAYS.get(letter) for letter in letters.upper()] if isinstance(letters, str) and len(letters) == 3 else []
    matrix = np.zeros((3, 3))
    for column, way in enumerate(ways):
        if way is not None:
            matrix[way[0], column] = way[1]
    if abs(np.linalg.det(matrix)) != 1:
        raise UserError(
            f"{letters!r:.40} is no orientation; expected where i, j and k run, one letter of each of the pairs "
            "L or R, P or A, S or I, e.g. LPS."
        )
    return matrix


def _numbers(fields: Mapping[str, Any], name: str, count: int) -> list[float] | None:
    """So many numbers of a field; None where it is missing.

    Raises:
        VolumeError: It holds something else.
    """
    found = fields.get(name)
    if found is None:
        return None
    try:
        values = np.asarray(found, dtype=np.float64).ravel().tolist()
    except (TypeError, ValueError, OverflowError):
        values = []
    if len(values) != count or not np.isfinite(values).all():
        raise VolumeError(f"The image's {name} is {found!r:.60}; expected {count} numbers.")
    return values
