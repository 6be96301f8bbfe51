"""Model files: open them without running anything, recognise what they hold, build the network.

What a file is, is read from its tensors. File names and ``args.model_type`` are reported and never believed: files
named after one network hold another in the wild.
"""

import argparse
import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sammed3d_nb.errors import CheckpointError
from sammed3d_nb.models import hub, recognise
from sammed3d_nb.models.nninteractive_folder import is_folder
from sammed3d_nb.models.recognise import Kind, Recognised
from sammed3d_nb.models.torch_files import Number, read_torch
from sammed3d_nb.network.compact import Compact
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import Network

WEIGHTS = Path(__file__).parents[1] / "weights"
SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")

_log = logging.getLogger(__name__)
_NESTED = ("model_state_dict", "state_dict", "model", "net", "network", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "sam.")
_DEEPEST = 8
_MOST_SHARED = 4  # times its size: tensors may share their bytes
_MOST_ROWS = 60  # of what a file says about itself
_DTYPES = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
}  # fmt: skip


@dataclass
class Contents:
    """What was in a file.

    Attributes:
        path: the file.
        megabytes: its size, 10⁶ bytes.
        sha256: its checksum.
        format: ``"PyTorch"`` or ``"safetensors"``.
        state: name to tensor, names without the prefixes that training adds.
        metadata: everything else that can be told in words.
        notes: what was done to reach the tensors.
    """

    path: Path
    megabytes: float
    sha256: str
    format: str
    state: dict[str, Tensor]
    metadata: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class ModelFile(NamedTuple):
    """A file that weights came from: where it was, and the SHA-256 of all its bytes."""

    path: Path
    sha256: str


class Opened(NamedTuple):
    """A network, on the CPU in float32, what there is to say about its file, and its files: the encoder's first."""

    network: Network
    notes: list[str]
    files: tuple[ModelFile, ...]


@dataclass(frozen=True)
class Report:
    """What `inspect` found; ``str(report)`` is the text for people."""

    contents: Contents
    recognised: Recognised

    @property
    def loads(self) -> bool:
        """Whether `sammed3d_nb.load_model` takes the file as it is, alone."""
        return self.recognised.refusal is None and not self.recognised.needs_decoder

    def __str__(self) -> str:
        contents, found = self.contents, self.recognised
        rows = {
            "file": f"{contents.path} ({contents.megabytes:.1f} MB, {contents.format})",
            "SHA-256": contents.sha256 + hub.published_as(contents.sha256),
            "is": found.title,
            "tensors": f"{len(contents.state)}, {sum(t.numel() for t in contents.state.values()):,} weights",
            **dict(list(contents.metadata.items())[:_MOST_ROWS]),
        }
        for i, note in enumerate((*contents.notes, *notes(contents, found))):
            rows[f"note {i + 1}"] = note
        for kind, misfits in found.misfits.items():
            rows[f"as {kind}"] = "fits" if not misfits else f"does not fit: {recognise.list_some(misfits)}"
        if found.refusal:
            rows["loads"] = f"no: {contents.path.name} {found.refusal}"
        elif found.needs_decoder:
            rows["loads"] = "with decoder=FILE, a SAM-Med3D file with prompt encoder and mask decoder"
        else:
            rows["loads"] = "yes"
        width = max(map(len, rows)) + 2
        return "\n".join(f"{name:<{width}}{value}" for name, value in rows.items())


def inspect(path: str | Path) -> Report:
    """Tell what a file is, what it says about itself, and what fits it.

    Args:
        path: a file, or a known name as for `open_network`.

    Raises:
        CheckpointError: the file cannot be read at all.
    """
    contents = read(Path(path))
    found = recognise.recognise(contents.state)
    if found.refusal is None:
        found.refusal = _broken(contents.state)
    return Report(contents, found)


def open_network(
    source: str | Path | None = None, *, decoder: str | Path | None = None, architecture: str | None = None
) -> tuple[Network, list[str]]:
    """The network and the notes of `open_files`, for whoever does not ask which files they came from."""
    return open_files(source, decoder=decoder, architecture=architecture)[:2]


def open_files(
    source: str | Path | None = None, *, decoder: str | Path | None = None, architecture: str | None = None
) -> Opened:
    """The network that ``source`` holds, on the CPU in float32, and what there is to say about the file.

    Args:
        source: nothing (the compact default), a name that `hub.KNOWN` lists, or a path.
        decoder: path or name of a SAM-Med3D file, for a source that holds an image encoder alone.
        architecture: refuse anything else than this; by default the tensors decide.

    Raises:
        CheckpointError: the file is missing or cannot be loaded.
        DownloadError: a known name that had to be fetched and could not be.
    """
    contents = read(locate(source))
    found = recognise.recognise(contents.state, wanted=architecture)
    name = contents.path.name
    if found.refusal:
        raise CheckpointError(f"{name} {found.refusal}")
    remarks = notes(contents, found)
    if found.needs_decoder and decoder is None:
        raise CheckpointError(
            f"{name} holds {found.title} alone; give decoder= a SAM-Med3D file (sam_med3d_turbo.pth, for example) "
            "for its prompt encoder and mask decoder."
        )
    state = contents.state
    files = [contents]
    if found.needs_decoder:
        assert decoder is not None
        rest = read(locate(decoder))
        state = recognise.join(state, rest.state, rest.path.name)
        files.append(rest)
    elif decoder is not None:
        remarks.append(f"{name} has a mask decoder of its own, so decoder= was not used.")
    broken = _broken(state)
    if broken:
        raise CheckpointError(f"{name} {broken}")
    network: Network = Compact.from_state(state) if found.kind is Kind.COMPACT else SamMed3D.from_state_dict(state)
    together = " + ".join(str(file.path) for file in files)
    network.spec = replace(
        network.spec, source=together, sha256=contents.sha256, megabytes=round(contents.megabytes, 1)
    )
    for remark in remarks:
        _log.warning("%s", remark)
    return Opened(
        network, [*contents.notes, *remarks], tuple(ModelFile(file.path.absolute(), file.sha256) for file in files)
    )


def locate(source: str | Path | None) -> Path:
    """The file that a source means: the shipped default, a known name (fetched when it has to be), or a path."""
    if source is None or str(source) == "compact":
        shipped = sorted(WEIGHTS.glob("*.safetensors"))
        if not shipped:
            raise CheckpointError(
                f"The compact default is missing from {WEIGHTS}: install the package again, "
                "or give the path of a checkpoint."
            )
        return shipped[-1]
    if str(source) in hub.KNOWN:
        return hub.fetch(str(source))
    path = Path(source).expanduser()
    if path.is_dir():
        raise CheckpointError(
            f"{path} is a folder, and none with a model of nnInteractive (plans.json, fold_0/checkpoint_final.pth); "
            f"give such a folder, or the path of one file ({', '.join(SUFFIXES)})."
        )
    if not path.exists():
        known = ", ".join(("compact", *hub.KNOWN, *hub.FOLDERS))
        raise CheckpointError(f"There is no model file {path}; give an existing path or a known name ({known}).")
    return path


def listing(folder: str | Path) -> list[Path]:
    """What in a folder may be a model, files by their suffix, folders by what they hold; sorted."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted([*files, *(path for path in folder.iterdir() if is_folder(path))])


def notes(contents: Contents, found: Recognised) -> list[str]:
    """What the user should know: names that say otherwise than the tensors."""
    remarks = list(found.notes)
    if found.kind in (Kind.SAM_MED3D, Kind.TEACHER) and re.search(r"fast", contents.path.name, re.IGNORECASE):
        remarks.append(
            f"{contents.path.name} is named after FastSAM3D, but its tensors are those of the {found.layers}-block "
            "SAM-Med3D encoder (the teacher): it is SAM-Med3D and as slow as SAM-Med3D."
        )
    return remarks


def read(path: Path) -> Contents:
    """Read a file of tensors without running anything in it.

    Raises:
        CheckpointError: not there, damaged, no file of tensors, or one that asks for more than tensors.
    """
    path = locate(path)
    try:
        with path.open("rb") as file:
            head = file.read(512)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    _refuse_other_formats(path, head)
    contents = Contents(path, path.stat().st_size / 1e6, digest, "PyTorch", {})
    if head[8:9] == b"{":
        contents.format = "safetensors"
        contents.state, contents.metadata = _read_safetensors(path)
    else:
        _unwrap(read_torch(path), contents)
    _strip_prefixes(contents)
    if not contents.state:
        raise CheckpointError(f"{path.name} holds no tensors, so it is not a model file.")
    return contents


def _refuse_other_formats(path: Path, head: bytes) -> None:
    """Say what a file is that cannot be a checkpoint; downloads that went wrong are the usual ones."""
    start = head.lstrip()[:64].lower()
    if not head:
        what = "is empty; copy or download it again"
    elif start.startswith(b"version https://git-lfs"):
        what = "is only a Git LFS pointer, not the weights; run `git lfs pull` or download the file itself"
    elif start.startswith((b"<!doctype", b"<html")):
        what = "is a web page, not a model file; download the file behind its download button"
    elif start.startswith(b"<?xml"):
        what = "is an XML answer of a server, not a model file; download it again"
    elif head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04")) or head[8:9] == b"{":
        return
    elif head.startswith(b"\x1f\x8b"):
        what = "is compressed with gzip; unpack it first (gunzip)"
    elif head.startswith(b"\x89HDF"):
        what = "is an HDF5 file (Keras); this app reads PyTorch and safetensors files"
    else:
        what = "is neither a PyTorch nor a safetensors file; give a checkpoint (.pth, .pt, .safetensors)"
    raise CheckpointError(f"{path.name} {what}.")


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            said = {name[:80]: _short(text) for name, text in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, said  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path.name} is cut short or damaged ({path.stat().st_size / 1e6:.1f} MB; {error}); download it again."
        ) from error


def _unwrap(loaded: Any, contents: Contents) -> None:
    """Find the state dict in what a PyTorch file held, and tell the rest in words."""
    if not isinstance(loaded, Mapping):
        raise CheckpointError(
            f"{contents.path.name} holds a {type(loaded).__name__}, not a dictionary of tensors; give a state dict."
        )
    state = loaded
    trail: list[str] = []
    while len(trail) < _DEEPEST:
        inner = next((key for key in _NESTED if isinstance(state.get(key), Mapping) and state[key]), None)
        if inner is None:
            break
        _tell({key: value for key, value in state.items() if key != inner}, contents)
        trail.append(inner)
        state = state[inner]
    tensors = {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        return
    if trail:
        contents.metadata["weights in"] = " → ".join(trail)
    _check_sizes(contents.path, tensors)
    # cloned: the mapping must not outlive a file that is replaced while the program runs
    contents.state = {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _check_sizes(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are larger than what the file holds of them, each and together."""
    total = 0
    for name, tensor in tensors.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and tensor.dtype in _DTYPES
        if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CheckpointError(
                f"{path.name} holds no plain weights in {name[:80]} ({tensor.dtype}, shape"
                f" {str(tuple(tensor.shape))[:60]}); ask its author for the bare weights."
            )
        total += tensor.numel() * tensor.element_size()
    if total > _MOST_SHARED * path.stat().st_size:
        raise CheckpointError(
            f"{path.name} asks for {total / 1e9:,.1f} GB of weights and holds {path.stat().st_size / 1e9:.1f} GB, so it"
            " was not opened; ask its author for the bare weights."
        )


def _tell(extras: Mapping[Any, Any], contents: Contents) -> None:
    for key, value in extras.items():
        if isinstance(value, argparse.Namespace):
            for name, setting in sorted(vars(value).items(), key=lambda entry: str(entry[0])):
                contents.metadata[f"{_word(key)}.{_word(name)}"] = _short(setting)
        elif "optim" in _word(key):
            note = "A training checkpoint: its optimiser state was left out."
            contents.notes.extend([note] if note not in contents.notes else [])
        elif not isinstance(value, Mapping):
            contents.metadata[_word(key)] = _short(value)


def _short(value: Any) -> str:
    """A few words for a value of any kind, however large or deep."""
    if isinstance(value, list | tuple) and len(value) > 4:
        return f"{len(value)} values, the last {_word(value[-1])}"
    text = ", ".join(map(_word, value)) if isinstance(value, list | tuple) else _word(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _word(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value[:81].split())
    if value is None or isinstance(value, bool | float | Number | torch.device | torch.dtype):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**20 else "a large number"
    if isinstance(value, list | tuple) and len(value) <= 8 and all(isinstance(n, int | float | str) for n in value):
        return f"[{', '.join(map(_word, value))}]"
    return f"a {type(value).__name__}"


def _strip_prefixes(contents: Contents) -> None:
    for prefix in _PREFIXES * 2:
        if contents.state and all(name.startswith(prefix) for name in contents.state):
            contents.state = {name.removeprefix(prefix): tensor for name, tensor in contents.state.items()}
            contents.metadata["prefix taken off"] = contents.metadata.get("prefix taken off", "") + prefix


def _broken(state: Mapping[str, Tensor]) -> str | None:
    """Why weights cannot be used whatever the network, to follow the file's name."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            return (
                f"has {bad} weights in {name} that are not finite numbers, so its training or its copying went wrong; "
                "take another checkpoint."
            )
    return None
