"""Interactive 3D segmentation of medical images inside Jupyter.

The public names load on first use, so that ``import sammed3d_nb`` and ``sammed3d-nb --help`` start neither torch
nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sammed3d_nb.errors import UserError

if TYPE_CHECKING:
    from sammed3d_nb.cube import Cube
    from sammed3d_nb.model import Model, load_model
    from sammed3d_nb.objects import Result
    from sammed3d_nb.session import Session
    from sammed3d_nb.spaces import Trace, Transform, TransformChain
    from sammed3d_nb.ui.app import App
    from sammed3d_nb.volume import Volume

__version__ = "0.1.0"

_HOMES = {
    "App": "ui.app",
    "Cube": "cube",
    "Model": "model",
    "Result": "objects",
    "Session": "session",
    "Trace": "spaces",
    "Transform": "spaces",
    "TransformChain": "spaces",
    "Volume": "volume",
    "load_model": "model",
}

__all__ = [
    "App",
    "Cube",
    "Model",
    "Result",
    "Session",
    "Trace",
    "Transform",
    "TransformChain",
    "UserError",
    "Volume",
    "__version__",
    "load_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
