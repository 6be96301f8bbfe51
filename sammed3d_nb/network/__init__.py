"""The networks: pure torch, no medical imaging.

A network takes a normalised cube of 128³ voxels and clicks in that cube's index, and answers with logits on its own
low-resolution grid. What the cube's axes mean is not known here (see ``sammed3d_nb.segmenters.cube``).
"""
