"""What a step costs with one object and with fifty: ``python benchmarks/steps.py [--device D] [--repeat N] [--quick]``.

On a synthetic CT of 512 × 512 × 600 voxels, all sessions in turn in one process:

- seconds of a click into a known cube, of a stroke of paint, of an operation and of undoing it, saved automatically,
  with one object, with fifty that lie apart, and with fifty that crowd round the one that is worked on;
- bytes and seconds that saving adds to a step with 1, 10 and 50 objects, next to rewriting the whole record after each
  step, as the first version did;
- memory, each in a process of its own: of the logits of fifty objects, and of exporting 512 × 512 × 1200 labels.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from scipy import ndimage

from sammed3d_nb import Session, StartMask, Volume, load_model
from sammed3d_nb.imaging.region import LocalMask, Region
from sammed3d_nb.measure.benchmark import machine
from sammed3d_nb.models import memory

MANY = 50
RADIUS = 60  # voxels of the bright ball in the middle: the object that is worked on
BLOB = 22  # voxels from the middle of each other object to its border, about


def synthetic(slices: int) -> Volume:
    """A body of soft tissue with a bright ball in its middle."""
    values = np.full((slices, 512, 512), -1000, np.int16)
    j, i = np.ogrid[:512, :512]
    values[:, ((i - 256) / 220) ** 2 + ((j - 256) / 170) ** 2 < 1] = 30
    for k in range(slices // 2 - RADIUS, slices // 2 + RADIUS):
        values[k][(i - 256) ** 2 + (j - 256) ** 2 + (k - slices // 2) ** 2 < RADIUS**2] = 150
    return Volume.from_array(values, (0.8, 0.8, 0.8), name="synthetic")


def blob(volume: Volume, centre: Any) -> LocalMask:
    """An object with a border as uneven as those of organs."""
    edge = 2 * BLOB + 16
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((edge,) * 3), 3)
    distance = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(edge) - edge / 2] * 3)), axis=0)
    region = Region.between(np.subtract(centre, edge // 2), np.add(centre, edge - edge // 2))
    return LocalMask(distance + 6 * noise / noise.std() < BLOB, region, volume.size)


def apart(volume: Volume, count: int) -> list[Any]:
    """Places all over the volume, but for its middle."""
    steps = [np.arange(60, n - 59, 80) for n in volume.size]
    places = np.stack(np.meshgrid(*steps), -1).reshape(-1, 3)
    far = places[np.abs(places - np.array(volume.size) // 2).max(axis=1) > RADIUS + 2 * BLOB]
    return list(np.random.default_rng(1).permutation(far)[:count])


def crowded(volume: Volume, count: int) -> list[Any]:
    """Places all round the ball: the boxes meet that of its mask."""
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    angle = np.pi * (1 + 5**0.5) * np.arange(count)
    across = np.sqrt(1 - height**2)
    unit = np.stack([across * np.cos(angle), across * np.sin(angle), height], axis=1)
    return list((np.array(volume.size) // 2 + (RADIUS + BLOB) * unit).astype(int))


def session_with(volume: Volume, model: Any, places: list[Any], record: Path | None) -> Session:
    """A session with an object at each place, and one more in the middle, which is the current one."""
    session = Session(volume, model, autosave=record)
    session.click([n // 2 for n in volume.size])
    for place in places:
        session.new_object()
        session.add(StartMask(blob(volume, place)))
    session.select("object 1")
    return session


def steps_of(session: Session) -> dict[str, Callable[[], object]]:
    """What is done to the object in the middle; each is undone before the next."""
    i, j, k = (n // 2 for n in session.volume.size)
    z, y, x = np.mgrid[-6:7, -6:7, -1:2]
    stroke = np.add(np.stack([x, y, z], -1).reshape(-1, 3), (i + RADIUS, j, k))
    return {
        "click": lambda: session.click((i + RADIUS // 3, j, k)),
        "paint": lambda: session.paint(stroke),
        "fill holes": lambda: session.apply("fill holes"),
        "smooth": lambda: session.apply("smooth"),
    }


def timed(step: Callable[[], object]) -> float:
    """Its seconds."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def cost_of_steps(volume: Volume, model: Any, folder: Path, repeat: int) -> None:
    """Print what steps cost with one object and with many."""
    kinds = {
        "1 object": [],
        f"{MANY} apart": apart(volume, MANY - 1),
        f"{MANY} crowded": crowded(volume, MANY - 1),
    }
    sessions = {
        name: session_with(volume, model, places, folder / f"steps {name}.sammed3d.json")
        for name, places in kinds.items()
    }
    seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
    for _ in range(repeat + 1):
        for name, session in sessions.items():
            for what, step in steps_of(session).items():
                before = len(session.steps)
                seconds[name, what].append(timed(step))
                assert len(session.steps) == before + 1
                seconds[name, f"undo {what}"].append(timed(session.undo))
    print(f"{'step':<16}" + "".join(f"{name:>13}" for name in kinds) + "    ratio to 1 object")
    for what in dict.fromkeys(what for _, what in seconds):
        best = [min(seconds[name, what][1:]) for name in kinds]
        ratios = "  ".join(f"{one / best[0]:.2f}×" for one in best[1:])
        print(f"{what:<16}" + "".join(f"{1000 * one:>10.1f} ms" for one in best) + f"    {ratios}", flush=True)
    for session in sessions.values():
        session.close()


def cost_of_saving(volume: Volume, model: Any, folder: Path, repeat: int) -> None:
    """Print what saving a step costs, and what rewriting the record would."""
    print(f"\n{'saving':<26}{'a line':>22}{'the whole record':>24}    ratio")
    for count in (1, 10, MANY):
        record = folder / f"saving {count}.sammed3d.json"
        session = session_with(volume, model, apart(volume, count - 1), record)
        kept: list[float] = []
        keep = session._keep
        session._keep = lambda line, keep=keep, kept=kept: kept.append(timed(lambda: keep(line)))  # type: ignore[method-assign]
        lines, wholes = defaultdict(list), defaultdict(list)
        for _ in range(repeat):
            for what, step in steps_of(session).items():
                size = record.stat().st_size
                step()
                lines[what].append((record.stat().st_size - size, kept[-1]))
                copy = folder / "whole.sammed3d.json"
                spent = timed(lambda copy=copy, session=session: session.save(copy))
                wholes[what].append((copy.stat().st_size, spent))
                session.undo()
        for what in lines:
            (line, quick), (whole, slow) = (np.min(costs[what], axis=0) for costs in (lines, wholes))
            name = f"{count} object{'s' * (count > 1)}, {what}"
            print(
                f"{name:<26}{line / 1000:>11.1f} kB{1000 * quick:>7.1f} ms"
                f"{whole / 1000:>12.1f} kB{1000 * slow:>6.0f} ms    "
                f"{whole / line:.0f}× bytes, {slow / quick:.1f}× time",
                flush=True,
            )
        session.close()


def peak_above(job: Callable[[], object]) -> str:
    """The most memory that the process holds during a job, above what it held before."""
    memory.give_back()  # else what was freed before would be used again, and not be seen
    try:
        Path("/proc/self/clear_refs").write_text("5")
        most = ""
    except OSError:  # Linux alone forgets earlier peaks
        most = "at most "
    held = psutil.Process().memory_info().rss
    job()
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{most}{(used - held) / 1e6:.0f} MB above the session"


def memory_of_logits(model: Any) -> None:
    """Click once in each of fifty objects."""
    volume = synthetic(600)
    session = Session(volume, model, grow=False, adapt=False, overlap=True)
    before = psutil.Process().memory_info().rss
    asked = 0
    for number, place in enumerate(apart(volume, MANY)):
        if number:
            session.new_object()
        session.click(place.tolist())
        held = session._maker._memories.get(session.current.answered)
        asked += held.nbytes
    grown = psutil.Process().memory_info().rss - before
    session.select("object 1")
    i, j, k = session.clicks[0].ijk
    again = timed(lambda: session.click((i + 3, j, k)))
    print(
        f"{MANY} objects clicked: {session._maker.held_bytes / 1e6:.0f} MB of logits held of {asked / 1e6:.0f} MB; the "
        f"process grew by {grown / 1e6:.0f} MB (embeddings too); the first object goes on in {again:.1f} s"
    )


def memory_of_export(model: Any) -> None:
    """Export ten objects on a large volume."""
    volume = synthetic(1200)
    session = Session(volume, model)
    for number, place in enumerate(apart(volume, 10)):
        if number:
            session.new_object()
        session.add(StartMask(blob(volume, place)))
    labels = np.prod(volume.size) / 1e6
    with tempfile.TemporaryDirectory() as folder:
        for name in ("nifti.nii.gz", "slicer.nrrd"):
            told = peak_above(lambda name=name: session.export(Path(folder) / name))
            print(f"export of 512 × 512 × 1200 to {name}: peak {told} (one copy of the label map: {labels:.0f} MB)")


def main() -> None:
    """Print all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", help="cuda, mps or cpu; by default the first that is there")
    parser.add_argument("--repeat", type=int, default=7, help="how often each step is timed")
    parser.add_argument("--quick", action="store_true", help="without the memory of logits, which takes fifty clicks")
    parser.add_argument("--memory", choices=["logits", "export"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    model = load_model(device=arguments.device)
    if arguments.memory:
        (memory_of_logits if arguments.memory == "logits" else memory_of_export)(model)
        return
    print(
        f"{model.spec.name} on {machine(model.device)}, the fastest of {arguments.repeat}, 512 × 512 × 600", flush=True
    )
    volume = synthetic(600)
    with tempfile.TemporaryDirectory() as folder:
        cost_of_steps(volume, model, Path(folder), arguments.repeat)
        cost_of_saving(volume, model, Path(folder), arguments.repeat)
    del volume
    print()
    for what in ("export",) if arguments.quick else ("export", "logits"):
        command = [sys.executable, __file__, "--memory", what]
        subprocess.run(command + (["--device", arguments.device] if arguments.device else []), check=True)


if __name__ == "__main__":
    main()
