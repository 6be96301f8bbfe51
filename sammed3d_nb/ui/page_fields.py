"""What the page is told of planes, tools and marks, as JSON, and what comes back from it."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from sammed3d_nb.errors import UserError
from sammed3d_nb.spaces import Transform, box
from sammed3d_nb.ui.planes import Plane
from sammed3d_nb.ui.stroke import Armed


def number(value: object) -> float:
    """A number that a page sent.

    Raises:
        UserError: It is "nan" or infinite, which no control of ours sends; sent back, it would be no JSON.
    """
    found = float(value)  # type: ignore[arg-type]
    if not isfinite(found):
        raise UserError(f"The page sent {found} for a number; nothing was changed, please do that again.")
    return found


def to_plane(rows: Sequence[Sequence[float]]) -> Transform:
    """``canvas → plane`` of a page, of which it sends two rows of three."""
    matrix = np.eye(4)
    flat = np.array([[number(value) for value in row] for row in rows])
    matrix[:2, :2], matrix[:2, 3] = flat[:, :2], flat[:, 2]
    return Transform("canvas", "plane", matrix)


def tool_fields(tool: Armed) -> dict[str, Any]:
    """A tool."""
    return {"name": tool.name, "shape": tool.shape, "says": tool.says, "turns": tool.turns}


def armed_fields(armed: Armed) -> dict[str, Any]:
    """The tool that is armed."""
    return {**tool_fields(armed), "mm": float(armed.mm), "ball": armed.ball}


def plane_fields(plane: Plane) -> dict[str, Any]:
    """A plane."""
    return {
        "axes": list(plane.axes),
        "flips": list(plane.flips),
        "up": plane.up,
        "shape": list(plane.shape),
        "slices": plane.slices,
        "spacing": list(plane.spacing),
        "letters": list(plane.letters),
    }


def corners(to_array: Transform, size: int) -> list[list[float]]:
    """Two opposite corners (i, j, k) of a cube whose faces are parallel to the volume's."""
    found: list[list[float]] = to_array(box((size,) * 3))[:, ::-1].tolist()
    return found
