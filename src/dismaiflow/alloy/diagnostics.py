"""What a set of Monte Carlo runs is worth: stationarity, independence, agreement."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.alloy.sampling import SamplingSettings, child_seed, sample_runs
from dismaiflow.alloy.statistics import (
    AGREEMENT_R_HAT,
    deviating_runs,
    late_starts,
    pooled_inefficiency,
    split_r_hat,
)
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian
    from dismaiflow.alloy.sampling import RunSamples

#: Passes of production below which a start of stationarity is no reason for a warning, as a share.
_LATE = 0.02

Agreement = Literal["agree", "disagree", "undecided"]


@dataclass(frozen=True)
class ParameterStatistics:
    """One observable over the used snapshots of all runs.

    Parameters
    ----------
    mean, std : float
        Over all snapshots.
    standard_error : float
        Of the mean, from the effective number of samples.
    autocorrelation_passes : float
        Statistical inefficiency in passes: so far apart snapshots count as independent. It is never
        below the snapshot interval.
    n_effective : float
        Effective number of independent samples in all runs.
    r_hat : float
        Split R-hat over the runs; infinite if runs are stuck at different constants.
    """

    mean: float
    std: float
    standard_error: float
    autocorrelation_passes: float
    n_effective: float
    r_hat: float


@dataclass(frozen=True)
class SamplingReport:
    """How independent the snapshots of runs are, and whether the runs agree.

    Parameters
    ----------
    temperature : float
        In K.
    protocol : str
        Sampling protocol of the runs.
    snapshot_interval : int
        Passes between snapshots.
    parameters : dict
        `ParameterStatistics` by name: ``1NN_Cr-Fe`` and the like, ``energy`` (eV/atom), and
        ``order_Cr`` and the like.
    stationary_from : list of int
        First snapshot of each run from which on it is stationary.
    first_used : list of int
        First snapshot of each run that datasets are drawn from: the above under ``corrected``, 0
        under ``published``.
    n_used : list of int
        Snapshots of each run from there on.
    equilibration : list of dict
        What each run did before production.
    acceptance : list of float
        Share of accepted attempts in each run.
    limiting_parameter : str
        The observable with the fewest effective samples.
    n_effective_per_run : list of float
        Effective samples of each run for the limiting parameter: used snapshots over inefficiency.
    n_effective : float
        Effective samples of all runs for the limiting parameter.
    inefficiency : float
        Used snapshots per effective sample of the limiting parameter, from all runs together. Runs
        that disagree make it large, since then their number counts and not their length.
    r_hat : float
        Largest over the parameters.
    agreement : {"agree", "disagree", "undecided"}
        ``disagree`` if a run deviates, ``agree`` if none does and R-hat is at most 1.01 for every
        parameter, else ``undecided``: the runs are too short to tell.
    deviating : dict
        Names of the parameters in which a run deviates, by the number of the run.
    seeds : list of dict
        Seed of each run.
    warnings : list of str
        What a user should know, in sentences.
    """

    temperature: float
    protocol: str
    snapshot_interval: int
    parameters: dict[str, ParameterStatistics]
    stationary_from: list[int]
    first_used: list[int]
    n_used: list[int]
    equilibration: list[dict[str, Any]]
    acceptance: list[float]
    limiting_parameter: str
    n_effective_per_run: list[float]
    n_effective: float
    inefficiency: float
    r_hat: float
    agreement: Agreement
    deviating: dict[int, list[str]]
    seeds: list[dict[str, Any]]
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain numbers, words, lists and dicts for JSON.

        Numbers that are not finite become None; the warnings say why.
        """
        data = asdict(self)
        data["deviating"] = {str(run): names for run, names in self.deviating.items()}
        plain = _finite(data)
        assert isinstance(plain, dict)
        return plain


def _finite(value: Any) -> Any:
    """Replace infinities and NaN by None, through lists and dicts."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_alike(runs: Sequence[RunSamples]) -> None:
    """Check that runs can be pooled.

    Raises
    ------
    DismaiError
        If there is none, or they differ in temperature, interval, protocol or composition.
    """
    if not runs:
        raise DismaiError("no Monte Carlo run to analyse: every run is missing")
    first = runs[0]
    for run in runs:
        for name in ("temperature", "snapshot_interval", "protocol"):
            ours, theirs = getattr(run.settings, name), getattr(first.settings, name)
            if ours != theirs:
                raise DismaiError(f"Monte Carlo runs with {name} {theirs} and {ours} do not mix")
        if (
            run.species != first.species
            or run.occupations.shape[1:] != first.occupations.shape[1:]
            or (np.sort(run.occupations[0]) != np.sort(first.occupations[0])).any()
        ):
            raise DismaiError("Monte Carlo runs of different compositions do not mix")


def observables(run: RunSamples) -> tuple[list[str], NDArray[np.float64]]:
    """Return what is watched in a run: order parameters of both kinds, and the energy.

    Returns
    -------
    names : list of str
        As in `SamplingReport`; parameters of absent species are left out.
    series : ndarray, shape (n_snapshots, n_names)
        Their values; energies in eV/atom.
    """
    present: NDArray[np.bool_] = np.all(np.isfinite(run.sro), axis=0)
    names = [label for label, keep in zip(run.sro_labels, present, strict=True) if keep]
    held: NDArray[np.bool_] = np.any(run.order > 0, axis=0)
    names += ["energy", *(f"order_{s}" for s, keep in zip(run.species, held, strict=True) if keep)]
    series = np.column_stack([run.sro[:, present], run.energies, run.order[:, held]])
    return names, series


def analyse_runs(runs: Sequence[RunSamples]) -> SamplingReport:
    """Judge runs of the same kind.

    Parameters
    ----------
    runs : sequence of RunSamples
        At one temperature, by one protocol; they may differ in length.

    Returns
    -------
    SamplingReport
        Autocorrelation, effective samples and agreement of the snapshots that count.

    Raises
    ------
    DismaiError
        If there is no run, or the runs do not belong together.
    """
    check_alike(runs)
    settings = runs[0].settings
    names, _ = observables(runs[0])
    series = [observables(run)[1] for run in runs]
    stationary_from = late_starts(series)
    corrected = settings.protocol == "corrected"
    first_used = stationary_from if corrected else [0] * len(runs)
    used = [values[first:] for values, first in zip(series, first_used, strict=True)]

    inefficiency = pooled_inefficiency(used)
    n_used = np.array([len(values) for values in used])
    total = n_used.sum() / inefficiency
    pooled = np.concatenate(used)
    deviation = pooled.std(axis=0)
    r_hat = split_r_hat(used)
    parameters = {
        name: ParameterStatistics(
            mean=float(pooled[:, p].mean()),
            std=float(deviation[p]),
            standard_error=float(deviation[p] / np.sqrt(total[p])),
            autocorrelation_passes=float(inefficiency[p] * settings.snapshot_interval),
            n_effective=float(total[p]),
            r_hat=float(r_hat[p]),
        )
        for p, name in enumerate(names)
    }
    strays = deviating_runs(used)
    deviating = {
        r: [names[p] for p in np.flatnonzero(row)] for r, row in enumerate(strays) if row.any()
    }
    worst = float(np.where(np.isnan(r_hat), np.inf, r_hat).max())
    agreement: Agreement = "disagree" if deviating or np.isinf(r_hat).any() else "undecided"
    if agreement == "undecided" and worst <= AGREEMENT_R_HAT:
        agreement = "agree"
    limiting = int(np.argmax(inefficiency))
    report = SamplingReport(
        temperature=float(settings.temperature),
        protocol=settings.protocol,
        snapshot_interval=settings.snapshot_interval,
        parameters=parameters,
        stationary_from=stationary_from,
        first_used=first_used,
        n_used=n_used.tolist(),
        equilibration=[asdict(run.equilibration) for run in runs],
        acceptance=[float(run.acceptance) for run in runs],
        limiting_parameter=names[limiting],
        n_effective_per_run=(n_used / inefficiency[limiting]).tolist(),
        n_effective=float(total[limiting]),
        inefficiency=float(inefficiency[limiting]),
        r_hat=worst,
        agreement=agreement,
        deviating=deviating,
        seeds=[run.seed for run in runs],
    )
    report.warnings.extend(_warnings(report, runs))
    return report


def _warnings(report: SamplingReport, runs: Sequence[RunSamples]) -> list[str]:
    """Say what is wrong with the runs of a report."""
    interval = report.snapshot_interval
    at = f"at {report.temperature:g} K"
    warnings = []
    for r, run in enumerate(runs):
        if run.equilibration.stationary is False:
            warnings.append(
                f"run {r} {at} was not stationary after {run.equilibration.passes} passes of "
                "equilibration; allow more (max_equilibration_passes)"
            )
        late = report.stationary_from[r]
        if late <= _LATE * len(run):
            continue
        if report.first_used[r] == 0:
            warnings.append(
                f"run {r} {at} is stationary only from pass {late * interval} on, and the "
                f"{late} snapshots before are in use (published protocol: no burn-in)"
            )
        elif late > len(run) / 2:
            warnings.append(
                f"run {r} {at} is stationary only from pass {late * interval} of "
                f"{len(run) * interval} on; what comes before is not used"
            )
    if report.deviating:
        listed = ", ".join(str(r) for r in report.deviating)
        names = sorted({name for found in report.deviating.values() for name in found})
        shown = ", ".join(names[:4]) + (" and others" if len(names) > 4 else "")
        who = f"run {listed} deviates" if len(report.deviating) == 1 else f"runs {listed} deviate"
        warnings.append(
            f"the runs {at} do not agree: {who} by more than five standard errors in {shown}, "
            f"probably stuck in a metastable state (mend: longer anneal, higher "
            "anneal_from, or replica exchange)"
        )
    elif report.agreement == "disagree":
        warnings.append(f"the runs {at} do not agree: they are stuck at different constant values")
    elif report.agreement == "undecided":
        warnings.append(
            f"the runs {at} are too short to show that they agree: split R-hat is "
            f"{report.r_hat:.3f} (at most {AGREEMENT_R_HAT} is agreement), with "
            f"{report.n_effective:.0f} effective samples of {report.limiting_parameter}"
        )
    return warnings


@dataclass(frozen=True)
class OrderCurve:
    """Short-range order against temperature (paper, Fig. S21c).

    Parameters
    ----------
    temperatures : list of float
        In K.
    labels : list of str
        Names of the Warren-Cowley parameters.
    mean, standard_error : list of list of float
        By temperature, then by parameter. The error is the larger one of two: from the effective
        number of samples, and from the spread of the means of the runs.
    energy, energy_error : list of float
        Mean formation energy and its error, eV/atom.
    r_hat : list of float
        Largest split R-hat at each temperature.
    warnings : list of str
        Those of all temperatures.
    """

    temperatures: list[float]
    labels: list[str]
    mean: list[list[float]]
    standard_error: list[list[float]]
    energy: list[float]
    energy_error: list[float]
    r_hat: list[float]
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Return the curve as plain numbers and words for JSON, None for what is not finite."""
        plain = _finite(asdict(self))
        assert isinstance(plain, dict)
        return plain


def sro_against_temperature(
    hamiltonian: IntegerHamiltonian,
    composition: Mapping[str, int],
    temperatures: Sequence[float],
    settings: SamplingSettings,
    seed: np.random.SeedSequence,
    n_threads: int = 1,
    progress: Callable[[int], None] | None = None,
) -> OrderCurve:
    """Sample at several temperatures and return the mean short-range order at each.

    Parameters
    ----------
    hamiltonian, composition, seed, n_threads, progress
        See `dismaiflow.alloy.sampling.sample_runs`; temperature t uses ``child_seed(seed, t)``.
    temperatures : sequence of float
        In K.
    settings : SamplingSettings
        Lengths and protocol; its temperature is replaced.

    Returns
    -------
    OrderCurve
        Means with standard errors.

    Raises
    ------
    DismaiError
        If no temperature is given, or one is not above 0 K.
    """
    if len(temperatures) == 0:
        raise DismaiError("short-range order against temperature needs at least one temperature")
    curve = OrderCurve([float(t) for t in temperatures], [], [], [], [], [], [], [])
    for number, temperature in enumerate(curve.temperatures):
        at = replace(settings, temperature=temperature)
        own = child_seed(seed, number)
        runs = sample_runs(hamiltonian, composition, at, own, n_threads, progress)
        report = analyse_runs(runs)
        means, errors = _pooled_errors(report, runs)
        labels = [name for name in report.parameters if "NN_" in name]
        curve.labels[:] = labels
        curve.mean.append([means[name] for name in labels])
        curve.standard_error.append([errors[name] for name in labels])
        curve.energy.append(means["energy"])
        curve.energy_error.append(errors["energy"])
        curve.r_hat.append(report.r_hat)
        curve.warnings.extend(report.warnings)
    return curve


def _pooled_errors(
    report: SamplingReport, runs: Sequence[RunSamples]
) -> tuple[dict[str, float], dict[str, float]]:
    """Return means and their errors, the larger one of two estimates, by parameter."""
    names = list(report.parameters)
    per_run = np.array(
        [
            observables(run)[1][first:].mean(axis=0)
            for run, first in zip(runs, report.first_used, strict=True)
        ]
    )
    between = np.zeros(len(names))
    if len(runs) > 1:
        between = per_run.std(axis=0, ddof=1) / np.sqrt(len(runs))
    found = report.parameters
    means = {name: found[name].mean for name in names}
    errors = {
        name: max(found[name].standard_error, float(between[p])) for p, name in enumerate(names)
    }
    return means, errors
