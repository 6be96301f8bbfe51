"""Where the work is done: processes of this machine, a Dask scheduler that runs already, or jobs of Slurm."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sammed3d_nb.errors import UserError

_PACKAGES = ("sammed3d-nb", "torch", "numpy", "SimpleITK", "scikit-image", "scipy")  # what results depend on
_WAIT = 600
"""Seconds until the first worker must be there; a cluster's queue may take longer: then start the scheduler first."""


@contextmanager
def workers(*, local: int = 0, scheduler: str | None = None, slurm: Path | None = None) -> Iterator[Any]:
    """A Dask client whose workers hold the same versions as this process.

    Workers of `local` and `slurm` talk to it encrypted, with keys of this run that strangers do not have: whoever may
    talk to a Dask scheduler runs code as its user.

    Args:
        local: So many processes of this machine, which share its cores.
        scheduler: Address of a scheduler that runs already, e.g. "tls://node7:8786"; keys as Dask's own settings say.
        slurm: A YAML file with the arguments of `dask_jobqueue.SLURMCluster` and ``jobs``, how many of them.

    Raises:
        UserError: Dask is not installed, the scheduler does not answer, the file cannot be understood, no worker came,
            or versions differ.
    """
    distributed = _distributed()
    with ExitStack() as stack:
        if scheduler is not None:
            client = stack.enter_context(_reached(scheduler, distributed))
        else:
            cluster = stack.enter_context(
                _slurm(slurm, distributed) if slurm is not None else _local(local, distributed)
            )
            client = stack.enter_context(distributed.Client(cluster, set_as_default=False))
        try:
            client.wait_for_workers(1, timeout=_WAIT)
        except TimeoutError as error:
            raise UserError(
                f"No worker came within {_WAIT // 60} minutes; look at the queue and the jobs' log."
            ) from error
        check_versions(client)
        yield client


def _reached(scheduler: str, distributed: Any) -> Any:
    try:
        return distributed.Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"No Dask scheduler answers at {scheduler} ({error}); start one, or check address and keys."
        ) from error


def check_versions(client: Any) -> None:
    """Refuse workers whose packages differ from this process's.

    Raises:
        UserError: Which worker has which version of what.
    """
    here = versions()
    for address, found in client.run(versions).items():
        for name, number in found.items():
            if number != here[name]:
                raise UserError(
                    f"The worker {address} has {name} {number} and this process {here[name]}, so results could differ;"
                    " install the same on both."
                )


def versions() -> dict[str, str]:
    """What results depend on: Python and packages, with their versions."""
    return {"Python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def _distributed() -> Any:
    try:
        import dask
        import distributed
    except ImportError as error:
        raise UserError(
            "Work is spread by Dask, which is not installed; install it with"
            ' pip install "sammed3d-nb[cluster]", or leave out --local, --scheduler and --slurm.'
        ) from error
    dask.config.set({"distributed.worker.memory.terminate": False})  # a large case must not look like a crash
    return distributed


def _local(count: int, distributed: Any) -> Any:
    import psutil

    cores = psutil.cpu_count(logical=False) or 1
    return distributed.LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        security=distributed.Security.temporary(),
        env={"OMP_NUM_THREADS": str(max(cores // count, 1))},
    )


def _slurm(path: Path, distributed: Any) -> Any:
    settings = read_slurm(path)
    jobs = settings.pop("jobs")
    if shutil.which("sbatch") is None:
        raise UserError("There is no sbatch here; log in to a machine that may submit jobs to Slurm.")
    from dask_jobqueue import SLURMCluster

    try:
        # workers read their keys from a folder that they share with this process
        cluster = SLURMCluster(
            **{"shared_temp_directory": str(Path.home()), **settings}, security=distributed.Security.temporary()
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} does not describe Slurm jobs ({error}); see docs/scaling.md.") from error
    cluster.scale(jobs=jobs)
    return cluster


def read_slurm(path: Path) -> dict[str, Any]:
    """The settings of a Slurm file: those of `dask_jobqueue.SLURMCluster`, and ``jobs``.

    Raises:
        UserError: It is missing, no YAML mapping, or lacks what every job needs.
    """
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML; give a file like deploy/slurm.yaml.") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} holds no settings; give a file like deploy/slurm.yaml.")
    lacking = [name for name in ("jobs", "cores", "memory", "walltime") if name not in found]
    if lacking:
        raise UserError(f"{path} does not say {', '.join(lacking)}; give a file like deploy/slurm.yaml.")
    if not isinstance(found["jobs"], int) or found["jobs"] < 1:
        raise UserError(f"{path} asks for {found['jobs']!r} jobs; expected 1 or more.")
    return {"processes": 1, "interface": None, **found}
