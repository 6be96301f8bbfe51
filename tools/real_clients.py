"""Drive a running `sammed3d-nb serve` with the real napari plugin, or with volume nodes of 3D Slicer.

They are too heavy for the tests' environment; give them one of their own (Python 3.11 for slicer-core):

    python3.11 -m venv clients && clients/bin/pip install "napari[pyqt6]" napari-nninteractive slicer-core
    sammed3d-nb serve --port 1528 &
    QT_QPA_PLATFORM=offscreen clients/bin/python tools/real_clients.py napari http://127.0.0.1:1528
    clients/bin/python tools/real_clients.py slicer http://127.0.0.1:1528

Each line is something that held; the first thing that does not ends it with a traceback.
"""

import os
import sys
import time

import numpy as np

SHAPE, SPACING = (40, 64, 80), (3.0, 1.2, 0.9)
"""(k, j, i), and mm."""
BALLS = ((20, 20, 24), (22, 44, 56))
RADIUS = 12.0


def image() -> "np.ndarray":
    """(k, j, i): two bright balls in noise."""
    values = np.random.default_rng(3).normal(0, 12, SHAPE)
    for ball in BALLS:
        values[_inside(ball)] += 300
    return values.astype(np.int16)


def _inside(ball: tuple[int, int, int]) -> "np.ndarray":
    axes = np.ogrid[tuple(slice(0, n) for n in SHAPE)]
    return sum(((axis - at) * step) ** 2 for axis, at, step in zip(axes, ball, SPACING, strict=True)) < RADIUS**2


def _dice(a: "np.ndarray", b: "np.ndarray") -> float:
    return 2 * np.logical_and(a, b).sum() / max(1, (a > 0).sum() + (b > 0).sum())


def held(what: str, holds: bool) -> None:
    """Say that something holds, or stop."""
    assert holds, what
    print("OK   ", what, flush=True)


def napari(url: str) -> None:
    """The plugin as its user works with it: layers, buttons, undo, the next object, a lost session."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import httpx
    from napari import Viewer
    from napari._qt.qt_viewer import QtViewer
    from napari._vispy.canvas import VispyCanvas
    from napari_nninteractive.widget_main import nnInteractiveWidget
    from qtpy.QtWidgets import QApplication

    # without a screen there is no OpenGL: layers, widgets and the plugin are real, and nothing is painted
    QtViewer._add_layer = lambda self, layer: None
    VispyCanvas._remove_layer = VispyCanvas._reorder_layers = lambda self, *event: None
    viewer = Viewer(show=False)
    viewer.add_image(image(), name="case", scale=SPACING)
    plugin = nnInteractiveWidget(viewer)
    viewer.window.add_dock_widget(plugin)

    def until(what: str, holds: object) -> None:
        deadline = time.monotonic() + 120
        while not holds() and time.monotonic() < deadline:  # type: ignore[operator]
            QApplication.processEvents()
            time.sleep(0.02)
        held(what, holds())  # type: ignore[operator]

    def initialise() -> None:
        if not plugin._remote_mode:
            plugin.mode_switch._uncheck()
            plugin.mode_switch._check(1)
            plugin.on_mode_switched()
        plugin.server_url_edit.setText(url)
        plugin.on_init()
        until("the plugin has connected and sent the image", lambda: plugin.label_layer_name in viewer.layers
              and plugin.session is not None and plugin.session.target_buffer is not None
              and plugin.point_layer_name is not None and plugin.session_cfg is not None)  # fmt: skip
        until("its tools are there", lambda: plugin.interaction_button.isEnabled())

    def click(place: tuple[int, int, int], positive: bool = True) -> None:
        plugin.interaction_button._uncheck()
        plugin.interaction_button._check(0)
        plugin.on_interaction_selected()
        plugin.prompt_button._uncheck()
        plugin.prompt_button._check(0 if positive else 1)
        plugin.on_prompt_selected()
        viewer.layers[plugin.point_layer_name].add(np.array(place, dtype=float))
        if plugin.point_layer_name in viewer.layers and not viewer.layers[plugin.point_layer_name].is_free():
            plugin.add_interaction()  # else it was sent as it was placed
        QApplication.processEvents()

    def mask() -> "np.ndarray":
        return np.asarray(viewer.layers[plugin.label_layer_name].data).copy() > 0

    initialise()
    click(BALLS[0])
    first = mask()
    held(f"a click in the layer gives the ball, Dice {_dice(first, _inside(BALLS[0])):.2f}",
         _dice(first, _inside(BALLS[0])) > 0.7)  # fmt: skip
    k, j, i = BALLS[0]
    click((k, j, i + 4))
    click((k, j, i - 4))
    plugin.on_undo()
    plugin.on_undo()
    held("undo goes back two steps, to the voxel", np.array_equal(mask(), first))
    plugin.on_next()
    QApplication.processEvents()
    held("the next object begins empty", not mask().any())
    click(BALLS[1])
    second = mask()
    held(f"and is the other ball, Dice {_dice(second, _inside(BALLS[1])):.2f}", _dice(second, _inside(BALLS[1])) > 0.7)
    held("which shares no voxel with the first", not (second & first).any())
    httpx.post(f"{url}/release", headers={"X-Lease-Token": plugin.session._lease_token})  # as if it had expired
    click((BALLS[1][0], BALLS[1][1], BALLS[1][2] + 3))
    held("a lost session is noticed, and the mask stays", plugin.session is None and np.array_equal(mask(), second))
    initialise()
    until("the mask is sent again", lambda: np.array_equal(mask(), second))
    plugin.on_undo()
    held("and its undo history is found again", not mask().any())
    plugin._release_session()
    viewer.close()


def slicer(url: str) -> None:
    """Points in space, through the matrices of volume nodes that lie in any way, to voxels; the mask back in space."""
    import vtk
    from nnInteractive.inference.remote import nnInteractiveRemoteInferenceSession
    from slicer import vtkMRMLScalarVolumeNode
    from vtk.util import numpy_support

    angle = np.radians(20)
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    ways = {
        "as scanners have it": np.diag([-1.0, -1.0, 1.0]),
        "flipped": np.diag([1.0, 1.0, -1.0]),
        "sagittal": np.array([[0, 0, -1.0], [1.0, 0, 0], [0, -1.0, 0]]),
        "oblique": tilt @ np.diag([-1.0, -1.0, 1.0]),
        "oblique and flipped": tilt.T @ np.diag([1.0, -1.0, -1.0]),
    }
    for name, directions in ways.items():
        node = vtkMRMLScalarVolumeNode()
        matrix = np.eye(4)  # from i, j, k to R, A, S
        matrix[:3, :3] = directions * np.array(SPACING[::-1])
        matrix[:3, 3] = (31.5, -12.25, 140.75)
        placed = vtk.vtkMatrix4x4()
        placed.DeepCopy(matrix.ravel())
        node.SetIJKToRASMatrix(placed)
        data = vtk.vtkImageData()
        data.SetDimensions(*SHAPE[::-1])
        data.GetPointData().SetScalars(numpy_support.numpy_to_vtk(image().ravel(), deep=True))
        node.SetAndObserveImageData(data)
        array = numpy_support.vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(SHAPE)
        spacing = list(node.GetSpacing())[::-1]
        back = vtk.vtkMatrix4x4()
        node.GetRASToIJKMatrix(back)
        lps = np.diag([-1.0, -1.0, 1.0]) @ directions
        for told in ({}, {"direction": lps.tolist()}):  # as the extension does, and as a client could
            with nnInteractiveRemoteInferenceSession(url) as session:
                session.set_image(array[None], {"spacing": spacing, **told})
                mask = np.zeros(SHAPE, np.uint8)
                session.set_target_buffer(mask)
                session.reset_interactions()
                for ball in BALLS:
                    ras = matrix @ [*ball[::-1], 1.0]  # where a user clicks in a slice view
                    ijk = [round(value) for value in back.MultiplyPoint(ras)[:3]]
                    session.add_point_interaction(ijk[::-1], True)
                    middle = matrix @ [*np.argwhere(mask).mean(axis=0)[::-1], 1.0]
                    off = float(np.linalg.norm((middle - ras)[:3]))
                    dice = _dice(mask, _inside(ball))
                    how = "told its direction" if told else "told its spacing alone"
                    held(f"{name}, {how}: the mask lies {off:.1f} mm from the ball's middle, Dice {dice:.2f}",
                         off < RADIUS / 2 and dice > 0.6)  # fmt: skip
                    session.reset_interactions()
                    session.reset_interactions()


if __name__ == "__main__":
    {"napari": napari, "slicer": slicer}[sys.argv[1]](sys.argv[2])
