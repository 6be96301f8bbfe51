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
from typing import TYPE_CHECKING, NoReturn

from sammed3d_nb import __version__
from sammed3d_nb.commands import agree, export, launch, measure, replay, segment, serve
from sammed3d_nb.commands.arguments import SAMPLES, add_anonymous, add_model, add_source, number, port
from sammed3d_nb.commands.spread import add_spread, each_of
from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    pass

RENDERERS = ("page", "ipympl")  # as `ui.orthoviews`, which loads the page's widgets
FIRST_PROMPTS = ("point", "box", "slice box", "scribble", "lasso")  # as `measure.simulation`, which loads SciPy


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
        if joined and joined[-1] in ("--click", "--box") and re.match(r"-\d", word):
            joined[-1] += f"={word}"
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
    app.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="images, folders, saved sessions, or a .csv")
    app.add_argument("--sample", choices=SAMPLES, help="open a sample: the phantom, or a real CT (fetched once)")
    add_source(app, "default: the shipped one; the menu has others")
    app.add_argument("--models", type=Path, metavar="FOLDER", help="folder with more models for the app's menu")
    app.add_argument("--output", type=Path, metavar="FOLDER", help="where saved sessions and masks go (default: here)")
    app.add_argument("--port", type=port, default=launch.APP_PORT, help="port to listen on (default %(default)s)")
    app.add_argument("--host", metavar="H", help="address to listen on (default 127.0.0.1: this machine alone)")
    app.add_argument(
        "--socket",
        type=Path,
        metavar="PATH",
        help="listen on a UNIX socket in a folder that only you enter, instead of a port: for shared machines",
    )
    app.add_argument(
        "--no-token", action="store_true", help="ask for no token: everybody with an account here can come in"
    )
    app.add_argument(
        "--most-pages",
        type=partial(number, "pages", 1),
        metavar="N",
        help="pages open at a time (default: as many as the free memory carries)",
    )
    app.add_argument("--no-browser", action="store_true", help="do not open a browser on this machine")
    add_anonymous(app)
    _add_worklist(app)
    _add_renderer(app)
    app.set_defaults(run=launch.app)

    lab = commands.add_parser("lab", help="open JupyterLab on the notebooks", description=launch.lab.__doc__)
    lab.add_argument("--port", type=port, default=launch.LAB_PORT, help="port on 127.0.0.1 (default %(default)s)")
    lab.add_argument("--no-browser", action="store_true", help="do not open a browser on this machine")
    _add_renderer(lab)
    lab.set_defaults(run=launch.lab)

    segment.add_to(commands)
    replay.add_to(commands)
    export.add_to(commands)
    agree.add_to(commands)
    measure.add_to(commands)
    serve.add_to(commands)

    evaluate = commands.add_parser("evaluate", help="simulate clicks on labelled cases", description=_evaluate.__doc__)
    evaluate.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="cases: image.nii.gz and label.nii.gz"
    )
    evaluate.add_argument(
        "--clicks", type=partial(number, "clicks", 1), default=5, help="clicks for each structure (default 5)"
    )
    evaluate.add_argument("--csv", type=Path, metavar="FILE", help="write every measurement")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the simulated clicks (default 0)")
    evaluate.add_argument(
        "--sloppy",
        type=partial(number, "voxels", 0),
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
        type=partial(number, "places", 1),
        default=0,
        metavar="N",
        help="instead: a single click at N random places inside each structure",
    )
    evaluate.add_argument("--baseline", action="store_true", help="evaluate region growing instead of a model")
    add_model(evaluate)
    add_spread(evaluate, progress=True)
    evaluate.set_defaults(run=_evaluate)

    models = commands.add_parser("models", help="list, fetch or inspect models", description=_models.__doc__)
    models.set_defaults(run=_models)
    actions = models.add_subparsers(metavar="ACTION")
    get = actions.add_parser("get", help="fetch a known model and check it", description=_models_get.__doc__)
    get.add_argument("name", metavar="NAME")
    get.add_argument(
        "--accept-license", metavar="LICENCE", help="accept the licence of this name, for models that ask for it"
    )
    get.set_defaults(run=_models_get)
    inspect = actions.add_parser("inspect", help="tell what a checkpoint is", description=_models_inspect.__doc__)
    inspect.add_argument("file", type=Path, metavar="FILE")
    inspect.set_defaults(run=_models_inspect)

    doctor = commands.add_parser("doctor", help="tell what this machine has", description=_doctor.__doc__)
    add_source(doctor, "to try; default: the shipped one")
    doctor.add_argument("--port", type=port, default=launch.APP_PORT, help="port of the app (default %(default)s)")
    doctor.add_argument("--output", type=Path, metavar="FOLDER", help="the app's folder of masks (default: here)")
    doctor.add_argument("--server", metavar="URL", help="try a server of the nnInteractive protocol, any, instead")
    doctor.set_defaults(run=_doctor)

    bench = commands.add_parser("bench", help="measure speed on this machine", description=_bench.__doc__)
    bench.add_argument("--device", metavar="D", help="cuda, mps or cpu (default: the first that is there)")
    bench.add_argument("--quick", action="store_true", help="fewer repetitions")
    bench.set_defaults(run=_bench)
    return top


def _add_worklist(command: argparse.ArgumentParser) -> None:
    """Who works on a list of cases, and how."""
    command.add_argument("--labels", type=Path, metavar="FILE", help="label set (YAML): the objects that a case has")
    command.add_argument("--annotator", metavar="NAME", help="who works (default: as JupyterHub or the login says)")
    command.add_argument(
        "--readings",
        type=partial(number, "readings", 1),
        metavar="N",
        help="annotators that read each case (default 1)",
    )
    command.add_argument("--blind", action="store_true", help="show and open nobody else's work")
    command.add_argument("--review", action="store_true", help="look at others' work: accept, correct or reject it")


def _add_renderer(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--renderer", choices=RENDERERS, help="what draws the slices: the page (default), or matplotlib in the kernel"
    )


def _evaluate(options: argparse.Namespace) -> int:
    """Simulate clicks on labelled cases through the whole product and print Dice and surface Dice by click."""
    from sammed3d_nb.measure.evaluate import User, run
    from sammed3d_nb.measure.tasks import ModelSource

    if options.csv is not None:
        launch.check_folder(options.csv.parent)
        if options.csv.is_dir():
            raise UserError(f"--csv {options.csv} is a folder; give the name of a file to write.")
    source = None
    if not options.baseline:
        source = ModelSource(options.model, options.decoder, options.device, options.precision, options.api_key_file)
        source()  # what cannot be loaded is said now
    user = User(options.clicks, options.prompt, options.seed, options.sloppy)
    model = None if source is None else source().spec.sha256
    with each_of(options, model=model) as each:
        for line in run(options.folders, load=source, user=user, places=options.anywhere, csv=options.csv, each=each):
            print(line, flush=True)
    return 0


def _models(options: argparse.Namespace) -> int:
    """List the models that can be loaded by name."""
    from sammed3d_nb.models.hub import PUBLISHED, cached

    print(f"{'compact':<18} the default; ships with the package")
    for name, known in PUBLISHED.items():
        here = cached(name)
        state = f"fetched: {here}" if here else f"not fetched: sammed3d-nb models get {name}"
        print(f"{name:<18} {known.title}, {known.megabytes:.0f} MB, {known.licence}; {state}")
    print(f"{'FILE':<18} any checkpoint; sammed3d-nb models inspect FILE tells what it is")
    print(f"{'FOLDER':<18} with a model of nnInteractive")
    print(f"{'http://HOST:PORT':<18} a server of the nnInteractive protocol")
    return 0


def _models_get(options: argparse.Namespace) -> int:
    """Fetch a known model from Hugging Face, check its SHA-256, and print where it is."""
    from sammed3d_nb.models.hub import FOLDERS, fetch, fetch_folder

    if options.name in FOLDERS:
        print(fetch_folder(options.name, options.accept_license or _accepted(options.name)))
    else:
        print(fetch(options.name))
    return 0


def _accepted(name: str) -> str | None:
    """What the user types when shown the licence of a model that is to be downloaded; nothing without a terminal."""
    from sammed3d_nb.models.hub import FOLDERS, cached

    known = FOLDERS[name]
    if cached(name) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    print(f"{known.title} is under {known.licence}; its terms: {known.terms}", file=sys.stderr)
    print("Type the licence's name to accept it, or nothing to leave it: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or None


def _models_inspect(options: argparse.Namespace) -> int:
    """Tell what a checkpoint is, what it says about itself and what fits it (exit status 1 if it does not load)."""
    from sammed3d_nb.models.checkpoints import inspect

    report = inspect(options.file)
    print(report)
    return 0 if report.recognised.refusal is None else 1


def _doctor(options: argparse.Namespace) -> int:
    """Look at Python, packages, memory, device, model, disk, port and who gets in; exit status 1 if it won't work.

    With --server, try that server instead; its key is taken from NN_INTERACTIVE_API_KEY.
    """
    from sammed3d_nb.commands.doctor import FAIL, check_server, examine

    failed = False
    if options.server is not None:
        checks = check_server(options.server)
    else:
        checks = examine(model=options.model, api_key=options.api_key_file, port=options.port, output=options.output)
    for check in checks:
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
