"""The blocks of alloy and amorphous specs, and the dataset block of all kinds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, model_validator

from dismaiflow.systems.fields import Block, Pair, Symbol

#: Sites of the conventional cubic cell of each lattice.
SITES_PER_CELL: dict[str, int] = {"sc": 1, "bcc": 2, "fcc": 4}


class Lattice(Block):
    """The fixed lattice of an alloy.

    Parameters
    ----------
    type : {"sc", "bcc", "fcc"}
        The Bravais lattice.
    a : float
        Edge of the conventional cubic cell, Å.
    supercell : 3 int
        Conventional cells along each axis.
    """

    type: Literal["sc", "bcc", "fcc"] = "fcc"
    a: PositiveFloat
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt]

    @property
    def n_sites(self) -> int:
        """Number of sites of the supercell."""
        i, j, k = self.supercell
        return SITES_PER_CELL[self.type] * i * j * k


class OrderFilter(Block):
    """Keep structures whose Warren-Cowley parameters lie near their mean.

    Parameters
    ----------
    shells : list of int
        Neighbour shells, from 1, whose parameters are looked at.
    tolerance : float
        Largest distance of each parameter from its mean over all snapshots.
    """

    shells: tuple[PositiveInt, ...] = Field(default=(1, 2), min_length=1)
    tolerance: PositiveFloat = 0.1


class ExpansionData(Block):
    """A pair cluster expansion written into the spec; the layout of ``fe_ni_cr_eci.json``.

    Parameters
    ----------
    constant : float
        Energy of the empty cluster, eV per atom.
    monomer : dict
        One-site term of each species, eV.
    pair : dict
        By shell ("1" is the nearest), then by pair (``Cr-Fe``), eV for each unordered pair.
    units : {"eV"}
        Unit of the energies.
    what, source, count_convention : str, optional
        Description, origin, and what is counted.
    multiplicity_pairs_per_atom : list of int, optional
        Pairs per atom of each shell.
    lattice : dict, optional
        The lattice for which the terms were fitted; not read, the spec's own holds.
    ordering, spin, errors, fit : dict, optional
        What `dismaiflow.alloy.fit` writes beside the terms; not read.
    """

    constant: float
    monomer: dict[Symbol, float]
    pair: dict[Annotated[str, BeforeValidator(str)], dict[Pair, float]] = Field(min_length=1)
    units: Literal["eV"] = "eV"
    what: str = ""
    source: str = ""
    count_convention: str = ""
    multiplicity_pairs_per_atom: tuple[PositiveInt, ...] | None = None
    lattice: dict[str, Any] | None = None
    ordering: dict[str, Any] | None = None
    spin: dict[str, Any] | None = None
    errors: dict[str, Any] | None = None
    fit: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check(self) -> ExpansionData:
        shells = {str(shell) for shell in range(1, len(self.pair) + 1)}
        if set(self.pair) != shells:
            raise ValueError(
                f"pair holds the shells {', '.join(self.pair)}: number them 1 to {len(self.pair)}"
            )
        return self


class Sampling(Block):
    """Monte Carlo sampling of an alloy dataset (paper, section 4.1.1).

    Parameters
    ----------
    n_runs : int
        Independent simulations.
    n_passes : int
        Passes of each; a pass is as many attempted swaps of unlike atoms as there are sites.
    snapshot_interval : int
        Passes between two saved snapshots.
    """

    n_runs: PositiveInt = 10
    n_passes: PositiveInt = 50_000
    snapshot_interval: PositiveInt = 10

    @property
    def n_snapshots(self) -> int:
        """Snapshots that all runs save together."""
        return self.n_runs * (self.n_passes // self.snapshot_interval)


class Relaxation(Block):
    """Relaxation of the atoms of a dataset's structures (paper, sections 4.1.2 and 4.1.3).

    Parameters
    ----------
    optimizer : {"cg", "fire", "bfgs", "lbfgs"}
        ``cg`` is the nonlinear conjugate gradient of the paper.
    fmax : float
        Largest force left on an atom, eV/Å.
    max_steps : int
        A structure that needs more has failed.
    relax_cell : bool
        Whether the cell may change; the paper moves atoms only.
    min_distance : float
        Generated atoms that are closer are pushed apart first, Å; the paper's 1.5 is too much
        where bonds are shorter, as those of carbon.
    """

    optimizer: Literal["cg", "fire", "bfgs", "lbfgs"] = "cg"
    fmax: PositiveFloat = 0.05
    max_steps: PositiveInt = 1000
    relax_cell: bool = False
    min_distance: PositiveFloat = 1.5


class EnergyFilter(Block):
    """Which relaxed interfaces enter the dataset (paper, sections 2.1.3 and 4.1.3).

    Parameters
    ----------
    max_interface_energy : float
        Largest normalised interface energy (eq. 6) that is kept, J/m^2.
    window : float
        The same cut above the lowest structure, J/m^2: it fixes the reference energy for
        another potential, by putting the lowest structure at ``max_interface_energy - window``.
    """

    max_interface_energy: float = 0.0
    window: PositiveFloat = 0.4


class DatasetSpec(Block):
    """Sizes, split and protocol of a dataset.

    Parameters
    ----------
    n_structures : int
        Training and validation structures together.
    train_fraction : float
        Share of the training set.
    sampling : Sampling, optional
        Alloys only.
    relaxation : Relaxation, optional
        Amorphous systems and interfaces only.
    energy_filter : EnergyFilter, optional
        Interfaces only.
    """

    n_structures: int = Field(default=1500, ge=2)
    train_fraction: float = Field(default=0.8, gt=0, le=1)
    sampling: Sampling | None = None
    relaxation: Relaxation | None = None
    energy_filter: EnergyFilter | None = None

    def split(self, n: int) -> int:
        """Return how many of n structures train, rounded, with one left on either side."""
        return min(max(round(n * self.train_fraction), 1), max(n - 1, 1))

    @property
    def n_train(self) -> int:
        """Number of training structures."""
        return self.split(self.n_structures)

    @property
    def n_validation(self) -> int:
        """Number of validation structures."""
        return self.n_structures - self.n_train


#: Protocol blocks of the dataset by kind of system; a missing one gets its defaults.
DATASET_BLOCKS: dict[str, dict[str, type[Block]]] = {
    "alloy": {"sampling": Sampling},
    "amorphous": {"relaxation": Relaxation},
    "interface": {"relaxation": Relaxation, "energy_filter": EnergyFilter},
}


class Quench(Block):
    """Melt-quench that makes a parent where none is given.

    What is left out is chosen by the package (`dismaiflow.amorphous.melt_quench`).

    Parameters
    ----------
    n_atoms : int, optional
        Atoms of the parent that is made, where it is not to be as large as the spec's.
    potential : {"sw", "tersoff"}, optional
        Stillinger-Weber or Tersoff.
    ensemble : {"nvt", "npt"}, optional
        Constant volume, at the density of the parent, or zero pressure.
    melt_temperature, melt_time : float, optional
        K and ps at which the crystal is melted.
    quench_from, equilibration_time : float, optional
        K at which the slow cooling begins, and ps for which the liquid is held there.
    quench_to, quench_rate : float, optional
        K at which the slow cooling ends, and its rate in K/ps (1 K/ps is 1e12 K/s).
    final_temperature, cool_time : float, optional
        K to which the solid is cooled then, and the ps that this takes.
    timestep : float, optional
        ps.
    """

    n_atoms: PositiveInt | None = None
    potential: Literal["sw", "tersoff"] | None = None
    ensemble: Literal["nvt", "npt"] | None = None
    melt_temperature: PositiveFloat | None = None
    melt_time: PositiveFloat | None = None
    quench_from: PositiveFloat | None = None
    equilibration_time: PositiveFloat | None = None
    quench_to: PositiveFloat | None = None
    quench_rate: PositiveFloat | None = None
    final_temperature: PositiveFloat | None = None
    cool_time: PositiveFloat | None = None
    timestep: PositiveFloat | None = None


class Parent(Block):
    """The large disordered structure that is cut into blocks.

    Parameters
    ----------
    n_atoms : int
        Its number of atoms.
    file : str, optional
        A file beside the YAML that holds it. Without one it is made by melt-quench.
    density : float, optional
        Density at which it is made, g/cm^3.
    quench : Quench, optional
        How it is made.
    """

    n_atoms: PositiveInt
    file: str | None = None
    density: PositiveFloat | None = None
    quench: Quench | None = None


class Slice(Block):
    """The blocks cut from a parent.

    Their lattice lengths are those of the parent, scaled linearly to the number of atoms. Atoms
    that are missing or too many are added to the emptiest or removed from the fullest regions
    of the cut faces (paper, section 4.1.2).

    Parameters
    ----------
    n_atoms : int
        Atoms of a block, after atoms were added or removed.
    face_grid : 2 int
        Regions into which each face is divided to measure its density.
    skin : float, optional
        Depth below a cut face to which atoms are counted, added and removed, Å; by default the
        distance of first neighbours in the parent.
    min_distance : float, optional
        How near an added atom may come to another, Å; by default three quarters of that
        distance.
    """

    n_atoms: PositiveInt
    face_grid: tuple[PositiveInt, PositiveInt] = (2, 2)
    skin: PositiveFloat | None = None
    min_distance: PositiveFloat | None = None
