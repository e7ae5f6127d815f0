"""From what is asked of a score to its flow: what happens to structures, what is known already."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from pydantic import ValidationError

from dismaiflow.benchmark.flows import VALIDATION_CONTROL
from dismaiflow.benchmark.held_out import HIGH_CONTROL, held_out
from dismaiflow.benchmark.known import controls_key, known_controls, known_reference
from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.schemas import ControlsDoc
from dismaiflow.benchmark.structure_flows import RelaxationPlan
from dismaiflow.errors import DismaiError, first_problem
from dismaiflow.potentials.jobs import RelaxPartMaker
from dismaiflow.store.generated import store_generated

if TYPE_CHECKING:
    from jobflow import Flow, JobStore

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.structure_flows import KnownReference
    from dismaiflow.potentials.store import PotentialRef
    from dismaiflow.store.generated import GeneratedSet
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.structures.dataset import DatasetCard
    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems import SystemSpec


class DatasetSource(Protocol):
    """A dataset, in a folder or in a store."""

    @property
    def card(self) -> DatasetCard:
        """Its card, with the counts of its sets."""
        ...

    def read(self, name: str = "train") -> StructureSet:
        """Read one of its sets."""
        ...


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
    dataset: DatasetSource | None
    treatment: Treatment


@dataclass(frozen=True)
class ControlSizes:
    """How many structures are drawn of each control.

    Parameters
    ----------
    n : int
        Of one that is not relaxed.
    n_relaxed : int
        Of one that is.
    """

    n: int = 1000
    n_relaxed: int = 10


def plan_treatment(
    spec: SystemSpec,
    card: DatasetCard | None,
    potential: PotentialRef | None,
    relaxed: bool = False,
) -> Treatment:
    """Decide what a potential does for a score.

    A reference whose card says that it was relaxed with this very potential is not relaxed again.

    Parameters
    ----------
    spec : SystemSpec
        The system; structures of alloys are never relaxed.
    card : DatasetCard, optional
        Of the dataset whose training set is the reference.
    potential : PotentialRef, optional
        The potential.
    relaxed : bool
        Whether the generated structures are taken as relaxed.
    """
    if spec.kind == "alloy":
        return Treatment()
    said = relaxed_with(card) if card is not None else None
    if potential is None:
        return Treatment(marks=[_as_they_are(card, said)])
    same = said is not None and said.get("hash") == potential.card.hash
    if not relaxed:
        return Treatment(RelaxationPlan(potential=potential, reference=not same))
    marks = [] if same else [_as_they_are(card, said)]
    return Treatment(RelaxationPlan(potential=potential, generated=False, reference=False), marks)


def relaxed_with(card: DatasetCard) -> dict[str, Any] | None:
    """Return what a dataset's card says of the potential that relaxed it; None if none did."""
    said: dict[str, Any] | None = (card.protocol.get("relaxation") or {}).get("potential")
    return said


def _as_they_are(card: DatasetCard | None, said: dict[str, Any] | None) -> str:
    if said is not None:
        return (
            f"the structures were taken as relaxed: the reference with {said.get('name')}, the "
            "generated ones with what only their maker knows"
        )
    if card is not None and "not relaxed" in str(card.protocol.get("stage", "")):
        return "the structures were taken as relaxed, but those of the reference are not"
    return "the structures were taken as relaxed; with which potential is not known"


def card_controls(card: DatasetCard) -> dict[str, ControlsDoc]:
    """Return the control scores that a card carries, by protocol key.

    Raises
    ------
    DismaiError
        If somebody has changed them.
    """
    try:
        return {key: ControlsDoc.model_validate(c) for key, c in card.controls.items()}
    except ValidationError as error:
        raise DismaiError(
            f"dataset of {card.system}: the controls on its card cannot be read "
            f"({first_problem(error)}); make the dataset again"
        ) from error


def build_flow(
    asked: Question,
    store: JobStore,
    generated: list[GeneratedSet],
    reference_name: str,
    model: str,
    *,
    sizes: ControlSizes,
    with_controls: bool = True,
    own_cells: bool = False,
    device: str = "cpu",
    maker: BenchmarkMaker | None = None,
    role: str = "generated",
) -> Flow:
    """Build the flow of a score, of what is not known yet.

    Parameters
    ----------
    asked : Question
        What is scored against what.
    store : JobStore
        Connected; what it knows is not computed again.
    generated : list of GeneratedSet
        One per separately trained model.
    reference_name, model : str
        What to call them.
    sizes : ControlSizes
        Of the controls.
    with_controls : bool
        Whether controls stand beside the score.
    own_cells : bool
        Whether each generated structure keeps a cell of its own (Table S1).
    device : str
        On which a potential computes.
    maker : BenchmarkMaker, optional
        Scores.
    role : {"generated", "control"}
        Of alloys: whether a control has made the structures.

    Returns
    -------
    Flow
        Its output is a `ScoreDoc`.
    """
    maker = copy.deepcopy(maker) if maker is not None else BenchmarkMaker()
    maker.alloy_controls_maker.n = maker.structure_controls_maker.n = sizes.n
    maker.structure_controls_maker.n_relaxed = sizes.n_relaxed
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
        chunk_size = maker.alloy_controls_maker.sample_maker.chunk_size
        kept = _held_out(asked, store, sizes.n_relaxed, chunk_size)
        validation, high = kept.get(VALIDATION_CONTROL), kept.get(HIGH_CONTROL)
        like = _treated_like(asked, sizes, known, validation)
        controls = True if like is None else _kept_controls(asked, store, sizes, like) or True
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
        role,
    )


def _treated_like(
    asked: Question,
    sizes: ControlSizes,
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
        "n_relaxed": sizes.n_relaxed,
        "relaxed_reference_hash": relaxed.structures.content_hash if relaxed else None,
        "validation_hash": validation.structures.content_hash if validation else None,
    }


def _kept_controls(
    asked: Question, store: JobStore, sizes: ControlSizes, like: dict[str, Any]
) -> ControlsDoc | None:
    """Take the controls from the dataset's card or the store."""
    spec, protocol, relaxation = asked.spec, asked.protocol, asked.treatment.relaxation
    card = asked.dataset.card if asked.dataset is not None else None
    own = card_controls(card).get(protocol.key) if card is not None else None
    wanted = controls_key(spec, protocol, relaxation) | like
    wanted["reference_hash"] = asked.reference.content_hash
    if own is not None and own.complete and all(getattr(own, k) == v for k, v in wanted.items()):
        return own
    has_validation = card is not None and "val" in card.counts
    return known_controls(
        spec, protocol, asked.reference, sizes.n, store, has_validation, relaxation, like
    )


def _held_out(
    asked: Question, store: JobStore, n_relaxed: int, chunk_size: int
) -> dict[str, GeneratedSet]:
    """Store those sets of the dataset that are scored as controls."""
    dataset = asked.dataset
    if dataset is None:
        return {}
    chosen = held_out(dataset.card.counts, asked.treatment.relaxation, n_relaxed)
    return {
        control: store_generated(
            store, control, dataset.read(part.name).select(np.arange(part.n)), chunk_size
        )
        for control, part in chosen.items()
    }
