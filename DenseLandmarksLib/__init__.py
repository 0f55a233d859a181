"""Anatomical landmarks from dense correspondences: the library behind every DenseLandmarks front end.

Importing it does nothing: no Qt, no Slicer scene, no torch. Rooms, in the order in which knowledge flows:
``geometry`` (frames, images, the model's grid), ``landmarks`` (templates, uv maps, read-out, propagation), ``models``
(networks, predictors, bundles), ``worker`` (networks in a process of their own), ``annotation`` (what people decided)
and ``scene`` (what MRML shows of it).
"""

__version__ = "0.1.0"
