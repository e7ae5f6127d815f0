"""The sampling protocol: starts, equilibration, what a report says, and what is drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dismaiflow.alloy.diagnostics import analyse_runs, observables, sro_against_temperature
from dismaiflow.alloy.sampling import (
    Equilibration,
    RunSamples,
    SamplingSettings,
    child_seed,
    order_parameters,
    sample_run,
    sample_runs,
)
from dismaiflow.alloy.selection import select_narrow, select_wide
from dismaiflow.errors import DismaiError
from dismaiflow.metrics.clusters import count_monomers, count_pairs, per_atom
from dismaiflow.structures.lattice import SiteLattice

from .conftest import PAPER_COMPOSITION

if TYPE_CHECKING:
    from collections.abc import Callable

    from dismaiflow.alloy.cluster_expansion import IntegerHamiltonian

SEED = np.random.SeedSequence(2024)
SHORT = SamplingSettings(1500.0, n_runs=2, n_passes=200, equilibration_passes=200)


def made_up(
    values: np.ndarray, protocol: str = "corrected", interval: int = 10, **changes: Any
) -> RunSamples:
    """Return a run of an AB alloy whose first order parameter takes the given values."""
    n = len(values)
    rng = np.random.default_rng(n)
    sro = np.column_stack([values, *rng.normal(scale=0.01, size=(5, n))])
    occupations = np.zeros((n, 8), dtype=np.int8)
    # The run writes its snapshot numbers into the structures, in which two atoms are B.
    occupations[:, 0] = occupations[:, 1] = 1
    made: dict[str, Any] = {
        "settings": SamplingSettings(
            300.0,
            n_passes=n * interval,
            snapshot_interval=interval,
            protocol=protocol,  # type: ignore[arg-type]
        ),
        "species": ("A", "B"),
        "occupations": occupations,
        "energy_quanta": np.arange(n),
        "energies": rng.normal(size=n),
        "order": np.column_stack([np.full(n, 0.9), rng.normal(0.5, 0.01, size=n)]),
        "sro": sro,
        "sro_labels": [f"{s}NN_{p}" for s in (1, 2) for p in ("A-A", "A-B", "B-B")],
        "acceptance": 0.1,
        "equilibration": Equilibration("annealed", 100, 200, True),
        "seed": {"entropy": "1", "spawn_key": []},
    }
    return RunSamples(**{**made, **changes})


def noise(n: int, seed: int, scale: float = 0.05) -> np.ndarray:
    """Return independent values around 0."""
    return np.random.default_rng(seed).normal(scale=scale, size=n)


def test_a_run_holds_what_it_says(paper_hamiltonian: IntegerHamiltonian) -> None:
    """Snapshots have the composition, their own energies and order parameters."""
    run = sample_run(paper_hamiltonian, PAPER_COMPOSITION, SHORT, SEED)
    assert len(run) == 20
    assert run.occupations.shape == (20, 256)
    assert (count_monomers(run.occupations, 3) == [51, 154, 51]).all()
    expansion, lattice = paper_hamiltonian.expansion, paper_hamiltonian.lattice
    counts = count_monomers(run.occupations, 3), count_pairs(run.occupations, lattice.shells(7), 3)
    exact = expansion.energy(*per_atom(*counts))
    assert run.energies == pytest.approx(exact, abs=67 * paper_hamiltonian.quantum / 2)
    assert [paper_hamiltonian.energy_quanta(o) for o in run.occupations] == list(run.energy_quanta)
    assert run.sro.shape == (20, 12)
    assert run.sro_labels[:3] == ["1NN_Cr-Cr", "1NN_Cr-Fe", "1NN_Cr-Ni"]
    assert 0.7 < run.acceptance < 0.85
    assert run.equilibration.anneal_passes == 1000
    assert run.equilibration.stationary
    assert run.seed == {"entropy": "2024", "spawn_key": []}
    assert not (run.occupations[0] == run.occupations[-1]).all()


def test_same_seed_same_bytes_in_any_number_of_threads(
    paper_hamiltonian: IntegerHamiltonian,
) -> None:
    """Runs depend on their own seed alone."""
    made = [
        sample_runs(paper_hamiltonian, PAPER_COMPOSITION, SHORT, SEED, n_threads=n) for n in (1, 2)
    ]
    alone = sample_runs(paper_hamiltonian, PAPER_COMPOSITION, SHORT, SEED, runs=[1])
    first, second = ([run.occupations.tobytes() for run in runs] for runs in made)
    assert first == second
    assert first[0] != first[1]
    assert alone[0].occupations.tobytes() == first[1]
    other = sample_runs(
        paper_hamiltonian, PAPER_COMPOSITION, SHORT, np.random.SeedSequence(1), runs=[1]
    )
    assert other[0].occupations.tobytes() != first[1]
    assert alone[0].seed == {"entropy": "2024", "spawn_key": [1]}


def test_child_seed_is_what_spawn_gives() -> None:
    """Children are those of numpy, and asking for one does not change the parent."""
    parent = np.random.SeedSequence(5, spawn_key=(2,))
    children = [child_seed(parent, k) for k in (0, 1)]
    spawned = parent.spawn(2)
    for child, expected in zip(children, spawned, strict=True):
        assert (child.generate_state(4) == expected.generate_state(4)).all()


def test_protocols_differ_in_start_and_equilibration(
    paper_hamiltonian: IntegerHamiltonian,
) -> None:
    """Published begins with the quench; corrected is ordered from its first snapshot on."""
    published = SamplingSettings(300.0, n_passes=10, snapshot_interval=1, protocol="published")
    corrected = SamplingSettings(300.0, n_passes=10, snapshot_interval=1)
    assert (published.initial, corrected.initial) == ("random", "annealed")
    raw = sample_run(paper_hamiltonian, PAPER_COMPOSITION, published, SEED)
    ordered = sample_run(paper_hamiltonian, PAPER_COMPOSITION, corrected, SEED)
    assert raw.equilibration == Equilibration("random")
    assert raw.order[0, 0] < 0.6
    assert ordered.equilibration.passes >= corrected.equilibration_passes
    # All 51 Cr on one sublattice of 64 sites is 0.797.
    assert (ordered.order[:, 0] > 0.76).all()


def test_annealed_starts_order_where_random_ones_may_not(
    paper_hamiltonian: IntegerHamiltonian,
) -> None:
    """Of forty starts at 300 K none that was annealed lacks its order, some quenched ones do."""
    common: dict[str, Any] = {
        "n_runs": 40,
        "n_passes": 20,
        "equilibration_passes": 200,
        "max_equilibration_passes": 200,
    }
    shares = []
    for start in ("annealed", "random"):
        made = sample_runs(
            paper_hamiltonian,
            PAPER_COMPOSITION,
            SamplingSettings(300.0, start=start, **common),
            SEED,
        )
        shares.append(sum(run.order[-1, 0] < 0.7 for run in made))
    assert shares[0] == 0
    assert 2 <= shares[1] <= 20


def test_equilibration_is_bounded_and_says_so(paper_hamiltonian: IntegerHamiltonian) -> None:
    """Two passes cannot show that anything is stationary."""
    short = SamplingSettings(
        300.0,
        n_runs=1,
        n_passes=50,
        snapshot_interval=1,
        equilibration_passes=2,
        max_equilibration_passes=14,
        anneal_passes=10,
    )
    runs = sample_runs(paper_hamiltonian, PAPER_COMPOSITION, short, SEED)
    assert runs[0].equilibration == Equilibration("annealed", 10, 14, False)
    assert "was not stationary after 14 passes" in " ".join(analyse_runs(runs).warnings)


def test_progress_counts_production(paper_hamiltonian: IntegerHamiltonian) -> None:
    """The passes reported add up to the whole intervals of production."""
    done: list[int] = []
    odd = SamplingSettings(1500.0, n_passes=5009, equilibration_passes=200)
    run = sample_run(paper_hamiltonian, PAPER_COMPOSITION, odd, SEED, progress=done.append)
    assert len(run) == 500
    assert done == [2500, 2500]


def test_order_parameters_by_hand() -> None:
    """L1_2 fills a sublattice; one atom moved leaves three quarters of it."""
    lattice = SiteLattice("fcc", 3.6, (1, 2, 2))
    ordered = (lattice.sublattices == 2).astype(np.int8)
    moved = ordered.copy()
    here, there = np.flatnonzero(ordered)[0], np.flatnonzero(ordered == 0)[0]
    moved[[here, there]] = moved[[there, here]]
    order = order_parameters(np.array([ordered, moved]), lattice.sublattices, 3)
    assert order.tolist() == [[1.0, 1.0, 0.0], [1.0, 0.75, 0.0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0 K"),
        ({"temperature": float("nan")}, "temperature must be above 0 K"),
        ({"n_runs": 0}, "n_runs must be at least 1"),
        ({"n_passes": 5}, "5 passes hold no snapshot at one in 10"),
        ({"snapshot_interval": 0}, "snapshot_interval"),
        ({"anneal_passes": -1}, "anneal_passes"),
        ({"protocol": "other"}, "unknown protocol 'other'"),
        ({"start": "warm"}, "unknown start 'warm'"),
        ({"protocol": "published", "start": "annealed"}, "need corrected"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    """Every setting out of range is named."""
    with pytest.raises(DismaiError, match=message):
        SamplingSettings(**{"temperature": 300.0, **changes})


@pytest.mark.parametrize(
    ("composition", "message"),
    [
        ({"Fe": 154, "Ni": 51, "Cr": 50}, r"255 atoms for 256 sites"),
        ({"Fe": 300, "Ni": -44}, "make them equal"),
        ({"Fe": 200, "Mn": 56}, "not Mn"),
        ({"Fe": 256}, "at least two species"),
    ],
)
def test_wrong_compositions_are_refused(
    paper_hamiltonian: IntegerHamiltonian, composition: dict[str, int], message: str
) -> None:
    """A composition must fill the lattice with known species."""
    with pytest.raises(DismaiError, match=message):
        sample_run(paper_hamiltonian, composition, SHORT, SEED)


def test_report_of_real_runs(paper_hamiltonian: IntegerHamiltonian) -> None:
    """At 1500 K runs agree, and snapshots ten passes apart are independent."""
    real = SamplingSettings(1500.0, n_runs=4, n_passes=8000)
    runs = sample_runs(paper_hamiltonian, PAPER_COMPOSITION, real, SEED)
    report = analyse_runs(runs)
    assert report.agreement == "agree"
    assert report.warnings == []
    assert report.inefficiency < 1.5
    assert report.parameters["energy"].mean == pytest.approx(-0.0632, abs=0.0003)
    assert report.parameters["1NN_Cr-Cr"].mean == pytest.approx(0.09, abs=0.02)
    assert report.parameters["2NN_Cr-Cr"].mean == pytest.approx(-0.20, abs=0.03)
    assert len(report.parameters) == 12 + 1 + 3
    again = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert again["parameters"]["energy"]["mean"] == report.parameters["energy"].mean


def test_report_counts_independent_samples() -> None:
    """Values that are held for eight snapshots are worth an eighth of their number."""
    runs = [made_up(np.repeat(noise(500, seed), 8)) for seed in range(4)]
    report = analyse_runs(runs)
    assert report.limiting_parameter == "1NN_A-A"
    assert report.inefficiency == pytest.approx(8, rel=0.15)
    assert report.n_effective == pytest.approx(2000, rel=0.15)
    assert sum(report.n_effective_per_run) == pytest.approx(report.n_effective)
    assert report.parameters["1NN_A-A"].autocorrelation_passes == report.inefficiency * 10
    assert report.parameters["order_A"].n_effective == 16_000
    assert report.agreement == "agree"


def test_report_cuts_a_late_start_under_corrected_only() -> None:
    """Under published everything is used, with a warning."""
    values = [noise(4000, seed) for seed in range(5)]
    values[3][:1000] += 1.0
    report = analyse_runs([made_up(v) for v in values])
    assert 1000 <= report.stationary_from[3] < 1400
    assert report.first_used == report.stationary_from
    assert report.n_used[3] == 4000 - report.first_used[3]
    assert report.agreement == "agree"
    raw = analyse_runs([made_up(v, "published") for v in values])
    assert raw.stationary_from == report.stationary_from
    assert raw.first_used == [0] * 5
    assert raw.n_effective < report.n_effective / 10
    assert "run 3 at 300 K is stationary only from pass" in " ".join(raw.warnings)
    assert raw.agreement != "agree"
    assert raw.r_hat > 1.1


def test_report_names_a_stray_run() -> None:
    """A run that is stuck elsewhere is named with what it differs in."""
    values = [noise(2000, seed) for seed in range(5)]
    values[1] += 0.5
    report = analyse_runs([made_up(v) for v in values])
    assert report.agreement == "disagree"
    assert report.deviating == {1: ["1NN_A-A"]}
    assert report.n_effective < 50
    assert "run 1 deviates by more than five standard errors in 1NN_A-A" in report.warnings[0]
    assert report.as_dict()["deviating"] == {"1": ["1NN_A-A"]}
    with pytest.raises(DismaiError, match="runs do not agree: first anneal longer"):
        select_narrow([made_up(v) for v in values], report, 9000)


def test_report_of_runs_frozen_at_different_constants() -> None:
    """An infinite R-hat is None in JSON, with the reason beside it."""
    runs = [made_up(noise(200, seed)) for seed in range(2)]
    runs.append(made_up(noise(200, 5), order=np.column_stack([np.full(200, 0.7), noise(200, 6)])))
    report = analyse_runs(runs)
    assert report.agreement == "disagree"
    assert report.r_hat == np.inf
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert data["r_hat"] is None
    assert data["parameters"]["order_A"]["r_hat"] is None
    assert "do not agree" in " ".join(data["warnings"])


def test_report_of_short_runs_is_undecided() -> None:
    """Ten snapshots show nothing, one run or several."""
    slow = np.repeat(noise(5, 0), 2)
    report = analyse_runs([made_up(slow), made_up(np.repeat(noise(5, 1), 2))])
    assert report.agreement == "undecided"
    assert "too short to show that they agree" in report.warnings[0]
    one = analyse_runs([made_up(noise(2, 1))])
    assert one.agreement == "undecided"
    assert one.as_dict()["r_hat"] is None


def test_runs_that_do_not_belong_together_are_refused() -> None:
    """Temperature, interval, protocol and composition must be the same."""
    run = made_up(noise(20, 0))
    with pytest.raises(DismaiError, match="no Monte Carlo run"):
        analyse_runs([])
    with pytest.raises(DismaiError, match="protocol"):
        analyse_runs([run, made_up(noise(20, 0), "published")])
    with pytest.raises(DismaiError, match="snapshot_interval"):
        analyse_runs([run, made_up(noise(20, 0), interval=5)])
    richer = run.occupations.copy()
    richer[:, 5] = 1
    with pytest.raises(DismaiError, match="compositions"):
        analyse_runs([run, made_up(noise(20, 0), occupations=richer)])


def test_absent_species_are_left_out(toy: Callable[..., IntegerHamiltonian]) -> None:
    """Parameters of a species without atoms are no observables, and exclude nothing."""
    hamiltonian = toy("fcc", (2, 2, 2), 3, 2)
    composition = {"A": 24, "C": 8}
    brief = SamplingSettings(2000.0, n_runs=2, n_passes=300, equilibration_passes=100)
    runs = sample_runs(hamiltonian, composition, brief, SEED)
    names, series = observables(runs[0])
    assert names == [f"{s}NN_{p}" for s in (1, 2) for p in ("A-A", "A-C", "C-C")] + [
        "energy",
        "order_A",
        "order_C",
    ]
    assert np.isfinite(series).all()
    drawn = select_narrow(runs, analyse_runs(runs), 10, tolerance=5.0)
    assert len(drawn) == 10
    json.dumps(drawn.as_dict(), allow_nan=False)


def test_wide_selection() -> None:
    """Distinct snapshots, in random order, from the parts in use, with their origin."""
    values = [noise(1000, seed) for seed in range(3)]
    values[2][:300] += 1.0
    runs = [made_up(v) for v in values]
    report = analyse_runs(runs)
    drawn = select_wide(runs, report, 1500, seed=1)
    assert len(drawn) == 1500
    assert len(set(zip(drawn.run.tolist(), drawn.snapshot.tolist(), strict=True))) == 1500
    assert (drawn.snapshot[drawn.run == 2] >= report.first_used[2]).all()
    assert report.first_used[2] >= 300
    for k in (0, 700, 1499):
        run = runs[drawn.run[k]]
        assert drawn.energies[k] == run.energies[drawn.snapshot[k]]
        assert (drawn.sro[k] == run.sro[drawn.snapshot[k]]).all()
        assert (drawn.occupations[k] == run.occupations[drawn.snapshot[k]]).all()
    assert (np.diff(drawn.run) < 0).any()
    assert drawn.tolerance is None
    assert drawn.n_candidates == sum(report.n_used)
    again, other = select_wide(runs, report, 1500, seed=1), select_wide(runs, report, 1500, seed=2)
    assert (again.snapshot == drawn.snapshot).all()
    assert not (other.snapshot == drawn.snapshot).all()
    json.dumps(drawn.as_dict(), allow_nan=False)


def test_narrow_selection_by_hand() -> None:
    """Of eight values with mean 0 those within 0.1 stay; the limit itself belongs to them."""
    values = np.array([0.0, 0.0625, -0.0625, 0.125, -0.125, 0.5, -0.5, 0.0])
    quiet = np.zeros((8, 6))
    quiet[:, 0] = values
    runs = [made_up(values, "published", sro=quiet)]
    report = analyse_runs(runs)
    drawn = select_narrow(runs, report, 4, tolerance=0.1)
    assert sorted(drawn.snapshot.tolist()) == [0, 1, 2, 7]
    assert drawn.n_passed == [4]
    edge = select_narrow(runs, report, 6, tolerance=0.125)
    assert sorted(edge.snapshot.tolist()) == [0, 1, 2, 3, 4, 7]
    message = r"5 snapshots asked for, 4 found; of 8 in use 4 pass the filter \(by run: 4\)"
    with pytest.raises(DismaiError, match=message + r".*more passes or runs, or a tolerance above"):
        select_narrow(runs, report, 5, tolerance=0.1)


def test_thinning_keeps_snapshots_apart() -> None:
    """With an inefficiency of about 8, drawn snapshots of a run lie as far from each other."""
    runs = [made_up(np.repeat(noise(250, seed), 8)) for seed in range(3)]
    report = analyse_runs(runs)
    drawn = select_wide(runs, report, 400, thinning="independent")
    assert drawn.block_length == round(report.inefficiency)
    for number in range(3):
        mine = np.sort(drawn.snapshot[drawn.run == number])
        assert np.diff(mine).min() >= drawn.block_length
    assert drawn.n_independent == pytest.approx(400, abs=40)
    assert drawn.warnings == []
    with pytest.raises(DismaiError, match=f"700 snapshots asked for.*{drawn.block_length} snap"):
        select_wide(runs, report, 700, thinning="independent")


def test_more_than_there_is_gives_a_warning() -> None:
    """750 blocks of eight hold 750 samples: 900 structures draw a warning, 600 do not."""
    runs = [made_up(np.repeat(noise(250, seed), 8)) for seed in range(3)]
    report = analyse_runs(runs)
    few, many = select_wide(runs, report, 600), select_wide(runs, report, 900)
    assert few.warnings == []
    assert few.n_independent < 600
    assert few.n_independent_available == pytest.approx(750, rel=0.15)
    assert "900 structures are drawn, but the runs hold about" in many.warnings[0]
    assert many.n_independent <= many.n_independent_available


@pytest.mark.parametrize("n", [0, -3])
def test_wrong_requests_are_refused(n: int) -> None:
    """A dataset has at least one structure, and a filter a width."""
    runs = [made_up(noise(50, 0))]
    report = analyse_runs(runs)
    with pytest.raises(DismaiError, match="at least one structure"):
        select_wide(runs, report, n)
    with pytest.raises(DismaiError, match="tolerance"):
        select_narrow(runs, report, 5, tolerance=0.0)
    with pytest.raises(DismaiError, match="unknown thinning"):
        select_wide(runs, report, 5, thinning="some")  # type: ignore[arg-type]
    with pytest.raises(DismaiError, match="does not belong"):
        select_wide(runs * 2, report, 5)


@given(seed=st.integers(0, 1000), n=st.integers(1, 60), tolerance=st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_what_is_drawn_passes_the_filter(seed: int, n: int, tolerance: float) -> None:
    """Either enough distinct snapshots within the tolerance, or an error."""
    runs = [made_up(noise(100, seed + k, 0.1), "published") for k in range(2)]
    report = analyse_runs(runs)
    everything = np.concatenate([run.sro for run in runs])
    passing = (np.abs(everything - everything.mean(axis=0)) <= tolerance).all(axis=1).sum()
    if passing < n:
        with pytest.raises(DismaiError, match=f"{n} snapshots asked for"):
            select_narrow(runs, report, n, tolerance=tolerance)
        return
    drawn = select_narrow(runs, report, n, seed=seed, tolerance=tolerance)
    assert len({*zip(drawn.run.tolist(), drawn.snapshot.tolist(), strict=True)}) == n
    assert np.abs(drawn.sro - everything.mean(axis=0)).max() <= tolerance
    assert sum(drawn.n_passed) == passing


def test_order_falls_with_temperature(paper_hamiltonian: IntegerHamiltonian) -> None:
    """Short-range order against temperature: Cr-Cr as in the notes' sweep, and it fades."""
    brief = SamplingSettings(300.0, n_runs=3, n_passes=3000, equilibration_passes=500)
    curve = sro_against_temperature(
        paper_hamiltonian, PAPER_COMPOSITION, [400.0, 1000.0], brief, SEED, n_threads=2
    )
    assert curve.temperatures == [400.0, 1000.0]
    first, second = (dict(zip(curve.labels, row, strict=True)) for row in curve.mean)
    assert first["1NN_Cr-Cr"] == pytest.approx(0.99, abs=0.02)
    assert second["1NN_Cr-Cr"] == pytest.approx(0.14, abs=0.03)
    assert first["2NN_Cr-Cr"] == pytest.approx(-3.15, abs=0.1)
    assert curve.energy[0] < curve.energy[1]
    errors = np.array(curve.standard_error)
    assert errors.shape == (2, 12)
    assert ((errors > 0) & (errors < 0.1)).all()
    json.dumps(curve.as_dict(), allow_nan=False)
    with pytest.raises(DismaiError, match="at least one temperature"):
        sro_against_temperature(paper_hamiltonian, PAPER_COMPOSITION, [], brief, SEED)
