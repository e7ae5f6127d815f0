"""What a score shows beside its metrics: curves, motifs, bonds, energies, relaxations."""

from __future__ import annotations

from pydantic import BaseModel, Field

from dismaiflow.potentials.base import PotentialCard


class Histogram(BaseModel):
    """Distributions of one quantity in the generated and the reference set."""

    unit: str
    edges: list[float]
    generated: list[float] = Field(description="share of the structures in each bin")
    reference: list[float]


class Curve(BaseModel):
    """Mean curves of the generated and the reference structures.

    Parameters
    ----------
    title, x_label, y_label : str
        What it shows, with units.
    x : list of float
        Abscissa.
    generated, low, high : list of float
        Mean over the structures, and its pointwise 95 % bootstrap interval.
    reference : list of float
        Mean over the reference.
    """

    title: str
    x_label: str
    y_label: str
    x: list[float]
    generated: list[float]
    low: list[float] = Field(default_factory=list)
    high: list[float] = Field(default_factory=list)
    reference: list[float]


class MotifShare(BaseModel):
    """How often one motif is the most likely one, in per cent of the sites.

    Parameters
    ----------
    motif : str
        Name and coordination number.
    reference, generated : float
        Per cent.
    low, high : float
        95 % bootstrap interval of the generated share.
    reference_by_count, generated_by_count : dict of str to float
        The same by the number of neighbours of the first anion.
    """

    motif: str
    reference: float
    generated: float
    low: float
    high: float
    reference_by_count: dict[str, float] = Field(default_factory=dict)
    generated_by_count: dict[str, float] = Field(default_factory=dict)


class MotifTable(BaseModel):
    """Most likely motifs of the sites of one species."""

    species: str
    counted: str | None = Field(None, description="anion by whose number motifs are subdivided")
    motifs: list[MotifShare]


class BondCount(BaseModel):
    """Mean number of neighbours of one species around region atoms of another."""

    centre: str
    neighbour: str
    generated: float | None
    low: float | None = None
    high: float | None = None
    reference: float | None


class RelaxationSummary(BaseModel):
    """How the structures of one set relaxed (the quantities of Tables S2 and S3).

    Parameters
    ----------
    n_structures : int
        Structures that were given to the potential.
    by_status : dict of str to int
        How they ended.
    steps_mean, steps_std : float or None
        Steps of those that converged.
    drop_mean, drop_std : float or None
        Initial minus final energy of those, meV/atom.
    """

    n_structures: int
    by_status: dict[str, int]
    steps_mean: float | None = None
    steps_std: float | None = None
    drop_mean: float | None = None
    drop_std: float | None = None


class Relaxations(BaseModel):
    """The relaxations behind a score.

    Parameters
    ----------
    potential : PotentialCard
        What relaxed them.
    settings : dict
        Optimiser, limits.
    generated, reference : RelaxationSummary or None
        By side; no reference if it was taken as it is.
    """

    potential: PotentialCard
    settings: dict[str, float | str | int | bool | None]
    generated: RelaxationSummary | None = None
    reference: RelaxationSummary | None = None


class InterfaceEnergies(BaseModel):
    """Normalised interface energies (eq. 6 of the paper), J/m^2.

    Parameters
    ----------
    reference_energy : float
        eV/atom.
    rule : str
        Where it comes from.
    potential_hash : str
        Of the potential that computed the energies.
    area : float
        Å^2.
    mean, std, lowest : float or None
        Of the generated structures.
    percent_low : float or None
        Generated structures at or below the cut of the dataset, per cent.
    reference_mean, reference_lowest : float or None
        Of the reference.
    histogram : Histogram, optional
        Distributions of both.
    """

    reference_energy: float
    rule: str
    potential_hash: str
    area: float
    mean: float | None = None
    std: float | None = None
    lowest: float | None = None
    percent_low: float | None = None
    reference_mean: float | None = None
    reference_lowest: float | None = None
    histogram: Histogram | None = None


class ClosePairs(BaseModel):
    """Pairs of atoms that are too close in generated structures, before anything is moved.

    Parameters
    ----------
    distance : float
        At most so far apart, Å.
    mean : float
        Pairs of a structure.
    random : float or None
        Those of as many atoms anywhere in the cell of the reference.
    """

    distance: float
    mean: float
    random: float | None = None


class Findings(BaseModel):
    """Everything that only structures with free atoms have."""

    curves: dict[str, Curve] = Field(default_factory=dict)
    motifs: list[MotifTable] = Field(default_factory=list)
    bonds: list[BondCount] = Field(default_factory=list)
    relaxations: Relaxations | None = None
    interface_energies: InterfaceEnergies | None = None
    close_pairs: ClosePairs | None = None
    missing: dict[str, str] = Field(
        default_factory=dict, description="why something of the above is not there"
    )
