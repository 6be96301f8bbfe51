"""What the tests of nnInteractive, in this process and on servers, say about one image."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from sammed3d_nb import Box, Lasso, Point, Scribble, Session, StartMask, Volume
from sammed3d_nb.segmenters.prompts import Prompt

SIZE = (41, 34, 22)
SPACING = (1.5, 2.0, 3.1)


@cache
def image(seed: int = 0, kind: str = "int16") -> Volume:
    """Smooth noise, neither cubic nor isotropic."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SIZE[::-1]), 2)
    values = (noise / noise.std() * 100 + 400).astype(kind)
    return Volume.from_array(values, SPACING, np.eye(3), (10, -20, 30))


PROMPTS: dict[str, Prompt] = {
    "point": Point((20, 16, 11)),
    "slice box": Box((8, 9, 11), (19, 15, 11)),
    "sagittal box": Box((20, 9, 6), (20, 15, 12)),
    "scribble": Scribble(np.array([(10 + n, 20, 11) for n in range(9)])),
    "lasso": Lasso(np.array([(9, 8, 12), (20, 8, 12), (20, 15, 12), (9, 13, 12)])),
    "start mask": StartMask(np.pad(np.ones((5, 6, 7), np.uint8), ((9, 8), (14, 14), (17, 17)))),
}
AWAY: dict[str, Prompt] = {
    "point": Point((20, 16, 11), False),
    "box": Box((14, 9, 11), (22, 18, 11), False),
    "scribble": Scribble(np.array([(14 + n, 16, 11) for n in range(9)]), False),
    "lasso": Lasso(np.array([(16, 8, 11), (22, 8, 11), (22, 18, 11)]), False),
}


def tell(session: Session) -> list[NDArray[np.uint8]]:
    """A whole story: every kind of prompt, two objects, paint, an edit, undo and redo; the masks on the way."""
    masks: list[NDArray[np.uint8]] = []

    def then(do: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        do(*arguments, **options)
        masks.append(session.mask)

    then(session.add, PROMPTS["point"])
    then(session.add, PROMPTS["slice box"])
    then(session.add, AWAY["point"])
    then(session.add, PROMPTS["scribble"])
    then(session.undo)
    then(session.add, PROMPTS["lasso"])
    then(session.add, AWAY["lasso"])
    then(session.paint, [(30, 28, 15), (31, 28, 15)])
    then(session.paint, [(20, 9, 12)], add=False)
    then(session.add, Point((29, 28, 15)))
    then(session.apply, "fill holes")
    then(session.add, PROMPTS["sagittal box"])
    session.new_object("other")
    then(session.add, Point((33, 8, 6)))
    session.select("object 1")
    then(session.add, Point((12, 27, 16)))
    then(session.undo)
    then(session.undo)
    then(session.redo)
    then(session.add, Point((13, 26, 16)))
    session.new_object("third")
    then(session.add, PROMPTS["start mask"])
    then(session.add, Point((33, 27, 18)))
    return masks
