"""The command line: what it prints, what it writes, and how it refuses."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import voxels, write_series
from small_models import encoder_alone, save, weights
from support import SHARED

from sammed3d_nb.commands import cli, replay
from sammed3d_nb.imaging.phantom import make_phantom
from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.models import checkpoints, hub

SHIPPED = sorted(checkpoints.WEIGHTS.glob("*.safetensors"))
needs_default = pytest.mark.skipif(not SHIPPED, reason="the default model is not in weights/ yet")


@pytest.fixture
def image(tmp_path):
    """A small oblique CT-like file."""
    values = np.random.default_rng(0).normal(40, 20, (20, 40, 50)).astype(np.int16)
    values[6:14, 12:28, 15:35] += 100
    made = sitk.GetImageFromArray(values)
    made.SetSpacing((1.5, 1.5, 4.0))
    made.SetOrigin((-20, 30, -100))
    c, s = np.cos(0.2), np.sin(0.2)
    made.SetDirection((c, -s, 0, s, c, 0, 0, 0, -1))
    path = tmp_path / "torso.nii.gz"
    sitk.WriteImage(made, str(path))
    return path


@pytest.fixture
def checkpoint(tmp_path):
    """A real SAM-Med3D file of small size; with these random weights its masks are neither empty nor full."""
    return save(tmp_path / "small.pth", {"model_state_dict": weights(seed=4)})


def run(capsys, *arguments):
    """Exit status, standard output, standard error."""
    capsys.readouterr()
    try:
        status = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    return status, out, err


def refusal(capsys, *arguments):
    """The one sentence on standard error with which a command exits 2."""
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


def test_help_and_import_start_nothing_heavy():
    code = (
        "import sys, sammed3d_nb, sammed3d_nb.commands.cli as cli\n"
        "for words in (['--help'], ['segment', '--help'], ['app', '--help'], ['models', 'get', '--help']):\n"
        "    try: cli.main(words)\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'matplotlib', 'SimpleITK', 'scipy', 'numpy', 'ipywidgets', 'voila', 'pydicom'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("loaded: []\n")
    for command in ("app", "lab", "segment", "replay", "export", "models", "doctor", "bench", "evaluate"):
        assert re.search(rf"^    {command} ", done.stdout, re.MULTILINE)


def test_segment_writes_a_mask_with_the_images_geometry(capsys, tmp_path, image, checkpoint):
    mask = tmp_path / "mask.nii.gz"
    status, out, err = run(
        capsys, "segment", image, "--click", "25,20,10", "--click", "2,3,4:-", "-o", mask, "--model", checkpoint
    )
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) == 2
    pattern = r"click {} +{} +volume \d+\.\d\d mL  distance (\d+\.\d mm|no mask)  quality -?\d+\.\d\d  \d+\.\d\d s"
    assert re.fullmatch(pattern.format(1, "25,20,10"), lines[0])
    assert re.fullmatch(pattern.format(2, "2,3,4:-"), lines[1])
    written, source = sitk.ReadImage(str(mask)), sitk.ReadImage(str(image))
    assert written.GetSize() == source.GetSize()
    assert written.GetPixelID() == sitk.sitkUInt8
    for found, expected in zip(
        (written.GetSpacing(), written.GetOrigin(), written.GetDirection()),
        (source.GetSpacing(), source.GetOrigin(), source.GetDirection()),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    volume_ml = sitk.GetArrayViewFromImage(written).sum() * 1.5 * 1.5 * 4 / 1000
    assert 0 < volume_ml < 360
    assert f"volume {volume_ml:.2f} mL" in lines[1]


def test_trace_prints_every_space_of_every_click(capsys, tmp_path, image, checkpoint):
    status, out, _ = run(
        capsys, "segment", image, "--click", "25,20,10", "-o", tmp_path / "m.nrrd", "--model", checkpoint, "--trace"
    )
    assert status == 0
    rows = {line.split()[0]: line.split()[1:4] for line in out.splitlines()[1:]}
    assert {"array", "voxel", "lps", "ras", "cube", "grid", "round"} == set(rows)
    assert [float(n) for n in rows["voxel"]] == [25, 20, 10]
    assert [float(n) for n in rows["array"]] == [10, 20, 25]
    expected = sitk.ReadImage(str(image)).TransformIndexToPhysicalPoint((25, 20, 10))
    np.testing.assert_allclose([float(n) for n in rows["lps"]], expected, atol=1e-3)


def test_a_saved_session_replays_to_the_same_mask(capsys, tmp_path, image, checkpoint):
    record = tmp_path / "case.sammed3d.json"
    arguments = ["segment", image, "--click", "25,20,10", "--click", "20,20,9", "-o", tmp_path / "m.mha"]
    assert run(capsys, *arguments, "--model", checkpoint, "--save", record)[0] == 0
    assert run(capsys, "replay", record, "--model", checkpoint) == (0, "object 1: the same\n", "")
    other = save(tmp_path / "other.pth", weights(seed=7))
    assert re.search(
        r"case\.sammed3d\.json was made with \S+ \(\S+, SHA-256 \w{12}…\), this is \S+ \(other\.pth, SHA-256 .*; give",
        refusal(capsys, "replay", record, "--model", other),
    )
    status, out, _ = run(capsys, "replay", record, "--model", other, "--other-model")
    assert status == 1
    first, head, row = out.splitlines()
    assert re.fullmatch(r"object 1: different, Dice 0\.\d{4} \(made with another model file \(\S+\)\)", first)
    assert head.split() == ["prompts", "to", "Dice", "0.9", "then", "now", "Dice", "at", "the", "end"]
    assert row.split()[:3] == ["object", "1", "2"]
    status, out, _ = run(capsys, "replay", record, record, "--model", checkpoint)
    assert (status, out) == (0, f"{record}\nobject 1: the same\n" * 2)
    moved = image.rename(tmp_path / "moved.nii.gz")
    assert "say where it is with --image" in refusal(capsys, "replay", record, "--model", checkpoint)
    status, out, _ = run(capsys, "replay", record, "--model", checkpoint, "--image", moved)
    assert (status, out) == (0, "object 1: the same\n")
    assert "made on" in refusal(capsys, "replay", record, "--model", checkpoint, "--image", tmp_path / "m.mha")


def test_nothing_overwrites_the_image(capsys, tmp_path, image):
    content = image.read_bytes()
    for written in (["-o", image], ["-o", tmp_path / "m.nii.gz", "--save", image]):
        sentence = refusal(capsys, "segment", image, "--click", "25,20,10", *written)
        assert "torso.nii.gz is the image itself and would be overwritten" in sentence
    assert image.read_bytes() == content
    assert list(tmp_path.iterdir()) == [image]


def test_places_that_do_not_exist_are_refused_before_any_work(capsys, tmp_path, image):
    mask = tmp_path / "m.nii.gz"
    arguments = ["segment", image, "--click", "25,20,10", "-o", mask, "--save", tmp_path / "nowhere" / "x.json"]
    assert f"The folder {tmp_path / 'nowhere'} does not exist; make it first" in refusal(capsys, *arguments)
    assert not mask.exists()
    assert "does not exist; make it first" in refusal(
        capsys, "evaluate", tmp_path, "--baseline", "--csv", tmp_path / "nowhere" / "x.csv"
    )


def test_replay_opens_the_recorded_series_and_model(capsys, tmp_path, checkpoint):
    folder = write_series(tmp_path / "ct", uid="1.2.1", values=voxels(1)[:3], description="Thin")
    write_series(folder, uid="1.2.2")
    record = tmp_path / "case.sammed3d.json"
    arguments = ["segment", folder, "--series", "Thin", "--click", "5,4,1", "-o", tmp_path / "m.mha"]
    assert run(capsys, *arguments, "--model", checkpoint, "--save", record)[0] == 0
    assert run(capsys, "replay", record) == (0, "object 1: the same\n", "")
    assert "made on Thin" in refusal(capsys, "replay", record, "--series", "1.2.2", "--model", checkpoint)


def test_a_record_names_its_model_by_checksum_then_by_file(checkpoint):
    (name, known), *_ = hub.KNOWN.items()
    early = {"name": "mine", "sha256": known.sha256, "source": str(checkpoint)}
    assert replay._recorded_model(early) == (name, None)
    finetuned = {"path": str(checkpoint), "sha256": "0" * 64}
    assert replay._recorded_model({"files": [finetuned]}) == (str(checkpoint), None)
    published = {"path": "/gone/turbo.pth", "sha256": known.sha256}
    assert replay._recorded_model({"files": [finetuned, published]}) == (str(checkpoint), name)
    checkpoint.unlink()
    assert replay._recorded_model({"files": [finetuned, published]}) == (None, None)
    here = {"path": __file__, "sha256": "1" * 64}
    assert replay._recorded_model({"files": [here, finetuned]}) == (__file__, None), "its decoder may be given"


def test_a_model_of_two_files_replays_with_both_or_is_refused(capsys, tmp_path, image, checkpoint):
    student = save(tmp_path / "student.pth", encoder_alone())
    record = tmp_path / "case.json"
    arguments = ["segment", image, "--click", "25,20,10", "-o", tmp_path / "m.mha", "--save", record]
    assert run(capsys, *arguments, "--model", student, "--decoder", checkpoint)[0] == 0
    assert run(capsys, "replay", record) == (0, "object 1: the same\n", "")
    another = save(tmp_path / "another.pth", weights(seed=7))
    decoder = ["--model", student, "--decoder", another]
    assert re.search(
        rf"was made with FastSAM3D \(student\.pth, .* \+ {checkpoint.name}, .*\), this is .* \+ another\.pth, ",
        refusal(capsys, "replay", record, *decoder),
    )
    assert "different" in run(capsys, "replay", record, *decoder, "--other-model")[1]
    checkpoint.unlink()
    sentence = refusal(capsys, "replay", record, "--model", another)
    assert f"+ {checkpoint.name}, SHA-256" in sentence
    assert "give the same one (--model, and --decoder if there are two files)" in sentence


def test_replay_of_what_is_no_record(capsys, tmp_path, image):
    assert "There is no record" in refusal(capsys, "replay", tmp_path / "none.json")
    assert "is not a saved session" in refusal(capsys, "replay", image)
    (tmp_path / "a.json").write_text(json.dumps({"format": "other"}))
    assert "is not a saved session" in refusal(capsys, "replay", tmp_path / "a.json")


@pytest.mark.parametrize(
    ("click", "part"),
    [
        ("50,0,0", "Voxel (50, 0, 0) lies outside the volume; choose one between (0, 0, 0) and (49, 39, 19)."),
        ("-1,2,3", "Voxel (-1, 2, 3) lies outside the volume"),
        ("1,2", "'1,2' is no click; expected whole numbers I,J,K"),
        ("1.5,2,3", "is no click"),
        ("1,2,3:x", "is no click"),
    ],
)
def test_bad_clicks(capsys, tmp_path, image, checkpoint, click, part):
    sentence = refusal(capsys, "segment", image, "--click", click, "-o", tmp_path / "m.nii.gz", "--model", checkpoint)
    assert part in sentence
    assert not (tmp_path / "m.nii.gz").exists()


def test_boxes_strokes_lassos_and_start_masks(capsys, tmp_path, image, checkpoint):
    stroke, line = tmp_path / "stroke.txt", tmp_path / "line.txt"
    stroke.write_text("20,20,10\n21,20,10\n\n22,20,10\n")
    line.write_text("15,15,10\n35,15,10\n35,30,10\n")
    mask, record = tmp_path / "m.nrrd", tmp_path / "case.sammed3d.json"
    status, out, error = run(
        capsys, "segment", image, "--box", "10,10,5:30,30,15", "--scribble", stroke, "--lasso", line, "--click",
        "25,20,10", "-o", mask, "--model", checkpoint, "--save", record,
    )  # fmt: skip
    assert status == 0, error
    assert [row.split()[:2] for row in out.splitlines()] == [
        ["box", "1"],
        ["scribble", "2"],
        ["lasso", "3"],
        ["click", "4"],
    ]
    assert run(capsys, "replay", record, "--model", checkpoint)[1] == "object 1: the same\n"
    if sitk.GetArrayViewFromImage(sitk.ReadImage(str(mask))).any():
        again = tmp_path / "again.nrrd"
        assert run(capsys, "segment", image, "--start", mask, "-o", again, "--model", checkpoint)[0] == 0
        assert np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(one))) for one in (mask, again)))
    stroke.write_text("1,2\n")
    for options, part in (
        (["--box", "1,2,3"], "is no box; expected two corners"),
        (["--scribble", stroke], "holds '1,2'; expected a line I,J,K"),
        (["--lasso", tmp_path / "none.txt"], "cannot be read; expected a text file"),
        ([], "There is no prompt; give at least one --click"),
    ):
        sentence = refusal(capsys, "segment", image, *options, "-o", tmp_path / "x.nii.gz", "--model", checkpoint)
        assert part in sentence


def test_a_negative_first_click(capsys, tmp_path, image, checkpoint):
    arguments = ["segment", image, "--click", "1,2,3:-", "-o", tmp_path / "m.nii.gz", "--model", checkpoint]
    assert "negative click" in refusal(capsys, *arguments)


def test_bad_arguments(capsys, tmp_path, image, checkpoint):
    output = tmp_path / "m.nii.gz"
    click = ["--click", "1,2,3"]
    assert "required: -o/--output" in refusal(capsys, "segment", image, *click)
    assert "There is no prompt; give at least one --click" in refusal(capsys, "segment", image, "-o", output)
    assert "Unrecognized arguments: --wat" in refusal(capsys, "segment", image, *click, "-o", output, "--wat")
    assert "see sammed3d-nb --help" in refusal(capsys)
    assert "'0' is no port" in refusal(capsys, "app", "--port", "0")
    assert "ends in no known format" in refusal(capsys, "segment", image, *click, "-o", tmp_path / "m.png")
    assert "does not exist; make it first" in refusal(capsys, "segment", image, *click, "-o", tmp_path / "no/m.nii")
    model = ["--model", checkpoint]
    assert "device" in refusal(capsys, "segment", image, *click, "-o", output, *model, "--device", "toaster")
    assert "precision" in refusal(capsys, "segment", image, *click, "-o", output, *model, "--precision", "int1")


def test_bad_images_and_models(capsys, tmp_path, image, checkpoint):
    rest = ["--click", "1,2,3", "-o", tmp_path / "m.nii.gz"]
    assert "none.nii does not exist" in refusal(capsys, "segment", tmp_path / "none.nii", *rest)
    content = image.read_bytes()
    image.write_bytes(content[:2000])
    assert "truncated" in refusal(capsys, "segment", image, *rest)
    image.write_bytes(content)
    (tmp_path / "bad.pth").write_text("hello")
    assert "bad.pth" in refusal(capsys, "segment", image, *rest, "--model", tmp_path / "bad.pth")
    student = save(tmp_path / "student.pth", encoder_alone())
    assert "decoder=" in refusal(capsys, "segment", image, *rest, "--model", student)
    status, _, _ = run(capsys, "segment", image, *rest, "--model", student, "--decoder", checkpoint)
    assert status == 0


def test_warnings_about_the_image_are_told(capsys, tmp_path, image, checkpoint):
    path = tmp_path / "four.nrrd"
    sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(image))]), str(path))
    arguments = ["segment", path, "--click", "25,20,10", "-o", tmp_path / "m.nii.gz", "--model", checkpoint]
    status, _, err = run(capsys, *arguments)
    assert status == 0
    assert err == "Warning: four.nrrd is 4-D with a single time point; it is used as a 3-D volume.\n"


def test_models(capsys, tmp_path, checkpoint):
    status, out, _ = run(capsys, "models")
    assert status == 0
    assert out.startswith("compact ")
    assert "sam-med3d-turbo" in out
    assert "no known model 'nothing'" in refusal(capsys, "models", "get", "nothing")
    status, out, _ = run(capsys, "models", "inspect", checkpoint)
    assert status == 0
    assert "SAM-Med3D" in out
    (tmp_path / "bad.pth").write_text("hello")
    assert "bad.pth" in refusal(capsys, "models", "inspect", tmp_path / "bad.pth")


def test_evaluate(capsys, tmp_path, image, checkpoint):
    case = tmp_path / "case"
    case.mkdir()
    label = sitk.ReadImage(str(image)) > 90
    label = sitk.BinaryMorphologicalOpening(label, (2, 2, 1))
    sitk.WriteImage(label, str(case / "label.nii.gz"))
    image.rename(case / "image.nii.gz")
    (case / "info.json").write_text(json.dumps({"labels": {"1": {"name": "box", "voxels": 1}}}))
    table = tmp_path / "measured.csv"
    arguments = ["evaluate", case, "--clicks", "2", "--csv", table]
    for rest in (["--model", checkpoint], ["--baseline"]):
        status, out, _ = run(capsys, *arguments, *rest)
        assert status == 0
        assert "box" in out
        assert len(table.read_text().splitlines()) == 3
        table.unlink()
    (tmp_path / "empty").mkdir()
    assert "holds no labelled case" in refusal(capsys, "evaluate", tmp_path / "empty", "--baseline")
    assert "is a folder; give the name of a file" in refusal(capsys, "evaluate", case, "--baseline", "--csv", tmp_path)
    assert "'0' is no number of clicks" in refusal(capsys, "evaluate", case, "--clicks", "0")
    assert "'-1' is no number of voxels; expected 0 or more" in refusal(capsys, "evaluate", case, "--sloppy=-1")


def test_bench_refuses_a_device_that_is_not_there(capsys):
    assert "'toaster'" in refusal(capsys, "bench", "--device", "toaster")


@needs_default
def test_phantom_organs_are_segmented_by_the_default_model(capsys, tmp_path):
    phantom = make_phantom()
    for value, name in ((1, "liver"), (2, "spleen"), (4, "left kidney")):
        click = ",".join(map(str, phantom.clicks[name]))
        mask = tmp_path / "mask.nii.gz"
        status, _, _ = run(capsys, "segment", "phantom", "--click", click, "-o", mask)
        assert status == 0
        found, truth = Volume.read(mask).array > 0, phantom.labels == value
        dice = 2 * np.sum(found & truth) / (found.sum() + truth.sum())
        assert dice > 0.6, f"{name}: Dice {dice:.2f}"


@needs_default
def test_three_clicks_in_the_spleen_of_a_real_ct(capsys, tmp_path):
    folder = SHARED / "data" / "ct_torso"
    if not folder.is_dir():
        pytest.skip("no real CT beside the project (../shared/data)")
    labels = json.loads((folder / "info.json").read_text())["labels"]
    value = next(int(key) for key, label in labels.items() if label["name"] == "spleen")
    truth = Volume.read(folder / "label.nii.gz").array == value
    mask = tmp_path / "spleen.nii.gz"
    arguments = ["segment", folder / "image.nii.gz", "-o", mask]
    found = np.zeros_like(truth)
    for _ in range(3):
        arguments += ["--click", _next_click(truth, found)]
        assert run(capsys, *arguments)[0] == 0
        found = Volume.read(mask).array > 0
    assert 2 * np.sum(found & truth) / (found.sum() + truth.sum()) >= 0.60
    image, written = Volume.read(folder / "image.nii.gz"), Volume.read(mask)
    np.testing.assert_allclose(written.voxel_to_ras.affine, image.voxel_to_ras.affine, atol=1e-3)


def _next_click(truth, found):
    """The deepest point of the larger error, as an annotator would click."""
    from scipy.ndimage import distance_transform_edt

    missed, extra = truth & ~found, found & ~truth
    error, sign = (missed, "") if missed.sum() >= extra.sum() else (extra, ":-")
    depth = distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1, 1:-1]  # the volume's faces are borders, too
    k, j, i = np.unravel_index(np.argmax(depth), depth.shape)
    return f"{i},{j},{k}{sign}"
