"""How fast the networks are on this machine, each next to the straightforward computation that it replaces.

For the compact network, on a GPU only, that is itself without CUDA graphs.

Both sides run in turn, in one process, on the same weights (random ones of the real shapes: the time does not depend on
them) and the same input, and their answers are compared.
"""

import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sammed3d_nb.models.devices import pick_device
from sammed3d_nb.models.memory import give_back
from sammed3d_nb.models.model import PRECISIONS, Model
from sammed3d_nb.models.recognise import FASTSAM3D_SHAPE, SAM_MED3D_SHAPE
from sammed3d_nb.network import plain
from sammed3d_nb.network.compact import Compact
from sammed3d_nb.network.encoder import EncoderShape
from sammed3d_nb.network.sam_med3d import SamMed3D
from sammed3d_nb.network.spec import Embedding, ModelSpec, parts_of

CLICKS = 3
NETWORKS = {"SAM-Med3D": SAM_MED3D_SHAPE, "FastSAM3D": FASTSAM3D_SHAPE}


@dataclass
class Side:
    """One side of a comparison.

    Attributes:
        run: computes the answer once.
        repeats: how often to time it.
        seconds: of each run.
        megabytes: the most memory that one run held beyond what was there before; ``None`` where it cannot be told.
        gflop: 10⁹ floating-point operations of one run, a multiplication and an addition counting two.
    """

    run: Callable[[], Embedding]
    repeats: int
    seconds: list[float]
    megabytes: float | None = None
    gflop: float = 0.0

    @property
    def median(self) -> float:
        """Median of the times."""
        return statistics.median(self.seconds)


def random_network(shape: EncoderShape, seed: int = 0) -> SamMed3D:
    """A network of a shape with random weights of a plausible size."""
    with torch.device("meta"):
        names = SamMed3D(shape, ModelSpec("", "", 0, 0, 0)).state_dict()
    random = torch.Generator().manual_seed(seed)
    state = {
        name: torch.randn(tensor.shape, generator=random) / max(1, tensor.shape[1:].numel()) ** 0.5
        for name, tensor in names.items()
    }
    return SamMed3D.from_state_dict(state)


def _random_compact(seed: int = 0) -> Compact:
    torch.manual_seed(seed)
    return Compact()


def run(*, device: str | None = None, quick: bool = False) -> Iterator[str]:
    """The lines of the table, each as soon as it is measured.

    Args:
        device: as for `sammed3d_nb.load_model`.
        quick: fewer repeats, and only SAM-Med3D in float32.
    """
    where = pick_device(device)
    makers: dict[str, Callable[[], SamMed3D | Compact]] = {
        name: partial(random_network, shape) for name, shape in list(NETWORKS.items())[: 1 if quick else None]
    }
    if where.type == "cuda" and not quick:  # elsewhere both sides are one
        makers["compact"] = _random_compact
    yield f"{machine(where)}, torch {torch.__version__}; medians; original = the straightforward padded computation"
    if "compact" in makers:
        yield "compact: original = the same network, launched kernel by kernel"
    yield f"{'network':<10} {'step':<15} {'precision':<9} {'original':>11} {'here':>11} {'ratio':>7} " \
          f"{'memory, MB':>15} {'GFLOP':>13} {'difference':>11}"  # fmt: skip
    for name, make in makers.items():
        network = make()
        flops = {step: [_gflop(side) for side in sides] for step, sides in _steps(network, None).items()}
        for precision in ["float32"] if quick else _precisions(where):
            model = Model(network, where, precision)
            for step, sides in _steps(network, model).items():
                slow, fast = sides
                slow.repeats, fast.repeats = _repeats(where, quick)
                difference = race(slow, fast, where)
                slow.gflop, fast.gflop = flops[step]
                yield _row(name, step, precision, slow, fast, difference)
            network = make()


def _precisions(where: torch.device) -> list[str]:
    return ["float32", "bfloat16"] if where.type != "mps" else ["float32", "float16"]


def _repeats(where: torch.device, quick: bool) -> tuple[int, int]:
    if where.type == "cuda":
        return 20, 200
    return (1, 3) if quick else (2, 10)


def _steps(network: SamMed3D | Compact, model: Model | None) -> dict[str, tuple[Side, Side]]:
    """Each step as (original, here); without a model on the CPU, where operations are counted.

    The compact network has no original; its rival is itself, launched kernel by kernel.
    """
    where = torch.device("cpu") if model is None else model.device
    encode = network.encode if model is None else model.encode
    n, g = network.spec.cube_size, network.spec.grid_size
    cube = torch.randn(1, 1, n, n, n, generator=torch.Generator().manual_seed(1)).to(where)
    points = torch.tensor([(64.0, 64, 64), (30, 80, 70), (100, 20, 60)], device=where) * n / 128
    labels = torch.tensor([1, 0, 1], device=where)
    previous = torch.randn(1, 1, g, g, g, generator=torch.Generator().manual_seed(2)).to(where)
    embedding: Embedding
    slow_encode: Callable[[Tensor], Embedding] = network.encode
    slow_decode: Callable[..., tuple[Tensor, Tensor]] = network.decode
    if isinstance(network, SamMed3D):
        dtype, shape = network.image_encoder.pos_embed.dtype, network.image_encoder.shape
        size = (1, shape.out, shape.grid, shape.grid, shape.grid)
        embedding = torch.randn(size, generator=torch.Generator().manual_seed(3)).to(where, dtype)
        slow_encode, slow_decode = partial(plain.encode, network.image_encoder), partial(plain.decode, network)
    else:
        with torch.inference_mode():
            embedding = network.encode(cube)

    def decode() -> Tensor:
        if model is None:
            return network.decode(embedding, points, labels, previous)[0]
        return model.decode(embedding, points, labels, previous).logits

    return {
        "encode a cube": (Side(lambda: slow_encode(cube), 1, []), Side(lambda: encode(cube), 1, [])),
        f"decode {CLICKS} clicks": (
            Side(lambda: slow_decode(embedding, points, labels, previous)[0], 1, []),
            Side(decode, 1, []),
        ),
    }


def race(slow: Side, fast: Side, where: torch.device) -> float:
    """Time two sides in turn and measure their memory.

    Returns:
        The relative difference of their answers, ‖a − b‖ / ‖a‖.
    """
    with torch.inference_mode():
        answers = [
            torch.cat([part.flatten().float().cpu() for part in parts_of(side.run())]) for side in (slow, fast)
        ]  # and warm up
        for side in (fast, slow):
            side.megabytes = peak_megabytes(side.run, where)
        share = fast.repeats // slow.repeats
        for _ in range(slow.repeats):
            slow.seconds.append(_time(slow.run, where))
            fast.seconds += [_time(fast.run, where) for _ in range(share)]
    return float((answers[0] - answers[1]).norm()) / float(answers[0].norm())


def _time(compute: Callable[[], Embedding], where: torch.device) -> float:
    wait(where)
    start = time.perf_counter()
    compute()
    wait(where)
    return time.perf_counter() - start


def wait(where: torch.device) -> None:
    """Until the device has done what it was told."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    elif where.type == "mps":
        torch.mps.synchronize()


def peak_megabytes(compute: Callable[[], Embedding], where: torch.device) -> float | None:
    """The most memory that a call held beyond what was there before, 10⁶ bytes.

    On a CPU under Linux the process's resident memory, libraries' workspaces included; on CUDA what torch allocated
    (a captured graph holds its memory all the time, so it shows little); elsewhere ``None``.
    """
    gc.collect()
    give_back()  # or a call that takes it again shows no rise
    if where.type == "cuda":
        wait(where)
        torch.cuda.reset_peak_memory_stats(where)
        held = torch.cuda.memory_allocated(where)
        compute()
        wait(where)
        return (torch.cuda.max_memory_allocated(where) - held) / 1e6
    reset = Path("/proc/self/clear_refs")
    if where.type != "cpu" or not reset.exists():
        return None
    reset.write_text("5")  # the peak starts again from what is resident now
    before = _status("VmRSS")
    compute()
    return max(0.0, _status("VmHWM") - before)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = int(next(line.split()[1] for line in lines if line.startswith(field + ":")))
    return kibibytes * 1024 / 1e6


def _gflop(side: Side) -> float:
    with torch.inference_mode():
        side.run()  # what is kept for further clicks is not counted again
        with FlopCounterMode(display=False) as counter:
            side.run()
    return float(counter.get_total_flops()) / 1e9


def _row(name: str, step: str, precision: str, slow: Side, fast: Side, difference: float) -> str:
    def pair(a: float | None, b: float | None, digits: int) -> str:
        return " → ".join("?" if value is None else f"{value:.{digits}f}" for value in (a, b))

    return (
        f"{name:<10} {step:<15} {precision:<9} {_duration(slow.median):>11} {_duration(fast.median):>11} "
        f"{slow.median / fast.median:>6.1f}× {pair(slow.megabytes, fast.megabytes, 0):>15} "
        f"{pair(slow.gflop, fast.gflop, 1):>13} {difference:>11.1e}"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1000 * seconds:.2f} ms"


def machine(where: torch.device) -> str:
    """The computing device in words."""
    if where.type == "cuda":
        return torch.cuda.get_device_name(where)
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0] if names else cpu
    return f"{cpu}, {torch.get_num_threads()} threads" + (", MPS" if where.type == "mps" else "")


__all__ = ["PRECISIONS", "machine", "race", "random_network", "run"]
