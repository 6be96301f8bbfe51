"""What a session costs: ``python benchmarks/session.py [IMAGE] [--model M] [--device D]``.

Without an image, a synthetic CT of 512 × 512 × 300 voxels. Clicks go to the middle of the volume and round it, whatever
is there. Memory is the process's: the package's and PyTorch's imports, the weights and the volume count too.
"""

import argparse
import resource
import statistics
import sys
import time

import numpy as np

from sammed3d_nb import Session, Volume, load_model
from sammed3d_nb.measure.benchmark import machine, wait
from sammed3d_nb.models import memory

CLICKS = [(0, 0, 0, 1), (0.06, 0, 0, 1), (-0.05, 0.04, 0, 0), (0, -0.06, 0.05, 1), (0.1, 0.1, 0, 0)]
"""Shares of the volume's size from its middle along i, j, k, and whether the click is positive."""

STEPS = ("encode", "decode")


def peak() -> str:
    """The most memory that the process has held, 10⁶ bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{used * (1 if sys.platform == 'darwin' else 1024) / 1e6:.0f} MB"


def synthetic() -> Volume:
    """A body of two soft tissues with a bright ball in its middle, 0.8 × 0.8 × 1.6 mm."""
    values = np.full((300, 512, 512), -1000, np.int16)
    j, i = np.ogrid[:512, :512]
    values[:, ((i - 256) / 200) ** 2 + ((j - 256) / 150) ** 2 < 1] = 30
    for k in range(100, 200):
        values[k][(i - 256) ** 2 + (j - 256) ** 2 + (2 * (k - 150)) ** 2 < 60**2] = 150
    return Volume.from_array(values, (0.8, 0.8, 1.6), name="synthetic")


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("image", nargs="?")
parser.add_argument("--model", help="as for load_model; by default the compact network")
parser.add_argument("--device", help="cuda, mps or cpu; by default the first that is there")
arguments = parser.parse_args()
print(f"imports: {peak()}")
model = load_model(arguments.model, device=arguments.device)
print(f"{model.spec.name} on {machine(model.device)}: {peak()}")
volume = Volume.read(arguments.image) if arguments.image else synthetic()
print(f"{volume}: {peak()}")
session = Session(volume, model)
middle = (np.array(volume.size) - 1) / 2
for number, (*shares, positive) in enumerate(CLICKS, start=1):
    ijk = np.clip(np.rint(middle + np.array(shares) * volume.size), 0, np.array(volume.size) - 1)
    result = session.click(ijk.tolist(), bool(positive))
    parts = "  ".join(f"{name} {seconds:.2f}" for name, seconds in result.seconds.items())
    cubes = f"{len(result.cubes)} cube{'s' * (len(result.cubes) > 1)}, the last of {result.cube.spacing:.2f} mm"
    print(f"click {number}: {sum(result.seconds.values()):.2f} s ({parts}), {cubes}: {peak()}", flush=True)
cube, clicks = result.cube, result.clicks
prepared = model.prepare(cube.sample(volume))
points = cube.from_voxel(volume)([click.ijk for click in clicks])
labels = np.array([int(click.positive) for click in clicks])
# where glibc's own thresholds rise to by themselves in a process that frees large blocks
rival = memory.Thresholds(64 * 2**20, 32 * 2**20)
kept = model.device.type == "cpu" and memory.keep_freed()
sides = [memory.KEPT, rival] if kept else [memory.KEPT]
times: dict[tuple[str, memory.Thresholds], list[float]] = {(step, side): [] for step in STEPS for side in sides}
for _ in range(4):
    for side in sides:
        if kept:
            memory.keep_freed(side)
            memory.give_back()
        for repeat in range(5):
            started = time.perf_counter()
            embedding = model.encode(prepared)
            wait(model.device)
            encoded = time.perf_counter()
            model.decode(embedding, points, labels)  # the next one finds what it needs of the cube
            wait(model.device)
            before = time.perf_counter()
            model.decode(embedding, points, labels)
            wait(model.device)
            decoded = time.perf_counter()
            if repeat:
                times["encode", side].append(encoded - started)
                times["decode", side].append(decoded - before)
for step in STEPS:
    here, *others = (1000 * statistics.median(times[step, side]) for side in sides)
    text = "".join(f", {other:.1f} ms without freed memory kept ({other / here:.2f}×)" for other in others)
    print(f"median {step}: {here:.1f} ms{text}")
