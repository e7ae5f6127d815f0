"""Structures relax as ASE relaxes them, and whatever goes wrong is a result."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from ase.optimize.sciopt import SciPyFminCG
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.relaxation import RelaxationSettings, relax
from dismaiflow.systems.blocks import Relaxation
from potentials.toys import Argon, Surface, argon, as_ase_does

TIGHT = RelaxationSettings(fmax=0.005, tolerance=0.0)

#: Sites of the crystal that `argon` shakes.
SITES = argon(0, spread=0.0).positions


def pair(distance: float, symbol: str = "Ar") -> Atoms:
    return Atoms(f"{symbol}2", positions=[[0, 0, 0], [0, 0, distance]])


@pytest.mark.parametrize("seed", range(3))
def test_the_path_is_that_of_ase(seed: int) -> None:
    """Same positions, energy and number of iterations as its SciPyFminCG."""
    positions, energy, steps = as_ase_does(argon(seed), TIGHT.fmax, TIGHT.max_steps)
    result = relax(argon(seed), Argon(), TIGHT)
    assert (result.status, result.n_steps, result.detail) == ("converged", steps, "")
    assert result.final_energy == energy
    np.testing.assert_array_equal(result.positions, positions)
    assert result.max_force < 0.005
    assert result.initial_energy > result.final_energy
    assert result.n_force_calls > result.n_steps
    assert result.seconds > 0


@pytest.mark.parametrize("optimizer", ["cg", "fire", "bfgs", "lbfgs"])
def test_every_optimizer_finds_the_crystal(optimizer: str) -> None:
    """The energy of the unshaken copper crystal is the minimum that is nearest."""
    crystal = bulk("Cu", cubic=True)
    crystal.calc = EMT()
    shaken = crystal.copy()
    shaken.rattle(0.1, seed=1)
    how = RelaxationSettings(optimizer=optimizer, fmax=0.002, tolerance=0)
    result = relax(shaken, EMT(), how)
    assert result.status == "converged"
    assert result.final_energy == pytest.approx(crystal.get_potential_energy(), abs=1e-5)
    assert result.n_steps > 2


def test_one_evaluation_for_energy_and_forces() -> None:
    """The calculator is asked once for each set of positions, also if it keeps nothing."""
    surface = Surface(lambda x: (float(((x - SITES) ** 2).sum()), -2 * (x - SITES)))
    result = relax(argon(0), surface, TIGHT)
    assert result.status == "converged"
    assert surface.n_calls == result.n_force_calls
    np.testing.assert_allclose(result.positions, SITES, atol=0.003)


def test_a_start_without_forces_takes_no_step() -> None:
    """As published: the iterations that were recorded less the start and the end."""
    well = Surface(lambda x: (0.0, np.full_like(x, 0.0499 / np.sqrt(3))))
    result = relax(argon(0), well, RelaxationSettings())
    assert (result.status, result.n_steps, result.n_force_calls) == ("converged", 0, 1)


def test_nothing_of_the_structure_is_changed_wrapped_or_held() -> None:
    """Constraints are dropped; an atom outside the cell stays outside."""
    atoms = argon(0)
    atoms.positions[3] += 2 * atoms.cell[0]
    atoms.set_constraint(FixAtoms(range(8)))
    before = atoms.positions.copy()
    result = relax(atoms, Argon(), TIGHT)
    assert result.status == "converged"
    assert atoms.calc is None
    assert len(atoms.constraints) == 1
    np.testing.assert_array_equal(atoms.positions, before)
    shifts = result.positions - before
    assert 1e-3 < np.abs(shifts).max() < 2.0


def test_calculators_forget_the_structure_before() -> None:
    """Neighbour lists of ASE are kept while atoms move little; others have a way of their own."""
    used = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
    relax(argon(1), used, TIGHT)
    results = [relax(argon(0), one, TIGHT) for one in (used, LennardJones(**used.parameters))]
    np.testing.assert_array_equal(results[0].positions, results[1].positions)

    class Keeper(Argon):
        forgotten = 0

        def forget(self) -> None:
            self.forgotten += 1

    keeper = Keeper()
    relax(argon(0), keeper, TIGHT)
    relax(argon(1), keeper, TIGHT)
    assert keeper.forgotten == 2


def test_steps_run_out() -> None:
    """The structure is where ASE would leave it, and the detail says what is left."""
    how = RelaxationSettings(fmax=1e-6, max_steps=3, tolerance=0)
    positions, energy, _ = as_ase_does(argon(0), 1e-6, 3)
    result = relax(argon(0), Argon(), how)
    assert (result.status, result.n_steps) == ("not_converged", 3)
    np.testing.assert_array_equal(result.positions, positions)
    assert result.final_energy == energy
    assert result.detail.endswith("eV/Å is left after 3 steps")


@pytest.mark.parametrize(
    ("force", "published", "corrected"),
    [
        (0.0505, "converged", "not_converged"),
        (0.0511, "not_converged", "not_converged"),
        (0.0499, "converged", "converged"),
    ],
)
def test_lost_precision_is_judged_by_the_forces_left(
    force: float, published: str, corrected: str
) -> None:
    """Forces without any energy end every line search; the published scripts accept 0.051."""
    flat = Surface(lambda x: (0.0, np.full_like(x, force / np.sqrt(3))))
    block = Relaxation()
    for protocol, expected in [("published", published), ("corrected", corrected)]:
        result = relax(argon(0), flat, RelaxationSettings.from_block(block, protocol))
        assert result.status == expected
        assert ("lost its precision" in result.detail) == (expected == "not_converged")


def test_settings_come_from_the_system() -> None:
    """A cell that should change too is refused."""
    block = Relaxation(optimizer="fire", fmax=0.02, max_steps=7)
    how = RelaxationSettings.from_block(block, "corrected")
    assert (how.optimizer, how.fmax, how.max_steps, how.tolerance) == ("fire", 0.02, 7, 0.0)
    with pytest.raises(DismaiError, match="relax_cell"):
        RelaxationSettings.from_block(Relaxation(relax_cell=True), "published")


def _raise(kind: BaseException):
    def function(_):
        raise kind

    return Surface(function)


def test_what_a_calculator_raises_is_a_result() -> None:
    """In one line; but not what ends programs."""
    result = relax(argon(0), _raise(RuntimeError("\n isolated atom\nTraceback: x\n")), TIGHT)
    assert (result.status, result.detail) == ("errored", "RuntimeError: isolated atom")
    assert (result.initial_energy, result.final_energy, result.max_force) == (None, None, None)
    np.testing.assert_array_equal(result.positions, argon(0).positions)
    assert relax(argon(0), _raise(ValueError()), TIGHT).detail == "ValueError"
    assert len(relax(argon(0), _raise(ValueError("x" * 999)), TIGHT).detail) == 300
    for ending in (KeyboardInterrupt, SystemExit):
        with pytest.raises(ending):
            relax(argon(0), _raise(ending()), TIGHT)


def test_an_error_on_the_way_keeps_what_was_reached() -> None:
    """Positions, energy and steps of the last iteration."""
    calls = []

    def function(x):
        calls.append(x.copy())
        if len(calls) > 8:
            raise RuntimeError("no memory")
        return float(((x - SITES) ** 4).sum()), -4 * (x - SITES) ** 3

    result = relax(argon(0), Surface(function), TIGHT)
    assert result.status == "errored"
    assert result.n_steps >= 1
    assert result.final_energy == pytest.approx(((result.positions - SITES) ** 4).sum())
    assert result.final_energy < result.initial_energy
    assert any(np.array_equal(result.positions, x) for x in calls)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["energy", "forces"])
def test_nan_is_an_error(value: float, where: str) -> None:
    """Also after some good evaluations."""
    n_calls = 0

    def function(x):
        nonlocal n_calls
        n_calls += 1
        energy, forces = float((x**2).sum()), -2 * x
        if n_calls > 1:
            energy = value if where == "energy" else energy
            forces[0, 0] = value if where == "forces" else forces[0, 0]
        return energy, forces

    result = relax(argon(0), Surface(function), TIGHT)
    assert (result.status, result.n_force_calls) == ("errored", 2)
    assert "returned NaN or infinity in evaluation 2" in result.detail


def test_structures_that_are_none_are_errors() -> None:
    """Before the calculator sees them."""
    broken = argon(0)
    broken.positions[2, 1] = np.nan
    refuses = _raise(AssertionError("was asked"))
    assert "not finite" in relax(broken, refuses, TIGHT).detail
    assert "no atoms" in relax(Atoms(), refuses, TIGHT).detail
    wrong = Surface(lambda x: (0.0, np.zeros((2, 3))))
    assert "forces of shape (2, 3)" in relax(argon(0), wrong, TIGHT).detail


def test_an_endless_flight_is_recognised() -> None:
    """A force that falls with the square root of the distance leaves 0.05 eV/Å at 10^6 Å."""

    def function(x):
        r = np.abs(x).max(axis=1).clip(1)
        forces = np.zeros_like(x)
        forces[:, 2] = 50 / np.sqrt(r)
        return float(-100 * np.sqrt(r).sum()), forces

    result = relax(pair(3.0), Surface(function), TIGHT)
    assert result.status == "exploded"
    assert result.detail.startswith("an atom moved by")
    assert result.n_steps < 20


def _hole(x):
    """Attraction without limit."""
    bond = x[1] - x[0]
    r = np.linalg.norm(bond)
    force = -6 / r**7 * bond / r
    return -(r**-6), np.array([-force, force])


@pytest.mark.parametrize("optimizer", ["cg", "fire", "bfgs"])
def test_a_hole_of_the_potential_is_recognised(optimizer: str) -> None:
    """Energy falls and forces grow; or two atoms end in one place."""
    on_the_way = RelaxationSettings(optimizer=optimizer, min_distance=0.0)
    result = relax(pair(1.5), Surface(_hole), on_the_way)
    assert result.status == "exploded"
    assert "eV/atom to a place with forces of" in result.detail
    assert result.n_force_calls < 150
    blind = RelaxationSettings(max_energy_fall=np.inf)
    result = relax(pair(1.5), Surface(_hole), blind)
    assert result.status == "exploded"
    assert result.detail.startswith("two atoms ended")


def test_published_asks_for_no_distance() -> None:
    """Without forces a structure was accepted, whatever it looks like."""
    nothing = Surface(lambda x: (0.0, np.zeros_like(x)))
    for protocol, status in [("published", "converged"), ("corrected", "exploded")]:
        how = RelaxationSettings.from_block(Relaxation(), protocol)
        assert relax(pair(0.3), nothing, how).status == status
        assert relax(pair(0.5), nothing, how).status == "converged"
    # The nearest image counts.
    across = Atoms("Ar2", positions=[[0, 0, 0.1], [0, 0, 9.9]], cell=[10] * 3, pbc=True)
    assert relax(across, nothing, RelaxationSettings()).status == "exploded"


@given(seed=st.integers(0, 10**6), spread=st.floats(0.5, 2.0))
@example(seed=149, spread=0.5)  # at rest from the start
@settings(max_examples=12, deadline=None)
def test_what_ase_relaxes_is_never_given_up(seed: int, spread: float) -> None:
    """Atoms that overlap at the start have large forces, gain much energy and move far."""
    atoms = argon(seed, spread=spread)
    plain = atoms.copy()
    plain.calc = Argon()
    start, at_rest = (
        plain.get_potential_energy(),
        np.linalg.norm(plain.get_forces(), axis=1).max() <= 0.05,
    )
    optimizer = SciPyFminCG(plain, logfile=None)
    try:
        converged = optimizer.run(fmax=0.05, steps=200)
    except Exception:  # noqa: BLE001
        converged = False
    result = relax(atoms, Argon(), RelaxationSettings(max_steps=200, tolerance=0))
    assert (result.status == "converged") == converged
    if converged:
        # ASE looks after a step only, and moves what is at rest.
        assert result.final_energy == (start if at_rest else plain.get_potential_energy())
