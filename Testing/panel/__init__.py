"""The panel of 3D Slicer on the stand-in for its Qt side, driven as a person drives it."""
