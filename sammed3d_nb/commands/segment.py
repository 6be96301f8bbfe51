"""The command ``segment``: prompts on the command line, a mask in a file."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.commands.arguments import add_anonymous, add_image, add_model, add_reading, load, open_image
from sammed3d_nb.commands.launch import check_folder
from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.segmenters.prompts import Prompt
    from sammed3d_nb.session.objects import Result

_VOXEL = r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*"
Made = Callable[["Volume"], "Prompt"]


def add_to(commands: Any) -> None:
    """Add the command to the parser's."""
    segment = commands.add_parser("segment", help="segment by prompts, without a screen", description=run.__doc__)
    add_image(segment)
    add_reading(segment)
    for name, read, metavar, told in _PROMPTS:
        segment.add_argument(
            f"--{name}", dest="prompts", action="append", type=read, metavar=metavar, default=[], help=told
        )
    segment.add_argument(
        "-o", "--output", type=Path, required=True, metavar="MASK", help="file to write, its format by its suffix"
    )
    segment.add_argument(
        "--overwrite", action="store_true", help="replace MASK even where it is no mask of this program"
    )
    segment.add_argument("--trace", action="store_true", help="print each prompt's path through all spaces")
    segment.add_argument("--save", type=Path, metavar="RECORD", help="save the session, for replay or the app")
    add_anonymous(segment)
    add_model(segment)
    segment.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prompt on an image and write the mask, with the image's geometry; one line for each prompt, in their order."""
    from sammed3d_nb.imaging.writers import MASK_SUFFIXES, check_mask_path, check_not_source, refuse_name
    from sammed3d_nb.session.export import check_export, check_suffix, refuse_identifying, write_licences

    if not options.prompts:
        raise UserError("There is no prompt; give at least one --click, --box, --scribble, --lasso or --start.")
    source = Path(options.image)
    replaces = options.overwrite or None
    plain = options.output.name.lower().endswith(MASK_SUFFIXES)
    if plain:
        check_mask_path(options.output, source, overwrite=replaces)
    else:
        check_suffix(options.output)
    if options.save is not None:
        if options.save.resolve() == options.output.resolve():
            raise UserError(f"{options.save} is to hold both the mask and the session; give --save another name.")
        check_folder(options.save.parent)
        check_not_source(options.save, source)
    if options.anonymous:
        for path in filter(None, (options.output, options.save)):
            refuse_name(path, source)
            refuse_identifying(path)
    volume = open_image(options.image, options.series, geometry=options.geometry, straighten=options.straighten)
    if not plain:
        check_export(options.output, volume, overwrite=options.overwrite)
    prompts = [(text, made(volume)) for text, made in options.prompts]
    for _, prompt in prompts:
        prompt.check(volume)
    from sammed3d_nb.session.session import Session

    session = Session(volume, load(options, options.model), anonymous=options.anonymous)
    for number, (text, prompt) in enumerate(prompts, start=1):
        result = session.add(prompt)
        print(_line(number, prompt, text, result), flush=True)
        if options.trace:
            print(result.trace)
        for note in result.notes:
            print(f"Note: {note}", file=sys.stderr)
    if not session.current.local.count:
        print("Warning: the mask is empty; another click may find the object.", file=sys.stderr)
    if plain:
        volume.write_mask(session.mask, options.output, overwrite=replaces)
        write_licences([session.current], volume, options.output)
    else:
        session.export(options.output, overwrite=options.overwrite)
    if options.save is not None:
        session.save(options.save)
    return 0


def _line(number: int, prompt: Prompt, text: str, result: Result) -> str:
    distance = f"{result.distance_mm:.1f} mm" if result.distance_mm < float("inf") else "no mask"
    quality = "" if result.quality is None else f"  quality {result.quality:.2f}"
    return (
        f"{prompt.gesture} {number}  {text:<14} volume {result.volume_ml:.2f} mL  distance {distance}"
        f"{quality}  {sum(result.seconds.values()):.2f} s"
    )


def _signed(text: str) -> tuple[str, bool]:
    """What stands before ``:-`` or ``:+``, and whether it adds."""
    return text.removesuffix(":-").removesuffix(":+"), not text.endswith(":-")


def _shown(voxels: Sequence[int], positive: bool) -> str:
    return ",".join(map(str, voxels)) + ("" if positive else ":-")


def _click(text: str) -> tuple[str, Made]:
    """Read ``I,J,K``, with ``:-`` (or ``:+``) behind it."""
    place, positive = _signed(text.strip())
    match = re.fullmatch(_VOXEL, place)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no click; expected whole numbers I,J,K, or I,J,K:- to remove")
    i, j, k = map(int, match.groups())

    def made(volume: Volume) -> Prompt:
        from sammed3d_nb.segmenters.prompts import Point

        return Point((i, j, k), positive)

    return _shown((i, j, k), positive), made


def _box(text: str) -> tuple[str, Made]:
    """Read ``I,J,K:I,J,K``, with ``:-`` (or ``:+``) behind it."""
    place, positive = _signed(text.strip())
    match = re.fullmatch(f"{_VOXEL}:{_VOXEL}", place)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no box; expected two corners I,J,K:I,J,K, or I,J,K:I,J,K:-")
    a, b, c, d, e, f = map(int, match.groups())

    def made(volume: Volume) -> Prompt:
        from sammed3d_nb.segmenters.prompts import Box

        return Box((a, b, c), (d, e, f), positive)

    return text.strip(), made


def _drawn(kind: str) -> Callable[[str], tuple[str, Made]]:
    """Read ``FILE`` or ``FILE:-``: a line I,J,K for each voxel."""

    def read(text: str) -> tuple[str, Made]:
        name, positive = _signed(text)

        def made(volume: Volume) -> Prompt:
            from sammed3d_nb.segmenters.prompts import Lasso, Scribble

            voxels = _voxels(Path(name))
            return Scribble(voxels, positive) if kind == "scribble" else Lasso(voxels, positive)

        return text, made

    return read


def _start(text: str) -> tuple[str, Made]:
    """Read ``MASK`` or ``MASK:-``: a label map, all of whose labels are taken together."""
    name, positive = _signed(text)

    def made(volume: Volume) -> Prompt:
        from functools import reduce
        from operator import or_

        from sammed3d_nb.imaging.label_maps import read_label_map
        from sammed3d_nb.segmenters.prompts import StartMask

        return StartMask(reduce(or_, (one.mask for one in read_label_map(Path(name), volume))), positive)

    return text, made


def _voxels(path: Path) -> Any:
    """The voxels (N, 3) of a text file."""
    import numpy as np

    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        matches = [re.fullmatch(_VOXEL, line) for line in lines]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read; expected a text file with a line I,J,K for each voxel.") from error
    wrong = next((line for line, match in zip(lines, matches, strict=True) if match is None), None)
    if wrong is not None or not lines:
        raise UserError(
            f"{path} holds {wrong or 'nothing'!r:.40}; expected a line I,J,K of whole numbers for each voxel."
        )
    return np.array([[int(n) for n in match.groups()] for match in matches if match is not None])


_PROMPTS: tuple[tuple[str, Callable[[str], tuple[str, Made]], str, str], ...] = (
    ("click", _click, "I,J,K[:-]", "voxel to click on, from 0; :- removes from the mask; may be given several times"),
    ("box", _box, "I,J,K:I,J,K[:-]", "two corners of a box round the object; flat along one axis for a box on a slice"),
    ("scribble", _drawn("scribble"), "FILE[:-]", "voxels of a stroke inside the object, a line I,J,K each"),
    ("lasso", _drawn("lasso"), "FILE[:-]", "corners of a line round the object on one slice, a line I,J,K each"),
    ("start", _start, "MASK[:-]", "a label map to go on from"),
)
"""Option, how to read it, how to show its value, and what it is."""
