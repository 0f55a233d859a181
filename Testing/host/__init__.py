"""A stand-in for the Qt side of 3D Slicer: a scripted module's whole panel runs here, offscreen, on PySide6 and slicer-core.

``with session(with_view=True) as host:`` is all that a fixture needs; ``install(screen) -> Host`` puts ``qt``, ``ctk``, ``slicer.app`` and the rest into place, ``host.remove()`` takes them away:

* ``python_qt``: PySide6's objects as PythonQt shows them; ``qt_classes``: the modules ``qt`` and ``ctk``;
  ``dialogs``, ``settings``: dialogs answered by the test, ``QSettings`` in memory;
* ``mrml_widgets``, ``designer``: node selector, collapsible button, ``.ui`` files;
* ``parameter_node``, ``parameter_gui``: ``@parameterNodeWrapper``; ``module_base``: the classes of a scripted module;
* ``application``, ``slicer_util``: ``slicer.app``, ``slicer.modules``, the windows' part of ``slicer.util``;
* ``installing``, ``sample_data``: ``slicer.packaging``, the PyTorch extension, ``SampleData``;
* ``keep_none``: a fault of PySide6's made harmless;
* ``host``: what a test does.

Where it matters it was written after Slicer's own sources (5.13 of August 2026) and PythonQt's, in the stand-in's own words:
fields are stored under Slicer's names, selectors get their node classes from the field and not from the form, a widget bound
to a field is written again after each of its own changes (so a spin box bound to a field needs ``keyboardTracking`` off, or
digits are lost while they are typed), pip that fails raises ``subprocess.CalledProcessError``, and ``onReload`` calls
``cleanup()`` and ``setup()`` but neither ``exit()`` nor ``enter()``.

Whatever is not there raises with a line that says where to add it. What a pass here does not prove: that Slicer's Qt (5.15 or
6, by platform) looks or measures the same; styles, high resolution, real focus between windows; more than one slice view, 3D
views, layouts, the Segment Editor, DICOM; readers and writers of ``slicer.util.load*`` and ``save*``; translations; pip;
overloads of methods that PythonQt resolves otherwise; who owns an object (PySide6 deletes what nobody refers to, like
PythonQt, but not always at the same moment); the order of Slicer's own observers of the scene.
"""

from Testing.host.host import Host, install, session

__all__ = ["Host", "install", "session"]
