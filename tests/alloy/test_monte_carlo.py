"""The Monte Carlo kernel against exact enumeration, brute-force counts and icet."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.units import kB
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from dismaiflow.alloy import kernel
from dismaiflow.alloy.cluster_expansion import ClusterExpansion, IntegerHamiltonian
from dismaiflow.alloy.kernel import build_tables, initial_fields
from dismaiflow.alloy.monte_carlo import MonteCarlo, random_occupation
from dismaiflow.errors import DismaiError
from dismaiflow.structures.lattice import SiteLattice

from .conftest import PAPER_COMPOSITION, RADII, count_images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray


def paper_chain(hamiltonian: IntegerHamiltonian, seed: int) -> MonteCarlo:
    """Return a chain of the paper's alloy from a random start."""
    start = random_occupation(
        PAPER_COMPOSITION, hamiltonian.expansion.species, np.random.default_rng(seed)
    )
    return MonteCarlo(hamiltonian, start, np.random.SeedSequence(seed))


def arrangements(counts: list[int]) -> Iterator[list[int]]:
    """Yield every arrangement of species codes with the given counts."""
    sites = list(range(sum(counts)))

    def place(code: int, free: list[int], made: dict[int, int]) -> Iterator[list[int]]:
        if code == len(counts):
            yield [made[s] for s in sites]
            return
        for chosen in combinations(free, counts[code]):
            rest = [s for s in free if s not in chosen]
            yield from place(code + 1, rest, {**made, **dict.fromkeys(chosen, code)})

    yield from place(0, sites, {})


def enumerate_energies(
    hamiltonian: IntegerHamiltonian, counts: list[int]
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return all configurations and their energies in eV, from distances and the pair terms."""
    lattice, pair = hamiltonian.lattice, hamiltonian.expansion.pair
    images = count_images(
        lattice.kind,
        lattice.repeats,
        RADII[lattice.kind][: len(pair)],
        (lattice.positions / lattice.a).tolist(),
    )
    states = np.array(list(arrangements(counts)), dtype=np.int8)
    energies = np.zeros(len(states))
    for shell, count in enumerate(images):
        for i, j in zip(*np.nonzero(count), strict=True):
            energies += count[i, j] * pair[shell, states[:, i], states[:, j]] / 2
    return states, energies


def chi_square_p(observed: NDArray[Any], share: NDArray[Any]) -> float:
    """Return the p-value of counts under given shares; rare classes are put together."""
    expected = share * observed.sum()
    often = expected >= 10
    table = np.array([observed[often].tolist(), expected[often].tolist()])
    rest = np.array([[observed[~often].sum()], [expected[~often].sum()]])
    if rest[1, 0] >= 10:
        table = np.hstack([table, rest])
    elif rest[1, 0] == 0:
        assert rest[0, 0] == 0
    statistic = ((table[0] - table[1]) ** 2 / table[1]).sum()
    return float(chi2.sf(statistic, table.shape[1] - 1))


# (lattice, repeats, shells, atoms of each species, width of the kernel's vector instruction)
SMALL_CELLS = [
    pytest.param("sc", (2, 2, 2), 4, [4, 4], 0, id="binary-self-images"),
    pytest.param("fcc", (1, 1, 2), 7, [4, 2, 2], 8, id="ternary-7-shells"),
    pytest.param("fcc", (2, 1, 1), 3, [3, 3, 2], 8, id="ternary-width-8"),
    pytest.param("fcc", (4, 1, 1), 4, [13, 3], 8, id="binary-width-8"),
    pytest.param("fcc", (4, 1, 1), 4, [12, 2, 2], 16, id="ternary-width-16"),
    pytest.param("bcc", (2, 2, 1), 3, [3, 2, 2, 1], 0, id="four-species"),
    pytest.param("fcc", (8, 1, 1), 2, [29, 1, 1, 1], 16, id="four-species-width-16"),
    pytest.param("sc", (2, 2, 2), 4, [4, 0, 4], 0, id="an-absent-species"),
]


@pytest.mark.parametrize(("kind", "repeats", "n_shells", "counts", "width"), SMALL_CELLS)
def test_samples_the_boltzmann_distribution(
    toy: Callable[..., IntegerHamiltonian],
    kind: str,
    repeats: tuple[int, int, int],
    n_shells: int,
    counts: list[int],
    width: int,
) -> None:
    """Every state of a small cell is met as often as exact enumeration says."""
    hamiltonian = toy(kind, repeats, len(counts), n_shells)
    tables = build_tables(hamiltonian)
    assert tables.width == width
    states, energies = enumerate_energies(hamiltonian, counts)
    # As hot as the spread of the energies: most states are met, and far from equally often.
    temperature = float(energies.std()) / kB
    weights = np.exp(-(energies - energies.min()) / (kB * temperature))
    share = weights / weights.sum()

    chain = MonteCarlo(hamiltonian, states[0], np.random.SeedSequence(20), tables)
    chain.run(temperature, 500)
    met, quanta = chain.record(temperature, 20_000, 20)

    base = len(counts) ** np.arange(states.shape[1], dtype=object)
    number = {int(key): k for k, key in enumerate((states * base).sum(axis=1))}
    index = np.array([number[int(key)] for key in (met * base).sum(axis=1)])
    observed = np.bincount(index, minlength=len(states)).astype(float)
    assert np.allclose(quanta * hamiltonian.quantum, energies[index], rtol=0, atol=1e-5)
    if len(states) < 2000:
        assert chi_square_p(observed, share) > 1e-3

    # By energy there are few classes with many counts, so that small errors show.
    level = np.unique(energies.round(9), return_inverse=True)[1]
    by_level = np.bincount(level, weights=observed)
    exact = np.bincount(level, weights=share)
    assert chi_square_p(by_level, exact) > 1e-3
    # The test would see a temperature that is wrong by a tenth.
    other = np.exp(-(energies - energies.min()) / (1.1 * kB * temperature))
    assert chi_square_p(by_level, np.bincount(level, weights=other / other.sum())) < 1e-3


@pytest.mark.parametrize("temperature", [300.0, 1500.0])
def test_energy_equals_brute_force_after_a_million_swaps(
    paper_hamiltonian: IntegerHamiltonian,
    brute_force_quanta: Callable[[IntegerHamiltonian, NDArray[np.integer]], int],
    temperature: float,
) -> None:
    """The accumulated energy and the fields are exact, however many swaps were accepted."""
    chain = paper_chain(paper_hamiltonian, 5)
    while chain.n_accepted < 1_000_000:
        chain.run(temperature, 2000)
    occupation = chain.current_occupation
    assert chain.energy_quanta == brute_force_quanta(paper_hamiltonian, occupation)
    assert chain.energy_quanta == paper_hamiltonian.energy_quanta(occupation)
    assert np.bincount(occupation).tolist() == [51, 154, 51]
    assert chain.tables is not None
    recount = initial_fields(paper_hamiltonian, chain.tables, occupation[chain.tables.order])
    assert (chain._fields == recount).all()


@pytest.mark.parametrize(
    ("kind", "repeats", "n_species", "n_shells"),
    [("sc", (2, 2, 2), 2, 4), ("fcc", (2, 1, 1), 3, 7), ("bcc", (3, 1, 1), 4, 3)],
)
def test_energy_of_small_cells_equals_brute_force(
    toy: Callable[..., IntegerHamiltonian],
    brute_force_quanta: Callable[[IntegerHamiltonian, NDArray[np.integer]], int],
    kind: str,
    repeats: tuple[int, int, int],
    n_species: int,
    n_shells: int,
) -> None:
    """Sites that meet their own images are counted rightly, a million swaps long."""
    hamiltonian = toy(kind, repeats, n_species, n_shells)
    codes = np.arange(hamiltonian.lattice.n_sites) % n_species
    chain = MonteCarlo(hamiltonian, codes, np.random.SeedSequence(3))
    while chain.n_accepted < 1_000_000:
        chain.run(3000.0, 100_000)
    assert chain.energy_quanta == brute_force_quanta(hamiltonian, chain.current_occupation)


def test_all_ways_through_the_kernel_agree(
    paper_hamiltonian: IntegerHamiltonian, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Vectors of 16, of 8, and single neighbours lead along the same trajectory."""
    wide = paper_chain(paper_hamiltonian, 1)
    assert wide.tables is not None
    assert wide.tables.width == 16
    expected, energies = wide.record(800.0, 20, 10)
    for name, value, width in (("VECTOR_WIDTHS", (8,), 8), ("MAX_DENSE_SITES", 0, 0)):
        monkeypatch.setattr(kernel, name, value)
        chain = paper_chain(paper_hamiltonian, 1)
        assert chain.tables is not None
        assert chain.tables.width == width
        occupations, quanta = chain.record(800.0, 20, 10)
        assert (occupations == expected).all()
        assert (quanta == energies).all()


def test_record_is_the_same_as_running_step_by_step(paper_hamiltonian: IntegerHamiltonian) -> None:
    """Snapshots taken in one go are those of single runs, in any division."""
    occupations, quanta = paper_chain(paper_hamiltonian, 2).record(600.0, 12, 3)
    chain = paper_chain(paper_hamiltonian, 2)
    for occupation, energy in zip(occupations, quanta, strict=True):
        chain.run(600.0, 3)
        assert (chain.current_occupation == occupation).all()
        assert chain.energy_quanta == energy
    parts = paper_chain(paper_hamiltonian, 2)
    first, second = parts.record(600.0, 5, 3), parts.record(600.0, 7, 3)
    assert (np.concatenate([first[0], second[0]]) == occupations).all()
    assert (np.concatenate([first[1], second[1]]) == quanta).all()
    assert parts.n_attempts == chain.n_attempts == 36 * 256
    assert parts.n_accepted == chain.n_accepted


def test_same_seed_same_bytes(paper_hamiltonian: IntegerHamiltonian) -> None:
    """A seed fixes every byte; another gives another run."""
    first, again, other = (
        paper_chain(paper_hamiltonian, seed).record(300.0, 50, 10)[0].tobytes()
        for seed in (11, 11, 12)
    )
    assert first == again
    assert first != other


def test_set_occupation_continues_with_the_right_energy(
    paper_hamiltonian: IntegerHamiltonian,
) -> None:
    """A chain given another configuration knows its energy."""
    chain = paper_chain(paper_hamiltonian, 1)
    other = paper_chain(paper_hamiltonian, 2).current_occupation
    chain.set_occupation(other)
    assert (chain.current_occupation == other).all()
    chain.run(500.0, 20)
    assert chain.energy_quanta == paper_hamiltonian.energy_quanta(chain.current_occupation)
    assert chain.energy == pytest.approx(
        chain.energy_quanta * paper_hamiltonian.quantum / 256, rel=1e-15
    )


@given(
    kind=st.sampled_from(["sc", "bcc", "fcc"]),
    repeats=st.tuples(*[st.integers(1, 3)] * 3),
    n_species=st.integers(2, 4),
    seed=st.integers(0, 10**6),
    temperature=st.floats(50, 5000),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_composition_and_energy_are_kept(
    toy: Callable[..., IntegerHamiltonian],
    kind: str,
    repeats: tuple[int, int, int],
    n_species: int,
    seed: int,
    temperature: float,
) -> None:
    """No swap loses an atom or a quantum, in any cell; translations change no energy."""
    hamiltonian = toy(kind, repeats, n_species, 3)
    n_sites = hamiltonian.lattice.n_sites
    codes = np.random.default_rng(seed).integers(0, n_species, n_sites)
    if len(np.unique(codes)) < 2:
        with pytest.raises(DismaiError, match="at least two species"):
            MonteCarlo(hamiltonian, codes, np.random.SeedSequence(seed))
        return
    chain = MonteCarlo(hamiltonian, codes, np.random.SeedSequence(seed))
    chain.run(temperature, 30)
    occupation = chain.current_occupation
    assert (np.bincount(occupation, minlength=4) == np.bincount(codes, minlength=4)).all()
    assert chain.energy_quanta == hamiltonian.energy_quanta(occupation)
    shift = hamiltonian.lattice.translations[seed % n_sites]
    assert hamiltonian.energy_quanta(occupation[shift]) == chain.energy_quanta


def test_two_sites_by_hand() -> None:
    """One A and one B on two sites: every swap is free, and every one is accepted."""
    pair = np.array([[[0.0, 0.3], [0.3, -0.2]]])
    expansion = ClusterExpansion(("A", "B"), 0.0, np.zeros(2), pair)
    hamiltonian = IntegerHamiltonian(expansion, SiteLattice("bcc", 3.0, (1, 1, 1)))
    chain = MonteCarlo(hamiltonian, np.array([0, 1]), np.random.SeedSequence(0))
    # Each site has eight images of the other as nearest neighbours: eight AB pairs in the cell.
    assert chain.energy_quanta == 8 * round(0.3 / hamiltonian.quantum)
    assert chain.run(1.0, 50) == 100
    assert chain.energy == pytest.approx(8 * 0.3 / 2, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.0, -300.0, float("nan"), float("inf")])
def test_bad_temperature(paper_hamiltonian: IntegerHamiltonian, temperature: float) -> None:
    """A temperature that makes no sense is refused."""
    with pytest.raises(DismaiError, match="above 0 K"):
        paper_chain(paper_hamiltonian, 0).run(temperature, 1)


@pytest.mark.parametrize("codes", [[0, 1], [0] * 255 + [3], [0] * 255 + [-1], []])
def test_bad_occupation(paper_hamiltonian: IntegerHamiltonian, codes: list[int]) -> None:
    """So is an occupation of another size or with unknown species."""
    with pytest.raises(DismaiError, match="256 species codes from 0 to 2"):
        MonteCarlo(paper_hamiltonian, np.array(codes, dtype=np.int64), np.random.SeedSequence(0))


def test_unknown_species() -> None:
    """An element that the cluster expansion does not know is named."""
    with pytest.raises(DismaiError, match="not Mn"):
        random_occupation({"Fe": 2, "Mn": 1}, ("Cr", "Fe"), np.random.default_rng(0))


def test_low_temperature_goes_downhill_only(paper_hamiltonian: IntegerHamiltonian) -> None:
    """Near 0 K no swap raises the energy."""
    chain = paper_chain(paper_hamiltonian, 4)
    _, quanta = chain.record(1e-3, 40, 1)
    assert (np.diff(quanta) <= 0).all()
    assert quanta[-1] < quanta[0]


def test_mean_energy_agrees_with_icet(paper_hamiltonian: IntegerHamiltonian) -> None:
    """Mean energies at 1500 K of both codes agree within four combined standard errors."""
    pytest.importorskip("icet")
    path = Path(__file__).parents[2] / "benchmarks" / "alloy_monte_carlo.py"
    spec = spec_from_file_location("alloy_monte_carlo", path)
    assert spec is not None
    assert spec.loader is not None
    bench = module_from_spec(spec)
    spec.loader.exec_module(bench)
    peer = bench.IcetPeer(paper_hamiltonian, n_fit=30)
    assert peer.max_error <= 1e-12
    theirs, their_error = peer.mean_energy(1500.0, n_trials=90_000, n_equilibration=8_000, seed=1)
    chain = paper_chain(paper_hamiltonian, 6)
    chain.run(1500.0, 200)
    ours, our_error = bench.our_mean_energy(chain, 1500.0, 4000)
    assert abs(ours - theirs) < 4 * np.hypot(our_error, their_error)
    # The error is small enough to see the bias of a sequential sweep, some 1 meV/atom.
    assert 0 < np.hypot(our_error, their_error) < 0.0002
