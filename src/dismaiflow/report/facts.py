"""What a dataset card says in plain numbers, as pairs of a label and a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dismaiflow.structures.dataset import DatasetCard

#: Longest list that is written out.
_SHOWN = 12


def card_facts(card: DatasetCard) -> list[tuple[str, str]]:
    """Return the statistics of a card that is no alloy's, one line each.

    Parameters
    ----------
    card : DatasetCard
        The card. Alloys have tables and figures of their own, and no lines here.

    Returns
    -------
    list of (str, str)
        Labels with their texts, in the order of the card.
    """
    return [] if card.kind == "alloy" else list(_facts(card.statistics))


def _facts(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield one line for each entry, and for each entry of an entry that has such of its own."""
    for key, value in values.items():
        label = f"{above}{key}".replace("_", " ")
        if isinstance(value, dict) and any(isinstance(one, dict) for one in value.values()):
            yield from _facts(value, f"{label}: ")
        elif value not in (None, {}, []):
            yield label, fact_text(value)


def fact_text(value: Any) -> str:
    """Write a number, a list or a mapping on one line.

    Parameters
    ----------
    value : plain data
        As it stands on a card.
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, dict):
        return ", ".join(f"{_key(key)} {fact_text(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        nested = any(isinstance(one, list | tuple) for one in value)
        shown = ("; " if nested else ", ").join(fact_text(one) for one in value[:_SHOWN])
        return shown if len(value) <= _SHOWN else f"{shown}, ... ({len(value)} in all)"
    return "none" if value is None else str(value)


def _key(key: object) -> str:
    """Return a key as a word; a number gets a colon, so that it is not taken for a value."""
    word = str(key).replace("_", " ")
    return f"{word}:" if word[:1].isdigit() else word
