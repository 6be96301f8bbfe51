"""Maps of what is drawn rather than clicked, for networks that know boxes, lassos and strokes of their own.

A map has the cells of `Features.image`, two cube voxels wide, and is 0 where a prompt says nothing.
"""

BOX = 0
"""1 in a positive box and −1 outside it: everywhere, or on its slice alone where it was drawn on one."""
LASSO = 1
"""1 in a positive lasso; where it is the object's first prompt, −1 on the rest of its slice."""
STROKE = 2
"""1 along a positive scribble."""
TAKEN = 3
"""1 in a negative box or lasso."""
CROSSED = 4
"""1 along a negative scribble."""
MAPS = 5
START = (1.0, 4.0, 4.0, -4.0, -4.0)
"""What each map adds to the logits before anything is learned; without a drawn prompt that is nothing."""
KINDS = ("box", "scribble", "lasso")
"""The kinds of prompts that such networks take."""
