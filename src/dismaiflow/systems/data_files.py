"""The files that a spec names: where they lie, and crystals read from CIF."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.systems.fields import ELEMENTS, Cell, Matrix3
from dismaiflow.systems.interface_blocks import BulkPhase, Site

if TYPE_CHECKING:
    from pymatgen.core import Structure


#: Where the specs of the package and their data files lie.
LIBRARY = Path(__file__).parent / "library"


def find_data_file(name: str, key: str, origin: str, yaml: Path | None) -> Path:
    """Return a file that a spec names.

    Parameters
    ----------
    name : str
        The file, as the spec has it.
    key : str
        The key that names it, for messages.
    origin : str
        The spec, for messages.
    yaml : Path or None
        The YAML file of the spec.

    Returns
    -------
    Path
        Beside the YAML if it is there, else in the package's library.

    Raises
    ------
    DismaiError
        If it is in neither.
    """
    folders = [*([yaml.parent] if yaml else []), LIBRARY]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise DismaiError(
        f"{origin}: key '{key}': no file {name} in "
        f"{' or '.join(str(folder) for folder in folders)}: put it beside the YAML"
    )


def bulk_from_cif(path: Path, phase: BulkPhase, key: str, origin: str) -> BulkPhase:
    """Return a phase with the cell and all sites of a CIF file in place of its name.

    Parameters
    ----------
    path : Path
        The file. Its cell is taken as it stands, because Miller indices refer to it.
    phase : BulkPhase
        The phase, whose formula the sites must have.
    key : str
        The key of the spec that names the file, for messages.
    origin : str
        The spec, for messages.

    Returns
    -------
    BulkPhase
        In P1, with the cell oriented as in the file.

    Raises
    ------
    DismaiError
        If the file is missing or no CIF, has partly occupied sites, or another formula.
    """
    structure = read_cif(path, f"{origin}: key '{key}'")
    counts = structure.composition.get_el_amt_dict()
    units = {counts.get(symbol, 0) / n for symbol, n in phase.formula.items()}
    if set(counts) != set(phase.formula) or len(units) > 1:
        found = structure.composition.reduced_formula
        formula = "".join(f"{s}{n if n > 1 else ''}" for s, n in phase.formula.items())
        raise DismaiError(
            f"{origin}: key '{key}': {path} holds {found}, but the formula of the phase is "
            f"{formula}: mend the formula, or name another file"
        )
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = structure.lattice.matrix.tolist()
    matrix: Matrix3 = ((ax, ay, az), (bx, by, bz), (cx, cy, cz))
    sites = tuple(
        Site(species=site.specie.symbol, position=tuple(site.frac_coords.tolist()))
        for site in structure
    )
    return BulkPhase(formula=phase.formula, cell=Cell(matrix=matrix), sites=sites)


def read_cif(path: Path, asked_by: str) -> Structure:
    """Read a CIF file of an ordered crystal.

    Parameters
    ----------
    path : Path
        The file.
    asked_by : str
        What names the file, for messages.

    Returns
    -------
    Structure
        The cell as it stands in the file, with all sites.

    Raises
    ------
    DismaiError
        If the file is missing, no CIF or holds several crystals, its cell spans no volume, or a
        site is partly occupied or of an unknown element.
    """
    from pymatgen.io.cif import CifParser

    if not path.is_file():
        raise DismaiError(f"{asked_by}: no file {path}: mend the path, or put the file there")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rounded coordinates and the like
            structures = CifParser(path).parse_structures(primitive=False)
            structure = structures[0]
            structure.remove_oxidation_states()
    except Exception as error:  # noqa: BLE001
        # The parser lets through whatever a malformed file makes it stumble over.
        reason = " ".join(str(error).split())[:100]
        raise DismaiError(
            f"{asked_by}: {path} cannot be read as a CIF file ({reason}): write it again with "
            "pymatgen or ASE"
        ) from None
    if len(structures) > 1:
        raise DismaiError(f"{asked_by}: {path} holds {len(structures)} crystals: keep one of them")
    _check_crystal(structure, f"{asked_by}: {path}")
    return structure


def _check_crystal(structure: Structure, what: str) -> None:
    """Refuse a cell that is none, unknown elements and partly occupied sites."""
    import numpy as np

    volume = structure.lattice.matrix[0] @ np.cross(*structure.lattice.matrix[1:])
    if not (np.isfinite(structure.lattice.matrix).all() and volume > 0):
        raise DismaiError(f"{what} has a cell that spans no volume: mend its lengths and angles")
    if not np.isfinite(structure.frac_coords).all():
        raise DismaiError(f"{what} has a coordinate that is no number: mend it")
    for site in structure:
        if not site.is_ordered:
            raise DismaiError(
                f"{what} has a partly occupied site ({site.species_string}): name "
                "an ordered cell (pymatgen's OrderDisorderedStructureTransformation makes one)"
            )
        if site.specie.symbol not in ELEMENTS:
            raise DismaiError(f"{what} holds {site.specie.symbol}, which is no element: mend it")
