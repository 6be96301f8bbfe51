"""nnInteractive in this process, by its own package; weights from a folder."""

import logging
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sammed3d_nb.errors import CheckpointError, DeviceError, PromptError
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models.checkpoints import ModelFile
from sammed3d_nb.models.devices import out_of_memory
from sammed3d_nb.models.guarded import Guarded, short
from sammed3d_nb.models.nninteractive_folder import UNKNOWN_LICENCE, Folder, look_at
from sammed3d_nb.segmenters.conversation import Conversations
from sammed3d_nb.segmenters.interactive_segmenter import InteractiveSegmenter
from sammed3d_nb.segmenters.sayings import Abilities, Changed
from sammed3d_nb.segmenters.segmenter import EngineSpec

BYTES_PER_VOXEL = 4 + 2 * 7 + 1
"""Of memory for an image: itself in float32, seven channels of what was said in float16, the answer."""

_log = logging.getLogger(__name__)
_loaded: "weakref.WeakValueDictionary[tuple[Any, ...], NNInteractive]" = weakref.WeakValueDictionary()
_loading = threading.Lock()


class NNInteractive:
    """A model of nnInteractive on a device; gives segmenters as any `Engine` does.

    Args:
        folder: Its folder, looked at.
        device: Where to compute.

    Attributes:
        folder: Where it came from.
        device: Where it computes.
        notes: What there is to say of it.

    Raises:
        CheckpointError: The package is missing, or makes no network of the folder.
        DeviceError: The device has no memory for it.
    """

    ahead = True
    bytes_per_voxel = BYTES_PER_VOXEL

    def __init__(self, folder: Folder, device: torch.device) -> None:
        self.device = device
        self._make = _sessions(device)
        session = self._make()
        with _sentences(folder.name, device), folder.copied() as copy, redirect_stdout(StringIO()):
            try:
                self._artifacts = session._load_model_artifacts_from_disk(str(copy), folder.fold)
            except (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError,
                    TypeError, ValueError) as error:  # fmt: skip
                if out_of_memory(error):
                    raise
                raise CheckpointError(
                    f"nnInteractive makes no network of {folder.path} ({short(error)}); it may need "
                    "another version of the package nnInteractive, or be damaged."
                ) from error
            session.initialize_from_loaded_artifacts(self._artifacts)
        # what the package would find in the copy if there were no LICENSE is what was found there already
        self.folder, self._version = folder.path, str(session.INFERENCE_SESSION_VERSION)
        self._licence = folder.licence
        thickness = session.preferred_scribble_thickness
        self.abilities = Abilities(
            dict(session.supported_interactions), bool(session.supports_initial_label), tuple(thickness)
        )
        patch = [int(n) for n in session.configuration_manager.patch_size]
        self.patch_size = patch
        self.spec = EngineSpec(
            folder.name, "nninteractive", str(folder.path), folder.sha256, folder.megabytes, folder.parameters
        )
        self.files: Sequence[ModelFile] = (ModelFile(folder.path, folder.sha256),)
        self.notes: list[str] = []
        if self._licence == UNKNOWN_LICENCE:
            self.notes.append(f"{folder.name} does not say under which licence it is; ask who gave it to you.")
        else:
            self.notes.append(f"{folder.name} is under {self._licence}, and so may be what you make of its masks.")
        # one copy of an image for all its segmenters; they hold it, not the model
        make, artifacts, name = self._make, self._artifacts, self.spec.name
        self._conversations = Conversations(lambda: _Local(make, artifacts, name, device))

    @property
    def prompts(self) -> Mapping[str, str]:
        """For each kind of prompt: "native" or "refused"."""
        return self.abilities.prompts

    @property
    def fingerprint(self) -> str | None:
        """What tells these weights from others: the SHA-256 of their files' sums."""
        return self.spec.sha256

    @property
    def about(self) -> dict[str, str]:
        """What records keep of it: its licence, and the package's version."""
        return {"licence": self._licence, "version": self._version}

    @property
    def licence(self) -> str:
        """Of its weights, as their folder says."""
        return self._licence

    @property
    def described(self) -> str:
        """It in a few words."""
        return f"{self.spec.name}, {self.device}, {self._licence}"

    def segmenter(self, volume: Volume) -> InteractiveSegmenter:
        """A segmenter for a volume; nothing is computed yet."""
        return InteractiveSegmenter(self._conversations.about(volume), self.abilities)

    def forget(self, volume: Volume) -> None:
        """Let go of the image and of what was said about it, unless a segmenter works on it."""
        self._conversations.forget(volume)

    def __repr__(self) -> str:
        return f"NNInteractive({str(self.folder)!r}, {self.device})"


def open_folder(path: Path, device: torch.device) -> NNInteractive:
    """The model of a folder; the same one as long as somebody holds it.

    Raises:
        CheckpointError: It is no such folder, is not safe to open, or the package is missing.
        DeviceError: The device has no memory for it.
    """
    _sessions(device)  # says that the package is missing before anything is read
    folder = look_at(path)
    with _loading:
        key = (folder.sha256, str(folder.path.resolve()), str(device))
        model = _loaded.get(key)
        if model is None:
            model = _loaded[key] = NNInteractive(folder, device)
        return model


class _Local(Guarded):
    """A session of the package."""

    def __init__(self, make: Callable[[], Any], artifacts: dict[str, Any], name: str, device: torch.device) -> None:
        self._name, self._device = name, device
        self._session = make()
        self._session.initialize_from_loaded_artifacts(artifacts)

    def set_image(self, image: NDArray[np.generic], image_properties: dict[str, Any] | None = None) -> None:
        with self._told():
            self._session.set_image(image, image_properties)
            self._session._finish_preprocessing_and_initialize_interactions()

    def close(self) -> None:
        """Let go of image and threads."""
        self._session._reset_session()
        self._session.executor.shutdown(wait=False)

    def _say(self, call: str, *arguments: Any, **options: Any) -> Changed:
        with _same_lots():
            return super()._say(call, *arguments, **options)

    @contextmanager
    def _told(self) -> Iterator[None]:
        with _sentences(self._name, self._device):
            try:
                yield
            except (ValueError, AssertionError) as error:  # how the package refuses
                raise PromptError(f"{self._name} refuses it: {str(error).rstrip('.')[:300]}.") from error
            except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError) as error:
                if out_of_memory(error):
                    raise
                _log.warning("%s failed", self._name, exc_info=True)
                raise PromptError(f"{self._name} fails on it ({short(error)}); say it in another way.") from error


def _sessions(device: torch.device) -> Callable[[], Any]:
    """Makes the package's sessions, as quiet and as modest as a guest should be.

    Raises:
        CheckpointError: It is not installed.
    """
    try:
        with redirect_stdout(StringIO()):  # its own libraries greet there
            from nnInteractive.inference.inference_session import nnInteractiveInferenceSession
    except ImportError as error:
        raise CheckpointError(
            f"nnInteractive in this process needs its package ({short(error)}); "
            "pip install 'sammed3d-nb[nninteractive]', or give the address of a server that has it."
        ) from error
    for name, module in list(sys.modules.items()):
        if name.startswith("nnInteractive.") and module is not None:
            module.print = _quiet  # type: ignore[attr-defined]  # it tells every step on standard output

    def make() -> Any:
        before = torch.backends.cudnn.benchmark
        try:
            return nnInteractiveInferenceSession(
                device=device, use_torch_compile=False, torch_n_threads=torch.get_num_threads()
            )
        finally:
            torch.backends.cudnn.benchmark = before  # it may choose other sums at each start: replay would differ

    return make


@contextmanager
def _same_lots() -> Iterator[None]:
    """The package draws lots where it refines a large object; here the same ones each time, so that replay holds."""
    before = np.random.get_state()  # noqa: NPY002  it draws from the old generator
    np.random.seed(0)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _quiet(*said: object, **_: object) -> None:
    _log.debug("%s", " ".join(map(str, said)))


@contextmanager
def _sentences(name: str, device: torch.device) -> Iterator[None]:
    """Too little memory, as a sentence."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise DeviceError(
            f"{device} has no memory left for {name}; end other programs on it, or load it with device='cpu'."
        ) from error
