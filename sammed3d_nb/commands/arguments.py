"""Arguments that several commands take, and what they mean: images, models, numbers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.segmenters.segmenter import Engine

SAMPLES = ("phantom", "ct")


def add_image(command: argparse.ArgumentParser) -> None:
    """The image and, of a DICOM folder, the series."""
    command.add_argument("image", metavar="IMAGE", help=f"NIfTI, NRRD, MetaImage, DICOM, or {' or '.join(SAMPLES)}")
    add_series(command, default="the largest")


def add_series(command: argparse.ArgumentParser, *, default: str) -> None:
    """Which series of a DICOM folder."""
    told = f"of a DICOM folder: UID, number or description (default: {default})"
    command.add_argument("--series", metavar="S", help=told)


def add_reading(command: argparse.ArgumentParser) -> None:
    """How to read an image that can be read in two ways."""
    command.add_argument(
        "--geometry", choices=("sform", "qform"), help="of a NIfTI file that states two (default: sform)"
    )
    command.add_argument("--straighten", action="store_true", help="shift a tilted gantry's slices to where they lie")


def add_anonymous(command: argparse.ArgumentParser) -> None:
    """What files may tell."""
    told = "leave names, paths and the DICOM series out of saved sessions and of the names of files"
    command.add_argument("--anonymous", action="store_true", help=told)


def add_model(command: argparse.ArgumentParser) -> None:
    """The model, and where and how it computes."""
    add_source(command)
    command.add_argument("--decoder", metavar="M", help="SAM-Med3D file for a checkpoint that is an encoder alone")
    command.add_argument("--device", metavar="D", help="cuda, mps or cpu (default: the first that is there)")
    command.add_argument("--precision", metavar="P", help="float32, bfloat16 or float16 (default float32)")


def add_source(command: argparse.ArgumentParser, told: str = "default: the shipped one") -> None:
    """Where the model comes from, and what may be needed to get it."""
    command.add_argument("--model", metavar="M", help=f"a known name, a file or folder, or http://host:port ({told})")
    command.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="file, readable by you alone, with the key for a model on a server (or NN_INTERACTIVE_API_KEY)",
    )


def port(text: str) -> int:
    """Read a port."""
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected a number from 1 to 65535")
    return int(text)


def number(what: str, least: int, text: str) -> int:
    """Read a whole number of something."""
    if not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of {what}; expected {least} or more")
    return int(text)


def open_image(
    image: str, series: str | None = None, *, geometry: str | None = None, straighten: bool = False
) -> Volume:
    """The image or sample, with its warnings told."""
    from sammed3d_nb.imaging.sample import open_sample
    from sammed3d_nb.imaging.volume import Volume

    if image in SAMPLES and not Path(image).exists():
        return open_sample(image)
    volume = Volume.read(image, series=series, geometry=geometry, straighten=straighten)
    for warning in volume.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    if volume.choices:
        print("Choose another one by its --series (* is the one in use):", *volume.choices, sep="\n", file=sys.stderr)
    return volume


def open_recorded(
    made_on: dict[str, Any],
    path: Path,
    image: str | None = None,
    series: str | None = None,
    *,
    geometry: str | None = None,
    straighten: bool = False,
) -> Volume:
    """The image that a record was made on, read as it was then.

    Args:
        made_on: What the record says of it.
        path: The record.
        image: Where it is now, where it is no longer where it was.
        series: As of `open_image`, and so are the others; what the record says by default.
        geometry: Likewise.
        straighten: Likewise.
    """
    from sammed3d_nb.session import record

    image = image or made_on.get("path") or made_on.get("name")
    if image is None:
        raise UserError(f"{path.name} does not say which image it was made on; say where it is with --image.")
    if not Path(image).exists() and image not in SAMPLES:
        raise UserError(f"The image {image} of {path.name} is gone; say where it is with --image.")
    read = record.reading(made_on)
    return open_image(
        image,
        series or read["series"],
        geometry=geometry or read["geometry"],
        straighten=straighten or read["straighten"],
    )


def load(options: argparse.Namespace, source: str | None) -> Engine:
    """The model that the options name."""
    from sammed3d_nb.models.model import load_model

    return load_model(
        source,
        decoder=options.decoder,
        device=options.device,
        precision=options.precision,
        api_key=options.api_key_file,
    )
