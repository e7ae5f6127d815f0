"""What earlier runs have left in a store, so that nothing is computed twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.benchmark.flows import VALIDATION_CONTROL
from dismaiflow.benchmark.jobs import expansion_hash
from dismaiflow.benchmark.schemas import AnalysedSet, ControlsDoc
from dismaiflow.benchmark.structure_analysis import analysis_hash
from dismaiflow.benchmark.structure_flows import (
    KnownReference,
    potential_key,
    relaxation_request,
)
from dismaiflow.potentials.schemas import RelaxedDoc
from dismaiflow.potentials.table import STATUSES
from dismaiflow.store.blobs import has_blob

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jobflow import JobStore

    from dismaiflow.benchmark.protocol import ScoringProtocol
    from dismaiflow.benchmark.structure_flows import RelaxationPlan
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.systems import SystemSpec

#: How structures of a reference end each time. An error may have had a passing cause, and other
#: reasons tell that the set was refused beside another reference.
_LASTING = set(STATUSES) - {"errored"}


def known_controls(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    n_control: int,
    store: JobStore,
    with_validation: bool,
    relaxation: RelaxationPlan | None = None,
    like: Mapping[str, Any] | None = None,
) -> ControlsDoc | None:
    """Find the scores of the controls against a reference.

    Parameters
    ----------
    spec, protocol, reference, relaxation
        As for `BenchmarkMaker.make`.
    n_control : int
        Structures that were drawn of each.
    store : JobStore
        Connected.
    with_validation : bool
        Whether a validation set must be among them.
    like : mapping, optional
        Further fields of the `ControlsDoc` and their values, such as ``n_relaxed``,
        ``relaxed_reference_hash`` and ``validation_hash``.
    """
    wanted: dict[str, Any] = {
        "kind": "controls",
        "system": spec.name,
        "reference_hash": reference.content_hash,
        "protocol.name": protocol.name,
        "protocol.version": protocol.version,
        "protocol.alignment": protocol.alignment,
        "n_sampled": n_control,
    } | controls_key(spec, protocol, relaxation)
    for output in _outputs(store, wanted | dict(like or {})):
        stored = ControlsDoc.model_validate(output)
        # A spec may ask for metrics that it did not ask for before.
        measured = all(set(spec.metrics) <= set(scores) for scores in stored.scores.values())
        validated = not with_validation or VALIDATION_CONTROL in stored.scores
        if stored.complete and measured and validated:
            return stored
    return None


def controls_key(
    spec: SystemSpec, protocol: ScoringProtocol, relaxation: RelaxationPlan | None
) -> dict[str, str]:
    """Return the fields of a `ControlsDoc` that tell how its structures were treated."""
    if spec.kind == "alloy":
        return {"expansion_hash": expansion_hash(spec)}
    return {
        "analysis_hash": analysis_hash(spec, protocol),
        "potential_hash": potential_key(spec, protocol, relaxation),
    }


def known_reference(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    relaxation: RelaxationPlan | None,
    store: JobStore,
) -> KnownReference:
    """Find a reference that was relaxed and analysed before.

    Parameters
    ----------
    spec, protocol, reference, relaxation
        As for `BenchmarkMaker.make`; no alloy.
    store : JobStore
        Connected.
    """
    relaxed = None
    if relaxation is not None:
        relaxed = _known_relaxed(spec, protocol, reference, relaxation, store)
        if relaxed is None:
            return KnownReference()
    wanted = {
        "kind": "features",
        "input_hash": relaxed.structures.content_hash if relaxed else reference.content_hash,
        "analysis_hash": analysis_hash(spec, protocol),
    }
    for output in _outputs(store, wanted):
        analysed = AnalysedSet.model_validate(output)
        parts = [part for part in analysed.parts if part is not None]
        # The same structures may have been refused beside another reference, or by an accident.
        whole = analysed.complete and not any(part.n_failed for part in parts)
        if whole and _all_there(store, [part.counts for part in parts]):
            return KnownReference(relaxed, analysed)
    return KnownReference(relaxed)


def _known_relaxed(
    spec: SystemSpec,
    protocol: ScoringProtocol,
    reference: StructuresRef,
    relaxation: RelaxationPlan,
    store: JobStore,
) -> RelaxedDoc | None:
    wanted = {
        "kind": "relaxation",
        "input_hash": reference.content_hash,
        "potential.hash": relaxation.potential.card.hash,
        "settings_hash": relaxation_request(spec, protocol, move=relaxation.reference).hash,
    }
    for output in _outputs(store, wanted):
        found = RelaxedDoc.model_validate(output)
        whole = not found.lost and set(found.by_status) <= _LASTING
        if whole and _all_there(store, [found.table, *found.structures.chunks]):
            return found
    return None


def _outputs(store: JobStore, wanted: dict[str, Any]) -> Iterator[Any]:
    """Yield the outputs of jobs that have these fields."""
    criteria = {f"output.{key}": value for key, value in wanted.items()}
    for document in store.query(criteria, load=True):
        yield document["output"]


def _all_there(store: JobStore, blobs: Iterable[str]) -> bool:
    return all(has_blob(store, blob) for blob in blobs)
