"""DFT settings of a system: its own block, with the paper's and ours where it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import TYPE_CHECKING

from dismaiflow.systems.interface_blocks import BulkDft, Dft, DftStage, HubbardU, KPoints

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dismaiflow.systems import SystemSpec

#: What marks a setting that the paper leaves open.
OURS = "our choice"

_PAPER = "paper, section 4.5"
_AS_PAPER = "the paper's setting (section 4.5)"

#: PAW potentials with the valence electrons that the paper names, and those of the alloy.
POTENTIALS = {
    "Li": "Li_sv",
    "Sc": "Sc_sv",
    "Co": "Co",
    "Cl": "Cl",
    "O": "O",
    "Mg": "Mg_pv",
    "S": "S",
    "Fe": "Fe",
    "Ni": "Ni",
    "Cr": "Cr_pv",
}

#: Valence electrons of the paper (section 4.5; Mg and S: Supplementary Note 1).
VALENCES = {"Li": 3, "Sc": 11, "Co": 9, "Cl": 7, "O": 6, "Mg": 8, "S": 6}

#: Initial moments of atoms, Bohr magnetons. Co(3+) in LiCoO2 is low-spin; those of the alloy lie
#: above what it has, from where a run comes down.
MOMENTS = {"Co": 0.6, "Fe": 3.0, "Ni": 1.0, "Cr": 2.0, "Mn": 5.0, "V": 3.0}

#: Of all other elements, as pymatgen starts them.
OTHER_MOMENT = 0.6

#: Ionic steps that a sound relaxation does not reach.
MAX_STEPS = {"cell": 200, "atoms": 500}

#: Points along a reciprocal vector times the length of the cell vector, Å; the paper's meshes of
#: LiCoO2, Li3ScCl6, Li2O and Li have 14 to 44.
KPOINT_LENGTH_BULK = 28.0
KPOINT_LENGTH_METAL = 40.0

#: Sources of what `default_dft` fills in, by key of the ``dft`` block.
_DEFAULT_SOURCES = {
    "functional": _PAPER,
    "hubbard_u": _PAPER,
    "potential_family": f"{OURS}: the release that pymatgen's tables are for",
    "potentials": f"{OURS} of the potentials with the valence electrons of section 4.5",
    "bulk": _PAPER,
    "kpoints": _PAPER,
    "stages": _PAPER,
    "harvest": "paper, section 4.6",
}
_OTHER_SOURCE = f"{OURS}: as the paper computes its interfaces"
_ALLOY_SOURCES = {
    "bulk/encut": f"{OURS}: the paper's cutoff of bulk structures",
    "bulk/fmax": f"{OURS}: cell and atoms, as formation energies want it",
}


@dataclass(frozen=True, eq=False)
class DftBlock:
    """The DFT settings of a system with nothing left open.

    Parameters
    ----------
    dft : Dft
        The settings; ``bulk`` is there.
    species : tuple of str
        Elements of the system; those of the paper without one.
    phases : tuple of str
        Bulk phases of an interface.
    origin : str
        What to call it in errors.
    metal : bool
        Whether it is an alloy.
    sources : dict of str to str
        By key of the block.
    """

    dft: Dft
    species: tuple[str, ...]
    phases: tuple[str, ...] = ()
    origin: str = "dft"
    metal: bool = False
    sources: dict[str, str] = field(default_factory=dict)

    def source(self, key: str) -> str:
        """Return the source of a key such as ``bulk/kpoints``, or that of what holds it."""
        parts = key.split("/")
        places = ["/".join(parts[:n]) for n in range(len(parts), -1, -1)]
        return next((self.sources[place] for place in places if place in self.sources), OURS)

    @cached_property
    def potentials(self) -> dict[str, str]:
        """The PAW potential of each element."""
        return {s: self.dft.potentials.get(s) or default_potential(s) for s in self.species}

    def potential_source(self, symbol: str) -> str:
        """Return the source of the potential of an element."""
        if symbol in self.dft.potentials:
            return self.source("potentials")
        if symbol in VALENCES:
            return _DEFAULT_SOURCES["potentials"]
        return f"{OURS}: {'as VASP recommends' if symbol in POTENTIALS else 'as in pymatgen'}"

    @property
    def spin_source(self) -> str:
        """The source of the spin polarisation."""
        return "paper, section 4.1.1" if self.metal else f"{OURS}: transition metals bear moments"


def dft_block(spec: SystemSpec | None, stage: str = "") -> DftBlock:
    """Return the DFT settings of a system with nothing left open.

    Parameters
    ----------
    spec : SystemSpec, optional
        The system; without one, the paper's settings for any.
    stage : str
        Without a system, the calculation: ``alloy-cell`` is that of an alloy.
    """
    metal = stage == "alloy-cell" if spec is None else spec.kind == "alloy"
    own = spec.dft if spec is not None else None
    dft = own or default_dft(spec, metal, free_cell=stage == "full-cell")
    sources = dict(_DEFAULT_SOURCES)
    if spec is not None and not spec.sources:
        # The paper does not speak of a system of the user's own.
        sources = {key: text.replace(_PAPER, _AS_PAPER) for key, text in sources.items()}
    if metal:
        sources |= _ALLOY_SOURCES
    if spec is not None and spec.kind == "amorphous":
        sources |= dict.fromkeys(("functional", "stages", "kpoints"), _OTHER_SOURCE)
    if own is not None and spec is not None:
        given = {k: v for k, v in spec.sources.items() if k.split("/")[0] == "dft"}
        sources = {key.removeprefix("dft").lstrip("/"): text for key, text in given.items()}
    if dft.bulk is None:
        dft = dft.model_copy(update={"bulk": _BULK})
        sources["bulk"] = _DEFAULT_SOURCES["bulk"]
    species = ("Fe", "Ni", "Cr") if metal else tuple(VALENCES)
    return DftBlock(
        dft=dft,
        species=species if spec is None else spec.species,
        phases=tuple(spec.bulk or {}) if spec is not None else (),
        origin=(spec.origin or spec.name) if spec is not None else "dft",
        metal=metal,
        sources=sources,
    )


_BULK = BulkDft(encut=520, fmax=0.001, kpoints={})


def default_dft(spec: SystemSpec | None, metal: bool = False, free_cell: bool = False) -> Dft:
    """Return the ``dft`` block that a system without one gets: the paper's, section 4.5.

    Parameters
    ----------
    spec : SystemSpec, optional
        The system; U acts only on Co, and only where there is some.
    metal : bool
        Whether it is an alloy, whose cell relaxes with its atoms.
    free_cell : bool
        Whether the cell of an interface relaxes, to 0.05 eV/Å (Supplementary Note 1).
    """
    if metal:
        stage = DftStage(relax="all", cell="free", encut=520, fmax=0.01)
        return Dft(stages=(stage,), bulk=BulkDft(encut=520, fmax=0.01, kpoints={}))
    with_co = spec is None or "Co" in spec.species
    last = (
        DftStage(relax="all", cell="free", encut=450, fmax=0.05)
        if free_cell
        else DftStage(relax="all", encut=450, fmax=0.1)
    )
    return Dft(
        hubbard_u={"Co": HubbardU(u=4.0, orbital="d")} if with_co else {},
        bulk=_BULK,
        kpoints=KPoints(grid=(1, 1, 1)),
        stages=(DftStage(relax="region", encut=374.3, max_steps=50), last),
    )


def default_potential(symbol: str) -> str:
    """Return the PAW potential of an element: with the paper's valence, else pymatgen's choice."""
    return POTENTIALS.get(symbol) or _pymatgen_potentials().get(symbol, symbol)


@cache
def _pymatgen_potentials() -> dict[str, str]:
    from pymatgen.io.vasp.sets import MPScanRelaxSet

    return dict(MPScanRelaxSet.CONFIG["POTCAR"])


def magnetic(species: Iterable[str]) -> bool:
    """Say whether an element among them usually bears a moment."""
    return any(symbol in MOMENTS for symbol in species)


def f_elements(species: Iterable[str]) -> bool:
    """Say whether a lanthanide or actinide is among them."""
    from ase.data import atomic_numbers

    return any(57 <= atomic_numbers[s] <= 71 or atomic_numbers[s] >= 89 for s in species)
