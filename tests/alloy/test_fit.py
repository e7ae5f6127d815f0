"""Fits to energies that are known: the published expansion comes back, and noise is reported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.alloy.fit import FitSettings, fit_expansion
from dismaiflow.alloy.fit_features import FeatureSpace
from dismaiflow.alloy.fit_linear import LinearProblem
from dismaiflow.alloy.fit_table import ExpansionTable
from dismaiflow.alloy.lattice_cell import LatticeCell
from dismaiflow.alloy.monte_carlo import MonteCarlo, random_occupation
from dismaiflow.alloy.training_cells import training_cells
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import count_monomers, count_pairs, per_atom
from dismaiflow.metrics.order import warren_cowley
from dismaiflow.structures.lattice import SiteLattice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.alloy.fit_result import FittedExpansion

SPACE = FeatureSpace(("Cr", "Fe", "Ni"), spin="none")
EXACT = FitSettings("least-squares", n_bootstrap=0)
NOISE = 0.005  # eV/atom


@dataclass
class Known:
    """Configurations with the energies of the published expansion."""

    features: NDArray[np.float64]
    energies: NDArray[np.float64]
    parents: list[str]

    def fit(self, settings: FitSettings, noise: float = 0.0) -> FittedExpansion:
        added = noise * np.random.default_rng(7).normal(size=len(self.energies))
        return fit_expansion(SPACE, self.features, self.energies + added, self.parents, settings)


def supercell_configurations(
    expansion: ClusterExpansion, n: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return features and energies of random and annealed supercells of random composition."""
    rng = np.random.default_rng(seed)
    lattice = SiteLattice("fcc", 3.6, (2, 3, 3))
    shells, hamiltonian = lattice.shells(7), IntegerHamiltonian(expansion, lattice)
    rows, energies = [], []
    for number in range(n):
        counts = 1 + rng.multinomial(lattice.n_sites - 3, rng.dirichlet(np.ones(3)))
        composition = dict(zip(expansion.species, counts.tolist(), strict=True))
        codes = random_occupation(composition, expansion.species, rng)
        if number % 2:
            chain = MonteCarlo(hamiltonian, codes, np.random.SeedSequence([seed, number]))
            chain.run(float(rng.uniform(300, 1500)), 50)
            codes = chain.current_occupation
        counted = per_atom(count_monomers(codes, 3), count_pairs(codes, shells, 3))
        energies.append(float(expansion.energy(*counted)[0]))
        rows.append(SPACE.row(LatticeCell.of_supercell(lattice), codes))
    return np.array(rows), np.array(energies)


@pytest.fixture(scope="module")
def known(paper_expansion: ClusterExpansion) -> Known:
    """Return small cells of all shapes, and supercells, with a parent each."""
    cells = training_cells("fcc", 3.6, SPACE.species, 120, seed=2, patterns=["ferromagnetic"])
    small = np.array([SPACE.row(one.cell, one.occupation) for one in cells.cells])
    upper = np.triu_indices(3)
    terms = paper_expansion.pair[:, upper[0], upper[1]].ravel()
    energies = paper_expansion.constant + small[:, SPACE.pairs] @ terms
    large, more = supercell_configurations(paper_expansion, 60, seed=5)
    parents = [one.parent for one in cells.cells] + [f"supercell-{i}" for i in range(60)]
    return Known(np.vstack([small, large]), np.concatenate([energies, more]), parents)


@pytest.fixture(scope="module")
def exact(known: Known) -> FittedExpansion:
    return known.fit(EXACT)


@pytest.fixture(scope="module")
def sparse(known: Known) -> FittedExpansion:
    return known.fit(FitSettings(n_folds=4, n_alphas=13, alpha_ratio=1e-6, n_bootstrap=0))


@pytest.fixture(scope="module")
def held_out(paper_expansion: ClusterExpansion) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return supercell_configurations(paper_expansion, 40, seed=99)


def ordering_energies(expansion: ClusterExpansion) -> NDArray[np.float64]:
    """Return V_XY - (V_XX + V_YY)/2 of Cr-Fe, Cr-Ni and Fe-Ni by shell, from the definition."""
    v = expansion.pair
    unlike = ((0, 1), (0, 2), (1, 2))
    return np.array([[s[i, j] - (s[i, i] + s[j, j]) / 2 for i, j in unlike] for s in v])


def test_unregularised_fit_recovers_the_published_energies(
    exact: FittedExpansion,
    paper_expansion: ClusterExpansion,
    held_out: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """On held-out configurations to 1e-6 eV/atom, though its terms are not the published ones."""
    features, energies = held_out
    assert np.abs(exact.predict(features) - energies).max() < 1e-6
    assert exact.cross_validation.rmse < 1e-9
    fitted = exact.expansion
    assert np.abs(fitted.pair - paper_expansion.pair).max() > 1e-4
    # What is unique agrees. By rounding alone they would to 1e-15.
    assert np.abs(ordering_energies(fitted) - ordering_energies(paper_expansion)).max() < 1e-9
    assert exact.terms.ordering == pytest.approx(ordering_energies(paper_expansion), abs=1e-9)


def test_lasso_recovers_the_published_energies(
    sparse: FittedExpansion,
    paper_expansion: ClusterExpansion,
    held_out: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> None:
    """To 1e-5 eV/atom, with the penalty that cross-validation chooses, and fewer terms."""
    fitted = sparse
    features, energies = held_out
    assert np.abs(fitted.predict(features) - energies).max() < 1e-5
    assert fitted.cross_validation.rmse < 1e-5
    assert fitted.alpha == pytest.approx(fitted.alphas[fitted.cv_path.argmin()])
    assert not any("converged" in line for line in fitted.warnings)
    # The published fit, a LASSO too, has 31 pair terms that are not zero.
    assert np.count_nonzero(np.abs(fitted.terms.columns) > 1e-6) <= 31
    assert ordering_energies(fitted.expansion) == pytest.approx(
        ordering_energies(paper_expansion), abs=1e-4
    )


def monte_carlo(expansion: ClusterExpansion, seed: int) -> tuple[NDArray[np.float64], ...]:
    """Return means and standard errors of energy and order over six runs at 1000 K."""
    lattice = SiteLattice("fcc", 3.6, (3, 3, 3))
    hamiltonian, shells = IntegerHamiltonian(expansion, lattice), lattice.shells(7)
    means = []
    for run in range(6):
        rng = np.random.default_rng([seed, run])
        codes = random_occupation({"Fe": 64, "Ni": 22, "Cr": 22}, expansion.species, rng)
        chain = MonteCarlo(hamiltonian, codes, np.random.SeedSequence([seed, run]))
        chain.run(1000.0, 300)
        snapshots, _ = chain.record(1000.0, 300, 5)
        counts = count_monomers(snapshots, 3), count_pairs(snapshots, shells, 3)
        energies = expansion.energy(*per_atom(*counts))
        order = warren_cowley(*counts)[:, :2].reshape(300, -1)
        means.append(np.concatenate([[energies.mean()], order.mean(axis=0)]))
    spread = np.std(means, axis=0, ddof=1) / 6**0.5
    return np.mean(means, axis=0), spread


def test_monte_carlo_averages_are_those_of_the_published_expansion(
    exact: FittedExpansion, sparse: FittedExpansion, paper_expansion: ClusterExpansion
) -> None:
    """Energy and twelve order parameters agree within the errors of independent runs.

    An expansion that is off by 10 meV in one term does not pass for it.
    """
    published, error = monte_carlo(paper_expansion, seed=1)
    for fit in (exact, sparse):
        fitted, other = monte_carlo(fit.expansion, seed=2)
        assert np.all(np.abs(fitted - published) < 4.5 * np.hypot(error, other))
    wrong = exact.expansion.pair.copy()
    wrong[0, 0, 2] = wrong[0, 2, 0] = wrong[0, 0, 2] + 0.01
    spoilt = ClusterExpansion(SPACE.species, exact.terms.constant, np.zeros(3), wrong)
    off, third = monte_carlo(spoilt, seed=3)
    assert np.any(np.abs(off - published) > 10 * np.hypot(error, third))


@pytest.mark.parametrize("method", ["least-squares", "ridge", "lasso"])
def test_cross_validation_reports_noise(known: Known, method: Any) -> None:
    """Noise of 5 meV/atom is what it finds, a little more, where the training error is below."""
    settings = FitSettings(method, n_folds=4, n_alphas=7, alpha_ratio=1e-3, n_bootstrap=0)
    noisy = known.fit(settings, NOISE)
    assert noisy.training.rmse < noisy.cross_validation.rmse
    # 180 energies determine a standard deviation to 5 %; 24 combinations are fitted to them.
    assert 0.9 * NOISE < noisy.cross_validation.rmse < 1.4 * NOISE
    if method == "least-squares":
        left = NOISE * (1 - 24 / 180) ** 0.5
        assert noisy.training.rmse == pytest.approx(left, rel=0.15)


@pytest.mark.slow
def test_errors_of_terms_are_the_spread_of_fits_to_other_noise(known: Known) -> None:
    """The bootstrap over parents estimates what fresh noise would do to the ordering energies."""
    noisy = known.fit(FitSettings("least-squares", n_bootstrap=60), NOISE)
    assert noisy.errors is not None
    rng = np.random.default_rng(0)
    fits = []
    for _ in range(40):
        energies = known.energies + NOISE * rng.normal(size=len(known.energies))
        found = fit_expansion(SPACE, known.features, energies, known.parents, EXACT)
        fits.append(found.terms.ordering)
    ratio = noisy.errors.ordering / np.std(fits, axis=0, ddof=1)
    assert 0.7 < np.median(ratio) < 1.5


def test_one_standard_error_takes_a_larger_penalty(known: Known) -> None:
    """One that costs no more than the error of the cross-validation itself."""
    common = {"n_folds": 5, "n_alphas": 9, "alpha_ratio": 1e-4, "n_bootstrap": 0}
    best = known.fit(FitSettings("ridge", **common), NOISE)
    simple = known.fit(FitSettings("ridge", rule="one-standard-error", **common), NOISE)
    assert best.alpha is not None
    assert simple.alpha is not None
    assert simple.alpha >= best.alpha
    assert best.cross_validation.rmse <= simple.cross_validation.rmse < 1.5 * NOISE


def test_lasso_meets_its_optimality_conditions(known: Known) -> None:
    """The gradient is the penalty, with the sign of the term, or smaller where it is zero."""
    problem = LinearProblem(
        known.features[:, SPACE.pairs], np.ones((len(known.energies), 1)), known.energies
    )
    alpha = 0.02 * problem.highest_alpha
    found = problem.solve("lasso", np.geomspace(problem.highest_alpha, alpha, 8))
    columns = known.features[:, SPACE.pairs]
    left = known.energies - found.predict(columns, np.ones((len(columns), 1)))[-1]
    scale = columns.std(axis=0)
    gradient = (columns - columns.mean(axis=0)).T @ left / scale / len(left)
    active = found.coefficients[-1] != 0
    assert gradient[active] == pytest.approx(
        alpha * np.sign(found.coefficients[-1][active]), rel=2e-3
    )
    assert np.abs(gradient).max() < alpha * 1.002
    assert np.all(found.coefficients[0] == 0)


def test_rank_deficiency_is_explained(known: Known, exact: FittedExpansion) -> None:
    """43 parameters, rank 24 (notes of the alloy); data of one shape of cell determine fewer."""
    assert (exact.n_parameters, exact.rank, exact.null_space) == (43, 24, 19)
    assert "2 n_XX + sum_Y n_XY = z c_X" in exact.notes[0]
    assert exact.warnings == []
    cubes = LatticeCell.of_supercell(SiteLattice("fcc", 3.6, (1, 1, 1)))
    rng = np.random.default_rng(0)
    rows = np.array([SPACE.row(cubes, rng.integers(0, 3, 4)) for _ in range(60)])
    poor = fit_expansion(SPACE, rows, rows[:, 0] ** 2, [str(i) for i in range(60)], EXACT)
    # In four sites a shell is all between sublattices or all within: two kinds of shells, as one.
    assert poor.rank < 24
    assert any(f"determine {poor.rank} of the 24" in line for line in poor.warnings)


def test_columns_that_do_not_vary_are_named_and_left_out(known: Known) -> None:
    """Binary data of a ternary space: the terms of the third species are zero, without error."""
    binary = known.features[:, 2] == 0.0
    parents = [name for name, is_binary in zip(known.parents, binary, strict=True) if is_binary]
    settings = FitSettings(n_folds=3, n_alphas=5, alpha_ratio=1e-2, n_bootstrap=4)
    with np.errstate(all="raise", under="ignore"):
        fitted = fit_expansion(
            SPACE, known.features[binary], known.energies[binary], parents, settings
        )
    nickel = [n for n, name in enumerate(SPACE.names) if "Ni" in name]
    assert np.all(fitted.terms.columns[nickel] == 0.0)
    assert fitted.errors is not None
    assert np.all(fitted.errors.columns[nickel] == 0.0)
    assert any("constant in the data" in line and "Ni-Ni" in line for line in fitted.notes)


def test_free_monomers_change_nothing_without_a_penalty(
    known: Known, exact: FittedExpansion
) -> None:
    """They are combinations of pairs; where they are free, a composition costs nothing."""
    free = known.fit(FitSettings("least-squares", monomers="free", n_bootstrap=0))
    assert free.n_parameters == 46
    assert free.rank == 24
    assert free.predict(known.features) == pytest.approx(known.energies, abs=1e-9)
    slope = known.features[:, SPACE.monomers] @ [0.3, -0.2, 0.1]
    tilted = fit_expansion(
        SPACE,
        known.features,
        slope,
        known.parents,
        FitSettings("ridge", monomers="free", n_folds=3, n_alphas=3, n_bootstrap=0),
    )
    assert tilted.predict(known.features) == pytest.approx(slope, abs=1e-9)
    assert np.abs(tilted.terms.columns[SPACE.pairs]).max() < 1e-9


def test_folds_keep_parents_together(known: Known) -> None:
    """And there are as many as parents at most, which is said."""
    parents = [f"p{i % 6}" for i in range(len(known.energies))]
    fitted = fit_expansion(SPACE, known.features, known.energies, parents, EXACT)
    assert len(fitted.folds) == 6
    assert any("6 parents allow 6 folds in place of 10" in line for line in fitted.warnings)
    for parent in set(parents):
        held = fitted.fold_of[np.array(parents) == parent]
        assert np.ptp(held) == 0
    assert sum(one.n for one in fitted.folds) == len(known.energies)


def test_spin_terms_are_fitted_and_kept_apart() -> None:
    """Made with -10, 4 and 2 meV per squared moment; the Monte Carlo gets the chemical terms."""
    cells = training_cells("fcc", 3.6, ["Fe", "Ni"], 100, seed=1)
    space = FeatureSpace(cells.species)
    rows = np.array([space.row(one.cell, one.occupation, one.moments) for one in cells.cells])
    wanted = [-0.010, 0.004, 0.002]
    energies = 0.1 * rows[:, space.pairs][:, 1] + rows[:, space.spins] @ wanted
    parents = [one.parent for one in cells.cells]
    fitted = fit_expansion(space, rows, energies, parents, EXACT)
    assert fitted.terms.columns[space.spins] == pytest.approx(wanted, abs=1e-9)
    data = json.loads(json.dumps(fitted.as_dict()))
    assert data["spin"]["1"]["all"] == pytest.approx(-0.010)
    assert data["ordering"]["1"]["Fe-Ni"] == pytest.approx(0.1)
    chemical = ClusterExpansion.from_dict(data)
    assert chemical.species == ("Fe", "Ni")
    assert chemical.n_shells == 7


def test_file_and_table(known: Known, tmp_path: Path) -> None:
    """The file is read as any other expansion, and says what it was fitted to."""
    fitted = known.fit(FitSettings("ridge", n_folds=3, n_alphas=3, n_bootstrap=5), NOISE)
    fitted.write(tmp_path / "eci.json")
    read = ClusterExpansion.from_file(tmp_path / "eci.json")
    assert read.pair.tolist() == fitted.expansion.pair.tolist()
    counted = known.features[0, SPACE.monomers], np.zeros((7, 3, 3))
    upper = np.triu_indices(3)
    counted[1][:, upper[0], upper[1]] = known.features[0, SPACE.pairs].reshape(7, 6)
    assert read.energy(*counted) == pytest.approx(fitted.predictions[0], abs=1e-12)
    data = json.loads((tmp_path / "eci.json").read_text())
    assert data["multiplicity_pairs_per_atom"] == [6, 3, 12, 6, 12, 4, 24]
    assert data["errors"]["ordering"]["1"]["Cr-Ni"] > 0
    assert data["fit"]["data_hash"] == fitted.data_hash
    assert list(tmp_path.iterdir()) == [tmp_path / "eci.json"]
    again = known.fit(FitSettings("ridge", n_folds=3, n_alphas=3, n_bootstrap=5), NOISE)
    assert again.as_dict() == fitted.as_dict()
    other = known.fit(FitSettings("ridge", n_folds=3, n_alphas=3, n_bootstrap=5), 2 * NOISE)
    assert other.data_hash != fitted.data_hash


def test_unknown_moments() -> None:
    """None known: no spin terms; some unknown: these configurations are left out, and named."""
    space = FeatureSpace(("A", "B"), n_shells=1, n_spin_shells=1)
    rows = np.arange(18.0).reshape(3, 6)
    rows[1, space.spins] = np.nan
    table = ExpansionTable(space, ("x", "y", "z"), ("p", "p", "q"), rows, np.arange(3.0))
    again = ExpansionTable.from_bytes(table.to_bytes())
    known, without = again.with_known_moments()
    assert known.names == ("x", "z")
    assert without == ("y",)
    rows[:, space.spins] = np.nan
    none, without = ExpansionTable(space, *("xyz",) * 2, rows, np.zeros(3)).with_known_moments()  # type: ignore[arg-type]
    assert none.space.spin == "none"
    assert none.features.shape == (3, 5)
    assert without == ()


def spoilt(known: Known, **changes: Any) -> tuple[Any, ...]:
    data = {"features": known.features, "energies": known.energies, "parents": known.parents}
    data |= changes
    return SPACE, data["features"], data["energies"], data["parents"], EXACT


def test_data_that_cannot_be_fitted_get_a_clear_answer(known: Known) -> None:
    """Too few, missing values, one parent, one composition."""
    nan = known.energies.copy()
    nan[5] = np.nan
    blank = known.features.copy()
    blank[3, 7] = np.nan
    cases = [
        ({"energies": nan}, r"energy 5 \(parent .*\) is not finite, 1 in all"),
        ({"features": blank}, "'pair 1 Fe-Ni' of configuration 3"),
        ({"parents": ["one"] * len(nan)}, "one parent"),
        ({"parents": ["one"]}, "need 180 groups"),
    ]
    for changes, message in cases:
        with pytest.raises(DismaiError, match=message) as caught:
            fit_expansion(*spoilt(known, **changes))
        assert "\n" not in str(caught.value)
    with pytest.raises(DismaiError, match="2 energies are too few"):
        fit_expansion(SPACE, known.features[:2], known.energies[:2], ["a", "b"])
    few = fit_expansion(SPACE, known.features[:9], known.energies[:9], list("abcdefghi"), EXACT)
    assert any("9 energies are fewer than the 24" in line for line in few.warnings)


def test_one_composition_is_warned_of(paper_expansion: ClusterExpansion) -> None:
    """Ordering energies are still had from it; other compositions are not."""
    lattice = SiteLattice("fcc", 3.6, (3, 3, 3))
    cell, rng = LatticeCell.of_supercell(lattice), np.random.default_rng(0)
    codes = [
        random_occupation({"Fe": 64, "Ni": 22, "Cr": 22}, paper_expansion.species, rng)
        for _ in range(60)
    ]
    rows = np.array([SPACE.row(cell, one) for one in codes])
    upper = np.triu_indices(3)
    energies = rows[:, SPACE.pairs] @ paper_expansion.pair[:, upper[0], upper[1]].ravel()
    fitted = fit_expansion(SPACE, rows, energies, [str(i) for i in range(60)], EXACT)
    assert fitted.rank == 22
    assert any("one composition" in line for line in fitted.warnings)
    assert fitted.terms.ordering == pytest.approx(ordering_energies(paper_expansion), abs=1e-8)


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "magic"},
        {"rule": "best"},
        {"monomers": "some"},
        {"n_folds": 1},
        {"alpha_ratio": 2.0},
    ],
)
def test_wrong_settings_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(DismaiError) as caught:
        FitSettings(**changes)
    assert "\n" not in str(caught.value)
