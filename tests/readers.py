"""Cases that several people work on, for the tests of worklists."""

from pathlib import Path

import sammed3d_nb as snb
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.labels import Label, LabelSet

SIZE = (12, 20, 24)
VOXEL, OTHER, THIRD = (10, 9, 5), (22, 1, 11), (4, 4, 2)
LABELS = LabelSet("test", (Label("liver", "#e69f00"), Label("spleen", "#009e73"), Label("cyst", "#d55e00", False)))
PATHS = [str(Path(__file__).parent), str(Path(snb.__file__).parents[1])]


def of(data: Path, who: str, **options) -> snb.Worklist:
    return snb.Worklist(data, output=data.parent / "out", annotator=who, **options)


def done(worklist: snb.Worklist, case: int | str, model, voxel=VOXEL, state: str = standing.DONE) -> None:
    session = worklist.open(case, model)
    session.click(voxel)
    worklist.mark(case, state)
    session.close()


def states(worklist: snb.Worklist) -> list[str]:
    return [entry.state for entry in worklist.entries()]


def state(data: Path) -> str:
    """Of the first case, as somebody sees it who has not worked on it."""
    return of(data, "nobody").entry(0).state
