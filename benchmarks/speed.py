"""The speed table of the README: ``python benchmarks/speed.py [--device D] [--quick]`` (also ``sammed3d-nb bench``)."""

import argparse

from sammed3d_nb.measure import benchmark

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--device", help="cuda, mps or cpu; by default the first that is there")
parser.add_argument("--quick", action="store_true", help="fewer repeats, SAM-Med3D in float32 only")
arguments = parser.parse_args()
for line in benchmark.run(device=arguments.device, quick=arguments.quick):
    print(line, flush=True)
