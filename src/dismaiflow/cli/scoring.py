"""What a user says about potentials and controls, opened, tried and stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dismaiflow.cli.console import one_of
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from jobflow import JobStore

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.question import ControlSizes, Treatment
    from dismaiflow.potentials.base import Potential
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.systems import SystemSpec


@dataclass(frozen=True)
class Moving:
    """What the user said about relaxation.

    Parameters
    ----------
    potential : str, optional
        Name of the potential.
    relaxed : bool
        Whether structures are taken as relaxed.
    device : str
        On which it computes.
    """

    potential: str | None
    relaxed: bool
    device: str


def open_for(spec: SystemSpec, moving: Moving) -> Potential | None:
    """Open the potential that a score of a system needs, before any work.

    Raises
    ------
    DismaiError
        If it is missing, does not fit the system, or is not to be used with it.
    """
    if spec.kind == "alloy":
        if moving.potential is not None or moving.relaxed:
            option = "--potential" if moving.potential is not None else "--relaxed"
            raise DismaiError(
                f"{spec.name} is an alloy, whose structures are not relaxed: leave out {option}"
            )
        return None
    if moving.potential is None:
        if moving.relaxed:
            return None
        raise DismaiError(
            f"{spec.name} needs --potential P to relax the structures (see `dismai score --help`), "
            "or --relaxed if they are relaxed already"
        )
    from dismaiflow.potentials.names import open_potential

    return open_potential(moving.potential, spec.species)


def try_potential(potential: Potential | None, store: JobStore, reference: StructuresRef) -> None:
    """Compute the first reference structure, so that what does not work is known at once.

    Raises
    ------
    DismaiError
        If the potential, or its client in another environment, does not answer.
    """
    from dismaiflow.cli.potentials import check_scratch
    from dismaiflow.potentials.names import check_answers
    from dismaiflow.store.structures import get_chunk

    if potential is not None:
        check_scratch()
        first = get_chunk(store, reference.chunks[0]).atoms(0)
        first.pbc = True  # as relaxations take it
        check_answers(potential, first)


def store_potential(
    store: JobStore,
    spec: SystemSpec,
    dataset: Dataset | None,
    moving: Moving,
    potential: Potential | None,
) -> Treatment:
    """Put the potential into the store and decide what it does."""
    from dismaiflow.benchmark.question import plan_treatment
    from dismaiflow.potentials.store import put_potential

    stored = None
    if potential is not None:
        assert moving.potential is not None
        stored = put_potential(store, moving.potential, potential)
    return plan_treatment(spec, dataset.card if dataset else None, stored, moving.relaxed)


def control_sizes() -> ControlSizes:
    """Return how many structures the settings ask of each control."""
    from dismaiflow.benchmark.question import ControlSizes
    from dismaiflow.settings import load_settings

    settings = load_settings()
    return ControlSizes(settings.N_CONTROL, settings.N_CONTROL_RELAXED)


def scoring_protocol(kind: str, name: str, alignment: str | None) -> ScoringProtocol:
    """Return the protocol that a user names."""
    from dismaiflow.benchmark.protocol import PUBLISHED_ALIGNMENTS, ScoringProtocol

    one_of("--protocol", name, ("published", "corrected"))
    if alignment is not None:
        one_of("--alignment", alignment, PUBLISHED_ALIGNMENTS)
    return ScoringProtocol.for_kind(kind, cast("Any", name), cast("Any", alignment))
