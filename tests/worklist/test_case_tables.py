"""Worklists and label sets as files: what stands in them, and what is said of those that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import sammed3d_nb as snb
from sammed3d_nb.errors import UserError
from sammed3d_nb.worklist.labels import read_labels
from sammed3d_nb.worklist.listing import Found, found_in, keyed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        path = tmp_path / "images" / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        volume = snb.Volume.from_array(np.arange(240, dtype=np.int16).reshape(4, 6, 10), (1, 1, 2))
        sitk.WriteImage(volume.image, str(path))
    (tmp_path / "labels.yaml").write_text("labels: [liver]")
    return tmp_path


def table(folder: Path, text: str, encoding: str = "utf-8") -> list[Found]:
    path = folder / "cases.csv"
    path.write_bytes(text.encode(encoding))
    return found_in([path])


def test_a_list_says_all_there_is_to_say(folder: Path) -> None:
    first, second = table(
        folder,
        "Image,name,modality,label set,notes,annotator,readings,age\n"
        'images/a.nii.gz,Patient A,MR,labels,"stent, hip",anna|Berta B.,2,57\n'
        "\n"
        f"{folder / 'images' / 'b.nii.gz'},,,,,,,\n",
    )
    assert (first.name, first.modality, first.notes, first.readings) == ("Patient A", "MR", "stent, hip", 2)
    assert first.annotators == ("anna", "Berta B.")
    assert first.label_set == str(folder / "labels.yaml")
    assert first.size == (10, 6, 4)
    assert (second.name, second.notes, second.readings, second.annotators) == ("b.nii.gz", "", None, ())
    assert first.key != second.key


@pytest.mark.parametrize("between", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_lists_as_spreadsheets_write_them(folder: Path, between: str, encoding: str) -> None:
    text = "image,name\r\nimages/a.nii.gz,Müller\r\n".replace(",", between)
    (found,) = table(folder, text, encoding)
    assert found.name == "Müller"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column “image”"),
        ("path\nimages/a.nii.gz\n", "no column “image”"),
        ("image\n", "lists no case"),
        ("image,labelset\nimages/a.nii.gz,x\n", "column “labelset”; if it is to be “label_set”"),
        ("image,image\nx,y\n", "two columns “image”"),
        ("image\nimages/x.nii.gz\n", "Row 2: there is no images/x.nii.gz"),
        ("image\nimages/a.nii.gz\nimages/a.nii.gz\n", "Row 3: it names the image of row 2 again"),
        ("image\nimages\n", "Row 2: images holds 3 images"),
        ("image,name\n,Meyer\n", "row 2 names no image"),
        ("image,name\nimages/a.nii.gz,Meyer,Anna\n", "row 2 has 3 values for 2 columns"),
        ("image,label_set\nimages/a.nii.gz,organs\n", "Row 2: there is no label set organs"),
        ("image,readings\nimages/a.nii.gz,two\n", "row 2: readings is two"),
        ("image,readings\nimages/a.nii.gz,0\n", "row 2: readings is 0"),
        ("image,series\nimages/a.nii.gz,1.2.3\n", "Row 2: images/a.nii.gz holds no series 1.2.3"),
        ('image,notes\nimages/a.nii.gz,"open\n', "row 2"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_row(folder: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told.replace("(", r"\(")) as error:
        table(folder, text)
    assert "cases.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_several_wrong_rows_are_told_at_once(folder: Path) -> None:
    rows = "".join(f"images/x{n}.nii.gz\n" for n in range(8))
    with pytest.raises(UserError, match=r"Row 2: .*Row 6: .*And 3 more"):
        table(folder, f"image\n{rows}")


def test_a_list_in_another_encoding_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match="not in UTF-8"):
        table(folder, "image,name\nimages/a.nii.gz,Müller\n", "latin-1")


def test_keys_hold_where_the_data_is_mounted_elsewhere_and_are_never_equal() -> None:
    def keys(*paths: str) -> list[str]:
        return [one.key for one in keyed([Found(path, None, "") for path in paths])]

    assert keys("/mnt/a/case1/ct.nii.gz") == keys("/data/case1/ct.nii.gz")
    same = keys("/a/case1/ct.nii.gz", "/b/case1/ct.nii.gz", "/a/case2/ct.nii.gz")
    assert len(set(same)) == 3
    series = keyed([Found("/a/x", "1.2", ""), Found("/a/x", "1.3", "")])
    assert series[0].key != series[1].key


def labels(folder: Path, text: str):
    path = folder / "organs.yaml"
    path.write_text(text)
    return read_labels(path)


def test_a_label_set_says_names_colours_order_and_which_are_required(folder: Path) -> None:
    found = labels(
        folder,
        """
        name: Abdomen
        guideline: Leave out fat.
        labels:
          - name: spleen
            colour: "#56b4e9"
            required: false
            snomed: 78961009
            guideline: |
              Two
              lines.
          - liver
          - {name: kidney, color: "#ff0000"}
        """,
    )
    assert [label.name for label in found.labels] == ["spleen", "liver", "kidney"]
    assert [label.required for label in found.labels] == [False, True, True]
    assert found.labels[0].code == "78961009"
    assert found.labels[0].guideline == "Two\nlines."
    assert (found.name, found.guideline) == ("Abdomen", "Leave out fat.")
    assert len({label.colour for label in found.labels}) == 3
    assert found.labels[2].colour == "#ff0000"
    assert found.missing([]) == ["liver", "kidney"]
    assert labels(folder, "- liver\n- spleen\n").name == "organs"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no list of labels"),
        ("labels: liver", "no list of labels"),
        ("labels: [a: b", "organs.yaml, line 1"),
        ("labels: [liver]\nguidelines: x", "“guideline”"),
        ("labels: [{name: liver, colour: red}]", r"label 1 \(liver\): “red” is no colour"),
        ("labels: [{name: liver, requird: true}]", "did you mean “required”"),
        ("labels: [{name: liver, required: perhaps}]", "required is 'perhaps'"),
        ("labels: [{name: liver, snomed: K-12}]", "snomed is 'K-12'"),
        ("labels: [liver, Liver]", "label 2: there is another label 'Liver'"),
        ("labels: [{colour: '#ffffff'}]", "label 1 has no name"),
        ("labels: [[a]]", r"label 1 is \['a'\]"),
        ("labels: [{name: {a: b}}]", "name is"),
        ("labels: !!python/object/apply:os.system ['true']", "organs.yaml, line 1"),
    ],
)
def test_a_label_set_that_cannot_be_used_is_said_where(folder: Path, text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as error:
        labels(folder, text)
    assert "organs.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_label_set_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(folder / "none.yaml")
