"""Errors that a user can cause.

Each carries one sentence: what arrived, what was expected, what to do. The command line prints it without a
traceback and exits 2; the dashboard shows it in its status line.
"""


class UserError(Exception):
    """Base of every error that a user can cause; ``str(error)`` is the sentence to show."""


class VolumeError(UserError):
    """An image that cannot be used as a volume."""


class PromptError(UserError):
    """A prompt or an edit that cannot be answered, e.g. outside the volume."""


class ClickError(PromptError):
    """A click that cannot be answered."""


class CheckpointError(UserError):
    """A model file that cannot be loaded as what was asked for."""


class DownloadError(UserError):
    """A file that could not be fetched or whose checksum differs."""


class ServerError(UserError):
    """A server that does not answer, or refuses."""


class LicenceError(UserError):
    """Weights under a licence that was not accepted by name."""


class DeviceError(UserError):
    """A computing device that is missing or out of memory."""


class RecordInUse(UserError):  # noqa: N818  it says what is the case
    """A saved session that another one has open."""


class RecordError(UserError):
    """A saved session that cannot be read or does not fit the volume."""
