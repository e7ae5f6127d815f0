"""The blocks of an interface spec: bulk phases, slabs, the random region, DFT settings."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from dismaiflow.systems.fields import (
    Block,
    Cell,
    Composition,
    Matrix3,
    Pair,
    Symbol,
    Vector3,
    split_pair,
)

Matrix2 = tuple[tuple[int, int], tuple[int, int]]
#: Thickness of a region, Å.
Thickness = Annotated[float, Field(gt=0, le=100)]
#: Least vacuum, Å; grids over the cell are as fine as a fraction of an ångström.
Vacuum = Annotated[float, Field(gt=0, le=500)]
#: Planes of atoms of a slab.
Layers = Annotated[int, Field(gt=0, le=200)]
#: Share of a cell vector.
Share = Annotated[float, Field(ge=0, le=1)]


class Site(Block):
    """An occupied site of a bulk cell.

    Parameters
    ----------
    species : str
        Chemical symbol.
    position : 3 float
        Fractional coordinates.
    label : str, optional
        Wyckoff letter with its multiplicity, for the reader.
    """

    species: Symbol
    position: Vector3
    label: str = ""


class BulkPhase(Block):
    """A crystalline phase: a CIF file, or a cell with its sites.

    Parameters
    ----------
    formula : dict
        Atoms of each element in one formula unit.
    cif : str, optional
        A CIF file beside the YAML, or in the package's library. Its cell is taken as it stands.
    cell : Cell, optional
        The conventional cell, to which Miller indices and surface vectors refer.
    space_group : str
        Hermann-Mauguin symbol; the sites are those that symmetry does not relate. Under the
        default ``P1`` they are all sites.
    sites : list of Site, optional
        The occupied sites.
    """

    formula: Composition = Field(min_length=1)
    cif: str | None = None
    cell: Cell | None = None
    space_group: str = "P1"
    sites: tuple[Site, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> BulkPhase:
        by_sites = self.cell is not None and bool(self.sites)
        if (self.cif is not None) == by_sites:
            raise ValueError("give either cif, or cell with sites")
        found = Counter(site.species for site in self.sites)
        if by_sites and set(found) != set(self.formula):
            raise ValueError(
                f"the sites hold {', '.join(found)} but the formula {', '.join(self.formula)}: "
                "make them agree"
            )
        if by_sites and self.space_group == "P1":
            ratios = {found[symbol] / count for symbol, count in self.formula.items()}
            if len(ratios) > 1:
                raise ValueError(
                    "the sites are not in the proportions of the formula: complete them, or give "
                    "the space_group that does"
                )
        return self


class Matching(Block):
    """Tolerances of the search for a common supercell (Zur and McGill, J. Appl. Phys. 55, 378).

    Parameters
    ----------
    max_area : float
        Largest area of the interface, Å^2.
    max_area_ratio_tol, max_length_tol, max_angle_tol : float
        Largest relative differences of area, vector lengths and angle; as in pymatgen's
        ``ZSLGenerator``.
    """

    max_area: float = Field(default=400.0, gt=0, le=1000)
    max_area_ratio_tol: PositiveFloat = 0.09
    max_length_tol: PositiveFloat = 0.03
    max_angle_tol: PositiveFloat = 0.01


class PolarFix(Block):
    """Neutralise a polar slab by moving surface ions to its other side.

    Parameters
    ----------
    phase : str
        The slab.
    species : str
        The ion that is moved.
    fraction : float, optional
        Share of the surface plane that is moved; computed from the charges if not given.
    method : {"tasker-2b"}
        Tasker, J. Phys. C 12, 4977 (1979).
    """

    phase: str
    species: Symbol
    fraction: float | None = Field(default=None, gt=0, le=1)
    method: Literal["tasker-2b"] = "tasker-2b"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict | PolarFix) else value


#: One mapping, or a list of them where both slabs are polar.
PolarFixes = Annotated[
    Annotated[tuple[PolarFix, ...], Field(min_length=1)], BeforeValidator(_as_list)
]


class MinDistances(Block):
    """Smallest distances between atoms when the region is filled at random.

    Parameters
    ----------
    scale : float
        Factor on all of them.
    radii : dict
        Ionic radius of each species, Å; a pair without an entry of its own takes their sum.
    pairs : dict
        Distances of single pairs, Å, before scaling.
    """

    scale: PositiveFloat = 0.75
    radii: dict[Symbol, PositiveFloat] = Field(default_factory=dict)
    pairs: dict[Pair, PositiveFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> MinDistances:
        for pair in self.pairs:
            first, second = split_pair(pair)
            if first != second and f"{second}-{first}" in self.pairs:
                raise ValueError(f"pairs holds {pair} and {second}-{first}: keep one of them")
        return self

    def of(self, first: str, second: str) -> float:
        """Return the smallest distance of two species, Å.

        Raises
        ------
        KeyError
            If neither the pair nor both radii are given.
        """
        for key in (f"{first}-{second}", f"{second}-{first}"):
            if key in self.pairs:
                return self.scale * self.pairs[key]
        return self.scale * (self.radii[first] + self.radii[second])


class Placement(Block):
    """How atoms are placed one by one in the region.

    Parameters
    ----------
    order : list of str, optional
        Species in the order of placement; large anions first succeed most often.
    max_tries : int
        Positions tried for one atom before the structure is begun again.
    max_restarts : int
        Beginnings before the minimum distances are shrunk.
    scale_step : float
        By how much their ``scale`` is then lowered.
    """

    order: tuple[Symbol, ...] | None = None
    max_tries: PositiveInt = 2000
    max_restarts: PositiveInt = 5
    scale_step: float = Field(default=0.02, ge=0.001)


class Region(Block):
    """The disordered region between the slabs.

    Parameters
    ----------
    phase : str
        Phase of which formula units are placed at random.
    formula_units : int
        How many.
    thickness : 2 float
        Smallest and largest thickness, Å, from the top plane of the substrate to the lowest
        plane of the film; drawn uniformly.
    lateral_shift : 2 float
        Largest random displacement of the film along a and b, as a share of each vector.
    min_distances : MinDistances
        Smallest distances of the placed atoms.
    placement : Placement
        Limits of the search for free positions.
    """

    phase: str
    formula_units: int = Field(gt=0, le=1000)
    thickness: tuple[Thickness, Thickness]
    lateral_shift: tuple[Share, Share] = (1.0, 1.0)
    min_distances: MinDistances
    placement: Placement = Placement()

    @model_validator(mode="after")
    def _check(self) -> Region:
        low, high = self.thickness
        if low > high:
            raise ValueError(f"thickness runs from {low} down to {high}: swap them")
        return self


class Exchanges(Block):
    """Random mutual exchanges between the region and the top layer of the substrate.

    Parameters
    ----------
    limits : dict
        By pair ``A-B``, A in the region and B in the layer: most exchanges in a structure.
    in_dataset : bool
        Whether structures of the dataset have exchanges, or only a potential's training set.
    n_without, n_with : int
        Structures without and with exchanges in a potential's training set.
    """

    limits: dict[Pair, NonNegativeInt] = Field(min_length=1)
    in_dataset: bool = False
    n_without: NonNegativeInt = 0
    n_with: NonNegativeInt = 0


class KPoints(Block):
    """A regular mesh in reciprocal space.

    Parameters
    ----------
    grid : 3 int
        Points along each reciprocal vector.
    style : {"gamma", "monkhorst-pack"}
        Whether the mesh is centred on the gamma point.
    """

    grid: tuple[PositiveInt, PositiveInt, PositiveInt]
    style: Literal["gamma", "monkhorst-pack"] = "gamma"


class HubbardU(Block):
    """An on-site Coulomb term.

    Parameters
    ----------
    u : float
        Effective U, eV.
    orbital : {"s", "p", "d", "f"}
        The orbitals it acts on.
    """

    u: PositiveFloat
    orbital: Literal["s", "p", "d", "f"] = "d"


class BulkDft(Block):
    """Relaxation of the bulk cells: shape, volume and positions.

    Parameters
    ----------
    encut : float
        Plane-wave cutoff, eV.
    fmax : float
        Largest force left on an atom, eV/Å.
    kpoints : dict
        Mesh of each phase.
    """

    encut: PositiveFloat
    fmax: PositiveFloat
    kpoints: dict[str, KPoints]


class DftStage(Block):
    """One stage of the relaxation of an interface.

    Parameters
    ----------
    relax : {"region", "all"}
        Which atoms move.
    cell : {"fixed", "free", "fixed-c"}
        Whether the cell relaxes too; ``fixed-c`` leaves the vector across the interface as it is.
    encut : float
        Plane-wave cutoff, eV.
    fmax : float, optional
        Largest force left on a moving atom, eV/Å.
    max_steps : int, optional
        Ionic steps after which the stage ends; without ``fmax`` it always runs that far.
    """

    relax: Literal["region", "all"]
    cell: Literal["fixed", "free", "fixed-c"] = "fixed"
    encut: PositiveFloat
    fmax: PositiveFloat | None = None
    max_steps: PositiveInt | None = None

    @model_validator(mode="after")
    def _check(self) -> DftStage:
        if self.relax == "region" and self.cell != "fixed":
            raise ValueError("the cell cannot relax while only the region does: set cell: fixed")
        if self.fmax is None and self.max_steps is None:
            raise ValueError("nothing ends the stage: give fmax or max_steps")
        return self


class Harvest(Block):
    """Which ionic steps of a relaxation become training data.

    Parameters
    ----------
    first : int
        First step that is taken, from 1.
    interval : int
        Steps between two that are taken; the final one always is.
    """

    first: PositiveInt = 5
    interval: PositiveInt = 10


class Dft(Block):
    """Density functional theory settings of an interface.

    Parameters
    ----------
    functional : str
        Exchange-correlation functional.
    hubbard_u : dict
        On-site terms by element.
    potential_family : str
        Release of the PAW potentials.
    potentials : dict
        PAW potential of each element.
    bulk : BulkDft, optional
        Relaxation of the bulk cells.
    kpoints : KPoints
        Mesh of the interface.
    stages : list of DftStage
        Relaxation of the interface, in order.
    harvest : Harvest
        Ionic steps of the last stage that become training data.
    """

    functional: str = "PBE"
    hubbard_u: dict[Symbol, HubbardU] = Field(default_factory=dict)
    potential_family: str = "PBE_54"
    potentials: dict[Symbol, str] = Field(default_factory=dict)
    bulk: BulkDft | None = None
    kpoints: KPoints = KPoints(grid=(1, 1, 1))
    stages: tuple[DftStage, ...] = Field(min_length=1)
    harvest: Harvest = Harvest()

    @model_validator(mode="after")
    def _check(self) -> Dft:
        if [stage.relax for stage in self.stages] not in (["region", "all"], ["all"]):
            raise ValueError("stages: give one with relax: all, and before it one with region")
        return self


class InterfaceParts(NamedTuple):
    """The blocks of an interface spec, all of those that must be there being there."""

    bulk: dict[str, BulkPhase]
    miller: dict[str, tuple[int, int, int]]
    layers: dict[str, Layers]
    substrate: str
    film: str
    surface_vectors: dict[str, Matrix3] | None
    supercell: dict[str, Matrix2] | None
    matching: Matching | None
    slab_formula_units: dict[str, PositiveInt] | None
    terminations: dict[str, int]
    polar_fix: tuple[PolarFix, ...]
    region: Region
    exchanges: Exchanges | None
    vacuum: float
    atom_order: tuple[str, ...]
    dft: Dft | None

    @property
    def region_counts(self) -> dict[str, int]:
        """Atoms of each element that stand at random in the region."""
        formula = self.bulk[self.region.phase].formula
        return {symbol: n * self.region.formula_units for symbol, n in formula.items()}
