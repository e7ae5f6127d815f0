"""Structures for the viewer of the page, which turns them on a canvas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.markup import Html, Page, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Share of the covalent radius with which atoms are drawn.
_RADIUS = 0.55


def viewers(page: Page, examples: Mapping[str, tuple[str, dict[str, Any]]]) -> Html:
    """Return structures side by side that turn together.

    Parameters
    ----------
    page : Page
        Takes their data.
    examples : dict
        Caption and structure by name. A structure has ``symbols``, ``positions`` and ``cell`` (Å).
    """
    boxes, elements = [], []
    for name, (caption, example) in examples.items():
        data = _viewer_data(example)
        elements += [e for e in data["elements"] if e not in elements]
        identity = f"structure-{len(page.structures) + 1}"
        page.structures[identity] = data
        canvas = tag(
            "canvas",
            id=identity,
            tabindex=0,
            role="img",
            aria_label=f"{name} structure, {len(example['symbols'])} atoms; arrow keys turn it",
        )
        boxes.append(tag("figure", canvas, tag("figcaption", caption)))
    buttons = [
        tag(
            "button",
            tag("span", class_="atom", style=f"background:{element['colour']}"),
            element["symbol"],
            type="button",
            data_element=element["symbol"],
            aria_pressed="true",
            title=f"show or hide {element['symbol']}",
        )
        for element in elements
    ]
    others = [
        tag("button", text, type="button", data_do=action, title=title)
        for text, action, title in (
            ("+", "larger", "larger"),
            ("−", "smaller", "smaller"),
            ("reset", "reset", "first view"),
        )
    ]
    bar = tag("div", *buttons, tag("span", class_="gap"), *others, class_="bar")
    text = "Drag to turn them together; click an element to hide or show it. Lengths in Å."
    hint = tag("p", text, class_="hint")
    return tag("div", bar, tag("div", *boxes, class_="pair"), hint, class_="viewers")


def _viewer_data(example: dict[str, Any]) -> dict[str, Any]:
    """Return elements with colour and radius, the element of each atom, positions and cell."""
    from ase.data import atomic_numbers, covalent_radii
    from ase.data.colors import jmol_colors

    symbols = list(dict.fromkeys(example["symbols"]))
    elements = []
    for symbol in symbols:
        number = atomic_numbers.get(symbol, 0)
        red, green, blue = (round(255 * float(channel)) for channel in jmol_colors[number])
        elements.append(
            {
                "symbol": symbol,
                "colour": f"#{red:02x}{green:02x}{blue:02x}",
                "radius": round(_RADIUS * float(covalent_radii[number]), 3),
            }
        )
    return {
        "elements": elements,
        "atoms": [symbols.index(symbol) for symbol in example["symbols"]],
        "positions": example["positions"],
        "cell": example["cell"],
    }
