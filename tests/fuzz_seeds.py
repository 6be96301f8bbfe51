"""Valid files of every kind that is read, for `fuzzing` to change; each small, so that a change hits what counts."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from dicom_files import write_enhanced, write_series
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from seg_files import write_seg
from small_models import encoder_alone, weights
from support import BallNetwork, model_of

from sammed3d_nb import Session
from sammed3d_nb.imaging.volume import Volume

RECORD1 = Path(__file__).parent / "session" / "version1.sammed3d.json"


@dataclass(frozen=True)
class Seed:
    """A valid file.

    Attributes:
        name: What to call it.
        reader: Which of the readers of `fuzzing` opens it.
        opens: The file or folder to open, below the folder that `make` filled.
        make: Writes it into an empty folder.
        options: For the reader.
    """

    name: str
    reader: str
    opens: str
    make: Callable[[Path], Any]
    options: dict[str, Any] = field(default_factory=dict)


def ct() -> Volume:
    """What label maps and records of the seeds belong to."""
    c, s = np.cos(0.4), np.sin(0.4)
    values = np.random.default_rng(0).integers(-1000, 1000, (6, 10, 12)).astype(np.int16)
    return Volume.from_array(values, (2.7, 2.9, 4.5), [[c, -s, 0], [s, c, 0], [0, 0, 1]], (-30, 12.5, 100), name="ct")


def old() -> Volume:
    """What the first version's record belongs to."""
    array = np.arange(20 * 24 * 28, dtype=np.int16).reshape(20, 24, 28) % 97
    return Volume.from_array(array, (3.0, 3.0, 4.0), np.diag([1, -1, 1]), (5, 6, 7), name="old")


def _labels() -> Any:
    made = np.zeros(ct().array.shape, np.uint8)
    made[1:4, 2:6, 3:9], made[4, 7:9, 1:4] = 1, 3
    return made


def _itk(name: str, **options: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        sitk.WriteImage(ct().image, str(folder / name), **options)

    return make


def _nifti2(folder: Path) -> None:
    sitk.WriteImage(ct().image, str(folder / "one.nii"))
    one = (folder / "one.nii").read_bytes()
    (folder / "one.nii").unlink()
    head = bytearray(540)
    head[:12] = (540).to_bytes(4, "little") + b"n+2\0\r\n\x1a\n"
    head[12:14], head[14:16] = one[70:72], one[72:74]
    fields = np.frombuffer
    head[16:80] = fields(one, "<i2", 8, 40).astype("<i8").tobytes()
    head[104:168] = fields(one, "<f4", 8, 76).astype("<f8").tobytes()
    head[168:176] = (544).to_bytes(8, "little")
    head[176:192] = np.array([1, 0], "<f8").tobytes()
    head[344:352] = fields(one, "<i2", 2, 252).astype("<i4").tobytes()
    head[352:496] = fields(one, "<f4", 18, 256).astype("<f8").tobytes()
    head[500:504] = (2).to_bytes(4, "little")
    (folder / "a.nii").write_bytes(bytes(head) + bytes(4) + one[352:])


def _apart(kind: str, encoding: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        values = ct().array.tobytes()
        (folder / "a.raw").write_bytes(values)
        if kind == "nhdr":
            head = (
                "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 12 10 6\nspace directions"
            )
            head += f': (2.7,0,0) (0,2.9,0) (0,0,4.5)\nencoding: {encoding}\nendian: little\nspace units: "mm" "mm"'
            head += ' "mm"\ndata file: a.raw\n'
        else:
            head = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nOffset = 1 2 3\n"
            head += "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 2.7 2.9 4.5\nDimSize = 12 10 6\n"
            head += "ElementType = MET_SHORT\nElementDataFile = a.raw\n"
        (folder / f"a.{kind}").write_text(head)

    return make


def _text(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        numbers = " ".join(str(n) for n in ct().array.ravel())
        head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 12 10 6\nspacings: 2.7 2.9 4.5\nencoding: ascii\n\n"
        if kind == "mha":
            head = "ObjectType = Image\nNDims = 3\nBinaryData = False\nDimSize = 12 10 6\nElementType = MET_SHORT\n"
            head += "ElementDataFile = LOCAL\n"
        (folder / f"a.{kind}").write_text(head + numbers + "\n")

    return make


def _analyze(folder: Path) -> None:
    sitk.WriteImage(ct().image, str(folder / "a.hdr"))
    head = bytearray((folder / "a.hdr").read_bytes()[:348])
    head[252:348] = bytes(96)
    (folder / "a.hdr").write_bytes(head)


def _series(syntax: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        plain = syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, None)
        write_series(folder / "s", **({"syntax": syntax} if plain and syntax else {}))
        if not plain:
            for path in (folder / "s").iterdir():
                data = pydicom.dcmread(path)
                data.compress(syntax)
                data.save_as(path)

    return make


def _jpeg(compressor: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        from test_short_files import jpeg_series

        jpeg_series(folder / "s", compressor)

    return make


def _enhanced(syntax: Any = None) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = write_enhanced(folder / "e.dcm")
        if syntax:
            data = pydicom.dcmread(path)
            data.compress(syntax)
            data.save_as(path)

    return make


def _mask(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        names, colours = {1: "liver", 3: "Milz – ä"}, {1: "#e6194b", 3: "#3cb44b"}
        ct().write_mask(_labels(), folder / f"m.{suffix}", names=names, colours=colours)
        listed = {str(n): {"name": names[n], "colour": colours[n]} for n in names}
        (folder / "m.labels.json").write_text(json.dumps(listed, indent=1))

    return make


def _layers(folder: Path) -> None:
    """3D Slicer's: two label maps over each other, along a first axis."""
    first = _labels()
    both = sitk.GetImageFromArray(np.stack([first, first[::-1]], -1), isVector=True)
    both.CopyInformation(ct().image)
    for n, name in enumerate(("liver", "lesion")):
        both.SetMetaData(f"Segment{n}_Name", name)
        both.SetMetaData(f"Segment{n}_Layer", str(n))
        both.SetMetaData(f"Segment{n}_LabelValue", "1")
        both.SetMetaData(f"Segment{n}_Color", "0.5 0.2 1")
    sitk.WriteImage(both, str(folder / "m.seg.nrrd"))


def _seg(kind: str, compressed: bool = False) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = write_seg(folder / "seg.dcm", [_labels() == 1, _labels() == 3], ct(), kind=kind)
        if compressed:
            data = pydicom.dcmread(path)
            data.compress(RLELossless)
            data.save_as(path)

    return make


def _record(folder: Path) -> None:
    session = Session(ct(), model_of(BallNetwork()), overlap=True)
    session.click((5, 4, 3))
    session.new_object("cyst")
    session.paint([(1, 1, 1), (2, 1, 1)])
    session.apply("grow", mm=3)
    session.undo()
    session.save(folder / "r.sammed3d.json")


def _torch(content: Callable[[], Any], name: str = "w.pth", **options: Any) -> Callable[[Path], None]:
    return lambda folder: torch.save(content(), folder / name, **options)


def _safetensors(folder: Path) -> None:
    from safetensors.torch import save_file

    save_file(weights(), str(folder / "w.safetensors"), metadata={"format": "pt", "about": "a test"})


def _voxel_text(folder: Path) -> None:
    (folder / "stroke.txt").write_text("1,2,3\n 4, 5 ,6\n-7,8,9\n")


def _folder(folder: Path) -> None:
    for number in (1, 2):
        (folder / "d" / f"p{number}").mkdir(parents=True)
        write_series(folder / "d" / f"p{number}", uid=f"1.2.{number}")
    write_enhanced(folder / "d" / "p2" / "e.dcm")
    (folder / "d" / "p3").mkdir()
    sitk.WriteImage(ct().image, str(folder / "d" / "p3" / "a.nii.gz"))


def _volume(name: str, opens: str, make: Callable[[Path], Any], **options: Any) -> Seed:
    return Seed(name, "volume", opens, make, options)


SEEDS = [
    _volume("nii", "a.nii", _itk("a.nii")),
    _volume("nii.gz", "a.nii.gz", _itk("a.nii.gz")),
    _volume("nii by qform", "a.nii", _itk("a.nii"), geometry="qform"),
    _volume("nii pair", "a.hdr", _itk("a.hdr")),
    _volume("NIfTI-2", "a.nii", _nifti2),
    _volume("Analyze", "a.hdr", _analyze),
    _volume("nrrd", "a.nrrd", _itk("a.nrrd")),
    _volume("nrrd gzip", "a.nrrd", _itk("a.nrrd", useCompression=True)),
    _volume("nrrd text", "a.nrrd", _text("nrrd")),
    _volume("nhdr", "a.nhdr", _apart("nhdr", "raw")),
    _volume("mha", "a.mha", _itk("a.mha")),
    _volume("mha zlib", "a.mha", _itk("a.mha", useCompression=True)),
    _volume("mha text", "a.mha", _text("mha")),
    _volume("mhd", "a.mhd", _apart("mhd", "raw")),
    _volume("mhd zlib", "a.mhd", _itk("a.mhd", useCompression=True)),
    _volume("DICOM explicit", "s", _series(None)),
    _volume("DICOM straightened", "s", lambda f: write_series(f / "s", shift=(0, 0.5, 0)), straighten=True),
    _volume("DICOM implicit", "s", _series(ImplicitVRLittleEndian)),
    _volume("DICOM big endian", "s", _series(ExplicitVRBigEndian)),
    _volume("DICOM deflated", "s", _series(DeflatedExplicitVRLittleEndian)),
    _volume("DICOM RLE", "s", _series(RLELossless)),
    _volume("DICOM JPEG", "s", _jpeg("JPEG")),
    _volume("DICOM JPEG 2000", "s", _jpeg("JPEG2000")),
    _volume("DICOM JPEG-LS", "s", _series(JPEGLSLossless)),
    _volume("DICOM multi-frame", "e.dcm", _enhanced()),
    _volume("DICOM multi-frame RLE", "e.dcm", _enhanced(RLELossless)),
    Seed("labels nii.gz", "labels", "m.nii.gz", _mask("nii.gz")),
    Seed("labels nrrd", "labels", "m.nrrd", _mask("nrrd")),
    Seed("labels mha", "labels", "m.mha", _mask("mha")),
    Seed("seg.nrrd", "labels", "m.seg.nrrd", _layers),
    Seed("DICOM SEG", "labels", "seg.dcm", _seg("BINARY")),
    Seed("DICOM SEG fractional", "labels", "seg.dcm", _seg("FRACTIONAL")),
    Seed("DICOM SEG RLE", "labels", "seg.dcm", _seg("FRACTIONAL", compressed=True)),
    Seed("record", "record", "r.sammed3d.json", _record),
    Seed("record 1", "record 1", "r.sammed3d.json", lambda f: shutil.copy(RECORD1, f / "r.sammed3d.json")),
    Seed("pth", "weights", "w.pth", _torch(lambda: {"model_state_dict": weights(), "epoch": 3})),
    Seed("pth, bare", "weights", "w.pth", _torch(encoder_alone)),
    Seed("pth, old form", "weights", "w.pth", _torch(weights, _use_new_zipfile_serialization=False)),
    Seed("safetensors", "weights", "w.safetensors", _safetensors),
    Seed("stroke", "stroke", "stroke.txt", _voxel_text),
    Seed("list of cases", "list", "d", _folder),
]
