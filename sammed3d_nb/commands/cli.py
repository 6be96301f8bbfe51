"""The command line, ``sammed3d-nb``.

Every error that a user can cause is one sentence on standard error, without a traceback, and the exit status 2.
Heavy modules are imported by the commands that need them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from sammed3d_nb import __version__
from sammed3d_nb.commands import launch
from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.models.model import Model

SAMPLES = ("phantom", "ct")
FIRST_PROMPTS = ("point", "box", "slice box", "scribble", "lasso")  # as `measure.simulation`, which loads SciPy

Click = tuple[tuple[int, int, int], bool]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with the arguments in one sentence, as all other errors are."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message[:1].upper()}{message[1:].rstrip('.')}; see {self.prog} --help.\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 (a check failed) or 2 (an error of the user's)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        options = parser().parse_args(_joined(words))
        status: int = options.run(options)
        sys.stdout.flush()
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, e.g. `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return status


def _joined(words: list[str]) -> list[str]:
    """Join ``--click -1,2,3`` to ``--click=-1,2,3``: argparse takes the former for an unknown option."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "--click" and re.match(r"-\d", word):
            joined[-1] = f"--click={word}"
        else:
            joined.append(word)
    return joined


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    top = _Parser(
        prog="sammed3d-nb",
        description="Interactive 3D segmentation of medical images. For research, not for diagnosis.",
    )
    top.add_argument("--version", action="version", version=f"sammed3d-nb {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    app = commands.add_parser("app", help="open the dashboard in the browser", description=launch.app.__doc__)
    app.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="images, DICOM folders or saved sessions")
    app.add_argument("--sample", choices=SAMPLES, help="open a sample: the phantom, or a real CT (fetched once)")
    app.add_argument("--model", metavar="M", help="model to start with: a known name or a file")
    app.add_argument("--models", type=Path, metavar="FOLDER", help="folder with more models for the app's menu")
    app.add_argument("--output", type=Path, metavar="FOLDER", help="where saved sessions and masks go (default: here)")
    app.add_argument("--port", type=_port, default=launch.APP_PORT, help="port on 127.0.0.1 (default %(default)s)")
    app.add_argument("--no-browser", action="store_true", help="do not open a browser on this machine")
    app.set_defaults(run=launch.app)

    lab = commands.add_parser("lab", help="open JupyterLab on the notebooks", description=launch.lab.__doc__)
    lab.add_argument("--port", type=_port, default=launch.LAB_PORT, help="port on 127.0.0.1 (default %(default)s)")
    lab.add_argument("--no-browser", action="store_true", help="do not open a browser on this machine")
    lab.set_defaults(run=launch.lab)

    segment = commands.add_parser("segment", help="segment by clicks, without a screen", description=_segment.__doc__)
    _add_image(segment)
    _add_reading(segment)
    segment.add_argument(
        "--click",
        dest="clicks",
        action="append",
        required=True,
        type=_click,
        metavar="I,J,K[:-]",
        help="voxel index to click on, from 0; :- removes from the mask; give it once for each click, in order",
    )
    segment.add_argument("-o", "--output", type=Path, required=True, metavar="MASK", help="mask to write (.nii.gz, …)")
    segment.add_argument(
        "--overwrite", action="store_true", help="replace MASK even where it is no mask of this program"
    )
    segment.add_argument("--trace", action="store_true", help="print each click's path through all spaces")
    segment.add_argument("--save", type=Path, metavar="RECORD", help="save the session, for replay or the app")
    _add_model(segment)
    segment.set_defaults(run=_segment)

    replay = commands.add_parser("replay", help="run a saved session again", description=_replay.__doc__)
    replay.add_argument("record", type=Path, metavar="RECORD", help="a saved session (.json)")
    replay.add_argument("--image", metavar="IMAGE", help="the image, if it is no longer where it was")
    _add_series(replay, default="the recorded one")
    _add_reading(replay)
    _add_model(replay)
    replay.add_argument("--other-model", action="store_true", help="take another model than the recorded one too")
    replay.set_defaults(run=_replay)

    evaluate = commands.add_parser("evaluate", help="simulate clicks on labelled cases", description=_evaluate.__doc__)
    evaluate.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="cases: image.nii.gz and label.nii.gz"
    )
    evaluate.add_argument(
        "--clicks", type=partial(_number, "clicks", 1), default=5, help="clicks for each structure (default 5)"
    )
    evaluate.add_argument("--csv", type=Path, metavar="FILE", help="write every measurement")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the simulated clicks (default 0)")
    evaluate.add_argument(
        "--sloppy",
        type=partial(_number, "voxels", 0),
        default=0,
        metavar="VOXELS",
        help="by how much clicks may miss their place along each axis (default 0)",
    )
    evaluate.add_argument(
        "--prompt",
        choices=FIRST_PROMPTS,
        default="point",
        help="what shows a structure first; clicks correct it (default %(default)s)",
    )
    evaluate.add_argument(
        "--anywhere",
        type=partial(_number, "places", 1),
        default=0,
        metavar="N",
        help="instead: a single click at N random places inside each structure",
    )
    evaluate.add_argument("--baseline", action="store_true", help="evaluate region growing instead of a model")
    _add_model(evaluate)
    evaluate.set_defaults(run=_evaluate)

    models = commands.add_parser("models", help="list, fetch or inspect models", description=_models.__doc__)
    models.set_defaults(run=_models)
    actions = models.add_subparsers(metavar="ACTION")
    get = actions.add_parser("get", help="fetch a known model and check it", description=_models_get.__doc__)
    get.add_argument("name", metavar="NAME")
    get.set_defaults(run=_models_get)
    inspect = actions.add_parser("inspect", help="tell what a checkpoint is", description=_models_inspect.__doc__)
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.set_defaults(run=_models_inspect)

    doctor = commands.add_parser("doctor", help="tell what this machine has", description=_doctor.__doc__)
    doctor.add_argument("--model", metavar="M", help="model to try: a known name or a file (default: the shipped one)")
    doctor.add_argument("--port", type=_port, default=launch.APP_PORT, help="port of the app (default %(default)s)")
    doctor.set_defaults(run=_doctor)

    bench = commands.add_parser("bench", help="measure speed on this machine", description=_bench.__doc__)
    bench.add_argument("--device", metavar="D", help="cuda, mps or cpu (default: the first that is there)")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions")
    bench.set_defaults(run=_bench)
    return top


def _add_image(command: argparse.ArgumentParser) -> None:
    command.add_argument("image", metavar="IMAGE", help=f"NIfTI, NRRD, MetaImage, DICOM, or {' or '.join(SAMPLES)}")
    _add_series(command, default="the largest")


def _add_series(command: argparse.ArgumentParser, *, default: str) -> None:
    told = f"of a DICOM folder: UID, number or description (default: {default})"
    command.add_argument("--series", metavar="S", help=told)


def _add_reading(command: argparse.ArgumentParser) -> None:
    """How to read an image that can be read in two ways."""
    command.add_argument(
        "--geometry", choices=("sform", "qform"), help="of a NIfTI file that states two (default: sform)"
    )
    command.add_argument("--straighten", action="store_true", help="shift a tilted gantry's slices to where they lie")


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", metavar="M", help="a known name or a checkpoint file (default: the shipped one)")
    command.add_argument("--decoder", metavar="M", help="SAM-Med3D file for a checkpoint that is an encoder alone")
    command.add_argument("--device", metavar="D", help="cuda, mps or cpu (default: the first that is there)")
    command.add_argument("--precision", metavar="P", help="float32, bfloat16 or float16 (default float32)")


def _click(text: str) -> Click:
    """Read ``I,J,K``, with ``:-`` (or ``:+``) behind it."""
    match = re.fullmatch(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*(?::([+-]))?\s*", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no click; expected whole numbers I,J,K, or I,J,K:- to remove")
    return (int(match[1]), int(match[2]), int(match[3])), match[4] != "-"


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def _number(what: str, least: int, text: str) -> int:
    if not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}; expected {least} or more")
    return int(text)


def _open(image: str, series: str | None = None, *, geometry: str | None = None, straighten: bool = False) -> Volume:
    """The image or sample, with its warnings told."""
    from sammed3d_nb.imaging.sample import open_sample
    from sammed3d_nb.imaging.volume import Volume

    if image in SAMPLES and not Path(image).exists():
        return open_sample(image)
    volume = Volume.read(image, series=series, geometry=geometry, straighten=straighten)
    for warning in volume.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    return volume


def _load(options: argparse.Namespace, source: str | None) -> Model:
    from sammed3d_nb.models.model import load_model

    return load_model(source, decoder=options.decoder, device=options.device, precision=options.precision)


def _segment(options: argparse.Namespace) -> int:
    """Click on voxels of an image and write the mask, with the image's geometry; one line for each click."""
    from sammed3d_nb.imaging.writers import check_mask_path, check_not_source

    source = Path(options.image)
    replaces = options.overwrite or None
    check_mask_path(options.output, source, overwrite=replaces)
    if options.save is not None:
        if options.save.resolve() == options.output.resolve():
            raise UserError(f"{options.save} is to hold both the mask and the session; give --save another name.")
        launch.check_folder(options.save.parent)
        check_not_source(options.save, source)
    volume = _open(options.image, options.series, geometry=options.geometry, straighten=options.straighten)
    for ijk, _ in options.clicks:
        if not volume.contains(ijk):
            last = tuple(n - 1 for n in volume.size)
            raise UserError(f"Click {ijk} lies outside {volume.name}; choose voxels between (0, 0, 0) and {last}.")
    from sammed3d_nb.session.session import Session

    session = Session(volume, _load(options, options.model))
    for number, (ijk, positive) in enumerate(options.clicks, start=1):
        result = session.click(ijk, positive)
        distance = f"{result.distance_mm:.1f} mm" if result.distance_mm < float("inf") else "no mask"
        place = ",".join(map(str, ijk)) + ("" if positive else ":-")
        print(
            f"click {number}  {place:<14} volume {result.volume_ml:.2f} mL  distance {distance}"
            f"  quality {result.quality:.2f}  {sum(result.seconds.values()):.2f} s",
            flush=True,
        )
        if options.trace:
            print(result.trace)
    volume.write_mask(session.mask, options.output, overwrite=replaces)
    if options.save is not None:
        session.save(options.save)
    return 0


def _replay(options: argparse.Namespace) -> int:
    """Run a saved session's clicks again and say whether each mask came out the same (exit status 1 if not)."""
    from sammed3d_nb.session import record
    from sammed3d_nb.session.replay import replay

    fields = record.load(options.record)
    made_on, made_with = fields["volume"], fields["model"]
    image = options.image or made_on.get("path") or made_on.get("name")
    if image is None:
        raise UserError(f"{options.record.name} does not say which image it was made on; say where it is with --image.")
    if not Path(image).exists() and image not in SAMPLES:
        raise UserError(f"The image {image} of {options.record.name} is gone; say where it is with --image.")
    series = options.series or made_on.get("series")
    volume = _open(image, series, geometry=options.geometry, straighten=options.straighten)
    if options.model is None:
        options.model, decoder = _recorded_model(made_with)
        options.decoder = options.decoder or decoder
    model = _load(options, options.model)
    same = True
    for item in replay(options.record, volume=volume, model=model, other_model=options.other_model):
        verdict = "the same" if item.same else f"different, Dice {item.dice:.4f}"
        print(f"{item.name}: {verdict}{item.note and f' ({item.note})'}", flush=True)
        same = same and item.same
    return 0 if same else 1


def _recorded_model(made_with: dict[str, Any]) -> tuple[str | None, str | None]:
    """The model and decoder of a record: known ones by their checksum, else the files they were.

    Where one is gone, None: of the first file for the default, which `record.replay` takes only if it is the same one.
    """
    from sammed3d_nb.models.hub import KNOWN
    from sammed3d_nb.session.record import files_of

    names = {known.sha256: name for name, known in KNOWN.items()}
    files = files_of(made_with)
    found = [names.get(sha or "") or (path if path and Path(path).is_file() else None) for path, sha in files]
    return found[0], found[1] if len(found) > 1 and found[0] is not None else None


def _evaluate(options: argparse.Namespace) -> int:
    """Simulate clicks on labelled cases through the whole product and print Dice and surface Dice by click."""
    from sammed3d_nb.measure.evaluate import User, run

    if options.csv is not None:
        launch.check_folder(options.csv.parent)
        if options.csv.is_dir():
            raise UserError(f"--csv {options.csv} is a folder; give the name of a file to write.")
    model = None if options.baseline else _load(options, options.model)
    user = User(options.clicks, options.prompt, options.seed, options.sloppy)
    lines = run(options.folders, model=model, user=user, places=options.anywhere, csv=options.csv)
    for line in lines:
        print(line, flush=True)
    return 0


def _models(options: argparse.Namespace) -> int:
    """List the models that can be loaded by name."""
    from sammed3d_nb.models.hub import KNOWN, cached

    print(f"{'compact':<18} the default; ships with the package")
    for name, known in KNOWN.items():
        here = cached(name)
        state = f"fetched: {here}" if here else f"not fetched: sammed3d-nb models get {name}"
        print(f"{name:<18} {known.title}, {known.megabytes:.0f} MB, {known.licence}; {state}")
    print(f"{'FILE':<18} any checkpoint; sammed3d-nb models inspect FILE tells what it is")
    return 0


def _models_get(options: argparse.Namespace) -> int:
    """Fetch a known model from Hugging Face, check its SHA-256, and print where it is."""
    from sammed3d_nb.models.hub import fetch

    print(fetch(options.name))
    return 0


def _models_inspect(options: argparse.Namespace) -> int:
    """Tell what a checkpoint is, what it says about itself and what fits it (exit status 1 if it does not load)."""
    from sammed3d_nb.models.checkpoints import inspect

    report = inspect(options.file)
    print(report)
    return 0 if report.recognised.refusal is None else 1


def _doctor(options: argparse.Namespace) -> int:
    """Look at Python, packages, memory, device, model, disk and port; exit status 1 if something will not work."""
    from sammed3d_nb.commands.doctor import FAIL, examine

    failed = False
    for check in examine(model=options.model, port=options.port):
        print(check, flush=True)
        failed = failed or check.status == FAIL
    return 1 if failed else 0


def _bench(options: argparse.Namespace) -> int:
    """Measure encoding and clicks on this machine, next to a straightforward implementation."""
    from sammed3d_nb.measure.benchmark import run

    for line in run(device=options.device, quick=options.quick):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
