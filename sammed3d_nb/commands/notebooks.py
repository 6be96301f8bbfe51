"""Notebooks as JupyterLab would have them: else each one counts as changed as soon as it is opened."""

import platform
from typing import Any

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager

_SPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
_LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": platform.python_version(),
}


class Notebooks(AsyncLargeFileManager):
    """Hands out notebooks with the metadata that JupyterLab writes into them when this Python's kernel answers.

    What lies in the files is left alone: the version in it would be another one on the next machine.
    """

    async def get(self, path: str, *arguments: Any, **options: Any) -> dict[str, Any]:
        """A file or folder, as the contents API describes it."""
        model: dict[str, Any] = await super().get(path, *arguments, **options)  # type: ignore[no-untyped-call]
        content = model.get("content")
        if model.get("type") == "notebook" and content:
            metadata = content["metadata"]
            if metadata.get("kernelspec", {}).get("name") == _SPEC["name"]:
                metadata["kernelspec"], metadata["language_info"] = dict(_SPEC), dict(_LANGUAGE)
        return model
