"""A folder with a checkpoint of nnInteractive: what it says of itself, and whether it is safe to open.

The package opens a checkpoint in the mode that runs whatever the file asks for, and makes the network of whatever
class the plans name. So the file is read here first, in the mode for weights alone, the names in the plans are compared
with those that real ones have, and the package gets a copy of what was read: nothing else of the file reaches it.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sammed3d_nb.errors import CheckpointError
from sammed3d_nb.models.torch_files import read_torch

CHECKPOINT = "checkpoint_final.pth"
INFOS = ("inference_info.json", "inference_session_class.json")
"""Either says what the model takes; the second one is the older."""
LICENCE = "LICENSE"
UNKNOWN_LICENCE = "unknown"
NETWORKS = ("dynamic_network_architectures.",)
"""Where the network's class may come from."""
PARTS = ("torch.nn.", "dynamic_network_architectures.")
"""Where its building blocks may come from."""
_LARGEST_TEXT = 64 << 20
_OFFICIAL = ("Dataset225_nnInteractiveV2", "3d_fullres_ps192_bs24", "CC BY-NC-SA 4.0")


@dataclass(frozen=True)
class Folder:
    """A folder that was looked at.

    Attributes:
        path: The folder.
        fold: The number or name behind ``fold_``.
        name: What to call the model.
        licence: The first line of its ``LICENSE``; that of the official one without such a file; else "unknown".
        sha256: Of all its files that matter: their names and sums.
        parameters: Number of weights.
        megabytes: Of the checkpoint, 10⁶ bytes.
        contents: What of the checkpoint the package gets.
        texts: The small files, by their names.
    """

    path: Path
    fold: str
    name: str
    licence: str
    sha256: str
    parameters: int
    megabytes: float
    contents: dict[str, Any]
    texts: dict[str, bytes]

    @contextmanager
    def copied(self) -> Iterator[Path]:
        """A folder of our own with what was read, for the package to open; it is gone afterwards."""
        with TemporaryDirectory(prefix="sammed3d-nb-") as place:
            folder = Path(place)
            needed = int(self.megabytes * 1.1e6)
            if shutil.disk_usage(folder).free < needed:
                raise CheckpointError(
                    f"There is no space to open {self.path.name}: it needs {needed / 1e6:.0f} MB in {folder.parent}; "
                    "make room, or set TMPDIR to a larger disk."
                )
            for name, text in self.texts.items():
                (folder / name).write_bytes(text)
            inside = folder / f"fold_{self.fold}"
            inside.mkdir()
            torch.save(self.contents, inside / CHECKPOINT)
            yield folder


def is_folder(path: Path) -> bool:
    """Whether a folder looks like one with a model of nnInteractive."""
    return path.is_dir() and (path / "plans.json").is_file() and any((path / info).is_file() for info in INFOS)


def look_at(path: Path) -> Folder:
    """Read a folder without running anything of it.

    Raises:
        CheckpointError: It is no such folder, is damaged, or asks for something that weights never need.
    """
    if not is_folder(path):
        raise CheckpointError(
            f"{path} holds no model of nnInteractive; expected plans.json, dataset.json, {' or '.join(INFOS)} and "
            f"fold_0/{CHECKPOINT}."
        )
    checkpoint = _checkpoint(path)
    texts = {name: _text(path / name) for name in ("plans.json", "dataset.json")}
    texts |= {name: _text(path / name) for name in (*INFOS, LICENCE) if (path / name).is_file()}
    told = {name: _parsed(path / name, text) for name, text in texts.items() if name.endswith(".json")}
    for architecture in _architectures(told["plans.json"]):
        _check_architecture(path / "plans.json", architecture)
    contents = _contents(checkpoint)
    sums = {name: hashlib.sha256(text).hexdigest() for name, text in texts.items() if name != LICENCE}
    with checkpoint.open("rb") as file:
        sums[CHECKPOINT] = hashlib.file_digest(file, "sha256").hexdigest()
    return Folder(
        path=path,
        fold=checkpoint.parent.name.removeprefix("fold_"),
        name=path.resolve().name,
        licence=_licence(texts, told["plans.json"], contents),
        sha256=hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest(),
        parameters=sum(tensor.numel() for tensor in contents["network_weights"].values()),
        megabytes=checkpoint.stat().st_size / 1e6,
        contents=contents,
        texts=texts,
    )


def _checkpoint(path: Path) -> Path:
    found = sorted(path.glob(f"fold_*/{CHECKPOINT}"))
    if len(found) > 1:
        found = [one for one in found if one.parent.name == "fold_0"] or found
    if len(found) != 1:
        what = "no" if not found else f"{len(found)}"
        raise CheckpointError(f"{path} holds {what} fold_*/{CHECKPOINT}; expected one, as in fold_0/{CHECKPOINT}.")
    return found[0]


def _text(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise CheckpointError(f"{path} is too large for what it is; download the model again.")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read; download the model again.") from error


def _parsed(path: Path, text: bytes) -> Any:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged (no JSON); download the model again.") from error
    if not isinstance(told, dict) and path.name != INFOS[1]:  # whose oldest form is a name alone
        raise CheckpointError(f"{path} is damaged; download the model again.")
    return told


def _architectures(plans: Any) -> Iterator[dict[str, Any]]:
    configurations = plans.get("configurations")
    for one in configurations.values() if isinstance(configurations, dict) else ():
        if isinstance(one, dict) and isinstance(one.get("architecture"), dict):
            yield one["architecture"]


def _check_architecture(path: Path, architecture: dict[str, Any]) -> None:
    """Refuse names of classes that are no networks, and networks of absurd size."""
    blocks, named = architecture.get("arch_kwargs") or {}, architecture.get("_kw_requires_import") or []
    if not isinstance(blocks, dict) or not isinstance(named, list):
        raise CheckpointError(f"{path} is damaged (its architecture); download the model again.")
    asked = [(architecture.get("network_class_name"), NETWORKS), *((blocks.get(str(name)), PARTS) for name in named)]
    for name, homes in asked:
        known = isinstance(name, str) and re.fullmatch(r"[\w.]+", name) and name.startswith(homes)
        if name is not None and not known:
            raise CheckpointError(
                f"{path} asks for {str(name)[:80]} to be run, which no published model does, so it was not opened; get "
                "the model from where it was published."
            )
    if max(_numbers(blocks), default=0) > 10_000:
        raise CheckpointError(f"{path} asks for a network of absurd size, so it was not opened; get the model again.")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int | float):
        yield abs(value)


def _contents(path: Path) -> dict[str, Any]:
    """What of a checkpoint makes the network, and nothing else of it."""
    read = read_torch(path)
    try:
        weights, configuration = read["network_weights"], read["init_args"]["configuration"]
        trainer = read["trainer_name"]
        well = isinstance(weights, dict) and all(isinstance(tensor, torch.Tensor) for tensor in weights.values())
        if not (well and weights and isinstance(configuration, str) and re.fullmatch(r"[A-Za-z_]\w*", trainer)):
            raise ValueError("other types")
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no checkpoint of nnInteractive (network_weights, trainer_name and configuration are not all "
            "there); take the one that was published."
        ) from error
    plain = {str(name): tensor.detach() for name, tensor in weights.items()}
    return {"trainer_name": trainer, "init_args": {"configuration": configuration}, "network_weights": plain}


def _licence(texts: dict[str, bytes], plans: Any, contents: dict[str, Any]) -> str:
    for line in texts.get(LICENCE, b"").decode("utf-8", "replace").splitlines():
        if line.strip():
            return line.strip()[:80]
    official, configuration, licence = _OFFICIAL
    is_official = plans.get("dataset_name") == official and contents["init_args"]["configuration"] == configuration
    return licence if is_official else UNKNOWN_LICENCE
