"""DICOM files for tests: series, enhanced multi-frame, and the sentence with which one is refused."""

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    generate_uid,
)

from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.volume import Volume

SHAPE = (6, 8, 10)  # slices, rows, columns
AXIAL = np.eye(3)


def voxels(seed=0):
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE).astype(np.int16)


def base(uid, syntax=ExplicitVRLittleEndian, storage=CTImageStorage):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = storage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID, data.SeriesInstanceUID = "1.2.3", uid
    data.Modality, data.PatientName, data.PatientID = "CT", "Test^Volume", "1"
    return data


def pixels(data, values):
    data.Rows, data.Columns = values.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    order = ">i2" if data.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<i2"
    data.PixelData = values.astype(order).tobytes()


def write_series(
    folder,
    values=None,
    *,
    uid="1.2.3.4",
    direction=AXIAL,
    spacing=(0.7, 0.9, 2.5),
    origin=(-30.0, 12.5, 100.0),
    heights=None,
    shift=(0, 0, 0),
    rescale=lambda k: (1, 0),
    syntax=ExplicitVRLittleEndian,
    change=lambda k, data: None,
    description="Abdomen",
    number=2,
):
    """Write one file a slice, in shuffled order of names; ``shift`` is mm per slice, as a tilted gantry makes."""
    values = voxels() if values is None else values
    folder.mkdir(exist_ok=True)
    heights = np.arange(len(values)) * spacing[2] if heights is None else heights
    for k, height in enumerate(heights):
        data = base(uid, syntax)
        data.SeriesDescription, data.SeriesNumber, data.InstanceNumber = description, number, k + 1
        data.PixelSpacing = [spacing[1], spacing[0]]  # between rows first
        data.ImageOrientationPatient = [float(n) for n in np.concatenate([direction[:, 0], direction[:, 1]])]
        position = np.array(origin) + direction[:, 2] * height + np.array(shift) * k
        data.ImagePositionPatient = [float(f"{n:.10g}") for n in position]
        data.RescaleSlope, data.RescaleIntercept = rescale(k)
        pixels(data, values[k])
        change(k, data)
        data.save_as(folder / f"{uid}_{(k * 5) % 7}_{k:03d}.dcm", enforce_file_format=True)
    return folder


def write_enhanced(path, values=None, *, heights=None, spacing=(0.7, 0.9, 2.5), order=None, rescale=None):
    """Write an enhanced multi-frame CT; ``order`` is the order in which the slices are stored."""
    values = voxels() if values is None else values
    heights = np.arange(len(values)) * spacing[2] if heights is None else heights
    order = range(len(values)) if order is None else order
    data = base("1.2.3.9", storage=EnhancedCTImageStorage)
    data.NumberOfFrames = len(values)
    shared, per_frame = Dataset(), []
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    measures.PixelSpacing, measures.SliceThickness = [spacing[1], spacing[0]], spacing[2]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([plane]), Sequence([measures])
    if rescale:
        transform = Dataset()
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = *rescale, "HU"
        shared.PixelValueTransformationSequence = Sequence([transform])
    for place in order:
        frame, position, content = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-30.0, 12.5, 100.0 + float(heights[place])]
        content.StackID, content.InStackPositionNumber, content.DimensionIndexValues = "1", place + 1, [1, place + 1]
        frame.PlanePositionSequence, frame.FrameContentSequence = Sequence([position]), Sequence([content])
        per_frame.append(frame)
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(per_frame)
    pixels(data, values[list(order)])
    data.save_as(path, enforce_file_format=True)
    return path


def refusal(path, **options):
    with pytest.raises(VolumeError) as caught:
        Volume.read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rotation(a, b, c):
    def about(axis, angle):
        i, j = [n for n in range(3) if n != axis]
        matrix = np.eye(3)
        matrix[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        return matrix

    return about(0, a) @ about(1, b) @ about(2, c)
