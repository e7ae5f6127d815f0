"""From what a user asks of a score to its flow: potential, controls, what is known already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from jobflow import Flow, JobStore

    from dismaiflow.benchmark.maker import BenchmarkMaker
    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.schemas import ControlsDoc, GeneratedSet
    from dismaiflow.benchmark.structure_flows import KnownReference, RelaxationPlan
    from dismaiflow.potentials.base import Potential
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.structures.dataset import Dataset, DatasetCard
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


@dataclass(frozen=True)
class Treatment:
    """What happens to the structures before they are compared.

    Parameters
    ----------
    relaxation : RelaxationPlan, optional
        What a potential does.
    marks : list of str
        What a reader of the score must know.
    """

    relaxation: RelaxationPlan | None = None
    marks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Question:
    """What is scored against what, and how."""

    spec: SystemSpec
    protocol: ScoringProtocol
    reference: StructuresRef
    dataset: Dataset | None
    treatment: Treatment


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
    """Put the potential into the store and decide what it does.

    A reference whose card says that it was relaxed with this very potential is not relaxed again.
    """
    from dismaiflow.benchmark.structure_flows import RelaxationPlan
    from dismaiflow.potentials.store import put_potential

    if spec.kind == "alloy":
        return Treatment()
    said = relaxed_with(dataset.card) if dataset is not None else None
    if potential is None:
        return Treatment(marks=[_as_they_are(dataset, said)])
    assert moving.potential is not None
    stored = put_potential(store, moving.potential, potential)
    same = said is not None and said.get("hash") == stored.card.hash
    if not moving.relaxed:
        return Treatment(RelaxationPlan(potential=stored, reference=not same))
    marks = [] if same else [_as_they_are(dataset, said)]
    return Treatment(RelaxationPlan(potential=stored, generated=False, reference=False), marks)


def relaxed_with(card: DatasetCard) -> dict[str, Any] | None:
    """Return what a dataset's card says of the potential that relaxed it; None if none did."""
    said: dict[str, Any] | None = (card.protocol.get("relaxation") or {}).get("potential")
    return said


def _as_they_are(dataset: Dataset | None, said: dict[str, Any] | None) -> str:
    if said is not None:
        return (
            f"the structures were taken as relaxed: the reference with {said.get('name')}, the "
            "generated ones with what only their maker knows"
        )
    if dataset is not None and "not relaxed" in str(dataset.card.protocol.get("stage", "")):
        return "the structures were taken as relaxed, but those of the reference are not"
    return "the structures were taken as relaxed; with which potential is not known"


def build_flow(
    asked: Question,
    store: JobStore,
    generated: list[GeneratedSet],
    reference_name: str,
    model: str,
    *,
    with_controls: bool,
    own_cells: bool,
    device: str,
) -> Flow:
    """Build the flow of a score, of what is not known yet."""
    from dismaiflow.benchmark.flows import VALIDATION_CONTROL
    from dismaiflow.benchmark.held_out import HIGH_CONTROL
    from dismaiflow.benchmark.known import known_reference
    from dismaiflow.benchmark.maker import BenchmarkMaker
    from dismaiflow.potentials.jobs import RelaxPartMaker

    maker = BenchmarkMaker()
    maker.alloy_controls_maker.n = maker.structure_controls_maker.n = load_settings().N_CONTROL
    maker.structure_controls_maker.n_relaxed = load_settings().N_CONTROL_RELAXED
    if device != "cpu":
        maker = maker.update_kwargs({"device": device}, class_filter=RelaxPartMaker)
    known = None
    if asked.spec.kind != "alloy":
        known = known_reference(
            asked.spec, asked.protocol, asked.reference, asked.treatment.relaxation, store
        )
    controls: ControlsDoc | bool = False
    validation = high = None
    if with_controls:
        n_relaxed = maker.structure_controls_maker.n_relaxed
        chunk_size = maker.alloy_controls_maker.sample_maker.chunk_size
        kept = _held_out(asked, store, n_relaxed, chunk_size)
        validation, high = kept.get(VALIDATION_CONTROL), kept.get(HIGH_CONTROL)
        like = _treated_like(asked, maker, known, validation)
        controls = True if like is None else _kept_controls(asked, store, like) or True
    return maker.make(
        asked.spec,
        asked.protocol,
        asked.reference,
        generated,
        reference_name,
        model,
        controls,
        validation,
        asked.treatment.relaxation,
        known,
        own_cells,
        asked.treatment.marks,
        high,
    )


def _treated_like(
    asked: Question,
    maker: BenchmarkMaker,
    known: KnownReference | None,
    validation: GeneratedSet | None,
) -> dict[str, Any] | None:
    """Return what scores of controls must have in common with those asked for.

    None where there can be none yet: the reference is still to be relaxed.
    """
    if asked.spec.kind == "alloy":
        return {}
    relaxed = known.relaxed if known is not None else None
    if asked.treatment.relaxation is not None and relaxed is None:
        return None
    return {
        "n_relaxed": maker.structure_controls_maker.n_relaxed,
        "relaxed_reference_hash": relaxed.structures.content_hash if relaxed else None,
        "validation_hash": validation.structures.content_hash if validation else None,
    }


def _kept_controls(asked: Question, store: JobStore, like: dict[str, Any]) -> ControlsDoc | None:
    """Take the controls from the dataset's card or the store."""
    from dismaiflow.benchmark.known import controls_key, known_controls
    from dismaiflow.cli.inputs import card_controls

    spec, protocol, relaxation = asked.spec, asked.protocol, asked.treatment.relaxation
    kept = card_controls(asked.dataset.card) if asked.dataset is not None else {}
    own = kept.get(protocol.key)
    wanted = controls_key(spec, protocol, relaxation) | like
    wanted["reference_hash"] = asked.reference.content_hash
    if own is not None and own.complete and all(getattr(own, k) == v for k, v in wanted.items()):
        return own
    return known_controls(
        spec,
        protocol,
        asked.reference,
        load_settings().N_CONTROL,
        store,
        _has_validation(asked.dataset),
        relaxation,
        like,
    )


def _has_validation(dataset: Dataset | None) -> bool:
    return dataset is not None and "val" in dataset.card.counts


def _held_out(
    asked: Question, store: JobStore, n_relaxed: int, chunk_size: int
) -> dict[str, GeneratedSet]:
    """Store those sets of the dataset that are scored as controls."""
    import numpy as np

    from dismaiflow.benchmark.collecting import store_generated
    from dismaiflow.benchmark.held_out import held_out

    dataset = asked.dataset
    chosen = {}
    if dataset is not None:
        chosen = held_out(dataset.card.counts, asked.treatment.relaxation, n_relaxed)
    return {
        control: store_generated(
            store, control, dataset.read(part.name).select(np.arange(part.n)), chunk_size
        )
        for control, part in chosen.items()
        if dataset is not None
    }
