"""What the app is put together from: each tool and each panel is one of these, in a file of its own."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sammed3d_nb.session.session import Session


class Tool:
    """One thing that the app can do, with its keys, its buttons and its panel; `app` lists them all.

    Attributes:
        actions: What it does when one of the actions of `shortcuts` is asked for.
        bar: Its buttons and menus in the bar above the views.
        bar_end: The same, at the right end of the bar.
        side: Its panels in the column beside the views.
        over: Its panels over the views.
    """

    actions: Mapping[str, Callable[[], object]] = MappingProxyType({})
    bar: Sequence[Any] = ()
    bar_end: Sequence[Any] = ()
    side: Sequence[Any] = ()
    over: Sequence[Any] = ()

    def show(self, session: Session) -> None:
        """Another session comes onto the screen; `refresh` follows. The app's lock is held."""

    def refresh(self, session: Session | None) -> None:
        """Show the present state of the session on the screen, None before there is one. The app's lock is held."""

    def acted(self) -> None:
        """One of the actions of `shortcuts` was asked for: another voxel may be under the mouse. The lock is held."""

    def settle(self, session: Session | None) -> None:
        """Do what takes longer than drawing, after `refresh`, without the app's lock."""

    def release(self) -> None:
        """Let go of everything large; the app has ended. The app's lock is held."""
