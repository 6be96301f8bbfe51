"""The phantom is a believable CT; the real CT is fetched once, checked, and fails with a sentence."""

import gzip
import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import SimpleITK as sitk

from sammed3d_nb.errors import DownloadError, UserError
from sammed3d_nb.imaging import sample
from sammed3d_nb.imaging.phantom import NAMES, make_phantom
from sammed3d_nb.imaging.volume import Volume


def test_the_phantom_is_a_thick_sliced_slightly_oblique_ct():
    volume = make_phantom().volume
    assert volume.modality == "CT"
    assert volume.spacing == (1.0, 1.0, 5.0)
    assert volume.array.dtype == np.int16
    tilt = np.degrees(np.arccos(np.diag(volume.direction)))
    assert np.all((tilt > 1) & (tilt < 10))
    centre = (np.array(volume.size) - 1) / 2
    np.testing.assert_allclose(volume.voxel_to_ras(centre), 0, atol=1e-9)
    assert volume.array.max() > 400  # bone
    assert np.median(volume.array[:, :20, :20]) < -950  # air


@pytest.mark.parametrize(
    ("name", "low", "high", "millilitres"),
    [
        ("liver", 90, 120, (900, 1600)),
        ("spleen", 105, 135, (80, 300)),
        ("right kidney", 160, 205, (80, 220)),
        ("left kidney", 160, 205, (80, 220)),
        ("aorta", 140, 190, (40, 120)),
        ("right lung", -900, -800, (400, 1200)),
        ("left lung", -900, -800, (400, 1200)),
        ("spine", 200, 500, (150, 500)),
        ("inferior vena cava", 110, 160, (40, 130)),
        ("gallbladder", -5, 30, (10, 70)),
        ("pancreas", 75, 115, (30, 130)),
    ],
)
@pytest.mark.parametrize("seed", [0, 3])
def test_structures_have_the_density_and_size_of_real_ones(name, low, high, millilitres, seed):
    phantom = make_phantom(seed)
    volume, value = phantom.volume, next(n for n, text in NAMES.items() if text == name)
    mask = phantom.labels == value
    i, j, k = phantom.clicks[name]
    assert mask[k, j, i]
    assert low <= np.median(volume.array[mask]) <= high
    assert millilitres[0] <= mask.sum() * np.prod(volume.spacing) / 1000 <= millilitres[1]


def test_the_stomach_holds_gas_above_fluid():
    volume, mask = make_phantom().volume, make_phantom().labels == 5
    gas, fluid = mask & (volume.array < -700), mask & (np.abs(volume.array - 18) < 40)
    assert gas.sum() > 2000
    assert fluid.sum() > 10000
    assert np.argwhere(gas)[:, 1].mean() < np.argwhere(fluid)[:, 1].mean()  # y grows towards the back


def test_noise_and_partial_volume_are_those_of_a_ct():
    volume, labels = make_phantom().volume, make_phantom().labels
    i, j, k = sample.phantom_clicks()["liver"]
    patch = volume.array[k, j - 15 : j + 15, i - 15 : i + 15]
    assert 7 < patch.std() < 20
    liver = labels == 1
    lung = labels == 7
    below = liver[:-1] & lung[1:]  # lung right over liver: slices between hold both
    between = volume.array[1:][below]
    assert np.mean((between > -800) & (between < 50)) > 0.1


def test_the_phantom_is_deterministic_and_each_seed_another():
    first = make_phantom.__wrapped__(5)
    again = make_phantom.__wrapped__(5)
    assert first.volume.fingerprint == again.volume.fingerprint
    assert np.array_equal(first.labels, again.labels)
    assert first.volume.fingerprint != make_phantom(6).volume.fingerprint


def test_the_phantom_is_made_fast():
    make_phantom.__wrapped__(1)  # warm up imports
    start = time.process_time()
    make_phantom.__wrapped__(2)
    assert time.process_time() - start < 6  # 1.5 s alone; cores are shared in tests


def test_open_sample():
    assert sample.open_sample("phantom").name == "phantom"
    assert sample.phantom_clicks() == make_phantom().clicks
    with pytest.raises(UserError, match="no sample 'mri'; say phantom or ct"):
        sample.open_sample("mri")


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server that answers with ``server.answer`` (status, bytes) and counts the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.paths.append(self.path)
            status, content = self.server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.paths = []
    path = tmp_path / "made.nii.gz"
    values = np.random.default_rng(0).integers(-1000, 1000, (9, 10, 11)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    running.answer = (200, path.read_bytes())
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv(sample.URL_VARIABLE, f"http://127.0.0.1:{running.server_port}/mirror")
    monkeypatch.setenv(sample.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(sample, "CT_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_the_ct_is_fetched_once_and_then_cached(server, tmp_path):
    path = sample.fetch_ct()
    assert path == tmp_path / "cache" / "example_ct.nii.gz"
    assert sample.fetch_ct() == path
    assert server.paths == ["/mirror/example_ct.nii.gz"]
    assert sample.open_sample("ct").size == (11, 10, 9)
    assert Volume.read(path).modality == "CT"


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(server, tmp_path):
    right = server.answer
    server.answer = (200, gzip.compress(b"something else"))
    with pytest.raises(DownloadError, match="is not the file expected"):
        sample.fetch_ct()
    assert not list((tmp_path / "cache").iterdir())
    server.answer = right
    assert sample.fetch_ct().exists()


def test_a_damaged_cache_is_fetched_again(server):
    path = sample.fetch_ct()
    path.write_bytes(b"broken")
    assert sample.fetch_ct().read_bytes() == server.answer[1]
    assert len(server.paths) == 2


def test_a_server_that_has_no_such_file(server):
    server.answer = (404, b"no")
    with pytest.raises(DownloadError, match=r"cannot be fetched from .*the server answered 404"):
        sample.fetch_ct()


def test_no_network(monkeypatch, tmp_path):
    monkeypatch.setenv(sample.URL_VARIABLE, "http://127.0.0.1:9/none")  # nothing listens there
    monkeypatch.setenv(sample.CACHE_VARIABLE, str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        sample.fetch_ct()
    sentence = str(caught.value)
    assert "(the server cannot be reached); check the network" in sentence
    assert "or open the phantom" in sentence
    assert "\n" not in sentence


def test_a_cache_that_cannot_be_written(server, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(sample.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(DownloadError, match=r"cache folder .* cannot be written; set SAMMED3D_CACHE"):
        sample.fetch_ct()


def test_the_address_names_the_commit():
    assert "/0e65a448d557382b1e925276212b3bec7f5aff83/" in sample.CT_URL
