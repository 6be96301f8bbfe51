"""The server's log: a line for a message, whatever clients have put into it."""

from __future__ import annotations

import logging
import sys
from typing import Any


class OneLine(logging.Formatter):
    """Escapes what is not printable, and indents tracebacks: nobody writes a line of the log but the server."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The time, and the message."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The traceback, each line of it behind a bar."""
        return "\n".join(f"  | {printable(line)}" for line in super().formatException(ei).split("\n"))


def printable(text: str) -> str:
    """A text with what moves the cursor, ends the line or turns the direction of writing as escapes."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def to_stderr() -> None:
    """Log to standard error: of the package what it tells, of others what they warn of."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("sammed3d_nb").setLevel(logging.INFO)
