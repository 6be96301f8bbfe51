"""DICOM segmentations for tests."""

import numpy as np
from dicom_files import base
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def write_seg(path, masks, volume, *, kind="BINARY", names=("liver", "tumour"), planes=None, shift=0.0):
    """Write masks (z, y, x) on the grid of `volume` as one DICOM SEG, frames only where there is something.

    ``planes`` are the slices to write, ``shift`` mm along the normal by which every frame is moved.
    """
    data = base("1.2.3.77", storage=STORAGE)
    data.Modality, data.SegmentationType = "SEG", kind
    matrix = volume.voxel_to_lps.affine
    shared, orientation, measures = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [float(f"{n:.10g}") for n in volume.direction[:, :2].T.ravel()]
    measures.PixelSpacing, measures.SliceThickness = [volume.spacing[1], volume.spacing[0]], volume.spacing[2]
    measures.SpacingBetweenSlices = volume.spacing[2]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = Sequence([orientation]), Sequence([measures])
    frames, groups, described = [], [], []
    for number, mask in enumerate(masks, start=1):
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel = number, names[number - 1]
        item.RecommendedDisplayCIELabValue = [41661, 41167, 40792]
        described.append(item)
        for k in planes if planes is not None else np.flatnonzero(mask.any(axis=(1, 2))):
            group, position, identity = Dataset(), Dataset(), Dataset()
            at = (matrix @ [0, 0, k, 1])[:3] + volume.direction[:, 2] * shift
            position.ImagePositionPatient = [float(f"{n:.8g}") for n in at]
            identity.ReferencedSegmentNumber = number
            group.PlanePositionSequence = Sequence([position])
            group.SegmentIdentificationSequence = Sequence([identity])
            groups.append(group)
            frames.append(np.asarray(mask[k], np.uint8))
    stack = np.stack(frames)
    data.SegmentSequence = Sequence(described)
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PerFrameFunctionalGroupsSequence = Sequence(groups)
    data.NumberOfFrames, (data.Rows, data.Columns) = len(stack), stack.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    if kind == "BINARY":
        data.BitsAllocated, data.BitsStored, data.HighBit = 1, 1, 0
        content = np.packbits(stack.ravel() > 0, bitorder="little").tobytes()
    else:
        data.BitsAllocated, data.BitsStored, data.HighBit, data.MaximumFractionalValue = 8, 8, 7, 200
        content = (stack * 150).tobytes()
    data.PixelData = content + b"\0" * (len(content) % 2)
    data.save_as(path, enforce_file_format=True)
    return path
