"""What a worklist costs: ``python benchmarks/worklist.py [--cases N] [--quick]``.

- N cases (2,000) with the work of two annotators on a third of them: seconds to find them, to look at all of them with
  the index, without it, and again when one file has changed; seconds of one search and sort as the page does it;
- opening the next case with and without reading ahead, each in turn on the same files: a compressed CT of
  512 × 512 × 300 voxels, from the moment that one asks for it to the session that can be clicked on.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from chromium import find

from sammed3d_nb import Volume, Worklist, load_model
from sammed3d_nb.measure.benchmark import machine
from sammed3d_nb.ui.case_list import CaseRows, row_of
from sammed3d_nb.worklist import standing
from sammed3d_nb.worklist.listing import found_in
from sammed3d_nb.worklist.standing import Work


def timed(job: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the job returns."""
    begun = time.perf_counter()
    result = job()
    return time.perf_counter() - begun, result


def many(folder: Path, count: int) -> None:
    """Small images, a folder for each patient, and what two annotators said of a third of them."""
    image = sitk.GetImageFromArray(np.zeros((4, 8, 8), np.int16))
    for number in range(count):
        path = folder / "data" / f"patient{number:04d}" / "ct.nii.gz"
        path.parent.mkdir(parents=True)
        sitk.WriteImage(image, str(path))
    cases = found_in([folder / "data"])
    (folder / "out").mkdir()
    worklist = Worklist(cases=cases, output=folder / "out", annotator="anna")
    for found in worklist.cases[:: max(1, 3)]:
        for who, state in (("anna", standing.DONE), ("berta", standing.IN_PROGRESS)):
            name = f"{found.name}-00000000.{who}.sammed3d.json"
            head = {"format": "sammed3d-nb session", "version": 2, "annotator": who, "volume": {"path": found.path}}
            text = json.dumps(head)[:-1] + ', "steps": [\n{"seconds": 12.5, "changes": {}}\n]}\n'
            (folder / "out" / name).write_text(text)
            standing.write(worklist.state, Work(found.key, who, state, 1, name, changed=standing.now()))


def listing(folder: Path, count: int) -> None:
    """Print what looking at all cases takes."""
    seconds, cases = timed(lambda: found_in([folder / "data"]))
    print(f"find {count} images                       {seconds:8.3f} s")

    def of() -> Worklist:
        return Worklist(cases=cases, output=folder / "out", annotator="anna")

    index = of().state / "index.sqlite"
    index.unlink(missing_ok=True)
    cold, _ = timed(lambda: of().entries())
    warm, entries = timed(lambda: of().entries())
    worklist = of()
    worklist.entries()
    again, _ = timed(worklist.entries)
    worklist.note(0, "changed")
    changed, _ = timed(worklist.entries)
    print(f"look at all, index rebuilt               {cold:8.3f} s")
    print(f"look at all, index there (a new page)    {warm:8.3f} s   {cold / warm:5.1f}×")
    print(f"look again, nothing has changed          {again:8.3f} s")
    print(f"look again, one file has changed         {changed:8.3f} s")
    rows, made = timed(lambda: [row_of(entry, "anna") for entry in entries])
    print(f"rows for the page                        {rows:8.3f} s   {len(json.dumps(made)) / 1e3:.0f} kB")
    in_page(made)


def in_page(rows: list[dict[str, Any]]) -> None:
    """Print what the page takes for them, with the very script that it runs."""
    found = find()
    if found is None:
        print("search in the page                            (no Chromium here)")
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_content('<div class="snb-cases-over" style="height: 700px"><div id="list"></div></div>')
        page.add_style_tag(content=CaseRows._css)
        told = page.evaluate(_PAGE, [CaseRows._esm, rows])
        browser.close()
    for what, (milliseconds, elements) in told.items():
        print(f"in the page: {what:<27} {milliseconds / 1e3:8.3f} s   {elements} elements of rows")


_PAGE = """async ([source, rows]) => {
    const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    const heard = {};
    const model = { get: () => -1, send: () => {}, on: (what, then) => { heard[what] = then; }, off: () => {} };
    const el = document.getElementById("list");
    widget.render({ model, el });
    const search = el.querySelector(".snb-cases-search");
    const scroller = el.querySelector(".snb-cases-scroller");
    const found = {};
    const time = async (what, job) => {
        const begun = performance.now();
        job();
        el.offsetHeight;
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        found[what] = [performance.now() - begun, el.querySelectorAll(".snb-cases-inside .snb-cases-row").length];
    };
    await time("all rows arrive", () => heard["msg:custom"]({ type: "rows", rows, all: true, done: 0 }));
    const type = (text) => () => {
        search.value = text;
        search.dispatchEvent(new Event("input"));
    };
    await time("search one letter", type("p"));
    await time("search a number", type("199"));
    await time("search nothing again", type(""));
    await time("sort by name", () => el.querySelector(".snb-cases-heading .snb-c-name").click());
    await time("scroll to the end", () => { scroller.scrollTop = 1e9; });
    return found;
}"""


def opening(folder: Path, slices: int, repeat: int) -> None:
    """Print what opening the next case takes."""
    rng = np.random.default_rng(0)
    for number in range(2):
        values = rng.normal(0, 12, (slices, 512, 512)).astype(np.int16) + np.int16(40)
        values[:, :100] = -1000
        path = folder / "large" / f"patient{number}" / "ct.nii.gz"
        path.parent.mkdir(parents=True)
        sitk.WriteImage(Volume.from_array(values, (0.8, 0.8, 1.5)).image, str(path), useCompression=True)
    model = load_model()
    cases = found_in([folder / "large"])
    figures: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(2 * repeat):
        ahead = turn % 2 == 1
        worklist = Worklist(cases=cases, output=folder / f"opened{turn}", annotator="anna")
        first = worklist.open(0, model)
        if ahead:
            assert worklist.read_ahead(1)
            worklist._ahead._next[1].result()  # the user looks at the first case for longer than that
        seconds, second = timed(lambda worklist=worklist: worklist.open(1, model))
        figures[ahead].append(seconds)
        for session in (first, second):
            session.close()
        worklist.close()
    without, with_it = (float(np.median(figures[ahead])) for ahead in (False, True))
    print(f"open the next case, 512 × 512 × {slices:<8} {without:8.3f} s")
    print(f"the same, read ahead                     {with_it:8.3f} s   {without / with_it:5.1f}×")


def main() -> None:
    """Run it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--cases", type=int, default=2000)
    options.add_argument("--quick", action="store_true", help="fewer slices and repetitions")
    told = options.parse_args()
    print(machine(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many(folder, told.cases)
        listing(folder, told.cases)
        opening(folder, 60 if told.quick else 300, 1 if told.quick else 3)


if __name__ == "__main__":
    main()
