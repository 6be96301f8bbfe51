"""The fuzzer, in short: some changed files of every kind, and that it sees what it is to see. See ``make fuzz``."""

import os
import subprocess
import sys
from pathlib import Path

import fuzzing
import pytest

FUZZER = Path(__file__).parent / "fuzzing.py"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it measures by /proc")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, for it forks, and this one has threads."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FUZZER.parents[1]), str(FUZZER.parent)])}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, timeout=280, env=environment
    )


def test_a_few_changed_files_of_every_kind(tmp_path: Path) -> None:
    done = run(str(FUZZER), "--each", "2", "--start", "0", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "refused" in done.stdout
    assert "opened" in done.stdout, "some must get past the headers"


BAD = {
    "opened": "return 8",
    "refused": "raise UserError('It is damaged; copy it again.')",
    "no sentence": "raise UserError('bad\\nfile')",
    "traceback": "return [][1]",
    "memory": "bytearray(b'x') * 300_000_000",
    "printed": "os.write(2, b'** ERROR (nifti)')",
    "crash": "os.kill(os.getpid(), 11)",
    "hang": "[None for _ in iter(int, 1) if _]",
}


def test_it_sees_what_is_wrong(tmp_path: Path) -> None:
    readers = "".join(
        f"def {kind.replace(' ', '_')}(seed, path):\n    {code}\n    return 8\n" for kind, code in BAD.items()
    )
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, fuzzing\nfrom sammed3d_nb.errors import UserError\nfuzzing.CPU_SECONDS = 1\n{readers}"
        f"for kind in {list(BAD)}:\n    fuzzing.opened = globals()[kind.replace(' ', '_')]\n"
        f"    print(fuzzing.run(fuzzing.SEEDS[0], fuzzing.Path({str(FUZZER)!r})).kind)\n"
    )
    done = run(str(script))
    assert done.stdout.splitlines() == list(BAD), done.stderr


def test_changes_are_the_same_every_time(tmp_path: Path) -> None:
    seed = fuzzing.SEEDS[0]
    (tmp_path / "valid").mkdir()
    seed.make(tmp_path / "valid")

    def changed(folder: str, number: int) -> bytes:
        return fuzzing.write_mutant(seed, tmp_path / "valid", tmp_path / folder / str(number), number).read_bytes()

    first = [changed("a", number) for number in range(20)]
    assert first == [changed("b", number) for number in range(20)]
    assert len(set(first)) > 15
