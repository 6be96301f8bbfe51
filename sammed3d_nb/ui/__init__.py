"""The notebook user interface: widgets over a `Session`.

Screen logic that needs no widget lives in modules of its own (`planes`, `compose`, `shortcuts`), so that it can be
tested without a browser.
"""
