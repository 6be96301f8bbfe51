"""Named coordinate spaces, the affines between them, and the trace of a point through them.

The spaces, in the order of the full chain:

============  ==========================================================  ==================  ===============
space         coordinates                                                 unit                axis order
============  ==========================================================  ==================  ===============
``canvas``    position in the figure as the browser reports it            device pixels       x right, y down
``plane``     position in the displayed slice, after zoom and pan         voxels              column, row
``array``     NumPy index of ``Volume.array``                             voxels              z, y, x
``voxel``     ITK index of the volume                                     voxels              i, j, k
``lps``       physical position towards Left, Posterior, Superior         mm                  x, y, z
``ras``       physical position towards Right, Anterior, Superior         mm                  x, y, z
``cube``      index in the network's input, increasing towards R, A, S    cube voxels         d0, d1, d2
``grid``      index in the network's low-resolution logits                grid cells          d0, d1, d2
``upright``   index in the array that nnInteractive gets                  voxels              S, P, L
============  ==========================================================  ==================  ===============

Everywhere a voxel's *centre* lies at its integer index, so a volume of n voxels spans −0.5 to n − 0.5. Points in
``canvas`` and ``plane`` carry the slice number as their third coordinate. All matrices are 4×4 float64 and act on
column vectors ``(p, 1)``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
Bounds = tuple[Sequence[float], Sequence[float]]

UNITS = {
    "canvas": "px",
    "plane": "voxel",
    "array": "voxel",
    "voxel": "voxel",
    "lps": "mm",
    "ras": "mm",
    "cube": "cube voxel",
    "grid": "grid cell",
    "upright": "voxel",
}


class Transform:
    """A named, invertible affine from one space to another.

    Args:
        source: Name of the space that points come from, e.g. ``"voxel"``.
        target: Name of the space that points go to, e.g. ``"ras"``.
        matrix: (4, 4) affine acting on column vectors ``(p, 1)``; its last row is (0, 0, 0, 1).

    Raises:
        ValueError: The matrix is not a finite, invertible 4×4 affine.
    """

    def __init__(self, source: str, target: str, matrix: ArrayLike) -> None:
        affine = np.array(matrix, dtype=np.float64)
        if affine.shape != (4, 4):
            raise ValueError(f"the matrix from {source} to {target} must have shape (4, 4), got {affine.shape}")
        if not np.isfinite(affine).all() or not np.array_equal(affine[3], (0, 0, 0, 1)):
            raise ValueError(f"the matrix from {source} to {target} must be finite with last row (0, 0, 0, 1)")
        if np.linalg.matrix_rank(affine[:3, :3]) < 3:
            raise ValueError(f"the matrix from {source} to {target} is singular, so it cannot be inverted")
        affine.setflags(write=False)
        self.source = source
        self.target = target
        self.affine: Matrix = affine

    @classmethod
    def from_parts(cls, source: str, target: str, linear: ArrayLike, offset: ArrayLike = (0, 0, 0)) -> "Transform":
        """The transform ``p → linear @ p + offset``; `linear` is (3, 3) or its diagonal (3,), `offset` is (3,)."""
        linear = np.asarray(linear, dtype=np.float64)
        affine = np.eye(4)
        affine[:3, :3] = np.diag(linear) if linear.ndim == 1 else linear
        affine[:3, 3] = offset
        return cls(source, target, affine)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (..., 3) from `source` to `target`; the shape is kept."""
        points = np.asarray(points, dtype=np.float64)
        if points.shape[-1:] != (3,):
            raise ValueError(f"points must have shape (..., 3), got {points.shape}")
        mapped: NDArray[np.float64] = points @ self.affine[:3, :3].T + self.affine[:3, 3]
        return mapped

    @property
    def inverse(self) -> "Transform":
        """The transform from `target` back to `source`."""
        affine = np.linalg.inv(self.affine)
        affine[3] = (0, 0, 0, 1)  # exactly, whatever the rounding
        return Transform(self.target, self.source, affine)

    def then(self, following: "Transform") -> "Transform":
        """This transform followed by another one, as one affine."""
        if following.source != self.target:
            raise ValueError(
                f"a transform to {self.target} cannot be followed by one from {following.source}: the spaces differ"
            )
        return Transform(self.source, following.target, following.affine @ self.affine)

    def __repr__(self) -> str:
        return f"Transform({self.source} → {self.target})"


@dataclass(frozen=True)
class TraceStep:
    """Where a point lies in one space.

    Attributes:
        space: Name of the space.
        point: The point's three coordinates, in the space's own axis order and unit.
        unit: Unit of the coordinates.
        inside: Whether the point lies within the space's bounds; None where a space has none (mm).
        matrix: (4, 4) affine from the step before, as nested tuples; None in the first step.
    """

    space: str
    point: tuple[float, float, float]
    unit: str
    inside: bool | None
    matrix: tuple[tuple[float, ...], ...] | None

    def to_dict(self) -> dict[str, Any]:
        """The step in plain types."""
        return {
            "space": self.space,
            "point": list(self.point),
            "unit": self.unit,
            "inside": self.inside,
            "matrix": None if self.matrix is None else [list(row) for row in self.matrix],
        }


@dataclass(frozen=True)
class Trace:
    """The path of one point through every space of a chain; readable as text (``str``) and as JSON.

    Attributes:
        steps: One `TraceStep` for each space, in the chain's order.
        start: The space in which the point was given.
        round_trip_error: Largest coordinate difference, in the unit of `start`, after mapping the point step by step
            to the ends of the chain and back.
    """

    steps: tuple[TraceStep, ...]
    start: str
    round_trip_error: float

    def __iter__(self) -> Iterator[TraceStep]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, space: str) -> TraceStep:
        for step in self.steps:
            if step.space == space:
                return step
        raise KeyError(f"the trace has no space {space!r}; it has {', '.join(self.spaces)}")

    def __contains__(self, space: object) -> bool:
        return space in self.spaces

    @property
    def spaces(self) -> tuple[str, ...]:
        """Names of the spaces, in order."""
        return tuple(step.space for step in self.steps)

    @property
    def inside(self) -> bool:
        """Whether the point is within bounds in every space that has bounds."""
        return all(step.inside is not False for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The trace in plain types."""
        return {
            "start": self.start,
            "round_trip_error": self.round_trip_error,
            "steps": [step.to_dict() for step in self.steps],
        }

    def to_json(self, *, indent: int | None = None) -> str:
        """The trace as JSON text, for a log or a bug report."""
        return json.dumps(self.to_dict(), indent=indent)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Trace":
        """The trace that `to_dict` described; its texts reach a page, so only known ones are taken.

        Raises:
            ValueError: A space, unit or flag is none.
        """
        for step in fields["steps"]:
            known = step["space"] in UNITS and step["unit"] == UNITS[step["space"]]
            if not known or step["inside"] not in (True, False, None):
                raise ValueError(f"a trace has no step {step!r:.80}")
        if fields["start"] not in [step["space"] for step in fields["steps"]]:
            raise ValueError(f"a trace starts in {fields['start']!r:.40}")
        steps = tuple(
            TraceStep(
                space=step["space"],
                point=_triple(step["point"]),
                unit=step["unit"],
                inside=step["inside"],
                matrix=_nested(step["matrix"]),
            )
            for step in fields["steps"]
        )
        return cls(steps=steps, start=fields["start"], round_trip_error=float(fields["round_trip_error"]))

    @property
    def approach(self) -> "tuple[Transform, ...]":
        """The transforms that led to ``array``, e.g. ``canvas → plane → array``; none for a point given by code."""
        spaces = [step.space for step in self.steps]
        ends = range(1, spaces.index("array") + 1 if "array" in spaces else 1)
        return tuple(Transform(spaces[n - 1], spaces[n], self.steps[n].matrix or np.eye(4)) for n in ends)

    def __str__(self) -> str:
        marks = {True: "inside", False: "OUTSIDE", None: ""}
        lines = [
            f"{step.space:<7}"
            + "".join(f"{value:>12.3f}" for value in step.point)
            + f"  {step.unit:<10}  {marks[step.inside]}".rstrip()
            for step in self.steps
        ]
        return "\n".join([*lines, f"round trip error {self.round_trip_error:.1e} {UNITS.get(self.start, '')}"])


class TransformChain(Sequence[Transform]):
    """A list of transforms, each starting in the space where the one before ends.

    Args:
        transforms: At least one transform.
        bounds: For some spaces the (lowest, highest) corner, three numbers each, in that space's own axis order. A
            point is inside when ``lowest <= p < highest`` in every coordinate. Volumes use −0.5 and n − 0.5.

    Raises:
        ValueError: Neighbouring transforms do not meet in the same space, or a space appears twice.
    """

    def __init__(self, transforms: Sequence[Transform], *, bounds: Mapping[str, Bounds] | None = None) -> None:
        if not transforms:
            raise ValueError("a chain needs at least one transform, got none")
        for before, after in pairwise(transforms):
            if before.target != after.source:
                raise ValueError(f"{before} cannot be followed by {after}: the spaces differ")
        self._transforms = tuple(transforms)
        self.spaces = (transforms[0].source, *(transform.target for transform in transforms))
        if len(set(self.spaces)) < len(self.spaces):
            raise ValueError(f"a space appears twice in the chain {' → '.join(self.spaces)}")
        self.bounds = dict(bounds or {})

    def __getitem__(self, index: Any) -> Any:
        return self._transforms[index]

    def __len__(self) -> int:
        return len(self._transforms)

    def __call__(self, points: ArrayLike) -> NDArray[np.float64]:
        """Map points of shape (..., 3) from the first space to the last."""
        return self.composed(points)

    @property
    def composed(self) -> Transform:
        """The whole chain as one affine."""
        composed = self._transforms[0]
        for transform in self._transforms[1:]:
            composed = composed.then(transform)
        return composed

    @property
    def inverse(self) -> "TransformChain":
        """The chain from the last space back to the first."""
        return TransformChain([transform.inverse for transform in reversed(self._transforms)], bounds=self.bounds)

    def between(self, source: str, target: str) -> Transform:
        """The single affine from one space of the chain to another, in either direction."""
        start, end = self._index(source), self._index(target)
        if start == end:
            return Transform(source, target, np.eye(4))
        if start > end:
            return self.between(target, source).inverse
        return TransformChain(self._transforms[start:end]).composed

    def preceded_by(self, *transforms: Transform, bounds: Mapping[str, Bounds] | None = None) -> "TransformChain":
        """The chain with `transforms` before it, e.g. ``canvas → plane → array`` before ``array → … → grid``."""
        return TransformChain([*transforms, *self._transforms], bounds={**self.bounds, **(bounds or {})})

    def trace(self, point: ArrayLike, space: str | None = None) -> Trace:
        """The path of one point through every space.

        Args:
            point: Three coordinates in `space`.
            space: The space in which `point` is given; the chain's first one by default.
        """
        space = self.spaces[0] if space is None else space
        start = self._index(space)
        given = np.asarray(point, dtype=np.float64)
        if given.shape != (3,):
            raise ValueError(f"a point must have shape (3,), got {given.shape}")
        points = {start: given}
        for index in range(start, len(self)):
            points[index + 1] = self._transforms[index](points[index])
        for index in range(start, 0, -1):
            points[index - 1] = self._transforms[index - 1].inverse(points[index])
        there_and_back = [points[len(self)], points[0]]
        for transform in reversed(self._transforms[start:]):
            there_and_back[0] = transform.inverse(there_and_back[0])
        for transform in self._transforms[:start]:
            there_and_back[1] = transform(there_and_back[1])
        return Trace(
            steps=tuple(self._step(index, points[index]) for index in range(len(self.spaces))),
            start=space,
            round_trip_error=float(np.abs(np.array(there_and_back) - given).max()),
        )

    def _step(self, index: int, point: NDArray[np.float64]) -> TraceStep:
        space = self.spaces[index]
        inside = None
        if space in self.bounds:
            lowest, highest = np.asarray(self.bounds[space], dtype=np.float64)
            inside = bool(((point >= lowest) & (point < highest)).all())
        return TraceStep(
            space=space,
            point=_triple(point),
            unit=UNITS.get(space, ""),
            inside=inside,
            matrix=None if index == 0 else _nested(self._transforms[index - 1].affine),
        )

    def _index(self, space: str) -> int:
        if space not in self.spaces:
            raise ValueError(f"the chain has no space {space!r}; it has {', '.join(self.spaces)}")
        return self.spaces.index(space)

    def __repr__(self) -> str:
        return f"TransformChain({' → '.join(self.spaces)})"


LPS_TO_RAS = Transform.from_parts("lps", "ras", (-1, -1, 1))
"""DICOM and ITK point to Left and Posterior, NIfTI and Slicer to Right and Anterior."""


def box(shape: Sequence[int]) -> Bounds:
    """The bounds of an array of `shape` whose voxel centres lie at the integers: −0.5 to n − 0.5."""
    return (tuple(-0.5 for _ in shape), tuple(n - 0.5 for n in shape))


def _triple(point: ArrayLike) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in np.asarray(point, dtype=np.float64))
    return x, y, z


def _nested(matrix: ArrayLike | None) -> tuple[tuple[float, ...], ...] | None:
    return None if matrix is None else tuple(tuple(float(v) for v in row) for row in np.asarray(matrix))
