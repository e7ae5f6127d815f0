"""Ratings, reference energies and the rounds of a search, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.interfaces.ledger import INTACT, SearchLedger
from dismaiflow.interfaces.rating import DUPLICATE, HIGH, IMPLAUSIBLE, LOW, Rater, lowest_rows
from dismaiflow.interfaces.search import ReferenceEnergy, SearchSettings, decide
from dismaiflow.systems.blocks import EnergyFilter

#: With this area 1 eV is 1 J/m^2 (eq. 6: 1.60218e-19 J and 1e-20 m^2).
AREA = 16.0218

RATER = Rater(n_atoms=10, area=AREA, limits=EnergyFilter())


def ledger(*energies: float, calls: int = 10, **statuses: str) -> SearchLedger:
    """Return a ledger of intact structures; NaN for those that exploded."""
    made = SearchLedger.of_indices(range(len(energies)), INTACT)
    made.fill(
        np.arange(len(energies)),
        {"energy": np.array(energies), "n_force_calls": np.full(len(energies), calls)},
    )
    for i, energy in enumerate(energies):
        if not np.isfinite(energy):
            made.mark(i, "exploded", "an atom moved by 2e4 Å")
    return made


def test_the_lowest_structure_sets_the_reference() -> None:
    """The lowest stands at -0.4 J/m^2: 0 is 0.4 eV above its -100 eV, in 10 atoms."""
    found = ledger(-100.0, -99.61, -99.59, np.nan)
    zero = RATER.reference_energy(found)
    assert zero == pytest.approx((-100 + 0.4) / 10, abs=1e-12)
    rating = RATER.rate(found, zero)
    assert rating.verdicts == [LOW, LOW, HIGH, "exploded"]
    assert rating.energies[:3] == pytest.approx([-0.4, -0.01, 0.01], abs=1e-9)
    assert np.isnan(rating.energies[3])
    assert lowest_rows(rating, 2).tolist() == [0, 1]


def test_a_structure_on_the_cut_is_low() -> None:
    """At most 0.4 J/m^2 above the lowest, said the paper: equal counts."""
    assert RATER.rate(ledger(-100.0, -99.6), (-99.6) / 10).verdicts == [LOW, LOW]


def test_a_window_of_another_spec() -> None:
    """A cut at 0.1 and a window of 0.2 J/m^2 put the lowest at -0.1."""
    rater = Rater(10, AREA, EnergyFilter(max_interface_energy=0.1, window=0.2))
    found = ledger(-50.0, -49.81, -49.79)
    zero = rater.reference_energy(found)
    rating = rater.rate(found, zero)
    assert rating.energies == pytest.approx([-0.1, 0.09, 0.11], abs=1e-9)
    assert rating.verdicts == [LOW, LOW, HIGH]


def test_a_hole_of_the_potential_does_not_set_the_reference() -> None:
    """Quartiles -99.875 and -99.425: the fence stands 5 x 0.45 eV below, at -102.125."""
    usual = [-100.0, -99.9, -99.8, -99.7, -99.6, -99.5, -99.4, -99.2, -99.0]
    found = ledger(*usual, -140.0)
    zero = RATER.reference_energy(found)
    assert zero == pytest.approx((-100 + 0.4) / 10)
    assert RATER.rate(found, zero).verdicts[-1] == IMPLAUSIBLE
    # A low structure that is within reach of the others is the new lowest.
    found = ledger(*usual, -101.0)
    assert RATER.reference_energy(found) == pytest.approx((-101 + 0.4) / 10)


def test_a_lower_minimum_beside_equal_energies_is_no_hole() -> None:
    """Eighteen within 2 meV, one 50 meV lower: the window, 0.4 eV here, counts as the range."""
    found = ledger(*[-100.0 + 1e-4 * i for i in range(18)], -100.05)
    assert RATER.rate(found, RATER.reference_energy(found)).verdicts[-1] == LOW
    # 5 x 0.4 eV below the lower quartile is too much.
    found = ledger(*[-100.0 + 1e-4 * i for i in range(18)], -102.1)
    assert RATER.rate(found, RATER.reference_energy(found)).verdicts[-1] == IMPLAUSIBLE


def test_a_hole_in_a_small_pilot_set_is_mended_at_once() -> None:
    """Of four structures nothing can be told; of eight it can, and the reference moves up."""
    settings = SearchSettings(50, n_pilot=4, max_structures=1000)
    first = decide(ledger(-140.0, -100.0, -99.9, -99.8), RATER, settings)
    assert first.rating.verdicts == [LOW, HIGH, HIGH, HIGH]
    more = ledger(-140.0, -100.0, -99.9, -99.8, -99.9, -99.8, -99.7, -99.7)
    second = decide(more, RATER, settings, first.history)
    assert [one.value for one in second.history] == pytest.approx([-13.96, -9.96])
    assert second.rating.verdicts == [IMPLAUSIBLE, *[LOW] * 7]
    assert not second.stopped_by


def test_duplicates_count_once() -> None:
    found = ledger(-100.0, -100.0, -99.9)
    rating = RATER.rate(found, -9.96, duplicates=[1])
    assert rating.verdicts == [LOW, DUPLICATE, LOW]
    assert np.isnan(rating.energies[1])


def test_the_pilot_set_comes_first() -> None:
    settings = SearchSettings(20, n_pilot=7, max_structures=100)
    assert decide(ledger(), RATER, settings).n_next == 7


def test_the_next_round_is_what_is_missing_by_the_yield() -> None:
    """4 of 8 are low, 6 missing: a share of (4 + 1)/(8 + 2) and one sigma, (6 + sqrt 3)/0.5."""
    settings = SearchSettings(10, n_pilot=8, max_structures=100)
    half = [-100.0, -99.9, -99.8, -99.7, -99.0, -98.9, -98.8, -98.7]
    decision = decide(ledger(*half), RATER, settings)
    assert decision.n_next == 16
    assert not decision.stopped_by
    assert decision.history == (ReferenceEnergy(pytest.approx(-9.96), 8),)


def test_a_round_does_not_outrun_what_is_known() -> None:
    """One of two is low, 1,000 wanted: four times as many as before, not 2,000."""
    settings = SearchSettings(1000, n_pilot=2, max_structures=10_000)
    assert decide(ledger(-100.0, -98.0), RATER, settings).n_next == 8


def test_budgets_end_a_search() -> None:
    by_number = SearchSettings(10, n_pilot=3, max_structures=10)
    found = ledger(*[-100.0] + [-98.0] * 9)
    assert decide(found, RATER, by_number).stopped_by == "the budget of 10 structures"
    by_calls = SearchSettings(10, n_pilot=3, max_structures=100, max_force_calls=100)
    assert decide(found, RATER, by_calls).stopped_by == "the budget of 100 force calls"
    # Three structures took 30 of 100 calls: there is room for seven.
    assert decide(ledger(-100.0, -98.0, -98.0), RATER, by_calls).n_next == 7


def test_enough_is_enough() -> None:
    settings = SearchSettings(2, n_pilot=2, max_structures=10)
    decision = decide(ledger(-100.0, -99.9, -98.0), RATER, settings)
    assert decision.stopped_by == "the number of structures"
    assert decision.n_next == 0


def test_the_filter_is_applied_again_when_the_reference_moved() -> None:
    """After the pilot -100 was the lowest and -99.7 low; -100.5 puts that above the cut."""
    settings = SearchSettings(3, n_pilot=2, max_structures=100)
    first = decide(ledger(-100.0, -99.7), RATER, settings)
    assert [one.value for one in first.history] == pytest.approx([-9.96])
    found = ledger(-100.0, -99.7, -100.5)
    second = decide(found, RATER, settings, first.history)
    assert [one.value for one in second.history] == pytest.approx([-9.96, -10.01])
    assert second.rating.verdicts == [HIGH, HIGH, LOW]
    assert second.n_next > 0


def test_a_reference_of_the_potential_stays() -> None:
    settings = SearchSettings(2, n_pilot=2, max_structures=3)
    fixed = (ReferenceEnergy(-9.9, 0, fixed=True),)
    decision = decide(ledger(-100.0, -99.5, -98.0), RATER, settings, fixed)
    assert decision.history == fixed
    assert decision.rating.verdicts == [LOW, LOW, HIGH]


def test_a_hopeless_pilot_ends_the_search() -> None:
    settings = SearchSettings(5, n_pilot=3, max_structures=100)
    decision = decide(ledger(np.nan, np.nan, np.nan), RATER, settings)
    assert "pilot" in decision.stopped_by


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_structures": 1}, "two structures"),
        ({"n_structures": 10, "max_structures": 5}, "budget of 5"),
        ({"n_structures": 5, "n_pilot": 0}, "pilot"),
        ({"n_structures": 5, "max_force_calls": 0}, "force calls"),
        ({"n_structures": 5, "method": "guess"}, "guess"),
    ],
)
def test_senseless_requests(words: dict, message: str) -> None:
    with pytest.raises(DismaiError, match=message):
        SearchSettings(**words)


def test_sizes_by_default() -> None:
    """The paper's 1,500 with a pilot of 100, and 20 tries for each."""
    settings = SearchSettings.for_count(1500)
    assert (settings.n_pilot, settings.max_structures) == (100, 30_000)
    assert SearchSettings.for_count(20).n_pilot == 20


def test_a_ledger_survives_bytes_and_is_sorted() -> None:
    first, second = ledger(-100.0, np.nan), SearchLedger.of_indices([2], "lost", "a job failed")
    whole = SearchLedger.concatenate([second, first])
    again = SearchLedger.from_bytes(whole.to_bytes())
    assert again.columns["index"].tolist() == [0, 1, 2]
    assert again.statuses == [INTACT, "exploded", "lost"]
    assert again.example("exploded") == "structure 1: an atom moved by 2e4 Å"
    assert again.n_force_calls == 20
    assert again.counts() == {INTACT: 1, "exploded": 1, "lost": 1}


@given(
    st.lists(st.floats(-110, -90), min_size=1, max_size=40),
    st.integers(2, 30),
    st.integers(0, 2**32 - 1),
)
def test_the_order_of_a_round_does_not_matter(energies: list, n: int, seed: int) -> None:
    """Rows come in any order from the jobs; the decision is the same."""
    settings = SearchSettings(n, n_pilot=5, max_structures=1000)
    rows = [SearchLedger.of_indices([i], INTACT) for i in range(len(energies))]
    for i, energy in enumerate(energies):
        rows[i].fill(np.array([i]), {"energy": np.array([energy])})
    straight = decide(SearchLedger.concatenate(rows), RATER, settings)
    order = np.random.default_rng(seed).permutation(len(rows))
    mixed = decide(SearchLedger.concatenate([rows[i] for i in order]), RATER, settings)
    assert mixed.rating.verdicts == straight.rating.verdicts
    assert (mixed.history, mixed.n_next) == (straight.history, straight.n_next)
