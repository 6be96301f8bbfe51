"""Does a server keep the nnInteractive protocol? Any server: ours, the official one, or somebody's own.

It is driven by the published client, and by requests of its own where a client would not go wrong. The image is made
up: bright ellipsoids in noise, of another number of voxels and another size along each axis, so that whatever confuses
them shows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx
from nnInteractive.inference.remote import ServerAtCapacityError, SessionExpiredError

from sammed3d_nb.errors import UserError
from sammed3d_nb.server.attempts import ATTEMPTS, Attempt
from sammed3d_nb.server.trial import Failed, Trial

OK, WARN, FAIL = "OK", "warn", "fail"


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        status: "OK", "warn" (the protocol allows it, users will not like it) or "fail".
        what: What was tried.
        found: What came of it.
    """

    status: str
    what: str
    found: str


def examine(url: str, key: str | None = None, attempts: Sequence[Attempt] = ATTEMPTS) -> Iterator[Finding]:
    """Try everything, one thing after the other.

    Args:
        url: The server's address, ``http://host:1527``, with ``/m/NAME`` for another than its first model.
        key: The key that it asks for.
        attempts: What to try; the client connects with "claim".

    Raises:
        UserError: There is no server.
    """
    trial = Trial(url, key)
    try:
        httpx.URL(url)
        if not trial.alive:
            raise httpx.InvalidURL("nobody answers")
    except httpx.InvalidURL:
        raise UserError(f"No server answers at {url}; check the address.") from None
    try:
        for what, attempt in attempts:
            finding = _tried(what, attempt, trial)
            yield finding
            if finding.status == FAIL and not trial.alive:
                yield Finding(FAIL, "the server", f"does not answer any more after “{what}”; look into its log")
                return
            if trial.session is None and what == "claim":
                return
    finally:
        if trial.session is not None:
            trial.session.close()


def _tried(what: str, attempt: Callable[[Trial], str], trial: Trial) -> Finding:
    trial.remarks.clear()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if trial.session is not None:
                trial.renew()
            found = attempt(trial)
    except Failed as error:
        return Finding(FAIL, what, str(error))
    except httpx.HTTPStatusError as error:
        return Finding(FAIL, what, f"answered {error.response.status_code}: {error.response.text[:160]}")
    except (httpx.HTTPError, SessionExpiredError, ServerAtCapacityError, KeyError, ValueError, TypeError) as error:
        return Finding(FAIL, what, f"{type(error).__name__}: {str(error)[:160]}")
    if trial.remarks:
        return Finding(WARN, what, "; ".join([*([found] if found else []), *trial.remarks]))
    return Finding(OK, what, found)
