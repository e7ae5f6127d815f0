"""What a dataset card says in plain numbers, as pairs of a label and a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.report.words import number, percent, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dismaiflow.structures.dataset import DatasetCard

#: Longest list that is written out.
_SHOWN = 12

#: Most plain values of a setting that still stand on one line.
_ABREAST = 4

#: What is told in another place.
_ELSEWHERE = ("warnings",)

#: Statistics of relaxed structures, which are told by `relaxed_facts` and drawn by the report.
_RELAXED = frozenset(
    (
        "search",
        "reference_energy",
        "interface_energy",
        "relaxation",
        "duplicates",
        "energy_per_atom",
        "coordination",
        "lowest",
    )
)

#: Labels and units of the numbers of a relaxation.
_LABELS = {
    "drop": ("energy fell by", " meV/atom"),
    "moved": ("atoms moved by", " Å"),
    "n_asked": ("asked for", ""),
    "n_kept": ("kept", ""),
    "n_force_calls": ("force calls", ""),
    "force_calls_mean": ("force calls of each", ""),
}

#: What is told otherwise than as a number of a relaxation or a search.
_APART = frozenset(
    ("ended", "rounds", "method", "n_tried", "n_surplus", "stopped_by", "yield_percent")
)

#: Ends of structures that are good, the best first.
_GOOD_ENDS = ("low", "converged", "high")


def card_facts(card: DatasetCard) -> list[tuple[str, str]]:
    """Return the statistics of a card that is no alloy's, one line each.

    Parameters
    ----------
    card : DatasetCard
        The card. Alloys have tables and figures of their own, and no lines here. What
        `relaxed_facts` tells is left out.

    Returns
    -------
    list of (str, str)
        Labels with their texts, in the order of the card.
    """
    if card.kind == "alloy":
        return []
    return list(_facts({k: v for k, v in card.statistics.items() if k not in _RELAXED}))


def relaxed_facts(card: DatasetCard) -> list[tuple[str, str]]:
    """Return what became of structures that were relaxed: yield, energies, coordination.

    Parameters
    ----------
    card : DatasetCard
        The card; where nothing was relaxed there are no lines.
    """
    statistics = card.statistics
    lines = [
        ("potential", potential_text(card)),
        *search_facts(statistics),
        *_energy_facts(statistics),
        *relaxation_facts(statistics),
    ]
    lines += [
        (f"neighbours, {name} (%)", _shares_text(shares))
        for name, shares in coordination_shares(statistics).items()
    ]
    return [(label, text) for label, text in lines if text]


def dataset_size(card: DatasetCard) -> int:
    """Return how many structures train and validate; those of high energy stand apart."""
    return sum(n for name, n in card.counts.items() if name != "high")


def search_facts(statistics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return how many structures a search tried, why it stopped, and how they ended.

    Parameters
    ----------
    statistics : dict
        Of a card; without ``search`` only what its ``relaxation`` says of the ends.
    """
    search = part(statistics, "search")
    lines = []
    if search.get("n_tried") is not None:
        share = search.get("yield_percent")
        low = "" if share is None else f", {percent(share)} % of them low in energy"
        lines.append(("tried", f"{plural(search['n_tried'], 'structure')}{low}"))
    ended = endings(statistics)
    if ended:
        lines.append(("ended", ", ".join(f"{ending_label(k)} {n:,}" for k, n in ended.items())))
    if search.get("n_surplus"):
        lines.append(("low, but not needed", f"{search['n_surplus']:,}"))
    for key, label in (("stopped_by", "stopped by"), ("method", "search")):
        if search.get(key):
            lines.append((label, str(search[key])))
    if len(search.get("rounds") or ()) > 1:
        lines.append(("rounds", f"{len(search['rounds']):,}"))
    return lines + list(_numbers(search))


def relaxation_facts(statistics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return steps, force calls and gained energy of the relaxations, and the duplicates found.

    Parameters
    ----------
    statistics : dict
        Of a card.
    """
    lines = list(_numbers(part(statistics, "relaxation")))
    duplicates = part(statistics, "duplicates")
    found, dropped = duplicates.get("structures"), duplicates.get("dropped")
    texts = [] if found is None else [f"{found:,}"]
    texts += [f"{dropped:,} left out"] if dropped else []
    if texts:
        lines.append(("duplicates", ", ".join(texts)))
    return lines


def _energy_facts(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield reference energy, energies per atom and interface energies."""
    reference = part(statistics, "reference_energy")
    if reference.get("value") is not None:
        text = f"{reference['value']:.5g} eV/atom"
        yield "reference energy", text + (f", {reference['rule']}" if reference.get("rule") else "")
    energy = part(statistics, "interface_energy")
    if energy.get("cut") is not None:
        yield "cut", f"{energy['cut']:.3g} J/m^2"
    for name in ("low", "high"):
        found = part(energy, name)
        if found.get("n"):
            yield f"{name} energy", f"{found['n']:,}: {range_text(found)} J/m^2"
    atoms = part(statistics, "energy_per_atom")
    if atoms:
        yield "energy", f"{range_text(atoms, 5)} eV/atom"


def part(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an entry that is a mapping; an empty one where it is not there, or something else."""
    found = values.get(key)
    return found if isinstance(found, dict) else {}


def endings(statistics: Mapping[str, Any]) -> dict[str, int]:
    """Return how many of the structures that were relaxed ended how, the good ones first."""
    for name in ("search", "relaxation"):
        found = part(part(statistics, name), "ended")
        if found:
            good = [key for key in _GOOD_ENDS if key in found]
            return {key: int(found[key]) for key in dict.fromkeys((*good, *found)) if found[key]}
    return {}


def coordination_shares(statistics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the shares of the atoms by number of neighbours, of parent, blocks before and after.

    Parameters
    ----------
    statistics : dict
        Of a card; its ``coordination`` holds the shares beside other numbers.
    """
    found = part(statistics, "coordination")
    return {
        name: dict(sorted(shares.items(), key=lambda item: int(item[0])))
        for name, shares in found.items()
        if isinstance(shares, dict) and shares and all(str(key).isdigit() for key in shares)
    }


def _shares_text(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{n}: {percent(100 * share)}" for n, share in shares.items() if share)


def range_text(values: Mapping[str, Any], digits: int = 3) -> str:
    """Write mean, minimum and maximum."""
    mean, low, high = (number(values.get(key), digits) for key in ("mean", "min", "max"))
    return f"mean {mean}, {low} to {high}"


def potential_of(card: DatasetCard) -> dict[str, Any]:
    """Return the card of the potential with which a dataset was relaxed; empty without one."""
    return part(part(card.protocol, "relaxation"), "potential")


def potential_text(card: DatasetCard) -> str:
    """Return name, engine and the beginning of the hash of the potential of a dataset."""
    potential = potential_of(card)
    if not potential:
        return ""
    known = [str(potential.get("engine") or "")]
    if potential.get("hash"):
        known.append(f"hash {str(potential['hash'])[:12]}")
    return f"{potential.get('name')} ({', '.join(one for one in known if one)})"


def ending_label(ending: str) -> str:
    """Write how a structure ended as words."""
    return ending.replace("_", " ")


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is not zero of a relaxation or a search, a mean together with its deviation."""
    for key, value in values.items():
        name = key.removesuffix("_mean")
        beside_mean = key.endswith("_std") and f"{key.removesuffix('_std')}_mean" in values
        if key in _APART or beside_mean or value in (None, 0, {}, []) or _is_curve(value):
            continue
        label, unit = _LABELS.get(key) or _LABELS.get(name) or (name.replace("_", " "), "")
        if name == key:
            yield label, fact_text(value) + unit
            continue
        deviation = values.get(f"{name}_std")
        more = "" if deviation is None else f", standard deviation {number(deviation)}"
        yield label, f"mean {number(value)}{unit}{more}"


def setting_groups(values: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return settings in groups: those that are plain, then one group for each larger part.

    Parameters
    ----------
    values : dict
        As on a card, with mappings in it, such as the card of a potential.

    Returns
    -------
    list of (str, list of (str, str))
        Heading, empty for the plain ones, and labels with texts.
    """
    larger = {
        key: value for key, value in values.items() if isinstance(value, dict) and _is_large(value)
    }
    plain = [(key, fact_text(value)) for key, value in values.items() if key not in larger]
    groups = [("", plain)] if plain else []
    return groups + [
        (key.replace("_", " "), list(_settings(value))) for key, value in larger.items()
    ]


def _is_large(values: Mapping[str, Any]) -> bool:
    return len(values) > _ABREAST or any(isinstance(value, dict) for value in values.values())


def _settings(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Yield a line for each setting; of a small mapping one line for all of it."""
    for key, value in values.items():
        label = f"{above}{key}".replace("_", " ")
        hashes = isinstance(value, dict) and any(map(is_hash, value.values()))
        if isinstance(value, dict) and (_is_large(value) or hashes):
            yield from _settings(value, f"{label}: ")
        elif value not in (None, {}, []):
            yield label, fact_text(value)


def is_hash(value: Any) -> bool:
    """Tell whether something is a hash, written in hexadecimal digits."""
    return isinstance(value, str) and len(value) >= 40 and set(value) <= set("0123456789abcdef")


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
