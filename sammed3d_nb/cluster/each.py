"""Tasks on Dask's workers: results in order, whatever order they come in, and what is lost said."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any

from sammed3d_nb.errors import UserError
from sammed3d_nb.measure.tasks import Each, Failed


def over(client: Any, *, show: Callable[[str], None] | None = None) -> Each:
    """Do each item on some worker of a Dask client.

    A worker that ends in the middle costs its task only, which another one does again; an item that has ended several
    workers is tried once more alone and then given up, as `Failed`, and so is one that raises, whatever it raises.

    Args:
        client: Of `workers`.
        show: Takes lines about progress; standard error by default.
    """

    def do_each(do: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        progress = _Progress(len(items), show or _to_stderr)
        futures = [client.submit(do, item, pure=False) for item in items]
        for future in futures:
            future.add_done_callback(progress.one_more)
        for number, (item, future) in enumerate(zip(items, futures, strict=True), start=1):

            def alone(item: Any = item, later: Sequence[Any] = futures[number:]) -> Any:
                """Once more when nothing else runs: a worker that ended takes what waited on it along."""
                for other in later:
                    other.exception()  # waits for it
                return client.submit(do, item, pure=False)

            yield _outcome(future, alone)
            future.release()

    return do_each


def _outcome(future: Any, again: Callable[[], Any] | None = None) -> Any:
    from distributed import KilledWorker

    try:
        return future.result()
    except UserError as error:
        return Failed(str(error))
    except KilledWorker:
        if again is not None:
            return _outcome(again())
        return Failed("It ended every worker that tried it, perhaps for want of memory; try it alone.")
    except Exception as error:
        return Failed(f"It failed unexpectedly ({type(error).__name__}: {error}).")


class _Progress:
    """Says how many items are done and how long the others may take, every two seconds at most."""

    def __init__(self, count: int, show: Callable[[str], None]) -> None:
        self.count, self.show = count, show
        self.done = 0
        self.started = self.said = monotonic()

    def one_more(self, _: Any) -> None:
        self.done += 1
        now = monotonic()
        if now - self.said < 2 and self.done < self.count:
            return
        self.said = now
        left = (now - self.started) / self.done * (self.count - self.done)
        self.show(f"{self.done} of {self.count} done" + (f", about {_duration(left)} left" if left else ""))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
