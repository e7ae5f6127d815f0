"""Input sets of VASP, which hold the settings of `settings_table` and nothing else."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from atomate2.vasp.sets.base import VaspInputGenerator
from pymatgen.io.vasp import Kpoints

from dismaiflow.dft.settings_table import Stage, config_of, settings_of
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pymatgen.core import Structure
    from pymatgen.io.vasp.sets import VaspInput

    from dismaiflow.systems import SystemSpec

#: Site properties that POSCAR would carry on from an earlier run.
_DYNAMICS = "selective_dynamics"

#: By how much a cell may lean and still count as upright, Å.
_UPRIGHT = 1e-3


@dataclass
class DismaiInputGenerator(VaspInputGenerator):
    """Writes the inputs of one kind of calculation.

    All settings are in ``config_dict``, where pymatgen cleans them up by the elements of the cell
    (no DFT+U without Co); the user's own settings, as from atomate2's powerups, stand above them.

    Parameters
    ----------
    region_only : bool
        Whether POSCAR frees the atoms that the site property ``selective_dynamics`` names. It is
        dropped otherwise: it comes back from every run that had it.
    """

    config_dict: dict[str, Any] = field(default_factory=lambda: config_of(settings_of(None, "all")))
    # Everything that would be taken from earlier runs or guessed is off: the table decides.
    inherit_incar: bool | list[str] = False
    auto_ismear: bool = False
    auto_metal_kpoints: bool = False
    region_only: bool = False

    def get_input_set(
        self,
        structure: Structure | None = None,
        prev_dir: str | Path | None = None,
        potcar_spec: bool = False,
    ) -> VaspInput:
        """Return the inputs of a structure, its sites sorted; see pymatgen's `VaspInputSet`."""
        if structure is not None:
            structure = sorted_sites(structure)[0]
            self._check_elements(structure)
            if self.region_only and _DYNAMICS not in structure.site_properties:
                raise DismaiError(
                    "the first stage frees the interface region only: mark its atoms by the site "
                    f"property {_DYNAMICS!r}, or give a StoredStructure that names them"
                )
            if not self.region_only and _DYNAMICS in structure.site_properties:
                structure.remove_site_property(_DYNAMICS)
            if "LATTICE_CONSTRAINTS" in self._config_dict["INCAR"]:
                _check_upright(structure)
        with warnings.catch_warnings():
            # pymatgen's remark on the start of Co, which the table of settings decides.
            warnings.filterwarnings("ignore", message="Co without an oxidation state")
            return super().get_input_set(structure, prev_dir, potcar_spec)

    def _check_elements(self, structure: Structure) -> None:
        """Refuse elements for which no potential was chosen: pymatgen would take any."""
        chosen = {**self.config_dict["POTCAR"], **self.user_potcar_settings}
        missing = sorted({site.specie.symbol for site in structure} - set(chosen))
        if missing:
            raise DismaiError(
                f"no PAW potential was chosen for {', '.join(missing)}: make the Maker by "
                "from_spec(system), or name potentials by update_user_potcar_settings"
            )

    @property
    def kpoints(self) -> Kpoints | None:
        """The mesh: the user's if there is one, else that of the table."""
        spacing = self.user_incar_settings.get("KSPACING")
        if self.user_kpoints_settings or spacing is not None:
            return super().kpoints
        assert self.structure is not None, "pymatgen sets it before it asks"
        return _mesh(self.structure, self._config_dict["KPOINTS"])


def generator_for(
    spec: SystemSpec | None, stage: Stage, phase: str | None = None, fixed_c: bool | None = None
) -> DismaiInputGenerator:
    """Return the input set of a calculation; parameters as for `settings_of`."""
    config = config_of(settings_of(spec, stage, phase, fixed_c))
    return DismaiInputGenerator(config_dict=config, region_only=stage == "region")


def sorted_sites(structure: Structure) -> tuple[Structure, NDArray[np.int64]]:
    """Return a copy with its sites as VASP gets them, and where each was before.

    Elements follow each other by electronegativity, so that each has one entry in POTCAR; the
    atoms of one keep their order. (The ``sort_structure`` of atomate2 0.1.5 does nothing.)

    Returns
    -------
    structure : Structure
        The copy.
    order : ndarray of int64, shape (n_sites,)
        Place of each of its sites in the structure that was given.
    """
    keys = [(site.species.average_electroneg, site.species_string) for site in structure]
    order = sorted(range(len(structure)), key=keys.__getitem__)
    copy = type(structure).from_sites([structure[i] for i in order])
    return copy, np.array(order, dtype=np.int64)


def _check_upright(structure: Structure) -> None:
    """Refuse a cell in which the constraint of VASP would not be one on the third vector alone.

    Raises
    ------
    DismaiError
        If c is not along z, or a or b is not normal to it: VASP strikes out rows of the stress.
    """
    cell = np.asarray(structure.lattice.matrix)
    if np.abs([*cell[:2, 2], *cell[2, :2]]).max() > _UPRIGHT:
        raise DismaiError(
            "the third cell vector can be held only where it lies along z and the others are "
            "normal to it: turn the cell so, or let it relax freely"
        )


def _mesh(structure: Structure, settings: dict[str, Any]) -> Kpoints:
    """Return the mesh of a table's settings."""
    if "length" in settings:
        lengths = np.asarray(structure.lattice.abc)
        grid = np.maximum(1, np.ceil(settings["length"] / lengths - 1e-6)).astype(int)
    else:
        grid = np.asarray(settings["grid"], dtype=int)
    points = int(grid[0]), int(grid[1]), int(grid[2])
    if settings["style"] == "gamma":
        return Kpoints.gamma_automatic(points)
    return Kpoints.monkhorst_automatic(points)
