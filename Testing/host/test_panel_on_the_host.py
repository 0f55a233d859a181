"""A small module's whole panel on the stand-in: what a person does leads to what it would lead to in Slicer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from Testing.host import Host
from Testing.host.dialogs import UnexpectedDialogError
from Testing.host.example_module import FORM, SOURCE, write_example


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_example(tmp_path / "module")


@pytest.fixture
def panel(host: Host, folder: Path) -> Any:
    """The example's widget, entered."""
    return host.create_widget(folder, "Example")


def volume(host: Host, name: str = "chest") -> Any:
    return host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)


def stored(host: Host, name: str) -> str:
    return host.scene.GetSingletonNode("Example", "vtkMRMLScriptedModuleNode").GetParameter(name)


def test_what_a_person_sets_lies_in_the_scene(host: Host, panel: Any) -> None:
    image = volume(host)
    host.click(panel.ui.more)
    host.type(panel.ui.strength, "0.25")
    host.click(panel.ui.shown)
    host.type(panel.ui.note, "left lung")
    host.pick(panel.ui.device, "cuda")
    host.pick(panel.ui.order, "by doubt")
    host.pick(panel.ui.image, image)
    assert [stored(host, n) for n in ("strength", "shown", "note", "device", "order")] == [
        "0.25",
        "False",
        "left lung",
        "cuda",
        "DOUBT",
    ]
    assert panel.node.image is image
    assert panel.node.parameterNode.GetNodeReference("image.0") is image


def test_what_code_sets_is_seen_in_the_panel(host: Host, panel: Any) -> None:
    image = volume(host)
    panel.node.strength, panel.node.count, panel.node.shown = 0.75, 7, False
    panel.node.note, panel.node.image = "other", image
    panel.node.order = type(panel.node.order).DOUBT
    ui = panel.ui
    assert (ui.strength.value, ui.count.value, ui.shown.checked, ui.note.text) == (0.75, 7, False, "other")
    assert (ui.order.currentText, ui.image.currentNode()) == ("by doubt", image)
    assert (ui.count.minimum, ui.count.maximum) == (0, 10)
    panel.node.strength = 0.123456
    assert (ui.strength.value, panel.node.strength) == (0.12, 0.123456)  # what is shown does not come back rounded


def test_the_panel_hears_of_every_change_of_its_node(host: Host, panel: Any) -> None:
    host.type(panel.ui.note, "")
    panel.ui.note.clear()
    assert not panel.ui.apply.enabled
    panel.node.note = "something"
    assert panel.ui.apply.enabled
    host.select("Welcome")
    panel.logic.getParameterNode().note = ""
    assert panel.ui.apply.enabled  # it listens no more


def test_the_panel_comes_back_with_the_bundle(host: Host, panel: Any, tmp_path: Path) -> None:
    panel.node.image = volume(host)
    panel.node.note, panel.node.order = "kept", type(panel.node.order).DOUBT
    path = host.save_scene(tmp_path / "scene.mrb")
    host.close_scene()
    assert (panel.ui.note.text, panel.ui.image.currentNode(), panel.node.order.name) == ("none", None, "NAME")
    host.open_scene(path)
    host.select("Welcome")
    host.select("Example")
    assert panel.ui.note.text == "kept"
    assert panel.ui.image.currentNode().GetName() == "chest"
    assert panel.ui.order.currentText == "by doubt"


def test_an_enum_that_was_renamed_does_not_come_back(host: Host, folder: Path, tmp_path: Path) -> None:
    panel = host.create_widget(folder, "Example")
    panel.node.parameterNode.SetParameter("order", "FORMER_NAME")
    with pytest.raises(ValueError, match="FORMER_NAME"):
        host.check()


def test_a_deleted_image_leaves_the_panel_without_one(host: Host, panel: Any) -> None:
    image = volume(host)
    host.pick(panel.ui.image, image)
    host.scene.RemoveNode(image)
    host.process()
    assert panel.node.image is None
    assert panel.ui.image.currentNode() is None


def test_the_selector_lists_what_slicer_would_list(host: Host, panel: Any) -> None:
    listed = panel.ui.image
    labels = host.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    host.scene.AddNewNodeByClass("vtkMRMLModelNode", "model")
    hidden = host.scene.CreateNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.UnRegister(None)
    hidden.SetHideFromEditors(True)
    host.scene.AddNode(hidden)
    image = volume(host)
    assert listed.nodeTypes == ("vtkMRMLScalarVolumeNode",)  # the field's, not the form's
    assert [listed.nodeFromIndex(n) for n in range(listed.nodeCount())] == [labels, image]
    listed.showChildNodeTypes = False
    assert listed.nodeCount() == 1
    assert listed.currentNode() is None
    image.SetHideFromEditors(True)
    assert listed.nodeCount() == 0
    assert panel.ui.unlinked.mrmlScene() is None  # the form does not link it
    assert panel.parent.mrmlScene() is host.scene
    with pytest.raises(AttributeError, match="does not accept"):
        listed.noneEnabled = "no"


def test_a_selector_without_an_empty_entry_takes_the_next_node(host: Host, panel: Any) -> None:
    import slicer

    selector, heard = slicer.qMRMLNodeComboBox(), []
    selector.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    selector.setMRMLScene(host.scene)
    first, second = volume(host, "a"), volume(host, "b")
    assert selector.currentNode() is first
    host.scene.RemoveNode(first)
    assert selector.currentNode() is second
    assert heard == [first, second]
    host.scene.StartState(host.scene.BatchProcessState)
    third = volume(host, "c")
    assert selector.nodeCount() == 1
    host.scene.EndState(host.scene.BatchProcessState)
    assert selector.nodeFromIndex(1) is third


def test_a_closed_scene_and_a_prediction_under_way_leave_a_working_panel(host: Host, panel: Any) -> None:
    host.answer("okCancel", True)
    host.click(panel.ui.apply)
    host.process(until=lambda: panel.ui.progress.value > 10)
    host.close_scene()
    host.process(until=lambda: panel.ui.progress.value >= 100)
    host.type(panel.ui.note, "again")
    assert stored(host, "note") == "again"


def test_dialogs_get_the_answers_of_the_test(host: Host, panel: Any) -> None:
    host.answer("okCancel", lambda text: "none" in text)
    host.click(panel.ui.apply)
    assert host.recorded.messages == [("okCancel", "Apply none?")]
    assert host.recorded.status == ["applied"]
    host.answer("okCancel", False)
    host.click(panel.ui.apply)
    assert host.recorded.status == ["applied"]


def test_an_unexpected_dialog_fails_the_test_even_where_it_is_swallowed(host: Host, panel: Any) -> None:
    import slicer

    try:
        slicer.util.confirmYesNoDisplay("Really?")
    except UnexpectedDialogError:
        pass
    else:
        pytest.fail("nobody said so")
    with pytest.raises(UnexpectedDialogError, match=r"Really\?"):
        host.process()


def test_an_error_in_a_slot_reaches_the_test(host: Host, panel: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        host.click(panel.ui.fail)
    host.process()


def test_an_error_in_an_observer_reaches_the_test(host: Host, panel: Any) -> None:
    host.scene.AddObserver("ModifiedEvent", lambda *_: [][1])
    host.scene.Modified()
    with pytest.raises(IndexError):
        host.process()


def test_what_qt_complains_of_reaches_the_test(host: Host, panel: Any) -> None:
    import qt

    qt.QHBoxLayout(panel.parent)
    with pytest.raises(AssertionError, match="already has a layout"):
        host.process()


def test_an_error_is_shown_and_raised_on(host: Host, panel: Any) -> None:
    import slicer

    host.answer("error")
    with pytest.raises(OSError, match="full"), slicer.util.tryWithErrorDisplay("Could not save."):
        raise OSError("the disk is full")
    assert host.recorded.messages == [("error", "Could not save.\n\nthe disk is full")]


def test_keys_work_only_in_the_open_panel_and_not_while_text_is_typed(host: Host, panel: Any) -> None:
    host.show(panel.ui.table)
    host.key("N")
    assert panel.log == ["next"]
    host.show(panel.ui.note)
    panel.ui.note.selectAll()
    host.key("N")
    assert panel.log == ["next"]
    assert panel.ui.note.text.lower() == "n"
    host.select("Segment Editor")
    host.key("N")
    assert panel.log == ["next"]
    assert host.recorded.modules[-1] == "Segment Editor"
    assert panel.node is None


def test_events_reach_a_filter_written_in_python(host: Host, panel: Any) -> None:
    host.type(panel.ui.note, "abc")
    assert panel.watcher.seen == 4  # with Enter
    assert panel.ui.note.text == "abc"


def test_a_table_is_clicked_and_edited(host: Host, panel: Any) -> None:
    import qt

    table = panel.ui.table
    host.click(table.item(2, 1))
    assert panel.log == [(2, 1)]
    assert (table.currentRow(), table.rowCount, table.item(2, 1).text()) == (2, 3, "0.2")
    assert not table.item(2, 1).flags() & qt.Qt.ItemIsEditable
    assert table.item(2, 0).flags() & qt.Qt.ItemIsEditable
    table.item(1, 0).setBackground(qt.QBrush(qt.QColor(255, 0, 0)))
    assert table.item(1, 0).background().color().name() == "#ff0000"


def test_rows_join_a_selection_with_the_ctrl_key(host: Host, panel: Any) -> None:
    table = panel.ui.table
    host.click(table.item(0, 0))
    host.click(table.item(2, 0), "Ctrl")
    assert sorted(item.row() for item in table.selectedItems()) == [0, 2]
    host.click(table.item(1, 0))
    assert [item.row() for item in table.selectedItems()] == [1]


def test_calls_that_return_nothing_do_not_use_none_up(host: Host, panel: Any) -> None:
    for _ in range(20_000):
        panel.ui.label.setText("again")
    assert sys.getrefcount(None) > 10_000


def test_what_is_folded_or_grey_cannot_be_clicked(host: Host, panel: Any) -> None:
    assert panel.ui.more.collapsed
    with pytest.raises(AssertionError, match="does not see strength"):
        host.type(panel.ui.strength, "1")
    host.click(panel.ui.more)
    assert not panel.ui.more.collapsed
    host.type(panel.ui.strength, "1")
    panel.ui.apply.enabled = False
    with pytest.raises(AssertionError, match="apply is greyed out"):
        host.click(panel.ui.apply)


def test_a_reload_brings_the_new_source_and_keeps_the_state(host: Host, folder: Path, panel: Any) -> None:
    host.type(panel.ui.note, "kept")
    before, old = sys.modules["Example"], panel
    write_example(folder, SOURCE.replace('_("applied")', '_("done anew")'))
    panel.onReload()
    new = host.modules.ExampleWidget
    assert new is not old
    assert old.node is None  # cleanup() was called
    assert sys.modules["Example"] is not before
    host.process()
    assert new.ui.note.text == "kept"
    host.answer("okCancel", True)
    host.click(new.ui.apply)
    assert host.recorded.status == ["done anew"]


def test_the_modules_own_test_runs(host: Host, panel: Any) -> None:
    import slicer

    slicer.selfTests["Example"]()
    assert sys.modules["Example"].ExampleTest.ran == 1


def test_a_picture_shows_the_panel(host: Host, panel: Any, tmp_path: Path) -> None:
    from PIL import Image

    def pixels() -> Any:
        return np.asarray(Image.open(host.picture(panel.parent, tmp_path / "panel.png")).convert("L")).astype(int)

    before = pixels()
    panel.ui.apply.text = "Something else"
    assert np.abs(pixels() - before).max() > 50


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('<property name="value"><number>', '<property name="valve"><number>', "no property 'valve'"),
        ('class="QPushButton" name="fail"', 'class="QCalendarWidget" name="fail"', "no .'QCalendarWidget'"),
        ("<receiver>image</receiver>", "<receiver>imgae</receiver>", "cannot connect"),
        ('<widget class="QLabel" name="label">', '<widget class="QLabel" name="note">', "two widgets are called note"),
        ("<string>device</string></property>", "<string>devise</string></property>", "Cannot find a param"),
        ('class="QSlider" name="count"', 'class="QLabel" name="count"', "Unable to create GUI connector|no property"),
    ],
    ids=["property", "class", "link", "name", "field", "widget of a field"],
)
def test_a_form_that_is_wrong_says_so(host: Host, folder: Path, old: str, new: str, said: str) -> None:
    assert old in FORM
    write_example(folder, form=FORM.replace(old, new))
    with pytest.raises((RuntimeError, ValueError), match=said):
        host.create_widget(folder, "Example")


def test_a_field_that_slicer_could_not_store_is_refused(host: Host, folder: Path) -> None:
    write_example(folder, SOURCE.replace('note: str = "none"', "note: complex = 1j"))
    with pytest.raises(TypeError, match="stores no <class 'complex'>"):
        host.create_widget(folder, "Example")


def test_values_that_do_not_fit_their_field_are_refused(host: Host, panel: Any) -> None:
    with pytest.raises(ValueError, match="within range"):
        panel.node.strength = 1.5
    with pytest.raises(ValueError, match="one of the following"):
        panel.node.device = "tpu"
    with pytest.raises(TypeError, match="must be of type"):
        panel.node.order = "NAME"
    with pytest.raises(ValueError, match="must not be None"):
        panel.node.note = None
    with pytest.raises(TypeError):
        panel.node.image = host.scene.AddNewNodeByClass("vtkMRMLModelNode")
    with pytest.raises(AttributeError, match="no field 'strenght'"):
        panel.node.strenght = 1.0


def test_the_session_ends_as_it_began(tmp_path: Path) -> None:
    import slicer

    from Testing.host import install

    before = (set(vars(slicer)), dict(vars(slicer.util)), set(sys.modules), list(sys.path), sys.excepthook)
    host = install()
    panel = host.create_widget(write_example(tmp_path), "Example")
    host.remove()
    after = (set(vars(slicer)), dict(vars(slicer.util)), set(sys.modules), list(sys.path), sys.excepthook)
    assert after[:2] == before[:2]
    assert after[3:] == before[3:]
    assert not {"qt", "ctk", "Example", "slicer.packaging", "SampleData"} & after[2]
    assert panel.node is None  # exit() and cleanup() were called
    with pytest.raises(ValueError, match="destroyed"):
        panel.ui.note.text  # noqa: B018


def test_an_answer_that_nobody_asked_for_fails_the_test() -> None:
    from Testing.host import install

    host = install()
    host.answer("yesNo", True)
    with pytest.raises(AssertionError, match="nobody asked"):
        host.remove()
