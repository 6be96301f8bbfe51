"""The nnInteractive protocol over our sessions: 3D Slicer, napari, MITK and whatever else speaks it."""
