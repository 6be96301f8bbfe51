"""What may draw the slices: tests that say nothing else hold for both."""

RENDERERS = ("page", "ipympl")
