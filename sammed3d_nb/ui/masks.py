"""The objects' masks and the network's cubes on the views."""

from sammed3d_nb.session.session import Session
from sammed3d_nb.ui.describe import rgb
from sammed3d_nb.ui.orthoviews import OrthoViews
from sammed3d_nb.ui.tool import Tool
from sammed3d_nb.ui.view import Shown


class Masks(Tool):
    """Draws them; the last tool to be refreshed, for it draws what the others have put on the views too."""

    def __init__(self, views: OrthoViews) -> None:
        self._views = views

    def refresh(self, session: Session | None) -> None:
        """Draw the present masks and cubes."""
        if session is None:
            return
        shown = sorted((o for o in session.objects if o.visible), key=lambda o: o.locked)  # locked ones win
        self._views.objects = [
            Shown(o.local, rgb(o.colour), current=o.name == session.current.name, name=o.name)
            for o in shown
            if o.local.count
        ] + [extra for shown in self._views.extras.values() for extra in shown]
        result = session.result
        cubes = () if result is None else result.cubes
        self._views.set_cubes([(cube.chain(session.volume).between("cube", "array"), cube.size) for cube in cubes])
        self._views.redraw()
