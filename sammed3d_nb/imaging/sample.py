"""The volumes that the app opens when the user gives none: a phantom made here, and a real CT fetched once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import DownloadError, UserError
from sammed3d_nb.imaging.phantom import make_phantom
from sammed3d_nb.imaging.volume import Volume

CT_URL = (
    "https://raw.githubusercontent.com/wasserth/TotalSegmentator/0e65a448d557382b1e925276212b3bec7f5aff83/"
    "tests/reference_files/"
)
"""Where the real CT comes from (wasserth/TotalSegmentator, Apache-2.0), at a fixed commit."""
CT_FILE = "example_ct.nii.gz"
CT_SHA256 = "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1"
URL_VARIABLE = "SAMMED3D_SAMPLE_URL"
"""Environment variable: another base address for the CT, e.g. a mirror inside a hospital."""
CACHE_VARIABLE = "SAMMED3D_CACHE"
"""Environment variable: another folder for fetched files."""


def phantom_clicks(seed: int = 0) -> Mapping[str, tuple[int, int, int]]:
    """For each structure of the phantom the voxel (i, j, k) deepest inside it: a good first click."""
    return make_phantom(seed).clicks


def open_sample(name: str = "phantom") -> Volume:
    """The sample of a name: "phantom" (made here) or "ct" (fetched once).

    Raises:
        DownloadError: The CT cannot be fetched.
        UserError: Another name.
    """
    if name == "phantom":
        return make_phantom().volume
    if name == "ct":
        return Volume.read(fetch_ct())
    raise UserError(f"There is no sample {name!r}; say phantom or ct.")


def fetch_ct(*, progress: bool = False) -> Path:
    """Fetch the real CT (2.2 MB) once; later calls return the cached file.

    The address can be changed by the environment variable ``SAMMED3D_SAMPLE_URL``, the cache's folder by
    ``SAMMED3D_CACHE``.

    Args:
        progress: Show a progress bar when tqdm is there.

    Raises:
        DownloadError: No network, another answer than the file, or a wrong checksum.
    """
    import pooch

    base = os.environ.get(URL_VARIABLE, CT_URL).rstrip("/") + "/"
    folder = Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("sammed3d-nb"))
    pooch.get_logger().setLevel("WARNING")  # else it tells the download as if it were a problem
    downloader = pooch.HTTPDownloader(timeout=30, progressbar=progress and _has_tqdm())
    try:
        return Path(pooch.retrieve(base + CT_FILE, f"sha256:{CT_SHA256}", CT_FILE, folder, downloader=downloader))
    except ValueError as error:  # pooch: the checksum differs; it has removed the file
        raise DownloadError(
            f"{base}{CT_FILE} is not the file expected (its SHA-256 differs); try again, or open the phantom."
        ) from error
    except (PermissionError, FileNotFoundError, NotADirectoryError) as error:
        raise DownloadError(
            f"The cache folder {folder} cannot be written; set {CACHE_VARIABLE} to one that can, or open the phantom."
        ) from error
    except OSError as error:
        raise DownloadError(
            f"The sample CT cannot be fetched from {base}{CT_FILE} ({_reason(error)}); check the network, set"
            f" {URL_VARIABLE} to a mirror, or open the phantom, which needs none."
        ) from error


def _has_tqdm() -> bool:
    from importlib.util import find_spec

    return find_spec("tqdm") is not None


def _reason(error: Any) -> str:
    """A few words on why; requests' own messages run over many lines."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code}"
    return "the server cannot be reached" if type(error).__module__.startswith("requests") else str(error)
