"""Rows of a region evaluation that the terminal and the page share, the paper's among them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from dismaiflow.report.words import NOTHING

if TYPE_CHECKING:
    from dismaiflow.benchmark.region_schemas import Estimate, RegionEvaluationDoc, RegionSet
    from dismaiflow.benchmark.schemas import Metric

#: What the paper's sets are.
PUBLISHED_SETS = {"low": "CryinGAN, low energy (paper)", "high": "random, high energy (paper)"}

#: What must be known before own values are compared with the paper's.
PUBLISHED_NOTE = (
    "The paper's values are of 1500 structures of each set, relaxed by DFT, its CryinGAN trained "
    "on such structures; values from other structures or energies do not compare with them."
)

#: What the names of choices mean.
CHOICES = {"low": "low energy", "high": "high energy", "all": "all"}


@dataclass(frozen=True)
class SimilarityRow:
    """One row of Table 4 or S7, in words: value and interval of each column."""

    name: str
    distance: tuple[str, str]
    cosine: tuple[str, str]
    is_published: bool = False


def similarity_rows(document: RegionEvaluationDoc, centre: str) -> list[SimilarityRow]:
    """Return the rows of a cation, and below them those of the paper, if it has any.

    Parameters
    ----------
    document : RegionEvaluationDoc
        The evaluation.
    centre : str
        The cation.
    """
    rows = [
        SimilarityRow(name, _cell(one.distance), _cell(one.cosine))
        for name, one in document.fingerprints.get(centre, {}).items()
    ]
    published = published_regions().get(document.system, {}).get(centre, {})
    for key, name in PUBLISHED_SETS.items():
        if key in published:
            one = published[key]
            cells = [_texts(*one[column]) for column in ("distance", "cosine")]
            rows.append(SimilarityRow(name, cells[0], cells[1], is_published=True))
    return rows


def set_facts(name: str, one: RegionSet) -> dict[str, str]:
    """Say in words what became of a set."""
    failed = ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in one.failures.items())
    atoms = ", ".join(f"{symbol} {estimate_text(n)}" for symbol, n in one.atoms.items())
    return {
        "set": name if name == one.name else f"{name}: {one.name}",
        "chosen": CHOICES[one.choice],
        "evaluated": f"{one.n_evaluated:,} of {one.n_structures:,}",
        "other energy": f"{one.n_other_energy:,}",
        "failed": failed or "none",
        "in a region": atoms or NOTHING,
        "sites lost": NOTHING if one.lost is None else f"{100 * one.lost:.0f} %",
    }


def estimate_text(one: Estimate, digits: int = 3) -> str:
    """Print a mean, without its interval."""
    return f"{one.value:.{digits}g}"


def interval_text(one: Estimate, digits: int = 3) -> str:
    """Print the interval of a mean; nothing without one."""
    if one.low is None or one.high is None:
        return ""
    return f"({one.low:.{digits}g} to {one.high:.{digits}g})"


@lru_cache(maxsize=1)
def published_regions() -> dict[str, Any]:
    """Return Tables 4 and S7 of the paper, by system, cation and set."""
    path = files("dismaiflow.benchmark").joinpath("tables/published_regions.yaml")
    tables: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return tables


def _cell(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return NOTHING, ""
    return _texts(metric.value, *(metric.ci95 or ()))


def _texts(value: float, *interval: float) -> tuple[str, str]:
    text = f"({interval[0]:.4f} to {interval[1]:.4f})" if interval else ""
    return f"{value:.4f}", text
