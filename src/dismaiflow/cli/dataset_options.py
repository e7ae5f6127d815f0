"""The options of ``dismai dataset``, and the Makers that they make."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from dismaiflow.cli.console import one_of
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dismaiflow.amorphous.flows import AmorphousSlicesMaker
    from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker
    from dismaiflow.campaigns.relaxed import RelaxedBenchmarkMaker
    from dismaiflow.interfaces.flows import RandomInterfacesMaker
    from dismaiflow.systems import SystemSpec

_ALLOYS, _INTERFACES, _AMORPHOUS = "Alloys", "Interfaces", "Amorphous systems"
_RELAXED = "Interfaces and amorphous systems"
_SEARCH = "Interfaces with a potential"

#: By heading of the help, the kinds of systems that its options are for.
_KINDS_OF = {
    _ALLOYS: ("alloy",),
    _INTERFACES: ("interface",),
    _SEARCH: ("interface",),
    _AMORPHOUS: ("amorphous",),
    _RELAXED: ("interface", "amorphous"),
}


def _alloy(**settings: Any) -> Any:
    return typer.Option(rich_help_panel=_ALLOYS, **settings)


def _amorphous(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_AMORPHOUS, **settings)


NRuns = Annotated[int | None, _alloy(min=1, help="Independent Monte Carlo runs.")]
NPasses = Annotated[int | None, _alloy(min=1, help="Passes of each run.")]
Interval = Annotated[int | None, _alloy(min=1, help="Passes between two snapshots.")]
AnnealFrom = Annotated[
    float, _alloy(min=0, help="K; above every ordering transition. corrected only.")
]
AnnealPasses = Annotated[
    int, _alloy(min=0, help="Passes in which a run is cooled. corrected only.")
]
Sampler = Annotated[str, _alloy(help="independent runs, or exchange: with replica exchange.")]
Thinning = Annotated[str, _alloy(help="none, or independent: snapshots a correlation time apart.")]
Controls = Annotated[
    bool,
    typer.Option(help="Score the controls and keep them with a dataset of alloys or relaxed."),
]
NControl = Annotated[int | None, _alloy(min=1, help="Structures drawn of each control.")]

PotentialName = Annotated[
    str | None,
    typer.Option(
        "--potential",
        metavar="P",
        help="Relax the structures with sw, tersoff, chgnet, matgl:DIR, quippy:XML, command:FILE "
        "or module:callable. Interfaces are searched until --n have low energy.",
        rich_help_panel=_RELAXED,
    ),
]
Device = Annotated[
    str, typer.Option(help="cpu or cuda, on which P computes.", rich_help_panel=_RELAXED)
]
PerJob = Annotated[
    int,
    typer.Option(
        "--per-job", min=1, help="Structures that one job relaxes.", rich_help_panel=_RELAXED
    ),
]


def _search(*names: str, **settings: Any) -> Any:
    return typer.Option(*names, rich_help_panel=_SEARCH, **settings)


Pilot = Annotated[
    int | None,
    _search(min=1, help="Structures that fix the reference energy; --n by default, at most 100."),
]
MaxStructures = Annotated[
    int | None, _search(min=2, help="Budget: structures tried; 20 for each of --n by default.")
]
MaxForceCalls = Annotated[
    int | None, _search(min=1, help="Budget: evaluations of the potential; none by default.")
]
Search = Annotated[
    str, _search(help="random: the paper's; mutation or surrogate learn from what was found.")
]

Placement = Annotated[
    str,
    typer.Option(
        help="Thickness and displacement: random, stratified or quasi-random.",
        rich_help_panel=_INTERFACES,
    ),
]
Exchanges = Annotated[
    bool | None,
    typer.Option(
        help="Exchange ions between region and substrate, as for the training set of a potential.",
        rich_help_panel=_INTERFACES,
    ),
]

ParentFile = Annotated[
    Path | None,
    _amorphous(
        "--parent",
        help="The large structure to slice, a file or store:HASH; else it is melted and quenched.",
    ),
]
QuenchAtoms = Annotated[int | None, _amorphous(min=8, help="Atoms of the melt.")]
QuenchRate = Annotated[float | None, _amorphous(min=0, help="Cooling, K/ps.")]
QuenchPotential = Annotated[str | None, _amorphous(help="sw or tersoff.")]
Split = Annotated[
    str | None,
    _amorphous(help="disjoint: train and val share no parent atoms; random: the paper's."),
]


class Budget(NamedTuple):
    """How much a search may try; see `dismaiflow.campaigns.interfaces.InterfaceDatasetMaker`."""

    n_pilot: int | None
    max_structures: int | None
    max_force_calls: int | None


def check_parent(context: typer.Context, specs: Sequence[SystemSpec]) -> None:
    """Refuse a parent together with how one would be made.

    Raises
    ------
    DismaiError
        If both are given.
    """
    if context.params.get("parent") is not None:
        giver = "--parent"
    elif any(spec.kind == "amorphous" and spec.amorphous.parent.file for spec in specs):
        giver = "key 'parent.file'"
    else:
        return
    for name in ("quench_atoms", "quench_rate", "quench_potential"):
        if context.params.get(name) is not None:
            option = "--" + name.replace("_", "-")
            raise DismaiError(f"{option} is for a parent that is made, and {giver} gives one")


def check_kinds(context: typer.Context, specs: Sequence[SystemSpec]) -> None:
    """Refuse options for a kind of system that is not made.

    Raises
    ------
    DismaiError
        If there is one; names the option and the kind.
    """
    kinds = {spec.kind for spec in specs}
    for parameter in context.command.params:
        panel = getattr(parameter, "rich_help_panel", None) or ""
        meant = _KINDS_OF.get(panel, ())
        source = context.get_parameter_source(parameter.name or "")
        given = source is not None and source.name != "DEFAULT"
        if given and meant and not kinds.intersection(meant):
            raise DismaiError(
                f"{parameter.opts[0]} is for systems of kind {' or '.join(meant)}; "
                f"{', '.join(spec.name for spec in specs)} is of kind {', '.join(sorted(kinds))}"
            )
        relaxes = panel in (_SEARCH, _RELAXED)
        if given and relaxes and context.params.get("potential") is None:
            raise DismaiError(f"{parameter.opts[0]} needs --potential P, which relaxes")


def alloy_maker(
    protocol: str,
    thinning: str,
    n_control: int,
    n_runs: int | None = None,
    n_passes: int | None = None,
    interval: int | None = None,
) -> AlloyBenchmarkMaker:
    """Turn the options of alloys into a Maker.

    Raises
    ------
    DismaiError
        If a word is unknown.
    """
    from dismaiflow.alloy.flows import AlloyDatasetMaker
    from dismaiflow.alloy.jobs import AssembleAlloyMaker
    from dismaiflow.benchmark.flows import AlloyControlsMaker
    from dismaiflow.campaigns.alloy import AlloyBenchmarkMaker

    return AlloyBenchmarkMaker(
        dataset_maker=AlloyDatasetMaker(
            protocol=check_protocol(protocol),
            n_runs=n_runs,
            n_passes=n_passes,
            snapshot_interval=interval,
            assemble_maker=AssembleAlloyMaker(
                thinning=one_of("--thinning", thinning, ("none", "independent"))
            ),
        ),
        controls_maker=AlloyControlsMaker(n=n_control),
    )


def sample_by(maker: AlloyBenchmarkMaker, sampler: str, protocol: str) -> None:
    """Give an alloy Maker the chosen sampler.

    Raises
    ------
    DismaiError
        If the word is unknown, or does not go with the protocol.
    """
    from dismaiflow.alloy.jobs import ReplicaExchangeRunMaker

    if one_of("--sampler", sampler, ("independent", "exchange")) == "exchange":
        if protocol == "published":
            raise DismaiError("--sampler exchange needs --protocol corrected")
        maker.dataset_maker.run_maker = ReplicaExchangeRunMaker()


def interface_maker(protocol: str, placement: str, exchanges: bool | None) -> RandomInterfacesMaker:
    """Turn the options of interfaces into a Maker.

    Raises
    ------
    DismaiError
        If a word is unknown, or does not go with the protocol.
    """
    from dismaiflow.interfaces.flows import RandomInterfacesMaker

    ways = ("random", "stratified", "quasi-random")
    chosen = one_of("--placement", placement, ways)
    if protocol == "published" and chosen != "random":
        raise DismaiError(f"--placement {chosen} needs --protocol corrected")
    return RandomInterfacesMaker(
        protocol=check_protocol(protocol), sampling=chosen, exchanges=exchanges
    )


def amorphous_maker(
    protocol: str,
    split: str | None,
    n_atoms: int | None,
    rate: float | None,
    potential: str | None,
) -> AmorphousSlicesMaker:
    """Turn the options of amorphous systems into a Maker.

    Raises
    ------
    DismaiError
        If a word is unknown.
    """
    from dismaiflow.amorphous.flows import AmorphousSlicesMaker

    by_protocol = "random" if protocol == "published" else "disjoint"
    potentials = ("sw", "tersoff")
    return AmorphousSlicesMaker(
        protocol=check_protocol(protocol),
        split=one_of("--split", split or by_protocol, ("disjoint", "random")),
        n_quench_atoms=n_atoms,
        quench_rate=rate,
        quench_potential=None
        if potential is None
        else one_of("--quench-potential", potential, potentials),
    )


def relaxed_maker(
    interfaces: RandomInterfacesMaker,
    amorphous: AmorphousSlicesMaker,
    budget: Budget,
    search: str,
    device: str,
    per_job: int,
    controls: bool,
) -> RelaxedBenchmarkMaker:
    """Turn the options of relaxed datasets into a Maker.

    Parameters
    ----------
    interfaces, amorphous
        Makers of what is relaxed, with their options.
    budget : Budget
        Of a search.
    search : str
        How structures are proposed.
    device : str
        Of PyTorch.
    per_job : int
        Structures that one job relaxes.
    controls : bool
        Whether controls are scored.

    Raises
    ------
    DismaiError
        If a word is unknown, or does not go with the protocol.
    """
    from dismaiflow.benchmark.structure_flows import StructureControlsMaker
    from dismaiflow.campaigns.amorphous import AmorphousDatasetMaker
    from dismaiflow.campaigns.interface_search import SearchPartMaker
    from dismaiflow.campaigns.interfaces import InterfaceDatasetMaker
    from dismaiflow.campaigns.relaxed import RelaxedBenchmarkMaker, ScoreControlsMaker
    from dismaiflow.potentials.jobs import RelaxPartMaker, RelaxSetMaker
    from dismaiflow.settings import load_settings

    method = one_of("--search", search, ("random", "mutation", "surrogate"))
    if interfaces.protocol == "published" and method != "random":
        raise DismaiError(f"--search {method} needs --protocol corrected")
    if interfaces.exchanges is not None:
        raise DismaiError(
            "--exchanges is for random structures: leave out --potential, or set key "
            "'exchanges.in_dataset' in the YAML file"
        )
    settings = load_settings()
    scored = StructureControlsMaker(n=settings.N_CONTROL, n_relaxed=settings.N_CONTROL_RELAXED)
    maker = RelaxedBenchmarkMaker(
        interface_maker=InterfaceDatasetMaker(
            protocol=interfaces.protocol,
            method=method,
            sampling=interfaces.sampling,
            n_pilot=budget.n_pilot,
            max_structures=budget.max_structures,
            max_force_calls=budget.max_force_calls,
        ),
        amorphous_maker=AmorphousDatasetMaker(slices_maker=amorphous),
        controls_maker=ScoreControlsMaker(controls_maker=scored),
    )
    if not controls:
        maker.protocols = ()
    maker.interface_maker.search_maker.structures_per_job = per_job
    maker = maker.update_kwargs({"structures_per_job": per_job}, class_filter=RelaxSetMaker)
    for part in (SearchPartMaker, RelaxPartMaker):
        maker = maker.update_kwargs({"device": device}, class_filter=part)
    return maker


def check_protocol(protocol: str) -> Any:
    """Return a protocol of datasets if it is one."""
    return one_of("--protocol", protocol, ("corrected", "published"))
