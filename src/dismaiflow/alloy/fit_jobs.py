"""The job that fits a cluster expansion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from jobflow import Maker

from dismaiflow.alloy.fit import FitSettings, fit_expansion
from dismaiflow.alloy.fit_schemas import ExpansionDataDoc, FittedExpansionDoc
from dismaiflow.alloy.fit_table import ExpansionTable
from dismaiflow.jobs import dismai_job
from dismaiflow.store.blobs import current_jobstore, get_blob

if TYPE_CHECKING:
    from dismaiflow.alloy.fit_linear import Method

#: Kind under which tables are stored.
TABLE_KIND = "expansion_table"

#: Why a calculated configuration does not take part in a fit with spin terms.
NO_MOMENTS = "no_moments"


@dataclass
class FitExpansionMaker(Maker):
    """Fit a cluster expansion (paper, section 4.1.1).

    Parameters
    ----------
    name : str
        The job name.
    method, n_folds, rule, monomers, n_bootstrap, seed
        See `FitSettings`.
    """

    name: str = "fit cluster expansion"
    method: Method = "lasso"
    n_folds: int = FitSettings.n_folds
    rule: Literal["minimum", "one-standard-error"] = FitSettings.rule
    monomers: Literal["zero", "free"] = FitSettings.monomers
    n_bootstrap: int = FitSettings.n_bootstrap
    seed: int = FitSettings.seed

    @dismai_job(output_schema=FittedExpansionDoc)
    def make(self, data: ExpansionDataDoc) -> FittedExpansionDoc:
        """Fit.

        Parameters
        ----------
        data : ExpansionDataDoc
            Formation energies of configurations.
        """
        found = ExpansionDataDoc.model_validate(data)
        table = ExpansionTable.from_bytes(get_blob(current_jobstore(), found.table))
        known, without = table.with_known_moments()
        settings = FitSettings(
            self.method,
            self.n_folds,
            self.rule,
            self.monomers,
            n_bootstrap=self.n_bootstrap,
            seed=self.seed,
        )
        fitted = fit_expansion(
            known.space, known.features, known.energies, known.parents, settings, found.source
        )
        warnings = fitted.warnings
        if known.space != table.space:
            warnings.append("no magnetic moments are known: fitted without spin terms")
        failures = dict(found.failures)
        if without:
            failures[NO_MOMENTS] = len(without)
        return FittedExpansionDoc(
            system=found.system,
            expansion=fitted.as_dict(),
            names=list(known.names),
            parents=list(known.parents),
            energies=fitted.energies.tolist(),
            predictions=fitted.predictions.tolist(),
            cv_predictions=fitted.cv_predictions.tolist(),
            failures=failures,
            warnings=warnings,
            rehearsal=found.rehearsal,
        )
