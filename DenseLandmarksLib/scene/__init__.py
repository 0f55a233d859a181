"""What a session looks like in MRML: nodes show it, gestures become its commands. RAS lives here and nowhere else.

Where to look: ``desk`` opens, leaves and reopens cases; ``case_in_scene`` is one case at work, with ``listening`` (what is
heard), ``carry_out`` (what becomes of a ``gesture``) and ``placing`` (clicks). ``showing`` brings everything to what the
session says: ``fiducial_lists`` with ``measurements``, ``segments``, ``ellipses``, ``ghosts``, ``active_name``,
``uv_volumes`` and the ``case_record``, which ``saved_case`` reads back. ``image_in_scene`` says where voxels are in the scene.
``why_here`` asks what spoke for a landmark, ``evidence_overlay`` shows it.
"""
