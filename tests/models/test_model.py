"""Models on devices: one copy of the weights, safe threads, and what happens when memory runs out."""

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import STUDENT, encoder_alone, save, weights
from support import BallNetwork, torso_like

from sammed3d_nb import Session, load_model
from sammed3d_nb.errors import CheckpointError, DeviceError
from sammed3d_nb.models import checkpoints
from sammed3d_nb.models.devices import missing, pick_device
from sammed3d_nb.models.model import Model
from sammed3d_nb.network.sam_med3d import SamMed3D


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "small.pth", weights())


def cube(seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 1, 128, 128, 128, generator=torch.Generator().manual_seed(seed))


def test_raw_intensities_to_an_answer(file: Path) -> None:
    model = load_model(file, device="cpu")
    raw = np.random.default_rng(0).normal(40, 100, (128, 128, 128)).astype(np.int16)
    tensor = model.prepare(raw)
    inside = tensor[0, 0][torch.from_numpy(raw > 0)]
    assert abs(float(inside.mean())) < 1e-3
    assert float(inside.std()) == pytest.approx(1, abs=1e-3)
    embedding = model.encode(tensor)
    assert isinstance(embedding, torch.Tensor)
    assert embedding.shape == (1, 48, 8, 8, 8)
    first = model.decode(embedding, [(64, 64, 64)], [1])
    second = model.decode(embedding, np.array([[64, 64, 64], [3, 9, 100]]), np.array([1, 0]), first.logits)
    for decoded in (first, second):
        assert decoded.logits.shape == (1, 1, 32, 32, 32)
        assert decoded.logits.dtype == torch.float32
        assert decoded.quality.shape == (1, 1)
    assert not torch.equal(first.logits, second.logits)
    first.logits.clamp_(-1, 1)  # the caller's own


@pytest.mark.parametrize("dark", [np.zeros((128,) * 3), np.full((128,) * 3, -1000.0), np.full((128,) * 3, 7.0)])
def test_cubes_without_contrast_give_finite_answers(file: Path, dark: np.ndarray) -> None:
    """Air alone, padding alone, one constant: the original divides by zero there."""
    model = load_model(file, device="cpu")
    decoded = model.decode(model.encode(model.prepare(dark)), [(64, 64, 64)], [1])
    assert bool(torch.isfinite(decoded.logits).all())


def test_wrong_shapes_are_named(file: Path) -> None:
    model = load_model(file, device="cpu")
    with pytest.raises(ValueError, match=r"must have the shape \(128, 128, 128\), got \(64, 64, 64\)"):
        model.prepare(np.zeros((64, 64, 64)))
    with pytest.raises(ValueError, match=r"got \(1, 1, 64, 128, 128\)"):
        model.encode(torch.zeros(1, 1, 64, 128, 128))
    with pytest.raises(ValueError, match=r"got \(2, 2\) and \(2,\)"):
        model.decode(model.encode(cube()), [(1, 2), (3, 4)], [1, 1])
    with pytest.raises(ValueError, match=r"previous logits must have the shape \(1, 1, 32, 32, 32\), got"):
        model.decode(model.encode(cube()), [(1, 2, 3)], [1], torch.zeros(1, 1, 128, 128, 128))
    with pytest.raises(ValueError, match=r"embedding must have the shape \(1, 48, 8, 8, 8\), got \(1, 384, 8, 8, 8\)"):
        model.decode(torch.zeros(1, 384, 8, 8, 8), [(1, 2, 3)], [1])
    with pytest.raises(ValueError, match="Clicks must be"):
        model.decode(model.encode(cube()), np.zeros((0, 3)), np.zeros(0))


def test_one_copy_of_the_weights(file: Path, tmp_path: Path) -> None:
    model = load_model(file, device="cpu")
    assert load_model(str(file), device="cpu") is model
    assert load_model(file, device="cpu", precision="bfloat16") is not model
    assert load_model(save(tmp_path / "other.pth", weights(seed=5)), device="cpu") is not model


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", weights(seed=1))
    model = load_model(path, device="cpu")
    save(path, weights(STUDENT, seed=2))
    assert load_model(path, device="cpu").spec.architecture == "fastsam3d"
    assert model.spec.architecture == "sam-med3d"


def test_weights_go_when_nobody_holds_them(file: Path) -> None:
    from sammed3d_nb.models.model import _loaded

    model = load_model(file, device="cpu", precision="float16")
    held = len(_loaded)
    del model
    gc.collect()
    assert len(_loaded) == held - 1


def test_concurrent_calls_give_the_answers_of_calls_in_turn(file: Path) -> None:
    model = load_model(file, device="cpu")

    def work(seed: int) -> torch.Tensor:
        clicks = torch.randint(0, 128, (1 + seed % 4, 3), generator=torch.Generator().manual_seed(seed))
        embedding = model.encode(cube(seed))
        decoded = model.decode(embedding, clicks, torch.ones(len(clicks)))
        return model.decode(embedding, clicks, torch.ones(len(clicks)), decoded.logits).logits

    in_turn = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(8)))
    for a, b in zip(in_turn, together, strict=True):
        torch.testing.assert_close(a, b)


def test_concurrent_loading_loads_once(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pth", weights(seed=3))
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: load_model(path, device="cpu"), range(4)))
    assert len({id(model) for model in models}) == 1


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_near(file: Path, precision: str) -> None:
    network, _ = checkpoints.open_network(file)
    exact, low = load_model(file, device="cpu"), Model(network, torch.device("cpu"), precision)
    a, b = exact.encode(cube()), low.encode(cube())
    assert isinstance(a, torch.Tensor)
    assert isinstance(b, torch.Tensor)
    assert float((a - b.float()).norm() / a.norm()) < 0.05
    assert low.megabytes < 0.7 * exact.megabytes
    matrix = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert low.network.state_dict()[matrix].dtype == torch.float32


@pytest.mark.parametrize(("fast", "instead"), [(True, "bfloat16"), (False, "float32")])
def test_float16_on_a_cpu_is_answered_in_what_a_cpu_can(
    file: Path, fast: bool, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One click took 26 minutes."""
    monkeypatch.setattr("sammed3d_nb.models.model.bfloat16_is_fast", lambda: fast)
    model = load_model(file, device="cpu", precision="float16")
    assert model.precision == instead
    assert model.notes[-1] == f"A CPU takes minutes for a click in float16: the model answers in {instead}."
    assert load_model(file, device="cpu", precision="float16") is model


def test_devices_and_precisions_that_are_not_there(file: Path) -> None:
    with pytest.raises(DeviceError, match=r"'cuda:77' cannot be used here"):
        load_model(file, device="cuda:77")
    with pytest.raises(DeviceError, match="'gpu' cannot be used here"):
        load_model(file, device="gpu")
    with pytest.raises(DeviceError, match="say cuda, mps or cpu"):
        load_model(file, device="meta")
    with pytest.raises(DeviceError, match=r"'fp8' is not known; say one of float32, bfloat16, float16"):
        load_model(file, device="cpu", precision="fp8")
    assert pick_device().type in ("cuda", "mps", "cpu")


def test_student_needs_a_decoder(file: Path, tmp_path: Path) -> None:
    student = save(tmp_path / "student.pth", encoder_alone())
    with pytest.raises(CheckpointError, match="give decoder="):
        load_model(student)
    assert load_model(student, decoder=file, device="cpu").spec.architecture == "fastsam3d"


MESSAGE = (
    "CUDA out of memory. Tried to allocate 384.00 MiB. GPU 0 has a total capacity of 4.00 GiB of which 21.50 MiB is "
    "free."
)


class Crowded(SamMed3D):
    """A real network on a device without room for some precisions: torch's meta device stands in for the GPU.

    Attributes:
        room: the precisions that the device has room for.
        fails_at: ``"place"``, the weights do not fit, or ``"encode"``, their activations do not.
    """

    room: tuple[torch.dtype, ...] = ()
    fails_at = "place"

    def fail(self, where: str, device: torch.device, dtype: torch.dtype) -> None:
        if where == self.fails_at and device.type != "cpu" and dtype not in self.room:
            raise torch.OutOfMemoryError(MESSAGE)

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        self.fail("place", device, dtype)
        super().place(device, dtype)

    def encode(self, cube: torch.Tensor) -> torch.Tensor:
        weight = self.image_encoder.pos_embed
        self.fail("encode", weight.device, weight.dtype)
        return super().encode(cube)


@pytest.mark.parametrize("fails_at", ["place", "encode"])
@pytest.mark.parametrize(("room", "end"), [((torch.bfloat16,), ("meta", "bfloat16")), ((), ("cpu", "float32"))])
def test_out_of_memory_goes_on_with_less(room: tuple[torch.dtype, ...], end: tuple[str, str], fails_at: str) -> None:
    network = Crowded.from_state_dict(weights())
    assert isinstance(network, Crowded)
    network.room, network.fails_at = room, fails_at
    model = Model(network, torch.device("meta"), reopen=lambda: SamMed3D.from_state_dict(weights()))
    embedding = model.encode(cube())
    assert (model.device.type, model.precision) == end
    assert isinstance(embedding, torch.Tensor)
    assert embedding.device.type == end[0]
    assert len(model.notes) == (1 if room else 2)
    assert "on meta (float32), 384.00 MiB more were needed and 21.50 MiB were free" in model.notes[0]
    if end[0] == "cpu":  # and then with the weights of the file, not with rounded ones
        exact = SamMed3D.from_state_dict(weights())
        torch.testing.assert_close(embedding, exact.encode(cube()))


def test_out_of_memory_on_the_cpu_is_the_end() -> None:
    network = SamMed3D.from_state_dict(weights())
    model = Model(network, torch.device("cpu"))

    def fail(_: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("DefaultCPUAllocator: can't allocate memory")

    network.encode = fail  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        model.encode(cube())


def test_numbers_too_large_for_float16_go_on_in_bfloat16(tmp_path: Path) -> None:
    state = weights()
    state["image_encoder.blocks.2.mlp.lin2.weight"] *= 1e4
    path = save(tmp_path / "loud.pth", state)
    exact, network = load_model(path, device="cpu"), checkpoints.open_network(path)[0]
    model = Model(network, torch.device("cpu"), "float16", reopen=lambda: checkpoints.open_network(path)[0])
    embedding, expected = model.encode(cube()), exact.encode(cube())
    assert model.precision == "bfloat16"
    assert "too large for float16" in model.notes[-1]
    assert isinstance(embedding, torch.Tensor)
    assert isinstance(expected, torch.Tensor)
    assert float((embedding.float() - expected).norm() / expected.norm()) < 0.05


class Loud(BallNetwork):
    """Overflows in float16, where every mask logit would be infinite, and counts its answers."""

    def decode(self, embedding, points, labels, previous=None):  # type: ignore[no-untyped-def]
        logits, quality = super().decode(embedding.float(), points, labels, previous)
        self.answers = getattr(self, "answers", 0) + 1
        return (logits * 1e5).to(self.dtype), quality

    def encode(self, cube: torch.Tensor) -> torch.Tensor:
        return super().encode(cube.to(self.dtype))

    def place(self, device: torch.device, dtype: torch.dtype) -> None:
        self.dtype = dtype


def test_a_click_too_large_for_float16_is_answered_in_bfloat16() -> None:
    network = Loud()
    model = Model(network, torch.device("cpu"), "float16")
    session = Session(torso_like(), model)
    result = session.click((110, 100, 30))
    exact = Session(torso_like(), Model(Loud(), torch.device("cpu"))).click((110, 100, 30))
    assert len(session.clicks) == 1
    assert result.mask.any()
    assert bool((result.mask == exact.mask).mean() > 0.999)
    assert (model.precision, network.answers) == ("bfloat16", 2)
    assert model.notes == ["A number was too large for float16: ball goes on in bfloat16."]
    session.click((112, 100, 30))
    assert (len(model.notes), network.answers) == (1, 3), "it falls back once"


def test_other_errors_are_not_taken_for_missing_memory() -> None:
    class Broken(Crowded):
        def encode(self, cube: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    network = Broken.from_state_dict(weights())
    assert isinstance(network, Broken)
    network.room = (torch.float32,)
    model = Model(network, torch.device("meta"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        model.encode(cube())
    assert (model.device.type, model.precision, model.notes) == ("meta", "float32", [])


def test_missing_says_nothing_when_torch_says_nothing() -> None:
    assert missing(RuntimeError("CUBLAS_STATUS_ALLOC_FAILED")) == ""
