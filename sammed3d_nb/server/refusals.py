"""What a server answers when it does not do what was asked: a status and one sentence."""

from __future__ import annotations

from collections.abc import Mapping

from sammed3d_nb.errors import RecordInUse, UserError


class Refused(UserError):  # noqa: N818  it says what is the case
    """A request that is refused.

    Args:
        status: The HTTP status: 401 a wrong key, 404 nothing there, 409 in the wrong order, 410 an expired lease, 413
            too large, 503 no place.
        sentence: What arrived, what was expected, what to do.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})


def status_of(error: UserError) -> int:
    """The HTTP status of an error that a user has caused."""
    if isinstance(error, Refused):
        return error.status
    return 409 if isinstance(error, RecordInUse) else 400
