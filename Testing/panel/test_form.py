"""The form, its fields, and the code that uses it fit together."""

from __future__ import annotations

import ast
import string
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORM = ROOT / "Resources" / "UI" / "DenseLandmarks.ui"
MODULE = ROOT / "DenseLandmarks" / "DenseLandmarks.py"
PANEL = sorted((ROOT / "DenseLandmarksLib" / "panel").glob("*.py"))
# Linked by hand: which models there are is known only when the panel is open.
LINKED_BY_HAND = {"model": "modelSelector"}
# What a person only reads, or what only holds other widgets.
PASSIVE = {"QLabel", "QFrame", "ctkCollapsibleButton", "qMRMLWidget", "QWidget", "Line"}
PLAIN = {
    *("QWidget", "QFrame", "QLabel", "QPushButton", "QToolButton", "QCheckBox", "QComboBox", "QLineEdit", "QSlider"),
    *("QDoubleSpinBox", "QSpinBox", "QProgressBar", "QPlainTextEdit", "QTableWidget"),
    *("ctkCollapsibleButton", "qMRMLNodeComboBox", "qMRMLWidget"),
}
PROPERTY = "SlicerParameterName"
# What shows something and takes nothing.
READ_ONLY = {"QProgressBar", "QPlainTextEdit"}
# What a person does on the stand-in.
BY_HAND = {"click", "type", "pick", "key", "show", "setValue"}


def widgets() -> dict[str, ET.Element]:
    return {one.attrib["name"]: one for one in ET.parse(FORM).getroot().iter("widget")}


def bound_fields() -> dict[str, str]:
    """Fields by the widget that is bound to each."""
    found = {}
    for name, widget in widgets().items():
        for one in widget.findall("property"):
            if one.get("name") == PROPERTY:
                found[name] = one.findtext("string") or ""
    return found


def fields() -> set[str]:
    """The fields of the parameter node, as the module writes them down."""
    for node in ast.parse(MODULE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef) and node.name == "DenseLandmarksParameterNode":
            return {
                one.target.id
                for one in node.body
                if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)
            }
    raise AssertionError("the module has no parameter node")


def named_in_code(path: Path) -> set[str]:
    """Widgets that a file names, as ``ui.saveButton`` or ``self._ui.saveButton``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value
            last = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
            if last in ("ui", "_ui"):
                found.add(node.attr)
    return found


def translated(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
            yield node


def test_every_bound_widget_names_a_field_and_every_field_has_its_widget() -> None:
    bound = bound_fields()
    assert set(bound.values()) | set(LINKED_BY_HAND) == fields()
    assert len(set(bound.values())) == len(bound), "two widgets are bound to one field"
    assert not set(bound.values()) & set(LINKED_BY_HAND)
    assert set(LINKED_BY_HAND.values()) <= set(widgets())


@pytest.mark.parametrize("path", PANEL, ids=lambda path: path.stem)
def test_every_widget_that_the_code_names_is_in_the_form(path: Path) -> None:
    assert named_in_code(path) <= set(widgets())


def test_every_widget_that_a_person_can_use_does_something() -> None:
    used = set().union(*(named_in_code(path) for path in PANEL)) | set(bound_fields())
    usable = {name for name, one in widgets().items() if one.attrib["class"] not in PASSIVE}
    assert usable <= used


def test_every_widget_that_a_person_can_use_is_used_by_a_test() -> None:
    used = set()
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in BY_HAND:
                used |= {
                    one.attr
                    for argument in node.args[:1]
                    for one in ast.walk(argument)
                    if isinstance(one, ast.Attribute)
                }
    usable = {name for name, one in widgets().items() if one.attrib["class"] not in {*PASSIVE, *READ_ONLY}}
    assert usable - used == set()


def test_the_form_has_only_classes_that_every_designer_knows() -> None:
    assert {one.attrib["class"] for one in widgets().values()} <= PLAIN


def test_what_a_person_can_use_says_what_it_does() -> None:
    silent = {
        name
        for name, one in widgets().items()
        if one.attrib["class"] in ("QPushButton", "QToolButton", "QComboBox", "QCheckBox", "QDoubleSpinBox", "QSlider")
        and not any(p.get("name") == "toolTip" and p.findtext("string") for p in one.findall("property"))
    }
    # What these do is said by their text, which changes with the question.
    assert silent <= {"noticeYesButton", "noticeNoButton", "advisedButton"}


@pytest.mark.parametrize("path", [MODULE, *PANEL], ids=lambda path: path.stem)
def test_texts_can_be_translated(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    for call in translated(path):
        (text,) = call.args
        assert isinstance(text, ast.Constant), f"{path.name}:{call.lineno}: only a plain text can be translated"
        assert isinstance(text.value, str)
    # Placeholders have names, so that another language may order them otherwise.
    for node in ast.walk(ast.parse(source)):
        is_format = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format"
        if is_format and isinstance(node.func.value, ast.Call) and getattr(node.func.value.func, "id", "") == "_":  # type: ignore[attr-defined]
            names = {
                name for _, name, _, _ in string.Formatter().parse(node.func.value.args[0].value) if name is not None
            }  # type: ignore[attr-defined]
            assert names == {one.arg for one in node.keywords}, f"{path.name}:{node.lineno}"  # type: ignore[attr-defined]


def test_texts_of_the_form_are_not_marked_as_untranslatable() -> None:
    for name, widget in widgets().items():
        for one in widget.findall("property"):
            text = one.find("string")
            if text is not None and one.get("name") in ("text", "toolTip", "placeholderText"):
                assert text.get("notr") != "true", name
