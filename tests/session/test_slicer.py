"""3D Slicer itself (its libraries, as the wheel slicer-core) opens what is exported, and the other way round."""

import numpy as np
import pytest
from dicom_files import SHAPE, rotation
from support import BallNetwork, model_of

from sammed3d_nb.imaging.volume import Volume
from sammed3d_nb.session.session import Session

slicer = pytest.importorskip("slicer_core", reason="slicer-core is not installed (wheels exist for Python 3.11)")


def opened(path):
    """For each segment its name, colour, mask and 4 × 4 matrix to RAS."""
    import vtk
    from vtkmodules.util.numpy_support import vtk_to_numpy

    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    segments = node.GetSegmentation()
    for number in range(segments.GetNumberOfSegments()):
        segment = segments.GetNthSegment(number)
        image = segment.GetRepresentation("Binary labelmap")
        i0, i1, j0, j1, k0, k1 = image.GetExtent()
        values = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
        mask = np.zeros(SHAPE, bool)
        mask[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = values == segment.GetLabelValue()
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        affine = np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])
        yield segment.GetName(), segment.GetColor(), mask, affine


@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("flip", [1, -1])
def test_names_colours_layers_and_place(tmp_path, overlapping, flip):
    direction = rotation(0.2, 0.3, -0.1) * [1, 1, flip]
    volume = Volume.from_array(np.zeros(SHAPE, np.int16), (0.7, 0.9, 2.5), direction, (-30, 12.5, 100))
    session = Session(volume, model_of(BallNetwork()), overlap=overlapping)
    _, y, x = np.indices(SHAPE)
    session.rename("object 1", "left kidney")
    session.paint(np.argwhere(x < 5)[:, ::-1])
    session.new_object("Milz – ä")
    session.paint(np.argwhere((x > 3) & (y > 2))[:, ::-1])
    found = list(opened(session.export(tmp_path / "all.seg.nrrd")))
    assert [name for name, *_ in found] == ["left kidney", "Milz – ä"]
    for (_, colour, mask, affine), item in zip(found, session.objects, strict=True):
        assert np.array_equal(mask, item.mask > 0)
        np.testing.assert_allclose(affine, volume.voxel_to_ras.affine, atol=1e-9)
        wanted = [int(item.colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        np.testing.assert_allclose(colour, wanted, atol=1e-5)


def test_what_slicer_writes_is_read(tmp_path):
    """Cropped to its segments and with its own keys, as it saves."""
    volume = Volume.from_array(
        np.zeros(SHAPE, np.int16), (0.7, 0.9, 2.5), rotation(0.2, 0.3, -0.1), (-30, 12.5, 100), name="ct"
    )
    session = Session(volume, model_of(BallNetwork()), overlap=True)
    session.rename("object 1", "left kidney")
    session.paint([(4, 4, 3), (5, 4, 3)])
    session.new_object("right kidney")
    session.paint([(5, 4, 3), (6, 5, 4)])
    scene = slicer.vtkMRMLScene()
    node, storage = slicer.vtkMRMLSegmentationNode(), slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(node)
    scene.AddNode(storage)
    storage.SetFileName(str(session.export(tmp_path / "ours.seg.nrrd")))
    assert storage.ReadData(node) == 1
    storage.SetFileName(str(tmp_path / "theirs.seg.nrrd"))
    storage.SetCropToMinimumExtent(True)
    assert storage.WriteData(node) == 1
    again = Session(volume, model_of(BallNetwork()), overlap=True)
    found = again.load_masks(tmp_path / "theirs.seg.nrrd")
    assert [(item.name, item.colour, item.local) for item in found] == [
        (item.name, item.colour, item.local) for item in session.objects
    ]
