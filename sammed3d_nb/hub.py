"""Published checkpoints: where they are, and how to fetch them. A file is opened only after its checksum was right."""

import errno
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from sammed3d_nb.errors import DownloadError


@dataclass(frozen=True)
class Published:
    """A checkpoint on the Hugging Face Hub.

    Attributes:
        title: for people.
        repository: on the hub.
        filename: in the repository.
        sha256: of the file.
        bytes: its size; roughly, the checksum decides.
        licence: its SPDX identifier.
    """

    title: str
    repository: str
    filename: str
    sha256: str
    bytes: int
    licence: str


KNOWN: dict[str, Published] = {
    "sam-med3d-turbo": Published(
        "SAM-Med3D turbo",
        "blueyo0/SAM-Med3D",
        "sam_med3d_turbo.pth",
        "899a46d04d3b70f723282ceb489149373558bf0aaba389a346f5ab57da5cdd3c",
        402_000_000,
        "Apache-2.0",
    ),
}


def published_as(sha256: str) -> str:
    """`` (sam-med3d-turbo, as published)`` for a known checksum, else nothing."""
    return next((f" ({name}, as published)" for name, known in KNOWN.items() if known.sha256 == sha256), "")


def cached(name: str) -> Path | None:
    """Where a known checkpoint lies in the hub's cache, or ``None``. Asks no server."""
    from huggingface_hub import try_to_load_from_cache

    known = KNOWN[name]
    found = try_to_load_from_cache(known.repository, known.filename)
    return Path(found) if isinstance(found, str) else None


def fetch(name: str) -> Path:
    """Download a known checkpoint, or find it in the cache, and check its SHA-256.

    ``huggingface_hub`` does the work: it resumes, shows progress on standard error, shares its cache with other
    programs, and honours ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and ``HF_HOME``.

    Returns:
        The file in the cache. Nothing has opened it as a checkpoint yet.

    Raises:
        DownloadError: unknown name, no connection, no space, or a file with another checksum (which is deleted).
    """
    if name not in KNOWN:
        raise DownloadError(f"There is no known model {name!r}; known are: {', '.join(KNOWN)}.")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    known = KNOWN[name]
    what = f"{known.filename} from {known.repository}"
    try:
        path = Path(hf_hub_download(known.repository, known.filename))
    except LocalEntryNotFoundError as error:
        raise DownloadError(
            f"{what} is not in the cache and the hub cannot be reached; connect to the internet, set HF_ENDPOINT to a "
            "mirror, or download the file elsewhere and give its path."
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no status"
        raise DownloadError(
            f"The hub refused {what} (HTTP {status}); try later, or give the path of a file."
        ) from error
    except Exception as error:  # the hub's client is requests, httpx or httpx2, by its version
        raise DownloadError(_failure(what, known, error)) from error
    found = checksum(path)
    if found != known.sha256:
        path.resolve().unlink(missing_ok=True)  # the cache holds a link to the data: both must go to try again
        path.unlink(missing_ok=True)
        raise DownloadError(
            f"{what} has the SHA-256 {found} instead of {known.sha256}, so it was damaged or replaced on its way; it "
            "was deleted unopened: fetch it again, or from another endpoint."
        )
    return path


def _failure(what: str, known: Published, error: Exception) -> str:
    """One sentence for a download that ended early."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        from huggingface_hub.constants import HF_HUB_CACHE

        folder = Path(HF_HUB_CACHE)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 1e6
        return (
            f"There is no space for {what}: it needs {known.bytes / 1e6:.0f} MB and {folder} has {free:.0f} MB left; "
            "free some, or set HF_HOME to a larger disk."
        )
    if isinstance(error, PermissionError):
        return f"{what} could not be stored in the cache ({error}); set HF_HOME to a folder that you may write."
    cause = type(error).__name__
    return f"The download of {what} broke off ({cause}); run it again, it goes on where it stopped."


def checksum(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
