"""What a segmenter is: it answers prompts on one volume. A model gives one for a volume."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import ArrayLike

from sammed3d_nb.imaging.region import Index, LocalMask
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.segmenters.cube import Cube
from sammed3d_nb.segmenters.doubt import Doubt
from sammed3d_nb.segmenters.prompts import Prompt
from sammed3d_nb.spaces import TransformChain


@dataclass(frozen=True)
class Options:
    """How a prompt is to be answered; it belongs to the step.

    Attributes:
        grow: Whether neighbouring cubes are asked when the mask touches a face of its cube.
        adapt: Whether finer and coarser cubes are chosen by the mask's size, for networks that know several.
    """

    grow: bool = True
    adapt: bool = True


class Memory(Protocol):
    """What a segmenter goes on from at the object's next prompt; opaque to everyone else, and never changed."""

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""


@dataclass(frozen=True)
class Situation:
    """An object when a prompt is asked about it.

    Attributes:
        prompts: Its prompts so far, the one to answer at the end.
        mask: Its mask so far, hand-made changes among it.
        told: Voxels whose value in `mask` a hand has set: the network is told of them.
        memory: What the segmenter gave with its last answer; None for the first one.
        options: How to answer.
        cubes: The cubes of its last answer, for `Segmenter.chain` where the memory has been let go.
    """

    prompts: Sequence[Prompt]
    mask: LocalMask
    told: LocalMask
    memory: Any
    options: Options
    cubes: tuple[Cube, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The answer to a prompt.

    Attributes:
        mask: The object's mask now, on the volume's own grid.
        anchor: The voxel (i, j, k) that stands for the prompt.
        chain: The transforms through which it went.
        cubes: The cubes that hold the object's mask, the one that answered at the end; none for other engines.
        quality: The network's own estimate of the mask's IoU; None if it gives none.
        seconds: Time spent on "encode", "decode", "home" (bringing the mask home) and "other".
        embedding_reused: Whether nothing had to be encoded.
        notes: Sentences that the user should read.
        memory: What to go on from.
    """

    mask: LocalMask
    anchor: Index
    chain: TransformChain
    cubes: tuple[Cube, ...]
    quality: float | None
    seconds: dict[str, float]
    embedding_reused: bool
    notes: tuple[str, ...]
    memory: Any


class Segmenter(Protocol):
    """Answers prompts on one volume; safe from any thread, one `answer` at a time."""

    @property
    def tells_doubt(self) -> bool:
        """Whether it knows how sure it is of each voxel."""

    def answer(self, situation: Situation) -> Answer:
        """Answer the last prompt of a situation.

        Raises:
            PromptError: The prompt is of a kind that is refused.
        """

    def prepare(self, situation: Situation, stop: Callable[[], bool] = lambda: False) -> None:
        """Compute ahead what `answer` would need; asked between its steps, `stop` says whether to leave it there."""

    def doubt(self, memory: Any) -> Doubt | None:
        """How unsure it was of its last answer, by its memory of it; None for engines that give masks alone."""

    def chain(self, ijk: ArrayLike, situation: Situation) -> TransformChain:
        """The transforms that the next prompt at a voxel (i, j, k), may be fractional, would travel through."""


@dataclass(frozen=True)
class EngineSpec:
    """What an engine that sees no cubes is called.

    Attributes:
        name: For people.
        architecture: What kind of engine it is.
        source: The file, folder or address that it came from.
        sha256: What tells its weights from others.
        megabytes: Of its file, 10⁶ bytes; None where that is not known.
        parameters: Number of weights; None where that is not known.
    """

    name: str
    architecture: str
    source: str | None = None
    sha256: str | None = None
    megabytes: float | None = None
    parameters: int | None = None


class Engine(Protocol):
    """Anything that gives segmenters: what `load_model` returns."""

    notes: list[str]
    """Sentences about it that the user should read; more may come."""

    @property
    def prompts(self) -> Mapping[str, str]:
        """For each kind of prompt: "native", "translated" or "refused"."""

    @property
    def spec(self) -> Any:
        """What it is: `EngineSpec`, or more; see `ModelSpec`."""

    @property
    def fingerprint(self) -> str | None:
        """What tells its weights from others."""

    @property
    def files(self) -> Sequence[Any]:
        """The files of its weights, each with `path` and `sha256`, the encoder's first; none on a server."""

    @property
    def about(self) -> Mapping[str, str]:
        """What records and exports tell of it beside `spec` and `files`: licence, server, version."""

    @property
    def described(self) -> str:
        """It in a few words: name, and where it computes."""

    @property
    def ahead(self) -> bool:
        """Whether computing ahead where the mouse rests is worth it."""

    @property
    def bytes_per_voxel(self) -> int:
        """Bytes that it keeps of a volume for each voxel as long as somebody works on it; 0 where that is a cache's."""

    def segmenter(self, volume: Volume) -> Segmenter:
        """A segmenter for a volume; nothing is computed yet."""

    def forget(self, volume: Volume) -> None:
        """Let go of what it keeps of a volume for the next segmenter of it."""


def licence_of(engine: Any) -> str:
    """The licence that an engine's masks may inherit; empty where it names none."""
    return str(getattr(engine, "about", {}).get("licence", ""))
