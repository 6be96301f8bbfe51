"""The same work for each of many things: one after the other here, by `cluster` on many machines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sammed3d_nb import atomic
from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.segmenters.segmenter import Engine


@dataclass(frozen=True)
class Failed:
    """What became of an item that could not be done: a sentence that says why."""

    sentence: str

    def __str__(self) -> str:
        return self.sentence


class Each(Protocol):
    """Does something with each item."""

    def __call__(self, do: Callable[[Any], Any], items: Sequence[Any], /) -> Iterator[Any]:
        """The results, in the order of the items, as they come; a `Failed` stands for an item that failed.

        Args:
            do: A function of a module, given one item and returning what JSON can hold.
            items: Frozen dataclasses of plain values and paths, so that they travel.
        """


def serially(do: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    """One after the other, in this process."""
    for item in items:
        try:
            yield do(item)
        except UserError as error:
            yield Failed(str(error))


@dataclass(frozen=True)
class ModelSource:
    """Which model, and where it computes; calling it loads it. See `load_model`."""

    source: str | None = None
    decoder: str | None = None
    device: str | None = None
    precision: str | None = None
    api_key: Path | None = None

    def __call__(self) -> Engine:
        """The model: one copy in a process, kept until another one is asked for."""
        return _load(self)


@lru_cache(maxsize=1)
def _load(source: ModelSource) -> Engine:
    from sammed3d_nb.models.model import load_model

    return load_model(
        source.source,
        decoder=source.decoder,
        device=source.device,
        precision=source.precision,
        api_key=source.api_key,
    )


def remembered(each: Each, path: Path, made_with: dict[str, Any]) -> Each:
    """`each` with results kept in a file as they come, so that a run that was stopped goes on where it was.

    What failed is tried again.

    Args:
        each: Does the items that the file does not know.
        path: A line of JSON for each result; the first line is `made_with`.
        made_with: What the results depend on beside the items: version, model.

    Raises:
        UserError: The file is something else, or was made with something else.
    """
    head = json.dumps(made_with, sort_keys=True)
    known: dict[str, Any] = {}
    begun = path.exists() and path.stat().st_size > 0  # a full disk leaves an empty one
    if begun:
        try:
            first, *lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise UserError(f"{path} holds no results of an earlier run; name another file.") from error
        if first != head:
            raise UserError(
                f"{path} holds results of another run ({first:.200}, now {head:.200}); name another file, or remove it."
            )
        for line in lines:
            with suppress(ValueError):  # the last line of a run that was killed
                known.update(json.loads(line))

    def do_each(do: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        keys = [sha256(f"{do.__qualname__} {item!r}".encode()).hexdigest() for item in items]
        fresh = each(do, [item for item, key in zip(items, keys, strict=True) if key not in known])
        _add(path, "" if begun else f"{head}\n")
        for key in keys:
            if key in known:
                yield known[key]
                continue
            result = next(fresh)
            if not isinstance(result, Failed):
                _add(path, json.dumps({key: result}) + "\n")
            yield result

    return do_each


def _add(path: Path, line: str) -> None:
    """Add a line to a file, behind one that was broken off.

    Raises:
        UserError: It cannot be written.
    """
    with atomic.told(path, UserError), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read() == b"\n" else f"\n{line}"
        file.write(line.encode())
