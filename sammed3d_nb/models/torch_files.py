"""PyTorch's own files, opened without running anything and without asking for more memory than they hold.

``torch.load`` in its mode for weights alone runs no code, but believes every size: a file of two kilobytes can ask for
a tensor of 20 GB. So its pickle is gone through first with stand-ins for everything, and each size compared with what
is there.
"""

import argparse
import io
import math
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import torch

from sammed3d_nb.errors import CheckpointError

_MOST_PICKLE = 64 << 20
_LEGACY_PICKLES = 5  # before the bytes of the tensors: magic number, protocol, system, contents, list of storages
_BYTES = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexDoubleStorage": 16,
    "ComplexFloatStorage": 8, "UntypedStorage": 1,
}  # fmt: skip
_NUMBERS = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H",
            "u4": "I", "u8": "Q", "b1": "?"}  # fmt: skip


def read_torch(path: Path) -> Any:
    """What a file that ``torch.save`` wrote holds, its tensors mapped where they can be.

    Raises:
        CheckpointError: It is damaged, no such file, asks for code to be run, or for more than it holds.
    """
    damaged = CheckpointError(
        f"{path.name} is cut short or damaged; download it again (it has {path.stat().st_size / 1e6:.1f} MB)."
    )
    try:
        _go_through(path)
        with torch.serialization.safe_globals(_allowed()):
            try:
                # mapped: of a training checkpoint only the weights are read, not twice as much optimiser state
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError as error:
                if "mmap can only be used" not in str(error):
                    raise
                return torch.load(path, map_location="cpu", weights_only=True)  # written before PyTorch 1.6
    except pickle.UnpicklingError as error:
        asked = re.search(r"(?:GLOBAL|class|function|type) ([A-Za-z_][\w.]*\.[\w.]+)", str(error))
        if asked is None:
            raise CheckpointError(f"{path.name} is damaged or no PyTorch checkpoint; download it again.") from error
        raise CheckpointError(
            f"{path.name} asks for {asked[1][:99]} to be run when it is opened, which weights never need, so it was not"
            " opened; ask its author for the bare weights (a state dict or a safetensors file)."
        ) from error
    except MemoryError as error:
        raise CheckpointError(f"{path.name} does not fit into memory; close other programs.") from error
    except (
        ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError,
        ValueError, zipfile.BadZipFile, struct.error,
    ) as error:  # fmt: skip
        raise damaged from error


class Number:
    """Stands in for a NumPy scalar; its text is the number."""

    def __init__(self, kind: Any = None, content: Any = b"", *_: Any) -> None:
        self.text = "a number"
        code = _NUMBERS.get(getattr(kind, "code", ""))
        if code and isinstance(content, bytes) and len(content) == struct.calcsize(code):
            self.text = str(struct.unpack(f"<{code}", content)[0])

    def __setstate__(self, state: Any) -> None:
        """Nothing is taken over."""

    def __str__(self) -> str:
        return self.text


class NumberType:
    """Stands in for a NumPy dtype, whose flags a file could set to read memory that is not its own."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) and code in _NUMBERS else ""

    def __setstate__(self, state: Any) -> None:
        """Nothing is taken over."""


def _allowed() -> list[Any]:
    """What real files hold beside tensors: training arguments, and losses as NumPy scalars. None of it runs code."""
    scalars = [(Number, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [argparse.Namespace, *scalars, (NumberType, "numpy.dtype")]


# -- sizes before bytes ------------------------------------------------------------------------------------------------


def _go_through(path: Path) -> None:
    """Refuse a file whose pickle asks for more than the file holds."""
    size = path.stat().st_size
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            for _ in range(_LEGACY_PICKLES):
                _Dry(path, _Bounded(file), {}, size).load()
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise CheckpointError(
                f"{path.name} is a compiled TorchScript program, not weights; give the checkpoint it was made from."
            )
        if any(member.compress_type != zipfile.ZIP_STORED or member.file_size > size for member in members):
            _too_much(path, "its members are compressed, as PyTorch never writes them")
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if len(pickles) != 1 or pickles[0].file_size > _MOST_PICKLE:
            raise ValueError("no single table of contents")
        root = pickles[0].filename.removesuffix("data.pkl") + "data/"
        held = {
            member.filename.removeprefix(root): member.file_size
            for member in members
            if member.filename.startswith(root)
        }
        _Dry(path, io.BytesIO(archive.read(pickles[0])), held, size).load()


def _too_much(path: Path, what: str) -> NoReturn:
    raise CheckpointError(
        f"{path.name} asks for more memory than it holds ({what}), so it was not opened; ask its author for the bare"
        " weights."
    )


_LONGEST_NAME = 300


class _Bounded:
    """A file of which no pickle reads more than a table of contents has."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._left = file, _MOST_PICKLE

    def _counted(self, content: bytes) -> bytes:
        self._left -= len(content)
        if self._left < 0:
            raise ValueError("a table of contents without end")
        return content

    def read(self, count: int = -1) -> bytes:
        """As of a file."""
        return self._counted(self._file.read(min(count, _MOST_PICKLE) if count >= 0 else _MOST_PICKLE))

    def readline(self) -> bytes:
        """As of a file."""
        return self._counted(self._file.readline(_MOST_PICKLE))


class _Inert:
    """Stands in for every class and function; does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Takes anything."""

    def __setstate__(self, state: Any) -> None:
        """Takes nothing over."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keeps nothing."""

    def append(self, item: Any) -> None:
        """Keeps nothing."""

    def extend(self, items: Any) -> None:
        """Keeps nothing."""


class _Storage(_Inert):
    """The bytes of a tensor."""

    size, count = 0, 0  # bytes, values


class _Dry(pickle._Unpickler):  # in Python: the faster one trusts its memo's indices
    """Goes through a pickle without making anything of it but lists, dictionaries and stand-ins."""

    def __init__(self, path: Path, file: Any, held: dict[str, int], size: int) -> None:
        super().__init__(file)
        self._path, self._held, self._bytes, self._storages = path, held, size, 0

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in that checks sizes when it is called."""
        if len(module) + len(name) > _LONGEST_NAME:  # PyTorch looks for words in its refusal, for hours
            raise ValueError("a name without end")
        path = self._path

        class Stand(_Inert):
            def __new__(cls, *arguments: Any, **__: Any) -> Any:
                return _called(path, f"{module}.{name}", arguments) or super().__new__(cls)

        Stand.__name__ = name
        return Stand

    def persistent_load(self, pid: Any) -> _Storage:
        """A storage, by what the file says of it."""
        _, kind, key, _, count = pid[:5]
        storage = _Storage()
        storage.count = int(count)
        storage.size = storage.count * _BYTES.get(kind.__name__, 16)
        self._storages += storage.size if str(key) not in self._held else 0
        if storage.size > self._held.get(str(key), self._bytes) or self._storages > self._bytes:
            raise ValueError("a storage larger than the file")
        return storage


def _called(path: Path, name: str, arguments: tuple[Any, ...]) -> Any:
    """What a call gives: a parameter's tensor, or None for a stand-in."""
    if name.startswith("torch._utils._rebuild_tensor"):
        storage, _, size = arguments[:3]
        shape = [int(n) for n in size]
        if not isinstance(storage, _Storage) or min(shape, default=0) < 0:
            raise ValueError("a tensor without bytes")
        if math.prod(shape) > storage.count:
            _too_much(path, f"a tensor of the shape {str(tuple(shape))[:60]} over {storage.count:,} numbers")
    elif name.startswith("torch._utils._rebuild_parameter"):
        return arguments[0] if isinstance(arguments[0], _Inert) else None
    elif name == "torch._tensor._rebuild_from_type_v2":  # a tensor with attributes
        return arguments[0](*arguments[2])
    elif name.endswith(".bytearray") and any(not isinstance(given, bytes | str) for given in arguments):
        _too_much(path, "an empty array of bytes")
    elif re.fullmatch(r"torch\.(\w+\.)*(\w*(Tensor|Storage)|_rebuild_\w+)", name):
        _too_much(path, f"{name[:60]} is no kind of weights")
    return None
