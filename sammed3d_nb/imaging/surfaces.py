"""Surfaces of masks for printing, planning and rendering: STL, OBJ and GLB by trimesh."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sammed3d_nb import atomic
from sammed3d_nb.errors import VolumeError
from sammed3d_nb.imaging.label_maps import NamedMask
from sammed3d_nb.imaging.volume import Volume

SUFFIXES = (".stl", ".obj", ".glb")
_LPS_TO_GLTF = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1000]]) / 1000  # metres; up is superior
_SMOOTHINGS = 10


def write_surface(masks: Sequence[NamedMask], volume: Volume, path: Path, *, overwrite: bool = False) -> Path:
    """Write the surfaces of masks: closed, turned outwards, smoothed so that they keep their volume.

    STL and OBJ hold LPS mm, as DICOM does and as 3D Slicer takes them (an STL says so in its head). GLB holds metres
    with Superior up and Anterior ahead, as glTF prescribes. An STL is one shape, without names: all masks together;
    OBJ and GLB keep the masks apart by name, GLB with their colours. The file is read back, and its number of
    triangles and box compared, before it takes its place.

    Args:
        masks: On the volume's grid; each has a voxel.
        volume: Says where they lie.
        path: Ends in one of `SUFFIXES`.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        VolumeError: The file is there already or cannot be written.
    """
    import trimesh

    kind = path.suffix.lower().removeprefix(".")
    scene = trimesh.Scene()
    for mask in masks:
        made = _surface(mask, volume)
        if kind == "glb":
            made.apply_transform(_LPS_TO_GLTF)
        scene.add_geometry(made, node_name=mask.name, geom_name=mask.name)
    content = _exported(scene, kind)
    _compare(content, scene, kind, path)
    with atomic.told(path):
        atomic.write_bytes(path, content, overwrite=overwrite)
    return path


def _surface(mask: NamedMask, volume: Volume) -> Any:
    """One mask's surface in LPS mm, from half-way between the voxels inside and outside."""
    import trimesh
    from skimage.measure import marching_cubes

    local = mask.mask
    padded = np.pad(local.values, 1).astype(np.float32)
    corners, triangles, _, _ = marching_cubes(padded, 0.5, allow_degenerate=False)
    ijk = corners[:, ::-1] - 1 + np.array(local.region.start)
    made = trimesh.Trimesh(volume.voxel_to_lps(ijk), triangles, process=False)
    trimesh.smoothing.filter_taubin(made, iterations=_SMOOTHINGS)
    if made.volume < 0:  # of an image whose axes form a left-handed system
        made.invert()
    if mask.colour is not None:
        shade = [int(mask.colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        material = trimesh.visual.material.PBRMaterial(
            baseColorFactor=[*(round(255 * part) for part in shade), 255], metallicFactor=0.0, roughnessFactor=0.6
        )
        made.visual = trimesh.visual.TextureVisuals(material=material)
    return made


def _exported(scene: Any, kind: str) -> bytes:
    import trimesh

    if kind == "glb":
        return bytes(scene.export(file_type="glb"))
    if kind == "stl":
        content = bytearray(scene.to_mesh().export(file_type="stl"))
        content[:80] = b"sammed3d-nb SPACE=LPS".ljust(80)
        return bytes(content)
    text = trimesh.exchange.obj.export_obj(scene, include_texture=False, include_color=False, include_normals=False)
    return f"# sammed3d-nb SPACE=LPS, mm\n{text}".encode()


def _compare(content: bytes, scene: Any, kind: str, path: Path) -> None:
    import io

    import trimesh

    found = trimesh.load_scene(io.BytesIO(content), file_type=kind)
    made = scene.to_mesh()
    extent = float(np.ptp(made.bounds, axis=0).max())
    read = found.to_mesh()
    if len(read.faces) != len(made.faces) or np.abs(read.bounds - made.bounds).max() > 1e-5 * extent:
        raise VolumeError(f"{path} would not read back as it was made; choose another format.")
