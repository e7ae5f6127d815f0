"""What a run of VASP says of itself: engine, functional and the settings that decide its numbers.

All of it comes from the outputs, nothing from what was asked for: custodian changes inputs, and
users mix folders up.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dismaiflow.structures.frames import FrameLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dismaiflow.dft.attempts import Attempt
    from dismaiflow.dft.vasprun import Vasprun

#: Settings of precision by their first letter, which is all that VASP reads.
_PRECISIONS = {
    "A": "ACCURATE",
    "N": "NORMAL",
    "S": "SINGLE",
    "L": "LOW",
    "M": "MEDIUM",
    "H": "HIGH",
}

#: Functionals by the tag GGA.
_FUNCTIONALS = {
    "91": "PW91",
    "PE": "PBE",
    "PS": "PBEsol",
    "RP": "RPBE",
    "RE": "revPBE",
    "AM": "AM05",
    "CA": "LDA",
}

#: Functionals that potentials were made with, by the first word of their titles.
_POTENTIALS = {"PAW_PBE": "PBE", "PAW_GGA": "PW91", "PAW": "LDA", "US": "LDA"}

#: Ways of projecting in real space by their first letter.
_PROJECTIONS = {"A": "AUTO", "O": "ON", "T": "TRUE"}

#: What VASP writes for a tag without a value.
_EMPTY = ("", "--", "NONE", "F")


def label_of(attempt: Attempt, ediff: float | None, names: Sequence[str] = ()) -> FrameLabel:
    """Return where the numbers of an attempt come from.

    Parameters
    ----------
    attempt : Attempt
        What VASP left.
    ediff : float, optional
        Largest EDIFF of all attempts at this relaxation, eV. custodian tightens it where a line
        search fails, which leaves the numbers what they are within the first one; the frames of a
        relaxation are to keep one label.
    names : sequence of str
        Names of the potentials, where the outputs have no titles (POTCAR.spec).
    """
    run = attempt.run
    settings = _plain_tags(run)
    if ediff is not None:
        settings["EDIFF"] = ediff
    hubbard = _hubbard(run)
    if hubbard:
        settings["U"] = hubbard
    if run.kpoints:
        settings["kpoints"] = dict(run.kpoints)
    settings["potentials"] = _potentials(run, names)
    return FrameLabel(
        engine=_engine(attempt),
        functional=_functional(run) + ("+U" if hubbard else ""),
        settings=settings,
        rehearsal=attempt.is_rehearsal,
    )


def loosest_ediff(attempts: Sequence[Attempt]) -> float | None:
    """Return the largest EDIFF of attempts that left ionic steps, eV."""
    given = [attempt.run.tag("EDIFF") for attempt in attempts if attempt.run.steps]
    return max((float(value) for value in given if value is not None), default=None)


def _engine(attempt: Attempt) -> str:
    said = attempt.run.generator
    program = said.get("program", "").strip().lower() or "vasp"
    name = f"{program} {said.get('version', '').strip()}".strip()
    if not attempt.is_rehearsal:
        return name
    # The stand-in says by what potential its numbers are made.
    potential = re.search(r"\(.*\)", said.get("subversion", ""))
    return f"rehearsal of {name} {potential[0] if potential else ''}".strip()


def _plain_tags(run: Vasprun) -> dict[str, Any]:
    """Return the tags that decide the numbers, each in one spelling and type."""
    projection = str(run.tag("LREAL", "F")).strip(" .").upper()[:1]
    found = {
        "ENCUT": _number(run.tag("ENCUT", run.tag("ENMAX"))),
        "PREC": _PRECISIONS.get(str(run.tag("PREC", "N")).strip().upper()[:1]),
        "ISMEAR": _number(run.tag("ISMEAR"), int),
        "SIGMA": _number(run.tag("SIGMA")),
        "ISPIN": _number(run.tag("ISPIN"), int),
        "LREAL": _PROJECTIONS.get(projection, "FALSE"),
        "LASPH": bool(run.tag("LASPH", False)),
        "GGA": _tidy(run.tag("GGA")),
        "METAGGA": _tidy(run.tag("METAGGA")),
        "IVDW": _number(run.tag("IVDW"), int),
    }
    return {tag: value for tag, value in found.items() if value is not None}


def _number(value: Any, kind: Callable[[Any], Any] = float) -> Any:
    return kind(value) if isinstance(value, int | float) else None


def _tidy(value: Any) -> Any:
    """Return the value of a tag in one spelling, None for none."""
    if isinstance(value, str):
        value = value.strip().upper()
        return None if value in _EMPTY else value
    return value


def _functional(run: Vasprun) -> str:
    gga, meta = _tidy(run.tag("GGA")), _tidy(run.tag("METAGGA"))
    if meta:
        return str(meta)
    title = run.types[0][1].split() if run.types else []
    made_with = _POTENTIALS.get(title[0]) if title else None
    name = _FUNCTIONALS.get(gga, gga) if gga else made_with
    name = name or "unknown"
    if run.tag("LHFCALC"):
        return f"{name} hybrid, AEXX={run.tag('AEXX')}, HFSCREEN={run.tag('HFSCREEN')}"
    return name


def _hubbard(run: Vasprun) -> dict[str, dict[str, float]]:
    """Return U and J, eV, and the orbital l of the elements that have them."""
    if not run.tag("LDAU"):
        return {}
    columns = [run.tag(name) or [] for name in ("LDAUL", "LDAUU", "LDAUJ")]
    symbols = [symbol for symbol, _ in run.types]
    return {
        symbol: {"l": orbital, "U": float(u), "J": float(j)}
        for symbol, orbital, u, j in zip(symbols, *columns, strict=False)
        if orbital is not None and orbital >= 0 and (u or j)
    }


def _potentials(run: Vasprun, names: Sequence[str]) -> dict[str, str]:
    """Return the potential of each element."""
    found = {symbol: " ".join(title.split()) for symbol, title in run.types}
    if not all(found.values()):
        found |= {name.partition("_")[0]: name for name in names}
    return dict(sorted(found.items()))
