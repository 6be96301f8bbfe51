"""Model files from strangers: none takes more memory than it holds, hangs, or shows what is not its own."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from small_models import save, weights

from sammed3d_nb.errors import CheckpointError
from sammed3d_nb.models import checkpoints


class Call:
    """Pickles to a call of an allowed function."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.call


def shared(count: int) -> dict[str, torch.Tensor]:
    """Many tensors over the same bytes."""
    base = torch.ones(1000, 1000)
    return {f"layer{n}.weight": base[: 1000 - n] for n in range(count)}


def loop() -> dict[str, Any]:
    nested: dict[str, Any] = {"epoch": 3}
    nested["model"] = nested
    return nested


def laughs() -> list[Any]:
    """Ten lines in memory, 10³⁰ values in print."""
    nested: list[Any] = ["ha"] * 10
    for _ in range(30):
        nested = [nested] * 10
    return nested


def deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


def deflated(path: Path, content: Any) -> Path:
    """The same file with its members compressed."""
    save(path.with_suffix(".plain"), content)
    with zipfile.ZipFile(path.with_suffix(".plain")) as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for member in plain.infolist():
            made.writestr(member.filename, plain.read(member))
    return path


def repacked(path: Path, pickled: bytes) -> Path:
    """A PyTorch file with another table of contents, which torch.save would not write."""
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("x/data.pkl", pickled)
        made.writestr("x/byteorder", "little")
        made.writestr("x/data/0", bytes(8))
        made.writestr("x/version", "3\n")
    return path


def tensor_pickle(shape: bytes, stride: bytes, count: bytes = b"K\x02") -> bytes:
    """{"weight": a float32 tensor of that shape over storage 0 of `count` numbers}; numbers as pickle opcodes."""
    return (
        b"\x80\x02}X\x06\x00\x00\x00weightctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + count + b"tQK\x00" + shape + stride
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )  # fmt: skip


def long_(number: int) -> bytes:
    content = number.to_bytes(8, "little")
    return b"\x8a\x08" + content


FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "stride 0": (
        lambda d: save(d / "x.pth", {"model": {"weight": torch.zeros(1).expand(5_000_000_000)}}),
        "asks for more memory than it holds .a tensor of the shape",
    ),
    "stride 0, old form": (
        lambda d: save(
            d / "x.pth", {"weight": torch.zeros(1).expand(5_000_000_000)}, _use_new_zipfile_serialization=False
        ),
        "asks for more memory than it holds",
    ),
    "shape 1e15": (
        lambda d: repacked(d / "x.pth", tensor_pickle(long_(10**15) + b"\x85", b"K\x01\x85")),
        "asks for more memory than it holds",
    ),
    "storage of 1e12 numbers": (
        lambda d: repacked(d / "x.pth", tensor_pickle(b"K\x02\x85", b"K\x01\x85", long_(10**12))),
        "cut short or damaged",
    ),
    "meta tensor": (
        lambda d: save(d / "x.pth", {"weight": torch.empty(10**6, 10**9, device="meta")}),
        "_rebuild_meta_tensor_no_storage is no kind of weights",
    ),
    "sparse tensor": (
        lambda d: save(d / "x.pth", {"weight": torch.sparse_coo_tensor([[0]], [1.0], (10**15,))}),
        "is no kind of weights",
    ),
    "complex numbers": (
        lambda d: save(d / "x.pth", {"weight": torch.ones(2, dtype=torch.complex64)}),
        "holds no plain weights in weight .torch.complex64",
    ),
    "bytearray": (
        lambda d: save(d / "x.pth", {"weight": torch.ones(2), "x": Call(bytearray, 5 * 10**9)}),
        "asks for more memory than it holds",
    ),
    "tensor class": (
        lambda d: save(d / "x.pth", {"weight": torch.ones(2), "x": Call(torch.FloatTensor, 10**6, 10**4)}),
        "asks for more memory than it holds",
    ),
    "shared bytes": (lambda d: save(d / "x.pth", shared(900)), "GB of weights and holds 0.0 GB"),
    "deflated": (lambda d: deflated(d / "x.pth", weights()), "its members are compressed"),
    "deflated bomb": (lambda d: deflated(d / "x.pth", {"a": torch.zeros(10**8)}), "its members are compressed"),
    "a file within itself": (lambda d: save(d / "x.pth", loop()), "holds no tensors"),
    "endless memo": (
        lambda d: repacked(d / "x.pth", b"\x80\x02]r\xff\xff\xff\x7f."),
        "holds a list, not a dictionary",
    ),
    "endless text": (
        lambda d: repacked(d / "x.pth", b"\x80\x02X\xff\xff\xff\x7f."),
        "damaged",
    ),
    "no contents": (lambda d: repacked(d / "x.pth", b""), "damaged"),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant")
@pytest.mark.parametrize("name", FILES)
def test_refused_in_one_sentence_and_little_memory(name: str, tmp_path: Path) -> None:
    make, pattern = FILES[name]
    path = make(tmp_path)
    before = psutil.Process().memory_info().rss
    for read in (checkpoints.read, checkpoints.open_network, checkpoints.inspect):
        with pytest.raises(CheckpointError, match=pattern) as caught:
            read(path)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500
    assert psutil.Process().memory_info().rss - before < 300e6


@pytest.mark.parametrize("make", [laughs, deep, lambda: "x" * 10**7, lambda: 10**200, lambda: {"a": 1}])
def test_what_a_file_says_of_itself_is_printed_within_bounds(make: Callable[[], Any], tmp_path: Path) -> None:
    import sys

    content = {"model": weights(), "said": [], "x" * 1000: make()}
    limit = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(400_000)
        path = save(tmp_path / "x.pth", content) if make is not deep else deep_file(tmp_path / "x.pth")
    finally:
        sys.setrecursionlimit(limit)
    text = str(checkpoints.inspect(path))
    assert len(text) < 10_000
    assert max(map(len, text.splitlines())) < 500


def deep_file(path: Path) -> Path:
    """Lists 100,000 deep, beside two weights."""
    start = tensor_pickle(b"K\x02\x85", b"K\x01\x85").removesuffix(b".")
    return repacked(path, start + b"X\x04\x00\x00\x00said" + b"]" * 100_000 + b"a" * 99_999 + b"s.")


def test_numbers_of_numpy_are_told_without_numpy(tmp_path: Path) -> None:
    losses = [np.float64(0.5), np.float32(0.25), np.int64(-3), np.bool_(True)]
    contents = checkpoints.read(save(tmp_path / "x.pth", {"model": weights(), "losses": losses}))
    assert contents.metadata["losses"] == "0.5, 0.25, -3, True"


def test_flags_of_a_numpy_type_are_not_taken_over(tmp_path: Path) -> None:
    """With the flags of an object type, eight bytes of a file are taken for an address."""
    state = (3, "|", None, None, None, -1, -1, 0b111111)
    kind = Call(np.dtype, "f8", False, True, state=state)
    scalar = Call(np._core.multiarray.scalar, kind, b"\x41" * 8)
    path = save(tmp_path / "x.pth", {"model": weights(), "best": scalar})
    assert checkpoints.read(path).metadata["best"] == "2261634.5098039214"
    for code in ("O", "V8", "S8", "M8", ">f8", 7):
        scalar = Call(np._core.multiarray.scalar, Call(np.dtype, code, False, True), b"\x41" * 8)
        assert checkpoints.read(save(path, {"model": weights(), "best": scalar})).metadata["best"] == "a number"
    assert np.dtype("f8").flags == 0


def test_tensors_with_attributes_are_weights_too(tmp_path: Path) -> None:
    state: dict[str, Any] = weights()
    name = next(iter(state))
    state[name].no_decay = True
    network, _ = checkpoints.open_network(save(tmp_path / "x.pth", state))
    assert torch.equal(network.state_dict()[name], state[name])


def test_whatever_is_damaged_gives_a_sentence(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    forms = [True, False]
    for form in forms:
        content = save(tmp_path / "x.pth", {"model": weights()}, _use_new_zipfile_serialization=form).read_bytes()
        # where the tables of contents are
        places = [found.start() for found in re.finditer(rb"data\.pkl|PK\x01\x02|ctorch|storage", content)]
        for _ in range(80):
            damaged = bytearray(content)
            for _ in range(random.integers(1, 5)):
                at = int(random.choice(places)) + int(random.integers(0, 60))
                damaged[min(at, len(content) - 1)] = random.integers(0, 256)
            (tmp_path / "x.pth").write_bytes(damaged)
            try:
                checkpoints.inspect(tmp_path / "x.pth")
            except CheckpointError as error:
                sentence = str(error)
            else:
                continue
            assert "\n" not in sentence


def test_an_endless_name_is_refused_at_once(tmp_path: Path) -> None:
    """PyTorch searched its own refusal for words, a time that grows with the square of the name: hours."""
    save(tmp_path / "plain.pth", weights())
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "w.pth", "w") as made:
        for member in plain.infolist():
            content = plain.read(member)
            if member.filename.endswith("data.pkl"):
                content = b"\x80\x02c" + b"x" * 600_000 + b"\nOrderedDict\n."
            made.writestr(member.filename, content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.inspect(tmp_path / "w.pth")
