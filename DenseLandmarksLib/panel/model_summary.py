"""What a person should know of a model before trusting it, as a few lines of rich text."""

from __future__ import annotations

from html import escape

from slicer.i18n import tr as _

from DenseLandmarksLib.models.bundle import CARD, BundleDescription
from DenseLandmarksLib.models.measured import figure
from DenseLandmarksLib.models.structure_style import StructureStyle


def model_summary(model: BundleDescription) -> str:
    """What it finds, how well, what it learned from, and under which terms."""
    about = model.metadata
    rows = [
        (_("Finds"), _finds(model)),
        (_("Error"), _error(model)),
        (_("Trained on"), _trained_on(model)),
        (_("Licence"), _licence(model)),
    ]
    cells = "".join(
        f'<tr><td style="padding-right: 10px;">{escape(head)}</td><td>{body}</td></tr>' for head, body in rows
    )
    said = escape(str(about.get("description", "")))
    return f"<b>{escape(model.name)} {escape(model.version)}</b><br/>{said}<table cellspacing='1'>{cells}</table>"


def _finds(model: BundleDescription) -> str:
    count = len(model.metadata["landmark_names"])
    structures = " &nbsp;".join(map(_coloured, model.styles))
    landmarks = escape(_("{count} landmarks").format(count=count))
    return f"{structures}<br/>{landmarks}" if structures else landmarks


def _coloured(style: StructureStyle) -> str:
    """A square in the structure's colour, and its name; they stay in one line."""
    red, green, blue = (round(255 * channel) for channel in style.colour)
    name = escape(style.name.replace("_", " ")).replace(" ", "&nbsp;")
    return f'<span style="color: #{red:02x}{green:02x}{blue:02x};">&#9632;</span>&nbsp;{name}'


def _error(model: BundleDescription) -> str:
    """As its bundle says; the data first, as a figure without them says nothing."""
    measured = model.metadata.get("measured")
    average = measured.get("average") if isinstance(measured, dict) else None
    if not isinstance(measured, dict) or not isinstance(average, dict):
        return escape(_("not measured"))
    parts = []
    if (landmarks := figure(average, "tre_mm")) != "-":
        parts.append(_("landmarks {figure} mm").format(figure=landmarks))
    if (masks := figure(average, "dsc")) != "-":
        parts.append(_("overlap {figure} %").format(figure=masks))
    if not parts:
        return escape(_("not measured"))
    on = _("on {cases} cases of {data} ({split})").format(
        cases=measured.get("cases", "?"), data=measured.get("data", "?"), split=measured.get("split", "?")
    )
    return ", ".join(escape(part).replace(" ", "&nbsp;") for part in parts) + "<br/>" + escape(on)


def _trained_on(model: BundleDescription) -> str:
    training = model.metadata.get("training")
    if not isinstance(training, dict) or not training.get("data"):
        return escape(_("not stated"))
    if not training.get("cases"):
        return escape(str(training["data"]))
    return escape(_("{cases} cases of {data}").format(cases=training["cases"], data=training["data"]))


def _licence(model: BundleDescription) -> str:
    terms = escape(str(model.metadata.get("license") or _("not stated")))
    card = model.folder / CARD
    if not card.is_file():
        return terms
    return f'{terms} · <a href="{escape(card.absolute().as_uri())}">{escape(_("model card"))}</a>'
