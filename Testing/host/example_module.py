"""A small scripted module as a person would write one for Slicer; tests put it into a folder of its own."""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import enum
from typing import Annotated, Optional

import qt
import slicer
import vtk
from slicer import vtkMRMLScalarVolumeNode
from slicer.i18n import tr as _
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin


class Order(enum.Enum):
    DOUBT = 1
    NAME = 2

    def label(self):
        return _("by doubt") if self is Order.DOUBT else _("by name")


@parameterNodeWrapper
class ExampleParameterNode:
    image: Optional[vtkMRMLScalarVolumeNode]
    strength: Annotated[float, WithinRange(0.0, 1.0)] = 0.5
    count: Annotated[int, WithinRange(0, 10), Default(3)]
    shown: bool = True
    note: str = "none"
    device: Annotated[str, Choice(["cpu", "cuda"])] = "cpu"
    order: Order = Order.NAME


class Example(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("Example")
        parent.categories = ["Examples"]


class ExampleLogic(ScriptedLoadableModuleLogic):
    def getParameterNode(self):
        return ExampleParameterNode(super().getParameterNode())


class Watcher(qt.QObject):
    def __init__(self, parent):
        super().__init__(parent)
        self.seen = 0

    def eventFilter(self, watched, event):
        if event.type() == qt.QEvent.KeyPress:
            self.seen += 1
        return super().eventFilter(watched, event)


class ExampleWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.node = None
        self.tag = None
        self.log = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/Example.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = ExampleLogic()
        self.ui.apply.connect("clicked(bool)", self.onApply)
        self.ui.fail.clicked.connect(lambda: 1 / 0)
        self.shortcut = qt.QShortcut(qt.QKeySequence("N"), slicer.util.mainWindow())
        self.shortcut.connect("activated()", lambda: self.log.append("next"))
        self.shortcut.enabled = False
        self.timer = qt.QTimer()
        self.timer.setInterval(5)
        self.timer.connect("timeout()", self.onTick)
        self.watcher = Watcher(form)
        self.ui.note.installEventFilter(self.watcher)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.fillTable()
        self.setNode(self.logic.getParameterNode())

    def fillTable(self):
        table = self.ui.table
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels([_("Name"), _("Doubt")])
        table.setRowCount(3)
        for row in range(3):
            table.setItem(row, 0, qt.QTableWidgetItem(f"L{row}"))
            item = qt.QTableWidgetItem(str(row / 10))
            item.setFlags(item.flags() & ~qt.Qt.ItemIsEditable)
            table.setItem(row, 1, item)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.connect("cellClicked(int,int)", lambda row, column: self.log.append((row, column)))

    def setNode(self, node):
        if self.node is not None:
            self.node.disconnectGui(self.tag)
            self.removeObserver(self.node, vtk.vtkCommand.ModifiedEvent, self.onNodeModified)
        self.node = node
        if node is not None:
            self.addObserver(node, vtk.vtkCommand.ModifiedEvent, self.onNodeModified)
            self.tag = node.connectGui(self.ui)
            self.onNodeModified()

    def onNodeModified(self, caller=None, event=None):
        self.ui.apply.enabled = self.node.note != ""

    def enter(self):
        self.shortcut.enabled = True
        self.setNode(self.logic.getParameterNode())

    def exit(self):
        self.shortcut.enabled = False
        self.setNode(None)

    def onSceneStartClose(self, caller, event):
        self.setNode(None)

    def onSceneEndClose(self, caller, event):
        if self.parent.isEntered:
            self.setNode(self.logic.getParameterNode())

    def onTick(self):
        self.ui.progress.value = self.ui.progress.value + 10
        if self.ui.progress.value >= 100:
            self.timer.stop()

    def onApply(self, checked=False):
        with slicer.util.tryWithErrorDisplay(_("Could not apply.")):
            if not slicer.util.confirmOkCancelDisplay(_("Apply {note}?").format(note=self.node.note)):
                return
            slicer.util.showStatusMessage(_("applied"))
            self.timer.start()

    def cleanup(self):
        self.timer.stop()
        self.shortcut.setParent(None)
        self.setNode(None)
        self.removeObservers()


class ExampleTest(ScriptedLoadableModuleTest):
    ran = 0

    def test_something(self):
        self.delayDisplay("testing")
        ExampleTest.ran += 1
"""

FORM = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Example</class>
<widget class="qMRMLWidget" name="Example"><layout class="QVBoxLayout" name="all">
 <item><widget class="qMRMLNodeComboBox" name="image">
  <property name="nodeTypes"><stringlist><string>vtkMRMLVolumeNode</string></stringlist></property>
  <property name="noneEnabled"><bool>true</bool></property>
  <property name="SlicerParameterName" stdset="0"><string>image</string></property></widget></item>
 <item><widget class="qMRMLNodeComboBox" name="unlinked"/></item>
 <item><widget class="ctkCollapsibleButton" name="more"><property name="text"><string>More</string></property>
  <property name="collapsed"><bool>true</bool></property>
  <layout class="QFormLayout" name="rows">
   <item row="0" column="0"><widget class="QLabel" name="label"><property name="text"><string>Strength</string></property></widget></item>
   <item row="0" column="1"><widget class="QDoubleSpinBox" name="strength">
    <property name="keyboardTracking"><bool>false</bool></property>
    <property name="SlicerParameterName" stdset="0"><string>strength</string></property></widget></item>
   <item row="1" column="1"><widget class="QSlider" name="count">
    <property name="orientation"><enum>Qt::Orientation::Horizontal</enum></property>
    <property name="SlicerParameterName" stdset="0"><string>count</string></property></widget></item>
  </layout></widget></item>
 <item><widget class="QCheckBox" name="shown"><property name="text"><string>Shown</string></property>
  <property name="SlicerParameterName" stdset="0"><string>shown</string></property></widget></item>
 <item><widget class="QLineEdit" name="note">
  <property name="SlicerParameterName" stdset="0"><string>note</string></property></widget></item>
 <item><widget class="QComboBox" name="device">
  <property name="SlicerParameterName" stdset="0"><string>device</string></property></widget></item>
 <item><widget class="QComboBox" name="order">
  <property name="SlicerParameterName" stdset="0"><string>order</string></property></widget></item>
 <item><widget class="QTableWidget" name="table"/></item>
 <item><widget class="QProgressBar" name="progress"><property name="value"><number>0</number></property></widget></item>
 <item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
 <item><widget class="QPushButton" name="fail"><property name="text"><string>Fail</string></property></widget></item>
</layout></widget>
<customwidgets>
 <customwidget><class>qMRMLWidget</class><extends>QWidget</extends><header>qMRMLWidget.h</header><container>1</container></customwidget>
 <customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends><header>qMRMLNodeComboBox.h</header></customwidget>
 <customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><header>ctkCollapsibleButton.h</header><container>1</container></customwidget>
</customwidgets>
<connections><connection><sender>Example</sender><signal>mRMLSceneChanged(vtkMRMLScene*)</signal>
 <receiver>image</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>
"""


def write_example(folder: Path, source: str = SOURCE, form: str = FORM) -> Path:
    """Write the module into a folder; returns the folder."""
    (folder / "Resources" / "UI").mkdir(parents=True, exist_ok=True)
    (folder / "Example.py").write_text(source, encoding="utf-8")
    (folder / "Resources" / "UI" / "Example.ui").write_text(form, encoding="utf-8")
    return folder
