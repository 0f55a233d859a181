"""A curve as the page draws it: lines and words with their places in a picture, worked out once for each new point."""

from __future__ import annotations

from typing import Any

from DenseLandmarksLib.annotation.retraining.curves import Curve

WIDTH, HEIGHT = 380, 120
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 372, 22, 98
_BASELINE, _UNDER_AXIS = 4, 15
# More of them are not told apart at this width, and would be sent again with each new one.
_MOST_POINTS = 200


def chart(title: str, curve: Curve, colour: str, from_zero: bool = False) -> dict[str, Any]:
    """What the page's template takes: ``title``, ``colour``, ``line`` (an SVG path), ``dots`` and ``words``.

    ``from_zero`` for what has a zero that means something, so that a small change looks small. Without a point there is a title alone; few points are dots, too, so that the first is seen.
    """
    shown = curve[:: max(1, -(-len(curve) // _MOST_POINTS))]
    if curve and shown[-1] != curve[-1]:
        shown = (*shown, curve[-1])
    made: dict[str, Any] = {"title": title, "colour": colour, "line": "", "dots": [], "words": [], "last": ""}
    if not shown:
        return made
    epochs, values = zip(*shown, strict=True)
    ends = [0.0, max(values)] if from_zero and max(values) > 0 else _ends(values)
    x_range, y_range = _range(epochs), _range(tuple(ends))
    places = [(_at(x, x_range, _LEFT, _RIGHT), _at(y, y_range, _BOTTOM, _TOP)) for x, y in shown]
    made["line"] = "M" + " L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    if len(places) <= _MOST_POINTS // 8:
        made["dots"] = [{"x": round(x, 1), "y": round(y, 1)} for x, y in places]
    made["last"] = _figure(values[-1])
    made["words"] = [
        *(
            _word(_LEFT - 5, _at(y, y_range, _BOTTOM, _TOP) + _BASELINE, text, "end")
            for y, text in zip(ends, _told_apart(ends), strict=True)
        ),
        *(_word(_at(x, x_range, _LEFT, _RIGHT), _BOTTOM + _UNDER_AXIS, f"{x:g}", "middle") for x in _ends(epochs)),
    ]
    return made


def axes() -> str:
    """The two axes, as an SVG path."""
    return f"M{_LEFT} {_TOP} V{_BOTTOM} H{_RIGHT}"


def _ends(values: tuple[float, ...]) -> list[float]:
    return sorted({min(values), max(values)})


def _range(values: tuple[float, ...]) -> tuple[float, float]:
    """From the lowest to the highest, with room where they are one."""
    low, high = min(values), max(values)
    room = 0.5 * abs(low) or 0.5
    return (low - room, high + room) if low == high else (low, high)


def _at(value: float, of: tuple[float, float], start: float, end: float) -> float:
    low, high = of
    return start + (value - low) / (high - low) * (end - start)


def _figure(value: float) -> str:
    return f"{value:.3g}"


def _told_apart(values: list[float]) -> list[str]:
    """As short as they can be and still differ."""
    for digits in range(3, 7):
        texts = [f"{value:.{digits}g}" for value in values]
        if len(set(texts)) == len(texts):
            break
    return texts


def _word(x: float, y: float, text: str, anchor: str) -> dict[str, Any]:
    return {"x": round(x, 1), "y": round(y, 1), "text": text, "anchor": anchor}
