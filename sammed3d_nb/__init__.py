"""Interactive 3D segmentation of medical images inside Jupyter.

The public names load on first use, so that ``import sammed3d_nb`` and ``sammed3d-nb --help`` start neither torch
nor matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sammed3d_nb.errors import UserError
from sammed3d_nb.version import __version__

if TYPE_CHECKING:
    from sammed3d_nb.imaging.volume import Volume
    from sammed3d_nb.models.model import Model, load_model
    from sammed3d_nb.segmenters.cube import Cube
    from sammed3d_nb.segmenters.prompts import Box, Lasso, Point, Scribble, StartMask
    from sammed3d_nb.session.objects import Result
    from sammed3d_nb.session.session import Session
    from sammed3d_nb.spaces import Trace, Transform, TransformChain
    from sammed3d_nb.ui.app import App
    from sammed3d_nb.worklist.worklist import Worklist

_HOMES = {
    "App": "ui.app",
    "Box": "segmenters.prompts",
    "Cube": "segmenters.cube",
    "Lasso": "segmenters.prompts",
    "Model": "models.model",
    "Point": "segmenters.prompts",
    "Result": "session.objects",
    "Scribble": "segmenters.prompts",
    "Session": "session.session",
    "StartMask": "segmenters.prompts",
    "Trace": "spaces",
    "Transform": "spaces",
    "TransformChain": "spaces",
    "Volume": "imaging.volume",
    "Worklist": "worklist.worklist",
    "load_model": "models.model",
}

__all__ = [
    "App",
    "Box",
    "Cube",
    "Lasso",
    "Model",
    "Point",
    "Result",
    "Scribble",
    "Session",
    "StartMask",
    "Trace",
    "Transform",
    "TransformChain",
    "UserError",
    "Volume",
    "Worklist",
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
