"""Bulk crystals of an interface, from their cell and sites or from a CIF file."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError, suggestion
from dismaiflow.systems.data_files import bulk_from_cif, find_data_file

if TYPE_CHECKING:
    from pymatgen.core import Lattice, Structure
    from pymatgen.symmetry.groups import SpaceGroup

    from dismaiflow.systems.fields import Vector3
    from dismaiflow.systems.interface_blocks import BulkPhase

#: Two atoms of a crystal that lie closer than this are one site given twice, Å.
_SAME_SITE = 0.5


def bulk_structure(phase: BulkPhase, name: str, folder: Path | None = None) -> Structure:
    """Return the crystal of a phase in the cell to which its Miller indices refer.

    Parameters
    ----------
    phase : BulkPhase
        A CIF file, or cell, space group and sites.
    name : str
        Name of the phase, for messages.
    folder : Path, optional
        Where its CIF file lies; the package's library is searched after it.

    Returns
    -------
    Structure
        The conventional cell with all its sites, or the cell as it stands in the CIF file.

    Raises
    ------
    DismaiError
        If a CIF file is missing, unreadable, partly occupied or has another formula; if the
        space group is unknown or does not fit the cell; if the sites do not make whole formula
        units or coincide. The line names the key under ``bulk.NAME``.
    """
    if phase.cif is not None:
        key = f"bulk.{name}.cif"
        beside = folder / "spec.yaml" if folder is not None else None
        path = find_data_file(phase.cif, key, name, beside)
        phase = bulk_from_cif(path, phase, key, name)
    structure = _from_sites(phase, name)
    counts = structure.composition.get_el_amt_dict()
    units = {counts[symbol] / n for symbol, n in phase.formula.items()}
    if len(units) > 1 or not next(iter(units)).is_integer():
        found = " ".join(f"{symbol}{n:g}" for symbol, n in counts.items())
        raise DismaiError(
            f"key 'bulk.{name}.sites': with space group {phase.space_group} they make {found}, "
            "which is no whole number of formula units: mend sites, space_group or formula"
        )
    return structure


def formula_units(structure: Structure, phase: BulkPhase) -> int:
    """Return how many formula units of its phase a crystal that `bulk_structure` made holds."""
    symbol, n = next(iter(phase.formula.items()))
    return round(structure.composition[symbol] / n)


def _from_sites(phase: BulkPhase, name: str) -> Structure:
    from pymatgen.core import Lattice, Structure

    assert phase.cell is not None
    lattice = Lattice(np.array(phase.cell.vectors))
    species = [site.species for site in phase.sites]
    positions = [site.position for site in phase.sites]
    if phase.space_group == "P1":
        structure = Structure(lattice, species, positions)
    else:
        structure = _from_space_group(phase.space_group, lattice, species, positions, name)
    if len(structure) > 1:
        distances = structure.distance_matrix + 10 * np.eye(len(structure))
        i, j = np.unravel_index(np.argmin(distances), distances.shape)
        if distances[i, j] < _SAME_SITE:
            raise DismaiError(
                f"key 'bulk.{name}.sites': {structure[i].specie} and {structure[j].specie} lie "
                f"{distances[i, j]:.2f} Å apart: remove one of them, or mend its position"
            )
    return structure


@cache
def _space_group(symbol: str) -> SpaceGroup:
    # Its operations take a second for a cubic group; pymatgen finds this one again while it lives.
    from pymatgen.symmetry.groups import SpaceGroup

    return SpaceGroup(symbol)


def _from_space_group(
    symbol: str, lattice: Lattice, species: list[str], positions: list[Vector3], name: str
) -> Structure:
    from pymatgen.core import Structure

    key = f"bulk.{name}.space_group"
    try:
        group = _space_group(symbol)
    except ValueError:
        mend = suggestion(symbol, ("Fm-3m", "Im-3m", "R-3m", "P-3m1", "C2/m", "Pnma", "P1"))
        raise DismaiError(
            f"key '{key}': no space group {symbol!r}: {mend} (Hermann-Mauguin, as pymatgen "
            "writes it)"
        ) from None
    if not group.is_compatible(lattice):
        raise DismaiError(
            f"key '{key}': {symbol} is {group.crystal_system}, which key 'bulk.{name}.cell' is "
            "not: mend one of them"
        )
    return Structure.from_spacegroup(symbol, lattice, species, positions)
