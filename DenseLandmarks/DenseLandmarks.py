"""The module of 3D Slicer: what it is called, what of its panel a scene keeps, and the panel's life. The rest is the library's."""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Optional

import slicer
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

LIBRARY = "DenseLandmarksLib"


def _root() -> Path:
    """The folder with library and resources: this one where the extension is installed, the one above in a source tree."""
    here = Path(__file__).resolve().parent
    for folder in (here, here.parent):
        if (folder / LIBRARY / "__init__.py").is_file():
            return folder
    raise ImportError(f"expected {LIBRARY} in {here} or beside it, found none. Install the extension again.")


def _load_library() -> None:
    """Make the library known by where it is: with its folder on the path, all beside it could be imported, too."""
    if LIBRARY in sys.modules:
        return
    folder = _root() / LIBRARY
    spec = importlib.util.spec_from_file_location(
        LIBRARY, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    library = importlib.util.module_from_spec(spec)
    sys.modules[LIBRARY] = library
    spec.loader.exec_module(library)


_load_library()
RESOURCES = _root() / "Resources"

from DenseLandmarksLib.panel.choices import CaseOrder, Device, ExportFormat, ExportScope, Shown  # noqa: E402


class DenseLandmarks(ScriptedLoadableModule):
    """What the module is."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Dense Landmarks")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Markups", "Segmentations", "Volumes"]
        self.parent.contributors = ["DenseLandmarks contributors"]
        self.parent.helpText = _(
            "Finds structures and anatomical landmarks in radiographs, says how sure it is, and lets you drag "
            "what is wrong. New landmarks are found in all cases without training."
        )
        self.parent.acknowledgementText = _(
            "Implements DenseSeg, joint segmentation and dense landmarks; see CITATION.cff."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)

    def resourcePath(self, filename):
        """Slicer looks beside this file, where a source tree has no resources."""
        return str(RESOURCES / filename)


def registerSampleData():
    """Two phantoms in Slicer's Sample Data."""
    from DenseLandmarksLib.panel.sample_data import register_sample_data

    register_sample_data(RESOURCES)


@parameterNodeWrapper
class DenseLandmarksParameterNode:
    """What of the panel a scene keeps."""

    image: Optional[vtkMRMLScalarVolumeNode]  # noqa: UP045 - the wrapper knows this spelling of a union in all versions
    model: str = "chest-xray"
    device: Device = Device.AUTOMATIC
    caseOrder: CaseOrder = CaseOrder.DOUBT
    filter: str = ""
    shown: Shown = Shown.ALL
    goOn: bool = True
    closeUp: Annotated[float, WithinRange(0.05, 1.0)] = 0.3
    ellipses: bool = True
    names: bool = False
    exportScope: ExportScope = ExportScope.CASE
    exportFormat: ExportFormat = ExportFormat.MARKUPS
    reviewedOnly: bool = False


class DenseLandmarksLogic(ScriptedLoadableModuleLogic):
    """Has the parameter node; everything else is done by the library's workbench, for every front end."""

    def getParameterNode(self):
        """The typed parameter node, which is in the scene."""
        return DenseLandmarksParameterNode(super().getParameterNode())


class DenseLandmarksWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel's life in the application."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def resourcePath(self, filename):
        """Slicer looks beside the module's file, where a source tree has no resources."""
        return str(RESOURCES / filename)

    def setup(self):
        """Load the form."""
        from DenseLandmarksLib.panel.panel import Panel

        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/DenseLandmarks.ui"))
        self.layout.addWidget(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = DenseLandmarksLogic()
        self.panel = Panel(slicer.util.childWidgetVariables(form), slicer.mrmlScene, RESOURCES)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        if self.parent.isEntered:  # reloaded while it is open: nobody calls enter()
            self.enter()

    def enter(self):
        """The person opens the module."""
        self.panel.enter(self.logic.getParameterNode())

    def exit(self):
        """The person goes to another module."""
        self.panel.leave()

    def onSceneStartClose(self, caller, event):
        """The parameter node is about to go."""
        self.panel.take(None)

    def onSceneEndClose(self, caller, event):
        """There is a new, empty scene."""
        self.panel.scene_was_closed()
        self._takeParameters()

    def onSceneEndImport(self, caller, event):
        """A scene was read, with its own parameter node."""
        self.panel.scene_was_read()
        self._takeParameters()

    def _takeParameters(self):
        if self.parent.isEntered:
            self.panel.take(self.logic.getParameterNode())

    def onReload(self):
        """For developers: the library is read again, too."""
        self.cleanup()
        for name in [name for name in sys.modules if name.split(".")[0] == LIBRARY]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def cleanup(self):
        """The panel goes."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()
            self.panel = None


class DenseLandmarksTest(ScriptedLoadableModuleTest):
    """What a person does from a sample image to a saved scene, with real mouse events; see the library's panel.self_test."""

    def setUp(self):
        """The scene is emptied by the test itself."""
        self.folder = Path(tempfile.mkdtemp(prefix="DenseLandmarks-self-test-"))

    def tearDown(self):
        """Nothing stays."""
        slicer.mrmlScene.Clear(False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def runTest(self):
        """Slicer calls this from its self tests and its Reload and Test button."""
        self.setUp()
        try:
            self.test_from_a_sample_to_a_saved_scene()
        finally:
            self.tearDown()

    def test_from_a_sample_to_a_saved_scene(self):
        """All steps."""
        from DenseLandmarksLib.panel.self_test import SelfTest

        SelfTest(self.folder, self.delayDisplay).run()
