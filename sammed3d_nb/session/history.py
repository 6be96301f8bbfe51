"""Undo and redo: the states that a session's objects have had."""

from sammed3d_nb.session.objects import State

STEPS = 200
"""Steps that can be undone."""
WARM = 5
"""Steps back whose logits are still held; older ones are computed again when they are clicked on."""


class History:
    """The present state, those before it and those undone.

    Args:
        present: The state to begin with. Setting `present` later is no step.
    """

    def __init__(self, present: State) -> None:
        self.present = present
        self._past: list[State] = []
        self._future: list[State] = []

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone step to do again."""
        return bool(self._future)

    def commit(self, state: State) -> None:
        """Go on to another state, a step that can be undone; what was undone before is forgotten."""
        self._past.append(self.present)
        del self._past[:-STEPS]
        self._future.clear()
        if len(self._past) > WARM:
            self._past[-WARM - 1] = self._past[-WARM - 1].cooled()
        self.present = state

    def undo(self) -> None:
        """Go one step back."""
        self._future.append(self.present)
        self.present = self._past.pop()

    def redo(self) -> None:
        """Go one undone step forward."""
        self._past.append(self.present)
        self.present = self._future.pop()

    def cool(self) -> None:
        """Let go of all logits up to now, e.g. because they are another network's."""
        self._past = [state.cooled() for state in self._past]
        self.present = self.present.cooled()
