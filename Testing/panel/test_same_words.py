"""The page in a browser says what the panel says, in the same order: whoever knows one knows the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from Testing.host import Host

pytest.importorskip("trame_slicer", reason="trame-slicer is not installed: there is no page", exc_type=ImportError)

ROOT = Path(__file__).resolve().parents[2]
FORM = ROOT / "Resources" / "UI" / "DenseLandmarks.ui"
PAGE = ROOT / "DenseLandmarksLib" / "web"
# Files and folders are the browser's in a page, structures are edited in 3D Slicer, curves are always seen in a page.
NOT_IN_THE_PAGE = {"openLibraryButton", "editStructuresButton", "retrainCurvesButton", "retrainOriginalButton"}


def texts_of(kind: str) -> dict[str, str]:
    """What the form's widgets of a class say at first, by their names, from top to bottom."""
    widgets = ElementTree.parse(FORM).iter("widget")
    said = {
        widget.get("name", ""): widget.find("property[@name='text']/string")
        for widget in widgets
        if widget.get("class") == kind
    }
    return {name: text.text or "" for name, text in said.items() if text is not None}


@pytest.mark.parametrize(
    ("panel", "page"),
    [
        ("Device", "DEVICES"),
        ("CaseOrder", "ORDERS"),
        ("Shown", "SHOWN"),
        ("ExportScope", "SCOPES"),
        ("ExportFormat", "FORMATS"),
    ],
)
def test_lists_offer_the_same_in_the_same_order(host: Host, panel: str, page: str) -> None:
    from DenseLandmarksLib.panel import choices
    from DenseLandmarksLib.web import state

    assert tuple((one.value, one.label()) for one in getattr(choices, panel)) == getattr(state, page)


def test_sections_have_the_same_titles_in_the_same_order() -> None:
    from DenseLandmarksLib.web.page import TITLES

    assert tuple(text for text in texts_of("ctkCollapsibleButton").values() if text[0].isdigit()) == TITLES


def test_keys_press_the_same_buttons(host: Host) -> None:
    from DenseLandmarksLib.panel.shortcuts import KEYS

    script = (PAGE / "browser" / "page.js").read_text(encoding="utf-8")
    (inside,) = re.findall(r"const KEYS = \{(.*?)\};", script, re.DOTALL)
    keys = dict(re.findall(r'"?([\w+]+)"?: "(\w+)"', inside))
    of_page = {key.replace("Enter", "Return").casefold(): f"{button}Button" for key, button in keys.items()}
    assert of_page == {key.casefold(): button for key, button in KEYS.items()}


def test_states_of_a_landmark_are_called_the_same(host: Host) -> None:
    from DenseLandmarksLib.landmarks.landmark_set import Presence, Review
    from DenseLandmarksLib.panel import landmark_rows as of_panel
    from DenseLandmarksLib.web import landmark_rows as of_page

    for presence in Presence:
        for review in Review:
            cell: Any = of_panel._state_cell(presence, review)
            text, tip, colour = of_page._words(presence, review)
            assert (cell.text, cell.tip, "#{:02x}{:02x}{:02x}".format(*cell.colour)) == (text, tip, colour)


def test_every_button_of_the_panel_is_in_the_page() -> None:
    """But for the three dots of a dialog, which the browser may not need."""
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(PAGE.glob("*.py")))
    buttons = {name: re.escape(text.rstrip("…")) for name, text in texts_of("QPushButton").items() if text}
    missing = {name for name, text in buttons.items() if not re.search(f"[\"']{text}…?[\"']", sources)}
    assert missing == NOT_IN_THE_PAGE


def test_what_a_volume_cannot_do_is_told_in_the_same_words(host: Host) -> None:
    """Both take the line from their own source, as one of them is translated."""
    from DenseLandmarksLib.web.landmark_section import CORRECTED_ALONE
    from DenseLandmarksLib.web.new_landmark_row import ALONE, EVERYWHERE

    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "DenseLandmarksLib" / "panel").glob("*.py"))
    assert CORRECTED_ALONE in sources
    assert ALONE in sources
    assert EVERYWHERE in FORM.read_text(encoding="utf-8")


def test_which_side_a_model_saw_is_told_in_the_same_words() -> None:
    told = r'"(The model (?:will see|saw) [^"]+)"'
    of_panel, of_page = (
        re.findall(told, (ROOT / "DenseLandmarksLib" / room / "side_row.py").read_text(encoding="utf-8"))
        for room in ("panel", "web")
    )
    assert len(of_panel) == 5
    assert [re.sub(r"\{\w+\}", "…", text) for text in of_panel] == [re.sub(r"\{\w+\}", "…", text) for text in of_page]


def test_why_a_landmark_is_there_is_asked_in_the_same_words(host: Host) -> None:
    from DenseLandmarksLib.web import why_row

    of_page = Path(why_row.__file__).read_text(encoding="utf-8")
    of_panel = (ROOT / "DenseLandmarksLib" / "panel" / "why_row.py").read_text(encoding="utf-8")
    form = FORM.read_text(encoding="utf-8")
    assert f"<string>{why_row.TIP}</string>" in form
    problems = re.findall(r'_\("([^"]+)"\)', of_panel)
    assert len(problems) == 3
    for text in problems:
        assert f'"{text}"' in of_page
    for text in re.findall(r'title="([^"]+)"', of_page):
        assert f"<string>{text}</string>" in form
    assert {texts_of("QLabel")[f"whyHere{name}Label"] for name in ("Low", "High", "Strength")} == {"0", "1", "Opacity"}


def test_retraining_is_told_in_the_same_words(host: Host) -> None:
    """Texts of the panel are those of the page, but for names of what stands in them."""

    def plain(text: str) -> str:
        return re.sub(r"\{[^}]*\}", "…", " ".join(text.split()))

    def texts(path: Path, function: str = "") -> set[str]:
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        given = [node.args[0] for node in calls if getattr(node.func, "id", "") == function and node.args]
        return {plain(ast.literal_eval(one)) for one in given}

    files = ("retrain_section.py", "retrain_form.py", "original_cases_row.py")
    of_page = "".join((PAGE / name).read_text(encoding="utf-8") for name in files)
    joined = plain(re.sub(r'"\s+f?"', "", of_page))
    panel = ROOT / "DenseLandmarksLib" / "panel"
    told = set().union(*(texts(panel / f"{name}.py", "_") for name in ("retrain_section", "retrain_table")))
    assert len(told) > 12
    assert {text for text in told if text not in joined} == set()
    # A page names no folder.
    of_row = texts(panel / "original_cases_row.py", "_")
    assert {text for text in of_row if text not in joined} == {"Folder of the cases that the model was trained on"}
    tips = [
        element.findtext("property[@name='toolTip']/string")
        for element in ElementTree.parse(FORM).iter("widget")
        if element.get("class") == "QPushButton" and (element.get("name") or "").startswith("retrain")
    ]
    assert len(tips) == 9
    unsaid = {tip for tip in tips if tip and plain(tip) not in joined}
    assert unsaid == {
        "Show loss and error beside the image while it learns; press again to have the views as before.",
        "The data folder that the model was trained on: half of what it learns from is taken from there.",
    }
