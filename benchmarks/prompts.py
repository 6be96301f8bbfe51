"""Which first prompt says most: Dice after 1, 3 and 5 prompts on labelled cases, the first of each kind in turn.

Run ``python benchmarks/prompts.py CASE… [--model M] [--precision P] [--every N] [--clicks N] [--kinds box,lasso]``; it
prints a line for each structure and kind as they come, and at the end the table of ``docs/prompts.md``. All kinds of a
structure are asked in one session, so that their cubes are encoded once; apart from that it is ``evaluate --prompt``.
"""

import argparse
from pathlib import Path

import numpy as np

import sammed3d_nb as snb
from sammed3d_nb.measure.evaluate import User, simulate, structures
from sammed3d_nb.measure.labelled import LabelledCase, cases_in
from sammed3d_nb.measure.simulation import FIRST_PROMPTS
from sammed3d_nb.measure.tables import Measurement, curve_line


def table(curves: dict[str, list[list[Measurement]]]) -> str:
    """Mean Dice after 1, 3 and 5 prompts, by the first one's kind, in Markdown."""
    clicks = [n for n in (1, 3, 5) if n <= len(next(iter(curves.values()))[0])]
    lines = ["| first prompt | structures | " + " | ".join(f"Dice@{n}" for n in clicks) + " |"]
    lines.append("|---" * (2 + len(clicks)) + "|")
    for kind, found in curves.items():
        means = [f"{np.mean([curve[n - 1].dice for curve in found]):.2f}" for n in clicks]
        lines.append(f"| {kind} | {len(found)} | " + " | ".join(means) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--precision")
    parser.add_argument("--every", type=int, default=1, help="only every n-th structure of a case")
    parser.add_argument("--clicks", type=int, default=5, help="prompts for each structure")
    parser.add_argument("--kinds", default=",".join(FIRST_PROMPTS))
    options = parser.parse_args()
    model = snb.load_model(options.model, precision=options.precision)
    curves: dict[str, list[list[Measurement]]] = {kind: [] for kind in options.kinds.split(",")}
    for name, folder in cases_in(options.cases).items():
        case = LabelledCase.read(folder, name)
        session = snb.Session(case.volume, model)
        for label in structures(case)[:: options.every]:
            for kind, found in curves.items():
                found.append(simulate(session, case, label, User(options.clicks, kind)))
                print(f"{kind:<10}{curve_line(found[-1])}", flush=True)
    print(f"\n{table(curves)}")


if __name__ == "__main__":
    main()
