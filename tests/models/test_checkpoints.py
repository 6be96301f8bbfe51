"""Opening model files: every form that real ones have, and one sentence for whatever cannot be loaded."""

import argparse
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import parity_weights
import pytest
import safetensors.torch
import torch
from small_models import STUDENT, TEACHER, encoder_alone, save, weights

from sammed3d_nb.errors import CheckpointError
from sammed3d_nb.models import checkpoints
from sammed3d_nb.models.recognise import Kind
from sammed3d_nb.network.encoder import EncoderShape


def training_checkpoint(state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What the original's training script writes."""
    parameters = [torch.nn.Parameter(tensor.clone()) for tensor in list(state.values())[:3]]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [120, 180])
    return {
        "epoch": 199,
        "model_state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer_state_dict": optimizer.state_dict(),
        "lr_scheduler_state_dict": scheduler.state_dict(),
        "losses": [np.float64(0.5), np.float64(0.25)],
        "best_dice": np.float32(0.75),
        "args": argparse.Namespace(
            model_type="vit_b_ori", task_name="union_train", gpu_ids=[0, 1], device=torch.device("cpu")
        ),
        "used_datas": ["a", "b", "c", "d", "e"],
    }


FORMS: dict[str, Callable[[Path, dict[str, torch.Tensor]], Path]] = {
    "bare.pth": lambda path, state: save(path, state),
    "nested.pth": lambda path, state: save(path, {"state_dict": state}),
    "twice.pth": lambda path, state: save(path, {"model": {"state_dict": state}}),
    "module.pth": lambda path, state: save(path, {f"module.{k}": v for k, v in state.items()}),
    "compiled.pth": lambda path, state: save(path, {f"_orig_mod.module.{k}": v for k, v in state.items()}),
    "training.pth": lambda path, state: save(path, training_checkpoint(state)),
    "before-1.6.pth": lambda path, state: save(path, {"model_state_dict": state}, _use_new_zipfile_serialization=False),
    "constants.pth": lambda path, state: save(path, state | dict.fromkeys(("pixel_mean", "pixel_std"), torch.ones(3))),
    "parameters.pth": lambda path, state: save(path, {k: torch.nn.Parameter(v) for k, v in state.items()}),
    "weights.safetensors": lambda path, state: (safetensors.torch.save_file(state, path, {"made": "here"}), path)[1],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file_gives_the_same_weights(name: str, tmp_path: Path) -> None:
    state = weights()
    network, _ = checkpoints.open_network(FORMS[name](tmp_path / name, dict(state)))
    assert network.state_dict().keys() == state.keys()
    assert all(torch.equal(network.state_dict()[key], state[key]) for key in state)
    assert (network.spec.architecture, network.spec.layers, network.spec.width) == ("sam-med3d", 3, 12)
    assert network.spec.source == str(tmp_path / name)
    assert network.spec.parameters == sum(tensor.numel() for tensor in state.values())


def test_half_precision_file_is_computed_in_float32(tmp_path: Path) -> None:
    state = {name: tensor.half() for name, tensor in weights().items()}
    network, _ = checkpoints.open_network(save(tmp_path / "half.pth", state))
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32}


def test_spec_has_the_checksum_of_the_file(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", weights())
    network, _ = checkpoints.open_network(path)
    assert network.spec.sha256 == checkpoints.read(path).sha256
    assert len(str(network.spec.sha256)) == 64
    assert network.spec.megabytes == pytest.approx(path.stat().st_size / 1e6, abs=0.1)


def test_weights_survive_the_replacement_of_their_file(tmp_path: Path) -> None:
    """The file is mapped while it is read, and must not be afterwards."""
    path = save(tmp_path / "a.pth", weights())
    network, _ = checkpoints.open_network(path)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with path.open("r+b") as file:
        file.write(b"\0" * path.stat().st_size)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


class Payload:
    """Pickles to a call of any function, as malicious files do."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """The small teacher with tensors replaced, added or (``None``) taken out; ``_`` stands for ``.`` in no name."""
    state: dict[str, Any] = weights() | changes
    return {name: tensor for name, tensor in state.items() if tensor is not None}


def cut(path: Path, keep: float) -> Path:
    os.truncate(path, int(path.stat().st_size * keep))
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def with_nan() -> dict[str, torch.Tensor]:
    state = weights()
    state["mask_decoder.iou_token.weight"][0, :2] = torch.nan
    return state


SAM_2D = {
    "image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16),
    "image_encoder.pos_embed": torch.zeros(1, 64, 64, 768),
}
BIG_CUBE = EncoderShape(grid=16, patch=16, width=12, heads=2, windows=(16,), hidden=8, out=48)

REFUSALS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda d: d / "none.pth", "There is no model file .*none.pth"),
    "unknown name": (lambda d: "sam-med4d", "known name.*sam-med3d-turbo"),
    "folder": (lambda d: d, "is a folder"),
    "empty": (lambda d: written(d / "x.pth", b""), "is empty"),
    "git lfs": (lambda d: written(d / "x.pth", b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "web page": (lambda d: written(d / "x.pth", b"\n<!DOCTYPE html><html>"), "is a web page"),
    "gzip": (lambda d: written(d / "x.pth", b"\x1f\x8b\x08\x00" + b"0" * 90), "gunzip"),
    "hdf5": (lambda d: written(d / "x.h5", b"\x89HDF\r\n\x1a\n" + b"0" * 90), "HDF5"),
    "text": (lambda d: written(d / "x.pth", b"hello" * 50), "neither a PyTorch nor a safetensors"),
    "truncated": (lambda d: cut(save(d / "x.pth", weights()), 0.7), "cut short or damaged"),
    "truncated old": (
        lambda d: cut(save(d / "x.pth", weights(), _use_new_zipfile_serialization=False), 0.7),
        "cut short or damaged",
    ),
    "truncated safetensors": (
        lambda d: cut(FORMS["weights.safetensors"](d / "x.safetensors", weights()), 0.7),
        "cut short or damaged",
    ),
    "whole module": (lambda d: save(d / "x.pth", torch.nn.Linear(2, 2)), "asks for torch.nn.modules.linear.Linear"),
    "list": (lambda d: save(d / "x.pth", [torch.zeros(2)]), "holds a list"),
    "no tensors": (lambda d: save(d / "x.pth", {"epoch": 3}), "holds no tensors"),
    "2-D SAM": (lambda d: save(d / "x.pth", dict(SAM_2D)), "2-D SAM.*needs a 3-D network"),
    "unknown network": (lambda d: save(d / "x.pth", {"conv1.weight": torch.zeros(3)}), "does not know .conv1.weight"),
    "wrong input size": (lambda d: save(d / "x.pth", weights(BIG_CUBE)), "256³ voxels.*128³"),
    "missing tensor": (
        lambda d: save(d / "x.pth", changed(**{"mask_decoder.iou_token.weight": None})),
        "one tensor does not fit: mask_decoder.iou_token.weight is missing",
    ),
    "wrong shape": (
        lambda d: save(d / "x.pth", changed(**{"image_encoder.blocks.1.mlp.lin2.weight": torch.zeros(3, 4)})),
        r"blocks.1.mlp.lin2.weight has the shape \(3, 4\) instead of \(12, 8\)",
    ),
    "more tensors": (
        lambda d: save(d / "x.pth", changed(adapter=torch.zeros(1))),
        "adapter is unexpected",
    ),
    "not finite": (lambda d: save(d / "x.pth", with_nan()), "2 weights in mask_decoder.iou_token.weight"),
    "encoder alone": (lambda d: save(d / "x.pth", encoder_alone()), "FastSAM3D's student encoder.*give decoder="),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_are_one_helpful_sentence(case: str, tmp_path: Path) -> None:
    make, pattern = REFUSALS[case]
    with pytest.raises(CheckpointError, match=pattern) as caught:
        checkpoints.open_network(make(tmp_path))
    assert_one_sentence(str(caught.value))


def assert_one_sentence(text: str) -> None:
    assert "\n" not in text
    assert text.endswith(".")
    assert ". " not in text
    assert len(text) < 500, text


def test_a_file_cannot_run_anything(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    path = save(tmp_path / "evil.pth", {"state_dict": weights(), "x": Payload(os.mkdir, str(canary))})
    with pytest.raises(CheckpointError, match=r"asks for posix\.mkdir to be run") as caught:
        checkpoints.open_network(path)
    assert_one_sentence(str(caught.value))
    plain = written(tmp_path / "evil.bin", pickle.dumps(Payload(os.mkdir, str(canary)), protocol=2))
    with pytest.raises(CheckpointError):
        checkpoints.open_network(plain)
    assert not canary.exists()


def test_a_damaged_archive_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "damaged.pth"
    torch.save({"weight": torch.ones(100)}, path)
    raw = bytearray(path.read_bytes())
    start = raw.index(b"PK\x01\x02")
    raw[start : start + 4] = b"XXXX"  # the archive's table of contents
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"damaged\.pth is cut short or damaged; download it again"):
        checkpoints.read(path)


def test_torchscript_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    with pytest.raises(CheckpointError, match="compiled TorchScript program"):
        checkpoints.open_network(path)


def test_student_encoder_with_the_decoder_of_another_file(tmp_path: Path) -> None:
    encoder = save(tmp_path / "fastsam3d.pth", encoder_alone(STUDENT))
    whole = save(tmp_path / "sam_med3d.pth", weights(TEACHER))
    network, _ = checkpoints.open_network(encoder, decoder=whole)
    assert network.spec.architecture == "fastsam3d"
    assert network.spec.source == f"{encoder} + {whole}"
    state = network.state_dict()
    assert all(torch.equal(state[f"image_encoder.{name}"], tensor) for name, tensor in encoder_alone(STUDENT).items())
    assert torch.equal(state["mask_decoder.iou_token.weight"], weights()["mask_decoder.iou_token.weight"])


def test_decoders_that_do_not_complete_an_encoder(tmp_path: Path) -> None:
    encoder = save(tmp_path / "fastsam3d.pth", encoder_alone(STUDENT))
    with pytest.raises(CheckpointError, match="no prompt encoder and mask decoder"):
        checkpoints.open_network(encoder, decoder=encoder)
    other = EncoderShape(grid=8, patch=16, width=12, heads=2, windows=(8,), hidden=8, out=96)
    with pytest.raises(CheckpointError, match=r"does not complete the encoder: .* instead of") as caught:
        checkpoints.open_network(encoder, decoder=save(tmp_path / "other.pth", weights(other)))
    assert_one_sentence(str(caught.value))


def test_full_fastsam3d_needs_no_decoder(tmp_path: Path) -> None:
    network, _ = checkpoints.open_network(save(tmp_path / "x.pth", weights(STUDENT)))
    assert (network.spec.architecture, network.spec.layers) == ("fastsam3d", 2)


def test_file_named_fastsam3d_that_is_the_teacher(tmp_path: Path) -> None:
    """Such a file is on the hub: its name is not believed, and the user is told."""
    path = save(tmp_path / "FastSAM3D.pth", weights(TEACHER))
    network, notes = checkpoints.open_network(path)
    assert network.spec.architecture == "sam-med3d"
    assert any("named after FastSAM3D, but its tensors are those of the 3-block SAM-Med3D" in note for note in notes)
    assert "named after FastSAM3D" in str(checkpoints.inspect(path))
    alone = save(tmp_path / "fastsam3d_encoder.pth", encoder_alone(TEACHER))
    network, notes = checkpoints.open_network(alone, decoder=path)
    assert network.spec.architecture == "sam-med3d"
    assert any("named after FastSAM3D" in note for note in notes)


def test_teacher_is_refused_as_student_by_name_and_shape(tmp_path: Path) -> None:
    path = save(tmp_path / "x.pth", weights(TEACHER))
    with pytest.raises(CheckpointError, match=r"cannot be loaded as fastsam3d .*pos_embed has the shape") as caught:
        checkpoints.open_network(path, architecture="fastsam3d")
    assert_one_sentence(str(caught.value))


def test_inspect_tells_what_a_training_checkpoint_is(tmp_path: Path) -> None:
    report = checkpoints.inspect(save(tmp_path / "sam_model_latest.pth", training_checkpoint(weights())))
    text = str(report)
    assert report.loads
    assert report.recognised.kind is Kind.SAM_MED3D
    told = "3 blocks|args.model_type|vit_b_ori|args.task_name|union_train|epoch|optimiser state|module.|losses|last e"
    for part in told.split("|"):
        assert part in text, part


def test_inspect_of_a_foreign_file_says_why_it_does_not_load(tmp_path: Path) -> None:
    report = checkpoints.inspect(save(tmp_path / "vit_b.pth", dict(SAM_2D)))
    assert not report.loads
    assert "loads" in str(report)
    assert "2-D SAM" in str(report)


def test_inspect_of_a_student_says_what_it_needs(tmp_path: Path) -> None:
    report = checkpoints.inspect(save(tmp_path / "x.pth", encoder_alone()))
    assert not report.loads
    assert "with decoder=FILE" in str(report)


def test_shipped_default_is_recognised() -> None:
    if not list(checkpoints.WEIGHTS.glob("*.safetensors")):
        pytest.skip("the compact weights are not in this checkout")
    report = checkpoints.inspect("compact")
    assert report.loads
    assert report.recognised.kind is Kind.COMPACT
    network, notes = checkpoints.open_network()
    assert network.spec.architecture == "compact"
    assert network.spec.sha256 == report.contents.sha256
    assert notes == []


def test_damaged_default_is_refused(tmp_path: Path) -> None:
    if not list(checkpoints.WEIGHTS.glob("*.safetensors")):
        pytest.skip("the compact weights are not in this checkout")
    state = checkpoints.read(checkpoints.locate(None)).state
    del state[next(iter(state))]
    path = tmp_path / "compact.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(CheckpointError, match="is no compact network of this version") as caught:
        checkpoints.open_network(path)
    assert "\n" not in str(caught.value)


def test_missing_default_is_no_reason_for_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "WEIGHTS", tmp_path)
    with pytest.raises(CheckpointError, match="compact default is missing") as caught:
        checkpoints.open_network()
    assert_one_sentence(str(caught.value))


def test_listing_finds_model_files(tmp_path: Path) -> None:
    for name in ("b.pth", "a.safetensors", "notes.txt", "c.PT"):
        (tmp_path / name).touch()
    (tmp_path / "folder.pth").mkdir()
    assert [path.name for path in checkpoints.listing(tmp_path)] == ["a.safetensors", "b.pth", "c.PT"]
    assert checkpoints.listing(tmp_path / "nowhere") == []


@pytest.fixture(scope="module")
def real_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM-Med3D's real names and shapes, in the published file's form: 402 MB."""
    content = {"model_state_dict": parity_weights.sam_med3d(), "args": argparse.Namespace(model_type="vit_b_ori")}
    return save(tmp_path_factory.mktemp("real") / "sam_med3d_turbo.pth", content)


def test_real_file_loads_and_is_recognised(real_file: Path) -> None:
    network, notes = checkpoints.open_network(real_file)
    spec = network.spec
    assert 400 < spec.megabytes < 404
    assert (spec.architecture, spec.layers, spec.width, spec.heads) == ("sam-med3d", 12, 768, 12)
    assert (spec.cube_size, spec.grid_size, spec.parameters) == (128, 32, 100_509_616)
    assert notes == []
    points, labels = torch.full((1, 3), 64.0), torch.ones(1, dtype=torch.int64)
    embedding = parity_weights.references("sam_med3d")["embedding_1"]
    logits, _ = network.decode(embedding, points, labels)
    assert (logits - parity_weights.references("sam_med3d")["low_1_a"]).abs().max() <= 2e-5


def test_real_teacher_forced_into_the_student(real_file: Path) -> None:
    pattern = (
        r"12 blocks.*cannot be loaded as fastsam3d .*attn.rel_pos_d has the shape \(15, 64\) instead of \(15, 128\)"
    )
    with pytest.raises(CheckpointError, match=pattern):
        checkpoints.open_network(real_file, architecture="fastsam3d")
    report = str(checkpoints.inspect(real_file))
    assert "as sam-med3d" in report
    assert "fits" in report


def test_real_student_file(real_file: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "fastsam3d.pth", parity_weights.student())
    network, _ = checkpoints.open_network(path, decoder=real_file)
    assert (network.spec.architecture, network.spec.layers, network.spec.heads) == ("fastsam3d", 6, 6)
