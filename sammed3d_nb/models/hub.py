"""Published checkpoints: where they are, and how to fetch them.

``huggingface_hub`` does the transfer, into its own cache, which other programs share. Two things are done here, because
its second version stopped doing the first and never did the other: a broken download goes on where it stopped even in
another process, and a file enters the cache, where it can be opened, only after its checksum was right.
"""

import errno
import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from sammed3d_nb.errors import DownloadError, LicenceError


@dataclass(frozen=True)
class Published:
    """A checkpoint on the Hugging Face Hub.

    Attributes:
        title: for people.
        repository: on the hub.
        filename: in the repository.
        sha256: of the file; empty where it was never seen here: then what the hub says of it has to hold.
        megabytes: its size, 10⁶ bytes; roughly, the checksum decides.
        licence: its SPDX identifier.
    """

    title: str
    repository: str
    filename: str
    sha256: str
    megabytes: int
    licence: str


KNOWN: dict[str, Published] = {
    "sam-med3d-turbo": Published(
        "SAM-Med3D turbo",
        "blueyo0/SAM-Med3D",
        "sam_med3d_turbo.pth",
        "899a46d04d3b70f723282ceb489149373558bf0aaba389a346f5ab57da5cdd3c",
        402,
        "Apache-2.0",
    ),
}


@dataclass(frozen=True)
class PublishedFolder:
    """A model of several files on the Hugging Face Hub.

    Attributes:
        title: for people.
        repository: on the hub.
        folder: in the repository.
        files: those that it needs, by their names in the folder, the largest first.
        some: of these it needs one at least, and of the rest what there is.
        megabytes: of all of them, 10⁶ bytes; roughly.
        licence: its name, which a user types to accept it.
        terms: where it is to be read.
    """

    title: str
    repository: str
    folder: str
    files: tuple[str, ...]
    some: tuple[str, ...]
    megabytes: int
    licence: str
    terms: str

    def file(self, name: str) -> Published:
        """One of its files."""
        size = self.megabytes if name == self.files[0] else 1
        return Published(self.title, self.repository, f"{self.folder}/{name}", "", size, self.licence)


FOLDERS: dict[str, PublishedFolder] = {
    "nninteractive": PublishedFolder(
        "nnInteractive v1.0",
        "MIC-DKFZ/nnInteractive",
        "nnInteractive_v1.0",
        ("fold_0/checkpoint_final.pth", "plans.json", "dataset.json"),
        ("inference_info.json", "inference_session_class.json", "LICENSE"),
        411,
        "CC BY-NC-SA 4.0",
        "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    ),
}


PUBLISHED: dict[str, Published | PublishedFolder] = {**KNOWN, **FOLDERS}


def published_as(sha256: str) -> str:
    """`` (sam-med3d-turbo, as published)`` for a known checksum, else nothing."""
    return next((f" ({name}, as published)" for name, known in KNOWN.items() if known.sha256 == sha256), "")


def cached(name: str) -> Path | None:
    """Where a known model lies in the hub's cache, or ``None``. Asks no server and checks no sum."""
    if name in KNOWN:
        return _cached(KNOWN[name])
    known = FOLDERS[name]
    needed = [_cached(known.file(one)) for one in known.files]
    found = [path for path in needed if path is not None]
    some = any(_cached(known.file(one)) for one in known.some[:-1])
    return found[1].parent if len(found) == len(needed) and some else None


def _cached(known: Published) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(known.repository, known.filename)
    return Path(found) if isinstance(found, str) else None


def fetch_folder(name: str, accept_license: str | None = None) -> Path:
    """Find a known model of several files in the cache, or download it once its licence was accepted by name.

    Args:
        name: Of `FOLDERS`.
        accept_license: What the user has accepted; `licence_of` shows it.

    Returns:
        Its folder in the cache. Nothing has opened it yet.

    Raises:
        LicenceError: It is not there and the licence was not accepted.
        DownloadError: As for `fetch`.
    """
    known = FOLDERS[name]
    found = cached(name)
    if found is not None:
        return found
    if accept_license is None or _plain(accept_license) != _plain(known.licence):
        said = "" if accept_license is None else f" (“{accept_license[:60]}” is another one)"
        raise LicenceError(
            f"{known.title} is under {known.licence}: not for commercial use, name its authors, pass on what you make "
            f"of it under the same terms ({known.terms}). To accept that, and fetch {known.megabytes} MB, say its name"
            f'{said}: accept_license="{known.licence}", or sammed3d-nb models get {name} --accept-license '
            f'"{known.licence}".'
        )
    folder = None
    there = 0
    for one in (*known.some, *reversed(known.files)):  # the largest last: all else is sure by then
        path = _fetch(known.file(one), optional=one in known.some)
        there += path is not None and one in known.some[:-1]
        folder = path.parent if path is not None and one == known.files[1] else folder
    if folder is None or not there:
        raise DownloadError(f"{known.repository} on the hub holds no {known.folder} as it is known here; update this.")
    return folder


def _plain(name: str) -> str:
    return " ".join(name.replace("-", " ").lower().split())


def fetch(name: str) -> Path:
    """Find a known checkpoint in the cache or download it, with progress on standard error, and check its SHA-256.

    ``HF_ENDPOINT``, ``HF_HUB_OFFLINE`` and ``HF_HOME`` mean what they mean to ``huggingface_hub``.

    Returns:
        The file in the cache. Nothing has opened it as a checkpoint yet.

    Raises:
        DownloadError: unknown name, no connection, no space, or another checksum (the file is deleted unopened).
    """
    if name not in KNOWN:
        raise DownloadError(f"There is no known model {name!r}; known are: {', '.join((*KNOWN, *FOLDERS))}.")
    path = _fetch(KNOWN[name])
    assert path is not None
    return path


def _fetch(known: Published, *, optional: bool = False) -> Path | None:
    """As `fetch`; None for an optional file that the hub does not have."""
    found = _cached(known)
    if found is not None and _is_right(found, known.sha256 or found.resolve().name):
        return found

    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    what = f"{known.filename} from {known.repository}"
    url = hf_hub_url(known.repository, known.filename)
    try:
        metadata = get_hf_file_metadata(url)
    except HfHubHTTPError as error:
        if optional and error.response is not None and error.response.status_code == 404:
            return None
        status = error.response.status_code if error.response is not None else "no status"
        raise DownloadError(
            f"The hub refused {what} (HTTP {status}); try later, or give the path of a file."
        ) from error
    except Exception as error:  # the hub's client is requests, httpx or httpx2, by its version
        raise DownloadError(
            f"{what} is not in the cache and the hub cannot be reached ({type(error).__name__}); connect to the "
            "internet, set HF_ENDPOINT to a mirror, or download the file elsewhere and give its path."
        ) from error
    etag = str(metadata.etag)  # of a large file, its SHA-256
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", etag):  # it names a file in the cache: no other may be meant
        raise DownloadError(f"The hub describes {what} in an unknown way; set HF_ENDPOINT to another one.")
    if known.sha256 and len(etag) == len(known.sha256) and etag != known.sha256:
        raise DownloadError(
            f"The hub now holds another {what} (SHA-256 {etag}) than the one known here ({known.sha256}), so it was "
            "not fetched; update this package, or download the file yourself and give its path."
        )
    right = known.sha256 or etag
    try:
        blob = _blobs(known) / etag
        if found is not None and found.resolve() == blob.resolve():
            blob.unlink()  # damaged on the disk: its name says what it should have been
        _download(url, metadata.size or known.megabytes * 10**6, known, blob, right)
        path = Path(hf_hub_download(known.repository, known.filename))  # finds the data there, and links to it
        if path.resolve() != blob.resolve():  # the server has changed its mind meanwhile
            raise DownloadError(f"The hub now holds another {what} than the one that was checked; try again.")
        if not _is_right(path, right):  # whoever put it there: nothing unchecked is returned
            blob.unlink(missing_ok=True)
            raise DownloadError(f"{what} lay in the cache with another checksum and was deleted unopened; try again.")
        return path
    except DownloadError:
        raise
    except Exception as error:
        raise DownloadError(_failure(what, known, error)) from error


def _blobs(known: Published) -> Path:
    """Where the hub's cache keeps the data of a repository."""
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=known.repository, repo_type="model") / "blobs"


def _download(url: str, size: int, known: Published, blob: Path, right: str) -> None:
    """Download to a partial file beside ``blob``, go on with one that is there, and rename it when it is right."""
    from filelock import FileLock
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.parent / f"{right}.part"
    with FileLock(f"{part}.lock"):
        if blob.exists():  # another process was waiting for the same file and was first
            return
        have = part.stat().st_size if part.exists() else 0
        if shutil.disk_usage(blob.parent).free < size - have:
            raise OSError(errno.ENOSPC, "No space left on device")
        if have < size:
            with open(part, "ab", opener=_no_link) as file:
                http_get(
                    url,
                    file,
                    resume_size=have,
                    headers=build_hf_headers(),
                    expected_size=size,
                    displayed_filename=known.filename,
                )
        if not _is_right(part, right):
            found = _sha256(part)
            part.unlink()
            raise DownloadError(
                f"{known.filename} from {known.repository} has the SHA-256 {found} instead of {right}, so it "
                "was damaged or replaced on its way; it was deleted unopened: fetch it again, or from another endpoint."
            )
        part.rename(blob)


def _no_link(path: str, flags: int) -> int:
    """Open a file, but no link that somebody has put in its place in a shared cache."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_right(path: Path, right: str) -> bool:
    """Whether a file has a sum: SHA-256, or Git's SHA-1 of small files (40 digits), as which the hub knows them."""
    if len(right) == 40:
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == right
    return _sha256(path) == right


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failure(what: str, known: Published, error: Exception) -> str:
    """One sentence for a download that ended early."""
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        folder = _blobs(known)
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 1e6
        return (
            f"There is no space for {what}: it needs {known.megabytes} MB and {folder} has {free:.0f} MB left; "
            "free some, or set HF_HOME to a larger disk."
        )
    if isinstance(error, PermissionError):
        return f"{what} could not be stored in the cache ({error}); set HF_HOME to a folder that you may write."
    cause = type(error).__name__
    return f"The download of {what} broke off ({cause}); run it again, it goes on where it stopped."
