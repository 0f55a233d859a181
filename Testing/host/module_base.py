"""``slicer.ScriptedLoadableModule``: the four classes that a scripted module derives from.

The developer's section (Reload and Test) is not there: ``Developer/DeveloperMode`` is off, as for a clinician.
"""

from __future__ import annotations

import logging
import os
import sys
import unittest
from typing import Any


class ScriptedLoadableModule:
    """Says what the module is."""

    def __init__(self, parent: Any) -> None:
        import qt
        import slicer

        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        parent.title, parent.categories, parent.dependencies, parent.contributors = "", [], [], []
        parent.helpText = parent.acknowledgementText = "This module was created from a template."
        for extension in (".svg", ".png"):
            icon = self.resourcePath(f"Icons/{self.moduleName}{extension}")
            if os.path.isfile(icon):
                parent.icon = qt.QIcon(icon)
                break
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, filename: str) -> str:  # noqa: N802
        return os.path.join(os.path.dirname(self.parent.path), "Resources", filename)

    def getDefaultModuleDocumentationLink(self, docPage: str | None = None) -> str:  # noqa: N802, N803
        page = docPage or self.moduleName
        return f'<p>For more information, see the <a href="https://slicer.readthedocs.io/{page}">online documentation</a>.</p>'

    def runTest(self, msec: int = 100, **keywords: Any) -> None:  # noqa: N802
        case = getattr(sys.modules[type(self).__module__], f"{self.moduleName}Test", None)
        if case is None:
            raise AssertionError(f"Test case class not found: {type(self).__module__}.{self.moduleName}Test ")
        test = case()
        test.messageDelay = msec
        test.runTest(**keywords)


class ScriptedLoadableModuleWidget:
    """The panel."""

    def __init__(self, parent: Any = None) -> None:
        import slicer

        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if not parent:
            raise RuntimeError("the test host makes module widgets with a parent: host.create_widget")
        self.parent = parent
        self.layout = parent.layout()
        slicer.app.moduleManager().connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def resourcePath(self, filename: str) -> str:  # noqa: N802
        import slicer

        return os.path.join(os.path.dirname(slicer.util.modulePath(self.moduleName)), "Resources", filename)

    def cleanup(self) -> None:
        """For the module to override."""

    def setup(self) -> None:
        """Nothing without the developer mode."""

    def onReload(self) -> None:  # noqa: N802
        import slicer

        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, moduleName: str) -> None:  # noqa: N802, N803
        import slicer

        if moduleName == self.moduleName:
            self.cleanup()
            slicer.app.moduleManager().disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """Has the parameter node."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")
        self.isSingletonParameterNode = True

    def getParameterNode(self) -> Any:  # noqa: N802
        import slicer

        if self.isSingletonParameterNode:
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node:
                if node.GetAttribute("ModuleName") != self.moduleName:  # a scene that was closed takes it away
                    node.SetAttribute("ModuleName", self.moduleName)
                return node
        elif self.getAllParameterNodes():
            return self.getAllParameterNodes()[0]
        return slicer.mrmlScene.AddNode(self.createParameterNode())

    def getAllParameterNodes(self) -> list[Any]:  # noqa: N802
        import slicer

        nodes = slicer.util.getNodesByClass("vtkMRMLScriptedModuleNode")
        return [one for one in nodes if one.GetAttribute("ModuleName") == self.moduleName]

    def createParameterNode(self) -> Any:  # noqa: N802
        import slicer

        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        if self.isSingletonParameterNode:
            node.SetSingletonTag(self.moduleName)
        node.SetAttribute("ModuleName", self.moduleName)
        node.SetName(slicer.mrmlScene.GenerateUniqueName(self.moduleName))
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """The module's own tests."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.messageDelay = 100
        self.moduleTestNames = [one for one in dir(self) if "test" in one and callable(getattr(self, one))]

    def delayDisplay(self, message: str, requestedDelay: int | None = None, msec: int | None = None) -> None:  # noqa: N802, N803
        import slicer

        slicer.util.delayDisplay(message, self.messageDelay)

    def runTest(self) -> None:  # noqa: N802
        self.setUpClass()
        for name in self.moduleTestNames:
            self.setUp()
            logging.info("Running %s", name)
            getattr(self, name)()
            self.tearDown()
        self.tearDownClass()
