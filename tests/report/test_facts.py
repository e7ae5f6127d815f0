"""The lines in which the card of an interface or an amorphous dataset is told."""

from __future__ import annotations

import pytest

from dismaiflow.report.facts import card_facts, fact_text
from dismaiflow.structures.dataset import DatasetCard


def card(kind: str, **statistics: object) -> DatasetCard:
    """Return a card with nothing but these statistics."""
    return DatasetCard(
        system="x", kind=kind, composition={"Si": 1}, cell=[[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        counts={"train": 1}, protocol={}, seeds={}, statistics=statistics,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (2.0497602, "2.0498"),
        (True, "yes"),
        (None, "none"),
        ([1, 2.5], "1, 2.5"),
        ([[1, 2], [-3, 3]], "[1, 2], [-3, 3]"),
        ({"mean_added": 1.5, "ends": [3, 4]}, "mean added 1.5, ends [3, 4]"),
        ({"0.75": 999, "0.73": 1}, "0.75: 999, 0.73: 1"),
    ],
)
def test_values_on_one_line(value: object, text: str) -> None:
    """Numbers short, lists in brackets where they are part of something, numbers as keys marked."""
    assert fact_text(value) == text


def test_curves_and_warnings_stay_on_the_card() -> None:
    """Long lists are no line, and warnings are told elsewhere; what is empty is left out."""
    facts = card_facts(
        card(
            "amorphous",
            parent={"g": list(range(160)), "quality": {"n_atoms": 8, "rdf": {"r": [0.0] * 160}}},
            quality={"warnings": ["bad"], "inner": {"verdict": "poor"}},
            none={},
            checked=5,
        )
    )
    assert facts == [
        ("parent: quality: n atoms", "8"),
        ("quality: inner", "verdict poor"),
        ("checked", "5"),
    ]


def test_an_alloy_has_tables_of_its_own() -> None:
    """Its statistics are drawn."""
    assert card_facts(card("alloy", sampling={"agreement": "good"})) == []
