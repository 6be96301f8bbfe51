"""A loaded network on a device: what sessions and programs call."""

import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from sammed3d_nb.errors import DeviceError, UserError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models import checkpoints, hub, memory, nninteractive, remote
from sammed3d_nb.models.devices import bfloat16_is_fast, missing, out_of_memory, pick_device
from sammed3d_nb.models.nninteractive_folder import is_folder
from sammed3d_nb.network.drawn import MAPS
from sammed3d_nb.network.graphs import Graphs
from sammed3d_nb.network.normalise import normalise
from sammed3d_nb.network.prompts import IGNORED
from sammed3d_nb.network.spec import Embedding, ModelSpec, Network, parts_of
from sammed3d_nb.segmenters.cube_segmenter import CubeSegmenter, prompts_of
from sammed3d_nb.segmenters.segmenter import Engine

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

T = TypeVar("T")
E = TypeVar("E", bound=Embedding)

_log = logging.getLogger(__name__)


class Decoded(NamedTuple):
    """The answer to the clicks so far.

    Attributes:
        logits: (1, 1, n, n, n) float32 on the network's grid over the cube, n = ``spec.grid_size``; > 0 inside.
        quality: (1, 1) float32, the network's own estimate of the mask's IoU.
    """

    logits: Tensor
    quality: Tensor


class Model:
    """A network on one device in one precision. All calls may come from any thread.

    When the GPU runs out of memory the model moves on, to bfloat16 and then to the CPU, answers all the same, and adds
    a sentence to ``notes``.

    Args:
        network: in float32, on the CPU; it is moved, not copied.
        device: where to compute.
        precision: key of `PRECISIONS`.
        notes: what there is to say about the file.
        files: what the weights came from, the encoder's file first.
        reopen: gives the network again, as it was in the file.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: str = "float32",
        *,
        notes: Sequence[str] = (),
        files: Sequence[checkpoints.ModelFile] = (),
        reopen: Callable[[], Network] | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.prompts: Mapping[str, str] = prompts_of(network.spec)
        """For each kind of prompt: "native", "translated" or "refused"."""
        self._reopen = reopen
        self.notes = list(notes)
        self.files = tuple(files)
        self._lock = threading.Lock()
        self._graphs: Graphs | None = None
        self._settle(device, precision)

    @property
    def spec(self) -> ModelSpec:
        """What the network is."""
        return self.network.spec

    about: Mapping[str, str] = {}

    @property
    def described(self) -> str:
        """It in a few words: name, device, precision and memory."""
        return f"{self.spec.name}, {self.device} {self.precision}, {self.megabytes:.0f} MB"

    @property
    def ahead(self) -> bool:
        """Whether encoding ahead is worth it: a CPU is better left free for the click itself."""
        return self.device.type != "cpu"

    def segmenter(self, volume: Volume) -> CubeSegmenter:
        """A segmenter for a volume; nothing is computed yet."""
        return CubeSegmenter(volume, self)

    bytes_per_voxel = 0

    def forget(self, volume: Volume) -> None:
        """Nothing: its segmenters alone keep something of a volume."""

    @property
    def fingerprint(self) -> str | None:
        """What tells these weights from others: the SHA-256 of each of their files, joined by ``+``."""
        return "+".join(file.sha256 for file in self.files) or self.spec.sha256

    @property
    def megabytes(self) -> float:
        """Memory of the weights on the device, 10⁶ bytes."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors) / 1e6

    def prepare(self, values: "np.ndarray[Any, Any]") -> Tensor:
        """Normalise a cube the way this network was trained.

        Args:
            values: (n, n, n) raw intensities, n = ``spec.cube_size``, 0 outside the volume; dims d0, d1, d2.

        Returns:
            (1, 1, n, n, n) on this model's device.
        """
        n = self.spec.cube_size
        if values.shape != (n, n, n):
            raise ValueError(f"The cube must have the shape {(n, n, n)}, got {values.shape}.")
        cube = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
        return self._attempt(lambda _: normalise(self.spec.normalisation, cube.to(self.device))[None, None])

    def encode(self, tensor: Tensor) -> Embedding:
        """Encode one cube.

        Args:
            tensor: (1, 1, n, n, n) normalised, n = ``spec.cube_size``; dims d0, d1, d2.
        """
        n = self.spec.cube_size
        if tensor.shape != (1, 1, n, n, n):
            raise ValueError(f"The cube must have the shape {(1, 1, n, n, n)}, got {tuple(tensor.shape)}.")
        return self._in_range(lambda: self._attempt(lambda runner: runner.encode(tensor.to(self.device))))

    def decode(
        self,
        embedding: Embedding,
        points: Any,
        labels: Any,
        previous: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> Decoded:
        """Answer the clicks.

        Args:
            embedding: what `encode` returned.
            points: (N, 3) all clicks so far in cube index (voxel centres at integers), order d0, d1, d2; N ≥ 1 where
                nothing is drawn.
            labels: (N,) 1 for a positive, 0 for a negative click.
            previous: ``logits`` of the click before, or ``None`` at the first.
            drawn: (1, `MAPS`, n/2, n/2, n/2) maps of what is drawn, n = ``spec.cube_size``, for networks whose
                ``spec.native`` names more than points; see `sammed3d_nb.network.drawn`.
        """
        points = torch.as_tensor(points, dtype=torch.float32).cpu()
        labels = torch.as_tensor(labels).cpu().long()
        if drawn is not None and not len(points):
            points, labels = torch.zeros(1, 3), torch.full((1,), IGNORED)
        if points.ndim != 2 or points.shape[1] != 3 or labels.shape != points.shape[:1] or not len(points):
            raise ValueError(
                f"Clicks must be points (N, 3) with labels (N,), got {tuple(points.shape)} and {tuple(labels.shape)}."
            )
        n = self.spec.grid_size
        if previous is not None and previous.shape != (1, 1, n, n, n):
            raise ValueError(f"The previous logits must have the shape {(1, 1, n, n, n)}, got {tuple(previous.shape)}.")

        n = self.spec.cube_size // 2
        if drawn is not None and drawn.shape != (1, MAPS, n, n, n):
            raise ValueError(f"What is drawn must have the shape {(1, MAPS, n, n, n)}, got {tuple(drawn.shape)}.")

        def answer(runner: Network | Graphs) -> Decoded:
            before = None if previous is None else previous.to(self.device)
            at, kinds = points.to(self.device), labels.to(self.device)
            more = () if drawn is None else (drawn.to(self.device),)
            logits, quality = runner.decode(self._here(embedding), at, kinds, before, *more)
            return Decoded(logits.float(), quality.float())

        return self._in_range(lambda: self._attempt(answer))

    def _in_range(self, compute: Callable[[], E]) -> E:
        """Compute something; once more, in bfloat16, where a number was too large for float16."""
        computed = compute()
        if self.precision != "float16" or _finite(computed):
            return computed
        with self._lock:
            if self.precision == "float16":  # another thread may have been first
                self._leave_float16()
        return compute()

    def _attempt(self, compute: Callable[[Network | Graphs], T]) -> T:
        """Compute something; where memory does not suffice, elsewhere."""
        with self._lock:
            while True:
                try:
                    # not inference mode, the caller's neither: what a graph keeps and returns may be written to
                    with torch.inference_mode(False), torch.no_grad(), self._on_device():
                        return compute(self._graphs or self.network)
                except RuntimeError as error:
                    if not out_of_memory(error) or self.device.type == "cpu":
                        raise
                    self._step_down(error)
                self._settle(self.device, self.precision)

    def _on_device(self) -> AbstractContextManager[Any]:
        """CUDA graphs and Triton work on the thread's current GPU, whatever their tensors' GPU is."""
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()

    def _here(self, embedding: Embedding) -> Embedding:
        """An embedding made before the model moved, where the model is now."""
        if isinstance(embedding, Tensor):
            return embedding if embedding.device.type == self.device.type else embedding.to(self.device)
        # rebuilt as the class it was: some networks use named tuples
        moved = [part.to(self.device) for part in embedding]
        return embedding._make(moved) if hasattr(embedding, "_make") else tuple(moved)

    def _settle(self, device: torch.device, precision: str) -> None:
        """Move the weights, stepping down while there is no memory for them."""
        self.device, self.precision, self._graphs = device, precision, None
        while True:
            try:
                self.network.place(self.device, PRECISIONS[self.precision])
            except RuntimeError as error:
                if not out_of_memory(error) or self.device.type == "cpu":
                    raise
                self._step_down(error)
            else:
                break
        if self.device.type == "cpu":
            memory.keep_freed()
        if self.device.type == "cuda":
            with self._on_device():
                self._graphs = Graphs.of(self.network)

    def _leave_float16(self) -> None:
        """float16 holds numbers up to 65,504: weights that lead beyond go on in bfloat16."""
        _forget(self)
        if self._reopen is not None:
            self.network = self._reopen()
        note = f"A number was too large for float16: {self.spec.name} goes on in bfloat16."
        self.notes.append(note)
        _log.warning("%s", note)
        self._settle(self.device, "bfloat16")

    def _step_down(self, error: RuntimeError) -> None:
        """After running out of memory: decide on a smaller precision on the same device, then on the CPU."""
        was = f"{self.device} ({self.precision})"
        self._graphs = None
        _forget(self)  # the next load_model asks the device again
        if self.precision == "float32":
            self.precision = "bfloat16"
        else:
            self.device, self.precision = torch.device("cpu"), "float32"
            if self._reopen is not None:
                self.network = self._reopen()  # the weights in memory have been rounded
        note = f"Out of memory on {was}{missing(error)}: the model goes on in {self.precision} on {self.device}."
        self.notes.append(note)
        _log.warning("%s", note)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _finite(computed: Embedding) -> bool:
    return all(bool(torch.isfinite(part).all()) for part in parts_of(computed))


_loaded: "weakref.WeakValueDictionary[tuple[Any, ...], Model]" = weakref.WeakValueDictionary()
_loading = threading.Lock()


def _forget(model: Model) -> None:
    for key in [key for key, value in _loaded.items() if value is model]:
        _loaded.pop(key, None)


def load_model(
    source: str | Path | None = None,
    *,
    decoder: str | Path | None = None,
    device: str | torch.device | None = None,
    precision: str | None = None,
    architecture: str | None = None,
    api_key: str | Path | None = None,
    accept_license: str | None = None,
) -> Engine:
    """Load a model; of a file, the architecture is read from its tensors.

    Asking again for the same file on the same device in the same precision gives the same `Model`, as long as someone
    holds it: several sessions share one copy of the weights.

    Args:
        source: nothing (the compact default that ships with the package), a known name, a path (a file, or a folder
            with a model of nnInteractive), or the address of a server of the nnInteractive protocol,
            ``"http://host:1527"``.
        decoder: for a file that holds an image encoder alone, the SAM-Med3D file (or its name) with the rest.
        device: ``"cuda"``, ``"mps"``, ``"cpu"``; by default the first of these that is there.
        precision: ``"float32"`` (the default), ``"bfloat16"`` or ``"float16"``, which a CPU is too slow for: there it
            is bfloat16 or float32, and ``notes`` say so.
        architecture: refuse anything else than ``"sam-med3d"``, ``"fastsam3d"`` or ``"compact"``.
        api_key: what a server wants to see, or a file that holds it, as a `Path`; see `remote.key_of`.
        accept_license: the name of the licence under which a model is fetched, e.g. ``"CC BY-NC-SA 4.0"``, for models
            that may not be used for everything; needed once, before they are downloaded.

    Returns:
        An `Engine`: a `Model` for networks that see cubes, else a `RemoteModel` or an `NNInteractive`.

    Raises:
        CheckpointError: the file is missing or cannot be loaded as a network.
        LicenceError: the licence was not accepted.
        ServerError: the server does not answer, or refuses.
        DownloadError: a known name had to be fetched and could not be.
        DeviceError: the device or the precision is not there.
    """
    of_network = {"decoder": decoder, "precision": precision, "architecture": architecture}
    if remote.is_address(source):
        _refuse("A model on a server", {**of_network, "device": device, "accept_license": accept_license})
        return remote.RemoteModel(str(source), remote.key_of(api_key))
    _refuse("A model in this process", {"api_key": api_key})
    folder = None if source is None else _nninteractive(source, accept_license)
    if folder is not None:
        _refuse("nnInteractive", of_network)
        return nninteractive.open_folder(folder, pick_device(device))
    _refuse("This model", {"accept_license": accept_license})
    precision = precision or "float32"
    if precision not in PRECISIONS:
        raise DeviceError(f"The precision {precision!r} is not known; say one of {', '.join(PRECISIONS)}.")
    where, asked = pick_device(device), precision
    remarks: list[str] = []
    if where.type == "cpu" and precision == "float16":
        precision = "bfloat16" if bfloat16_is_fast() else "float32"
        remarks.append(f"A CPU takes minutes for a click in float16: the model answers in {precision}.")
        _log.warning("%s", remarks[0])
    with _loading:
        files = [checkpoints.locate(source)] + ([] if decoder is None else [checkpoints.locate(decoder)])
        states = [(str(file.resolve()), file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        key = (*states, architecture, str(where), asked)
        model = _loaded.get(key)
        if model is None:
            second = None if decoder is None else files[1]
            opened = checkpoints.open_files(files[0], decoder=second, architecture=architecture)
            model = Model(
                opened.network,
                where,
                precision,
                notes=[*opened.notes, *remarks],
                files=opened.files,
                reopen=lambda: checkpoints.open_network(files[0], decoder=second, architecture=architecture)[0],
            )
            if (model.device, model.precision) == (where, precision):
                _loaded[key] = model
        return model


def _refuse(what: str, options: Mapping[str, Any]) -> None:
    """Refuse options that mean nothing to a model."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UserError(f"{what} knows no {' or '.join(given)}; leave {'them' if len(given) > 1 else 'it'} out.")


def _nninteractive(source: str | Path, accept_license: str | None) -> Path | None:
    """The folder of a model of nnInteractive: a known one, fetched if need be, or a path; None for anything else."""
    path = Path(source).expanduser()
    if str(source) in hub.FOLDERS and not path.exists():
        return hub.fetch_folder(str(source), accept_license)
    return path if path.is_dir() and is_folder(path) else None
