"""What a dataset card says in plain numbers, as pairs of a label and a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dismaiflow.structures.dataset import DatasetCard

#: Longest list that is written out.
_SHOWN = 12

#: What is told in another place.
_ELSEWHERE = ("warnings",)


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
        elif value not in (None, {}, []) and key not in _ELSEWHERE and not _is_curve(value):
            yield label, fact_text(value)


def _is_curve(value: Any) -> bool:
    """Say whether this is a long list, or holds one: the card has it, and no line could."""
    if isinstance(value, dict):
        return any(_is_curve(one) for one in value.values())
    return isinstance(value, list | tuple) and len(value) > _SHOWN


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
        return ", ".join(f"{_key(key)} {_inner(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_inner, value))
    return "none" if value is None else str(value)


def _inner(value: Any) -> str:
    """Write a part of a list or a mapping, lists in brackets."""
    text = fact_text(value)
    return f"[{text}]" if isinstance(value, list | tuple) else text


def _key(key: object) -> str:
    """Return a key as a word; a number gets a colon, so that it is not taken for a value."""
    word = str(key).replace("_", " ")
    return f"{word}:" if word[:1].isdigit() else word
