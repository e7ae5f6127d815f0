"""Amorphous parents by melt-quench molecular dynamics with LAMMPS.

A crystal is melted, the liquid equilibrated and cooled at a constant rate through the range in
which it becomes solid; the solid is cooled fast and relaxed to a minimum of the energy.

Times are in ps, temperatures in K, rates in K/ps (1 K/ps = 1e12 K/s), lengths in Å, densities in
g/cm^3, energies in eV.

The defaults come from quenches of silicon on one core (LAMMPS of 22 July 2025; fourfold atoms in
percent, spread of the bond angles in degrees, energy in eV/atom above the crystal of the same
potential, which does not compare between potentials):

=========  =====  ========  ========================  =======  ========  ======  ======  =======
potential  atoms  ensemble  slow cooling              CPU [s]  fourfold  angles  energy  density
=========  =====  ========  ========================  =======  ========  ======  ======  =======
tersoff    1000   nvt       2000 to 1400 K, 12 K/ps   55       85.2      15.3    0.271   2.285
tersoff    1000   npt       the same                  45       86.5      15.0    0.275   2.296
tersoff    1000   nvt       2600 to 1400 K, 24 K/ps   125      83.3      15.9    0.285   2.285
tersoff    1000   nvt       2000 to 1400 K, 3 K/ps    144      89.0      14.0    0.242   2.285
tersoff    4096   nvt       2000 to 1400 K, 12 K/ps   216      83.7      15.7    0.274   2.285
sw         1000   nvt       1250 to 850 K, 8 K/ps     53       73.3      17.1    0.221   2.285
sw         1000   npt       1250 to 900 K, 6 K/ps     110      53.7      20.7    0.232   2.495
=========  =====  ========  ========================  =======  ========  ======  ======  =======

The first two are means over three seeds, which scatter by 1 to 2 percent, with the time of the
fastest. The others are one run each, on a machine with other work, which shows in their times; the
last began with 3 ps at 4000 K.

Tersoff's potential gives the better network at equal cost, whether at the measured density or at
zero pressure; the former is the default, as it fixes the cell. Silicon of Stillinger and Weber
keeps many five-fold atoms of its liquid, and its high density at zero pressure. None of these is
good amorphous silicon, which has a few percent of defects and angles that spread by 9 to 11
degrees: `quality` says so of each parent.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dismaiflow.amorphous.quality import GRAMS_PER_CM3
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.lammps_library import session, set_interactions
from dismaiflow.progress import report as report_progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

#: Steps between two reports of progress.
_CHUNK = 500

#: Entries of the history that a stage leaves at most; documents stay small.
_ENTRIES = 200

#: Å. Atoms that moved less on average, about a bond and a half, may still be a crystal.
MOLTEN = 3.5

#: A cell is relaxed when its pressure is below this, bar, or after so many beginnings.
_NO_PRESSURE, _MOST_VOLUMES = 10.0, 20

#: What is taken for a solid, g/cm^3; steps that integrate its motion, ps; a stage worth its name.
_LEAST_DENSITY, _MOST_DENSITY = 0.1, 25.0
_LONGEST_STEP, _FEWEST_STEPS = 0.01, 10

_DIAMOND = np.array(
    [
        [0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0],
        [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1],
    ]
) / 4.0  # fmt: skip


@dataclass(frozen=True)
class MeltQuenchSettings:
    """How a parent is made.

    Parameters
    ----------
    n_atoms : int
        Atoms of the parent.
    density : float
        g/cm^3. Held throughout under ``nvt``; where the crystal starts under ``npt``.
    potential : {"sw", "tersoff"}
        Stillinger-Weber or Tersoff, from the files that ship with LAMMPS.
    ensemble : {"nvt", "npt"}
        Constant volume, or zero pressure; the crystal is melted at constant volume always.
    melt_temperature, melt_time : float
        K and ps at which the crystal is destroyed.
    quench_from, equilibration_time : float
        K and ps of the liquid before it is cooled.
    quench_to, quench_rate : float
        K at which the slow cooling ends, and its rate in K/ps.
    final_temperature, cool_time : float
        K to which the solid is cooled then, and the ps that this takes.
    timestep : float
        ps.

    Raises
    ------
    DismaiError
        If a number makes no sense.
    """

    n_atoms: int
    density: float
    potential: Literal["sw", "tersoff"] = "tersoff"
    ensemble: Literal["nvt", "npt"] = "nvt"
    melt_temperature: float = 5000.0
    melt_time: float = 5.0
    quench_from: float = 2000.0
    equilibration_time: float = 3.0
    quench_to: float = 1400.0
    quench_rate: float = 12.0
    final_temperature: float = 300.0
    cool_time: float = 4.0
    timestep: float = 0.003

    def __post_init__(self) -> None:
        positive = (
            "n_atoms", "density", "melt_temperature", "melt_time", "quench_from",
            "equilibration_time", "quench_to", "quench_rate", "final_temperature", "cool_time",
            "timestep",
        )  # fmt: skip
        for name in positive:
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise DismaiError(f"melt-quench: {name} should be greater than 0, got {value}")
        if self.ensemble not in ("nvt", "npt"):
            raise DismaiError(f"melt-quench: no ensemble {self.ensemble!r}: use nvt or npt")
        falling = (
            self.melt_temperature,
            self.quench_from,
            self.quench_to,
            self.final_temperature,
        )
        if sorted(falling, reverse=True) != list(falling) or self.quench_from == self.quench_to:
            raise DismaiError(
                "melt-quench: temperatures should fall from melt_temperature over quench_from and "
                f"quench_to to final_temperature, got {', '.join(f'{t:g}' for t in falling)} K"
            )

        if not _LEAST_DENSITY <= self.density <= _MOST_DENSITY:
            raise DismaiError(
                f"melt-quench: density should lie between {_LEAST_DENSITY:g} and "
                f"{_MOST_DENSITY:g} g/cm^3, got {self.density:g}"
            )
        if self.timestep > _LONGEST_STEP:
            raise DismaiError(
                f"melt-quench: timestep should be at most {_LONGEST_STEP:g} ps, got "
                f"{self.timestep:g}"
            )
        short = [stage.name for stage in stages(self) if stage.steps < _FEWEST_STEPS]
        if short:
            raise DismaiError(
                f"melt-quench: the stage {short[0]!r} has fewer than {_FEWEST_STEPS} steps: cool "
                "more slowly, give it more time, or take a shorter timestep"
            )

    @property
    def quench_time(self) -> float:
        """Time of the slow cooling, ps."""
        return (self.quench_from - self.quench_to) / self.quench_rate

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain data, with the lengths of the run in ps and steps."""
        steps = sum(stage.steps for stage in stages(self))
        return asdict(self) | {
            "quench_time": self.quench_time,
            "total_time": steps * self.timestep,
            "steps": steps,
        }


@dataclass(frozen=True)
class Stage:
    """A piece of the run in which the thermostat moves linearly.

    Parameters
    ----------
    name : str
        For the progress and the history.
    start, stop : float
        Temperatures, K.
    steps : int
        Length.
    """

    name: str
    start: float
    stop: float
    steps: int


@dataclass(frozen=True)
class Quenched:
    """A parent as it came out.

    Parameters
    ----------
    numbers : ndarray of int64, shape (n_atoms,)
        Atomic numbers.
    positions : ndarray, shape (n_atoms, 3)
        In the cell, Å.
    cell : ndarray, shape (3, 3)
        Rows are vectors, Å; cubic.
    energy : float
        After the last relaxation, eV per atom.
    crystal_energy : float or None
        Of the relaxed diamond crystal with the same potential, eV per atom; None for compounds.
    pressure : float
        After the last relaxation, GPa, positive in compression.
    displacement : float
        Root mean square way of the atoms from their sites in the crystal until the slow cooling
        began, Å.
    history : dict of str to list of float
        ``time`` (ps), ``temperature`` (K), ``energy`` (potential, eV per atom), ``density``
        (g/cm^3), ``stage``.
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.float64]
    cell: NDArray[np.float64]
    energy: float
    crystal_energy: float | None
    pressure: float
    displacement: float
    history: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def energy_above_crystal(self) -> float | None:
        """Energy above the crystal, eV per atom; None for compounds."""
        return None if self.crystal_energy is None else self.energy - self.crystal_energy

    @property
    def warnings(self) -> list[str]:
        """What went wrong on the way, in plain words."""
        if self.displacement >= MOLTEN:
            return []
        return [
            f"atoms had moved {self.displacement:.1f} Å on average when cooling began: the crystal "
            "may not have melted; take a longer melt_time or a higher melt_temperature"
        ]


def stages(settings: MeltQuenchSettings) -> list[Stage]:
    """Return the stages of a run."""

    def steps(time: float) -> int:
        return max(round(time / settings.timestep), 0)

    hot, liquid = settings.melt_temperature, settings.quench_from
    solid, cold = settings.quench_to, settings.final_temperature
    return [
        Stage("melt", hot, hot, steps(settings.melt_time)),
        Stage("equilibrate", liquid, liquid, steps(settings.equilibration_time)),
        Stage("quench", liquid, solid, steps(settings.quench_time)),
        Stage("cool", solid, cold, steps(settings.cool_time)),
    ]


def split_counts(composition: Mapping[str, int], n_atoms: int) -> dict[str, int]:
    """Return how many atoms of each element a parent of this composition has.

    Parameters
    ----------
    composition : dict
        Atoms of each element in any amount of the material.
    n_atoms : int
        Atoms of the parent.

    Raises
    ------
    DismaiError
        If the composition does not divide it.
    """
    unit = sum(composition.values()) // np.gcd.reduce(list(composition.values()))
    if n_atoms % unit:
        raise DismaiError(
            f"key 'parent.n_atoms' is {n_atoms}, which the composition cannot fill: take a "
            f"multiple of {unit}, such as {max(round(n_atoms / unit), 1) * unit}"
        )
    total = sum(composition.values())
    return {symbol: n * n_atoms // total for symbol, n in composition.items()}


def diamond_sites(n_atoms: int, edge: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a diamond crystal in a cube, with sites left empty at random for any other number.

    Parameters
    ----------
    n_atoms : int
        Atoms; 8 k^3 of them fill the crystal.
    edge : float
        Edge of the cube, Å.
    rng : numpy.random.Generator
        Chooses the empty sites.

    Returns
    -------
    ndarray, shape (n_atoms, 3)
        Positions in random order, Å.
    """
    k = 1
    while 8 * k**3 < n_atoms:
        k += 1
    corners = np.stack(np.meshgrid(*[np.arange(k)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    sites = (corners + _DIAMOND).reshape(-1, 3) * (edge / k)
    return sites[rng.permutation(len(sites))[:n_atoms]]


def melt_quench(
    composition: Mapping[str, int], settings: MeltQuenchSettings, seed: np.random.SeedSequence
) -> Quenched:
    """Make a parent.

    Parameters
    ----------
    composition : dict
        Atoms of each element, in any amount; the parent has ``settings.n_atoms``.
    settings : MeltQuenchSettings
        How.
    seed : numpy.random.SeedSequence
        Seed of the sites and the velocities. On one machine and with one version of LAMMPS the
        same seed gives the same parent, bit for bit.

    Raises
    ------
    DismaiError
        If LAMMPS is missing or stops, or the potential does not know the elements.
    """
    from ase.data import atomic_masses, atomic_numbers

    counts = split_counts(composition, settings.n_atoms)
    elements = list(counts)
    rng = np.random.default_rng(seed)
    kinds = np.repeat(np.arange(1, len(elements) + 1), list(counts.values()))
    mass = sum(n * atomic_masses[atomic_numbers[symbol]] for symbol, n in counts.items())
    edge = float((mass / (settings.density * GRAMS_PER_CM3)) ** (1 / 3))
    positions = diamond_sites(settings.n_atoms, edge, rng)
    with session("if atoms were lost, take a shorter timestep") as engine:
        _set_up(engine, settings.potential, elements, kinds, positions, edge)
        history, displacement = _run(engine, settings, mass, int(rng.integers(1, 2**31 - 1)))
        _relax(engine, settings.ensemble == "npt")
        n = settings.n_atoms
        energy = engine.get_thermo("pe") / n
        pressure = engine.get_thermo("press") * 1e-4  # bar
        low, high = (np.array(corner) for corner in engine.extract_box()[:2])
        final = np.array(engine.gather_atoms("x", 1, 3)).reshape(n, 3) - low
    lengths = high - low
    return Quenched(
        numbers=np.repeat([atomic_numbers[s] for s in elements], list(counts.values())),
        positions=np.mod(final, lengths),
        cell=np.diag(lengths),
        energy=float(energy),
        crystal_energy=crystal_energy(settings.potential, elements),
        pressure=float(pressure),
        displacement=displacement,
        history=history,
    )


def crystal_energy(potential: str, elements: Sequence[str]) -> float | None:
    """Return the energy of the relaxed diamond crystal, eV per atom.

    Parameters
    ----------
    potential : {"sw", "tersoff"}
        The potential.
    elements : sequence of str
        Elements of the material; for compounds, and elements that are no diamond, it is None.
    """
    from ase.data import atomic_numbers, reference_states

    state = reference_states[atomic_numbers[elements[0]]] or {}
    if len(elements) > 1 or state.get("symmetry") != "diamond":
        return None
    cells = 3
    edge = cells * float(str(state["a"]))
    sites = diamond_sites(8 * cells**3, edge, np.random.default_rng(0))
    with session() as engine:
        _set_up(engine, potential, elements, np.ones(len(sites), dtype=int), sites, edge)
        _relax(engine, cell=True)
        return float(engine.get_thermo("pe") / len(sites))


def _set_up(
    engine: Any,
    potential: str,
    elements: Sequence[str],
    kinds: NDArray[np.int64],
    positions: NDArray[np.float64],
    edge: float,
) -> None:
    """Fill a cube with atoms; type k is element k - 1."""
    for line in (
        "units metal",
        "atom_style atomic",
        "atom_modify map array",
        "boundary p p p",
        f"region cube block 0 {edge!r} 0 {edge!r} 0 {edge!r}",
        f"create_box {len(elements)} cube",
    ):
        engine.command(line)
    n = len(positions)
    made = engine.create_atoms(n, list(range(1, n + 1)), kinds.tolist(), positions.ravel().tolist())
    if made != n:
        raise DismaiError(f"LAMMPS placed {made} of {n} atoms; report this")
    set_interactions(engine, potential, elements)
    engine.command("thermo 1000000")


def _run(
    engine: Any, settings: MeltQuenchSettings, mass: float, velocity_seed: int
) -> tuple[dict[str, list[Any]], float]:
    """Go through the stages; return the history, and how far atoms went before the cooling."""
    plan = stages(settings)
    total = sum(stage.steps for stage in plan)
    task = f"melt-quench of {settings.n_atoms} atoms"
    # Sites left empty, and unlike neighbours of compounds, would heat the start beyond control.
    engine.command("minimize 1e-6 1e-4 50 500")
    # Twice the temperature, of which a crystal at rest takes half for its potential energy.
    hot = 2 * plan[0].start
    engine.command(f"velocity all create {hot} {velocity_seed} mom yes dist gaussian")
    engine.command(f"timestep {settings.timestep}")
    engine.command("compute way all msd")
    history: dict[str, list[Any]] = {
        key: [] for key in ("time", "temperature", "energy", "density", "stage")
    }
    report_progress(task, 0, total, "steps")
    time, square = 0.0, 0.0
    for stage in plan:
        if stage.name == "quench":
            square = float(engine.extract_compute("way", 0, 1)[3])
        _thermostat(engine, settings, stage)
        starts = range(0, stage.steps, _CHUNK)
        every = -(-len(starts) // _ENTRIES)
        for number, start in enumerate(starts):
            length = min(_CHUNK, stage.steps - start)
            engine.command(f"run {length} start 0 stop {stage.steps} post no")
            time += length * settings.timestep
            report_progress(task, length, total, "steps")
            if number % every == 0 or number == len(starts) - 1:
                _note(engine, history, stage.name, time, mass, settings.n_atoms)
    engine.command("uncompute way")
    return history, float(np.sqrt(square))


def _note(
    engine: Any, history: dict[str, list[Any]], stage: str, time: float, mass: float, n_atoms: int
) -> None:
    """Write down where a run is."""
    density = mass / (engine.get_thermo("vol") * GRAMS_PER_CM3)
    history["time"].append(round(time, 6))
    history["temperature"].append(round(float(engine.get_thermo("temp")), 2))
    history["energy"].append(round(float(engine.get_thermo("pe")) / n_atoms, 6))
    history["density"].append(round(float(density), 5))
    history["stage"].append(stage)


def _thermostat(engine: Any, settings: MeltQuenchSettings, stage: Stage) -> None:
    damping = 100 * settings.timestep
    ramp = f"temp {stage.start} {stage.stop} {damping}"
    _let_go(engine)
    engine.command("reset_timestep 0")
    if settings.ensemble == "nvt" or stage.name == "melt":
        engine.command(f"fix motion all nvt {ramp}")
    else:
        engine.command(f"fix motion all npt {ramp} iso 0 0 {10 * damping}")


def _let_go(engine: Any) -> None:
    """End the motion of a stage, if there is one."""
    if engine.has_id("fix", "motion"):
        engine.command("unfix motion")


def _relax(engine: Any, cell: bool) -> None:
    """Go to the nearest minimum of the energy, of the cell's volume too if asked."""
    _let_go(engine)
    # What is left of the motion would count in the pressure.
    engine.command("velocity all set 0 0 0")
    engine.command("min_style cg")
    for _ in range(_MOST_VOLUMES if cell else 0):
        # The minimiser loses its way when the volume has moved far: it begins again.
        engine.command("fix volume all box/relax iso 0 vmax 0.01")
        engine.command("minimize 0 1e-4 1000 10000")
        engine.command("unfix volume")
        engine.command("minimize 0 1e-4 1000 10000")
        if abs(engine.get_thermo("press")) < _NO_PRESSURE:
            return
    engine.command("minimize 0 1e-4 5000 50000")
