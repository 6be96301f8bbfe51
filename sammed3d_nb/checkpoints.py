"""Model files: open them safely, recognise what they are, build the network they hold."""

from dataclasses import replace
from pathlib import Path

from sammed3d_nb.errors import CheckpointError
from sammed3d_nb.network.spec import Network

WEIGHTS = Path(__file__).parent / "weights"


def open_network(source: str | Path | None = None, *, decoder: str | Path | None = None) -> Network:
    """The network that ``source`` holds, on the CPU in float32.

    Raises:
        CheckpointError: the file is missing or cannot be loaded.
    """
    if source is None:
        shipped = sorted(WEIGHTS.glob("*.safetensors"))
        if not shipped:
            raise CheckpointError(
                f"The compact default is missing from {WEIGHTS}: install the package again, "
                "or give the path of a checkpoint."
            )
        source = shipped[-1]
    path = Path(source)
    from safetensors import safe_open

    from sammed3d_nb.network.compact import CompactNet

    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network = CompactNet.from_state_dict(state, metadata)
    network.spec = replace(network.spec, source=str(path), megabytes=path.stat().st_size / 1e6)
    return network
