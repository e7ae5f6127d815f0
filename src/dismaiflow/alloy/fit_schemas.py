"""Documents of fits of cluster expansions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.structures.dataset import package_versions


class ExpansionDataDoc(BaseModel):
    """Configurations with formation energies; the table is in the ``data`` store.

    Parameters
    ----------
    system : str
        Name of the system.
    table : str
        Blob of a `dismaiflow.alloy.fit_table.ExpansionTable`.
    n_cells, n_used : int
        Cells that were to be calculated, and configurations in the table.
    failures : dict of str to int
        Why the others are not, by reason.
    failed : dict of str to str
        The same in one line for each, by name of the cell; the first hundred.
    source : str
        What computed the energies, with which settings.
    rehearsal : bool
        Whether a stand-in made the energies up.
    versions : dict of str to str
        Versions of packages.
    """

    kind: str = "expansion_data"
    system: str
    table: str
    n_cells: int
    n_used: int
    failures: dict[str, int] = Field(default_factory=dict)
    failed: dict[str, str] = Field(default_factory=dict)
    source: str
    rehearsal: bool = False
    versions: dict[str, str] = Field(default_factory=package_versions)


class FittedExpansionDoc(BaseModel):
    """A fitted cluster expansion.

    Parameters
    ----------
    system : str
        Name of the system.
    expansion : dict
        The terms in the layout of ``fe_ni_cr_eci.json``, with errors, spin terms and what is to be
        said of the fit; see `dismaiflow.alloy.fit_result.FittedExpansion.as_dict`.
    names, parents : list of str
        Configurations that were fitted.
    energies, predictions, cv_predictions : list of float
        Their formation energies, those of the fit, and those of fits that have not seen the
        parent, eV/atom.
    failures : dict of str to int
        Cells that were calculated but not used, by reason.
    warnings : list of str
        What is wrong with data or fit, a line each.
    rehearsal : bool
        Whether a stand-in made the energies up.
    versions : dict of str to str
        Versions of packages.
    """

    kind: str = "fitted_expansion"
    system: str
    expansion: dict[str, Any]
    names: list[str]
    parents: list[str]
    energies: list[float]
    predictions: list[float]
    cv_predictions: list[float]
    failures: dict[str, int] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    rehearsal: bool = False
    versions: dict[str, str] = Field(default_factory=package_versions)
