"""A fuzzer: valid files of every kind are changed and opened, each in a process of its own, bounded in memory and time.

``make fuzz`` runs it for ten minutes; ``python tests/fuzzing.py --help`` tells more. What is expected of every file,
however it was changed: it opens, or it is refused in one sentence; nothing else is printed, and no more memory is taken
than twice what was announced (the voxels of what opened, or the bytes of the file), and `BASE`.
"""

import argparse
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent / sub) for sub in ("", "imaging")]

from fuzz_seeds import SEEDS, Seed, ct, old  # noqa: E402

BASE = 250_000_000
"""Bytes that a reader may take beside what its file announces: libraries that it loads, buffers."""

CPU_SECONDS, WALL_SECONDS = 20, 120
_BATCH = 5
_LIMIT = 3 * BASE  # of further address space: what asks for gigabytes fails, and must say so in a sentence
_ODD = (b"\0", b"\xff", b"\x7f", b"\x80", b"\x01", b"\xfe")
_NUMBERS = (0, 1, -1, 2, 7, 127, 255, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 2**63 - 1)
_TEXTS = (
    b"0", b"-1", b"1", b"65536", b"2147483648", b"99999999999", b"1e308", b"1e-320", b"nan", b"inf", b"null", b"[]",
    b"{}", b'""', b"true", b"\xff", b"%s", b"../../../etc/passwd", b"/dev/zero", b"LIST", b"LOCAL", b"0x10", b"1 " * 99,
)  # fmt: skip


# -- what is changed ---------------------------------------------------------------------------------------------------


def mutated(content: bytes, dice: random.Random) -> bytes:
    """The content, changed in a few places; mostly near its beginning, where headers are."""
    made = bytearray(content)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 8))):
        made = _CHANGES[dice.randrange(len(_CHANGES))](made, dice)
    return bytes(made)


def _place(made: bytearray, dice: random.Random) -> int:
    if not made:
        return 0
    return dice.randrange(min(len(made), dice.choice((64, 400, 1500, len(made)))))


def _flip(made: bytearray, dice: random.Random) -> bytearray:
    if made:
        made[_place(made, dice)] ^= 1 << dice.randrange(8)
    return made


def _odd(made: bytearray, dice: random.Random) -> bytearray:
    at = _place(made, dice)
    made[at : at + 1] = dice.choice(_ODD)
    return made


def _number(made: bytearray, dice: random.Random) -> bytearray:
    at, form = _place(made, dice), dice.choice("bhiqfd")
    value: Any = dice.choice(_NUMBERS)
    if form in "fd":
        value = dice.choice((float(value), float("nan"), float("inf"), -0.0, 1e-30, 1e30))
    else:
        size = struct.calcsize(form)
        value = (value + (1 << 8 * size - 1)) % (1 << 8 * size) - (1 << 8 * size - 1)
    packed = struct.pack(dice.choice("<>") + form, value)
    made[at : at + len(packed)] = packed
    return made


def _cut(made: bytearray, dice: random.Random) -> bytearray:
    return made[: _place(made, dice)] if dice.random() < 0.3 else made[: len(made) - dice.randrange(1, 200)]


def _without(made: bytearray, dice: random.Random) -> bytearray:
    at = _place(made, dice)
    del made[at : at + dice.choice((1, 2, 4, 16, 100))]
    return made


def _twice(made: bytearray, dice: random.Random) -> bytearray:
    at, count = _place(made, dice), dice.choice((1, 4, 16, 100, 1000))
    made[at:at] = made[at : at + count] * dice.choice((1, 1, 2, 50))
    return made


def _moved(made: bytearray, dice: random.Random) -> bytearray:
    at, to, count = _place(made, dice), _place(made, dice), dice.choice((2, 4, 8, 40))
    made[to : to + count] = made[at : at + count]
    return made


def _text(made: bytearray, dice: random.Random) -> bytearray:
    """Another number or word in a text; of a binary file, wherever there are digits."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?|\b[A-Za-z]{3,}\b", bytes(made[:20_000])))
    if found:
        match = dice.choice(found)
        made[match.start() : match.end()] = dice.choice(_TEXTS)
    return made


def _line(made: bytearray, dice: random.Random) -> bytearray:
    lines = bytes(made).split(b"\n")
    at = dice.randrange(min(len(lines), 40))
    lines[at : at + 1] = dice.choice(([], [lines[at]] * 2, [lines[dice.randrange(len(lines))]], [lines[at] * 300]))
    return bytearray(b"\n".join(lines))


def _deep(made: bytearray, dice: random.Random) -> bytearray:
    at = _place(made, dice)
    made[at:at] = dice.choice((b"[", b'{"a":', b"(", b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0\xff\xff\xff\xff")) * 20_000
    return made


_CHANGES: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    _flip, _flip, _odd, _odd, _number, _number, _number, _cut, _without, _twice, _moved, _text, _text, _line, _deep
)  # fmt: skip


def _inside(content: bytes, dice: random.Random) -> bytes:
    """The same of what lies packed in a file, packed again: a checksum would else keep most changes out."""
    if dice.random() < 0.3:
        return mutated(content, dice)
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(mutated(gzip.decompress(content), dice))
    if content[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            members = [(info.filename, packed.read(info)) for info in packed.infolist()]
        chosen = next((n for n, (name, _) in enumerate(members) if name.endswith("data.pkl")), 0)
        chosen = chosen if dice.random() < 0.8 else dice.randrange(len(members))
        with zipfile.ZipFile(made := io.BytesIO(), "w") as packed:
            for n, (name, data) in enumerate(members):
                packed.writestr(name, mutated(data, dice) if n == chosen else data)
        return made.getvalue()
    if b"1.2.840.10008.1.2.1.99" in content[:1000]:
        start = 144 + int.from_bytes(content[140:144], "little")
        pack = zlib.compressobj(wbits=-15)
        inner = mutated(zlib.decompress(content[start:], -15), dice)
        return content[:start] + pack.compress(inner) + pack.flush()
    if b"encoding: gzip" in content[:2000]:
        head, _, body = content.partition(b"\n\n")
        return mutated(head, dice) + b"\n\n" + body
    return mutated(content, dice)


def write_mutant(seed: Seed, valid: Path, folder: Path, number: int) -> Path:
    """Write the changed file number so-and-so of a seed (always the same) into a folder; returns what to open."""
    shutil.copytree(valid, folder, dirs_exist_ok=True)
    dice = random.Random(f"{seed.name} {number}")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in dice.sample(files, dice.choice((1, 1, 1, min(2, len(files)), len(files)))):
        path.write_bytes(_inside(path.read_bytes(), dice))
    return folder / seed.opens


# -- how it is opened --------------------------------------------------------------------------------------------------


def opened(seed: Seed, path: Path) -> int:
    """Open a file as its reader does; returns the bytes of what it holds."""
    from sammed3d_nb.imaging.label_maps import read_label_map
    from sammed3d_nb.imaging.volume import Volume

    match seed.reader:
        case "volume":
            return int(Volume.read(path, **seed.options).array.nbytes)
        case "labels":
            return sum(item.mask.full.nbytes for item in read_label_map(path, ct()))
        case "record" | "record 1":
            from support import BallNetwork, model_of

            from sammed3d_nb.session.session import Session

            volume = ct() if seed.reader == "record" else old()
            session = Session.resume(path, volume=volume, model=model_of(BallNetwork()))
            while session.can_undo:
                session.undo()
            return path.stat().st_size
        case "weights":
            from sammed3d_nb.models import checkpoints

            report = str(checkpoints.inspect(path))
            assert len(report) < 100_000
            return path.stat().st_size
        case "stroke":
            from sammed3d_nb.commands.segment import _voxels

            return int(_voxels(path).nbytes)
        case "list":
            from sammed3d_nb.ui.worklist import cases_of

            cases = cases_of([path])
            assert all("\n" not in f"{case.name}{case.details}" for case in cases)
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    raise ValueError(seed.reader)


@dataclass(frozen=True)
class Outcome:
    """What became of one changed file: "opened", "refused", or what is wrong with how it ended."""

    kind: str
    told: str = ""

    @property
    def good(self) -> bool:
        """Whether it ended as it ought to."""
        return self.kind in ("opened", "refused")


def _child(seed: Seed, path: Path, answer: int) -> None:
    """Open it under limits and write what came of it; the process ends here."""
    from sammed3d_nb.errors import UserError

    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    announced = sum(file.stat().st_size for file in files)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    space = _status("VmSize") + _LIMIT
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = _status("VmRSS")
    try:
        announced = max(announced, opened(seed, path))
        found = Outcome("opened")
    except UserError as error:
        found = Outcome("refused", str(error))
        if not found.told.endswith((".", "?")) or "\n" in found.told or len(found.told) > 2000:
            found = Outcome("no sentence", found.told)
    except BaseException as error:
        import traceback

        place = "".join(traceback.format_tb(error.__traceback__)[-3:])
        found = Outcome("traceback", f"{type(error).__name__}: {error!s:.300}\n{place}")
    taken = _status("VmHWM") - before
    if found.good and taken > 2 * announced + BASE:
        found = Outcome("memory", f"{taken / 1e6:.0f} MB taken, {announced / 1e6:.1f} MB announced; {found.told}")
    os.write(answer, json.dumps([found.kind, found.told[:3000]]).encode())
    os._exit(0)


def _status(field: str) -> int:
    """Bytes, of this process."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


def make(seed: Seed, folder: Path) -> bool:
    """Write the valid files of a seed, in a process of its own; False where this machine lacks what compresses them."""
    folder.mkdir()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            seed.make(folder)
            status = 0
        except (ModuleNotFoundError, RuntimeError) as error:  # of a codec
            print(f"{seed.name}: {error}", file=sys.stderr)
        finally:
            os._exit(status)
    _, code = os.waitpid(pid, 0)
    return code == 0


def run(seed: Seed, path: Path) -> Outcome:
    """Open a file in a process of its own."""
    receiving, sending = os.pipe()
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(receiving)
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                _child(seed, path, sending)
            finally:
                os._exit(99)
        os.close(sending)
        end, state = time.monotonic() + WALL_SECONDS, None
        while state is None:
            done, code = os.waitpid(pid, os.WNOHANG)
            if done:
                state = code
            elif time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                os.close(receiving)
                return Outcome("hang", f"no answer after {WALL_SECONDS} s")
            else:
                time.sleep(0.002)
        with os.fdopen(receiving, "rb") as stream:
            answer = stream.read()
        said.seek(0)
        printed = said.read(2000).decode(errors="replace")
    if os.WIFSIGNALED(state):
        number = os.WTERMSIG(state)
        kind = "hang" if number in (signal.SIGXCPU, signal.SIGKILL) else "crash"
        return Outcome(kind, f"{signal.Signals(number).name}; printed {printed!r}")
    if not answer:
        return Outcome("crash", f"exit status {os.WEXITSTATUS(state)}; printed {printed!r}")
    found = Outcome(*json.loads(answer))
    return Outcome("printed", f"{printed!r}; {found.kind} {found.told}") if found.good and printed else found


def prepare() -> None:
    """Load what readers need, without starting a thread: the processes are forked from this one."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
    import pydicom.pixels  # noqa: F401
    import torch

    import sammed3d_nb.imaging.label_maps
    import sammed3d_nb.models.checkpoints
    import sammed3d_nb.session.session
    import sammed3d_nb.ui.worklist  # noqa: F401

    torch.set_num_threads(1)


def outcomes(
    seed: Seed, valid: Path, numbers: Iterable[int], keep: Path | None = None
) -> Iterator[tuple[int, Outcome]]:
    """The outcomes of changed files of a seed; those that ended badly are kept in a folder."""
    for number in numbers:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
            path = write_mutant(seed, valid, Path(place), number)
            found = run(seed, path)
            if keep is not None and not found.good:
                shutil.copytree(place, keep / f"{seed.name.replace(' ', '_')}-{number}", dirs_exist_ok=True)
        yield number, found


def main() -> int:
    """Change and open files for a time, all kinds in turn; exit status 1 if one ended badly."""
    options = argparse.ArgumentParser(description=main.__doc__)
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--each", type=int, default=10**9, help="end after so many changed files of each kind")
    options.add_argument("--start", type=int, default=None, help="number of the first change (default: a random one)")
    options.add_argument("--only", default="", help="kinds whose name holds this")
    options.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="where files that ended badly are kept")
    given = options.parse_args()
    start = random.SystemRandom().randrange(10**9) if given.start is None else given.start
    prepare()
    counted: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        known = [seed for seed in SEEDS if given.only in seed.name and make(seed, Path(place) / seed.name)]
        print(f"{len(known)} kinds of files, changes from number {start} on, for {given.seconds:.0f} s", flush=True)
        end, done = time.monotonic() + given.seconds, 0
        while time.monotonic() < end and done < given.each:
            batch = min(_BATCH, given.each - done)
            for seed in known:
                numbers = range(start + done, start + done + batch)
                for number, found in outcomes(seed, Path(place) / seed.name, numbers, given.keep):
                    counted[found.kind] += 1
                    if not found.good:
                        print(f"{found.kind}: {seed.name}, number {number}: {found.told}", flush=True)
                if time.monotonic() > end:
                    break
            done += batch
    print(f"{counted.total()} files: {', '.join(f'{count} {kind}' for kind, count in counted.most_common())}")
    return 0 if set(counted) <= {"opened", "refused"} else 1


if __name__ == "__main__":
    sys.exit(main())
