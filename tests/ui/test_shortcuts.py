"""The one table of keys: complete, unambiguous, and the same on the page, in the app and in the help."""

import pytest

from sammed3d_nb.ui.shortcuts import ACTIONS, SHORTCUTS, help_html, readable

pytestmark = pytest.mark.filterwarnings("ignore:Passing unrecognized arguments:DeprecationWarning")  # ipympl's


def test_no_key_starts_two_actions() -> None:
    keys = [key for shortcut in SHORTCUTS for key in shortcut.keys]
    assert len(keys) == len(set(keys))


def test_keys_are_written_as_the_page_reports_them() -> None:
    for key in ACTIONS:
        *modifiers, name = key.split("+") if key != "+" else ["+"]
        assert modifiers == [m for m in ("ctrl", "alt", "shift") if m in modifiers], key
        assert name == name.lower()
        assert "shift" not in modifiers or len(name) > 1 or name.isalpha(), "the page omits shift for signs like ?"


def test_the_help_lists_every_key() -> None:
    text = help_html()
    for shortcut in SHORTCUTS:
        assert shortcut.text in text
        for key in shortcut.keys:
            assert f"<kbd>{readable(key)}</kbd>" in text
    assert readable("ctrl+shift+z") == "Ctrl+Shift+Z"
    assert readable("+") == "+"
    assert readable("arrowup") == "↑"


def test_every_action_has_one_owner(app) -> None:
    owners = [name for tool in app.stage.tools for name in tool.actions]
    assert len(owners) == len(set(owners))
    assert set(ACTIONS.values()) <= set(owners)
