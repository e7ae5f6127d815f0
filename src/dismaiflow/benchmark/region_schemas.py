"""Documents of the evaluation of interface regions (paper, section 2.5)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from dismaiflow.benchmark.schemas import Metric
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.structures.dataset import package_versions

#: Name of the set that the others are compared with.
TRAINING = "training"

#: Which structures of a set are looked at, by their interface energy.
Choice = Literal["low", "high", "all"]


class Estimate(BaseModel):
    """A mean over structures with its 95 % bootstrap interval; none for a single structure."""

    value: float
    low: float | None = None
    high: float | None = None


class SetQuestion(BaseModel):
    """What is asked of a set.

    Parameters
    ----------
    name : str
        What the user calls it.
    choice : {"low", "high", "all"}
        Which of its structures are looked at.
    unreadable : dict of str to int
        Frames of its source that could not be read, by reason.
    """

    name: str
    choice: Choice = "all"
    unreadable: dict[str, int] = Field(default_factory=dict)


class RegionSet(BaseModel):
    """What became of the structures of one set.

    Parameters
    ----------
    name : str
        What the user called it.
    content_hash : str
        Of its structures.
    choice : {"low", "high", "all"}
        Which of its structures are looked at.
    n_structures : int
        Structures that were given, unreadable ones included.
    n_evaluated : int
        Structures that were looked at.
    n_other_energy : int
        Structures whose energy is on the other side of the cut.
    failures : dict of str to int
        Why the others were not looked at.
    example : str
        The first failure, in words.
    atoms : dict of str to Estimate
        Cations in the region of a structure.
    lost : float or None
        Mean share of the slabs' sites that are not found.
    """

    name: str
    content_hash: str
    choice: Choice
    n_structures: int
    n_evaluated: int
    n_other_energy: int = 0
    failures: dict[str, int] = Field(default_factory=dict)
    example: str = ""
    atoms: dict[str, Estimate] = Field(default_factory=dict)
    lost: float | None = None


class Similarity(BaseModel):
    """Mean fingerprint of one cation of a set, beside that of the training set (Tables 4, S7)."""

    distance: Metric
    cosine: Metric


class RegionMotif(BaseModel):
    """How often one motif is the most likely one, in per cent of the cations in the region.

    Parameters
    ----------
    motif : str
        Name and coordination number.
    share : dict of str to Estimate
        By set (Fig. S33).
    by_count : dict of str to dict of str to list of Estimate
        By anion and set: shares of the cations that have 0, 1, ... of it among the neighbours of
        that motif (Figs. 9, S18).
    """

    motif: str
    share: dict[str, Estimate]
    by_count: dict[str, dict[str, list[Estimate]]] = Field(default_factory=dict)


class RegionBonds(BaseModel):
    """Neighbours of one anion that a cation in the region has, by set (Fig. S19)."""

    centre: str
    neighbour: str
    count: dict[str, Estimate]


class Band(BaseModel):
    """A mean curve and its pointwise 95 % interval; none for a single structure."""

    mean: list[float]
    low: list[float] = Field(default_factory=list)
    high: list[float] = Field(default_factory=list)


class RegionCurve(BaseModel):
    """g(r) of one species around region atoms of another, by set (Fig. S34)."""

    centre: str
    neighbour: str
    r: list[float] = Field(description="middles of the shells, Å")
    sets: dict[str, Band]


class SetEnergies(BaseModel):
    """Interface energies of all structures of a set whose energy is known, J/m^2."""

    n: int
    mean: float
    percent_low: float
    shares: list[float] = Field(description="share of the structures in each bin")


class RegionEnergies(BaseModel):
    """Distribution of the interface energies (Fig. 8).

    Parameters
    ----------
    cut : float
        Structures at or below it are of low energy, J/m^2.
    reference_energy : float or None
        eV/atom that counts as 0; None if the files give interface energies.
    rule : str
        Where energies and reference come from.
    edges : list of float
        Of the bins, J/m^2.
    sets : dict of str to SetEnergies
        By set.
    """

    cut: float
    reference_energy: float | None
    rule: str
    edges: list[float]
    sets: dict[str, SetEnergies]


class RegionEvaluationDoc(BaseModel):
    """Regions of sets of interfaces, compared with those of the training structures.

    Parameters
    ----------
    centres, anions : list of str
        Cations that are looked at, and the neighbours that are counted.
    sets : dict of str to RegionSet
        The training set first.
    fingerprints : dict of str to dict of str to Similarity
        By cation and set.
    motifs : dict of str to list of RegionMotif
        By cation; those that more than 1 % of the training set's have.
    bonds : list of RegionBonds
        Mean numbers of neighbours.
    curves : list of RegionCurve
        Radial distribution functions.
    energies : RegionEnergies or None
        None if no energies were asked for or known.
    potential : PotentialCard or None
        What computed the energies.
    missing : dict of str to str
        Why something is not there.
    """

    kind: str = "region_evaluation"
    system: str
    centres: list[str]
    anions: list[str]
    sets: dict[str, RegionSet]
    fingerprints: dict[str, dict[str, Similarity]] = Field(default_factory=dict)
    motifs: dict[str, list[RegionMotif]] = Field(default_factory=dict)
    bonds: list[RegionBonds] = Field(default_factory=list)
    curves: list[RegionCurve] = Field(default_factory=list)
    energies: RegionEnergies | None = None
    potential: PotentialCard | None = None
    missing: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=package_versions)
