"""Jobs that score structures with free atoms, relaxed or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import Maker

from dismaiflow.benchmark.close_pairs import mean_close_pairs
from dismaiflow.benchmark.collecting import collect_results, find_example
from dismaiflow.benchmark.count_jobs import first_chunk
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.published import compare_with_published
from dismaiflow.benchmark.runs import (
    FLOOR,
    combine_metrics,
    common_fields,
    count_reasons,
    example,
)
from dismaiflow.benchmark.schemas import AnalysedSet, ControlsDoc, Provenance, ScoreDoc
from dismaiflow.benchmark.structure_analysis import AnalysisPlan, analysis_hash
from dismaiflow.benchmark.structure_features import StructureFeatures
from dismaiflow.benchmark.structure_findings import SetEnergies, collect_findings
from dismaiflow.benchmark.structure_scoring import StructureScorer, explain_missing
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job
from dismaiflow.metrics.bootstrap import SEED as BOOTSTRAP_SEED
from dismaiflow.potentials.schemas import RelaxedDoc
from dismaiflow.potentials.table import RelaxationTable
from dismaiflow.store.blobs import current_jobstore, get_blob
from dismaiflow.store.generated import GeneratedSet
from dismaiflow.store.structures import StructuresRef, read_chunks
from dismaiflow.structures.checks import Expectation
from dismaiflow.structures.read import BadFrame
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dismaiflow.benchmark.findings import ClosePairs
    from dismaiflow.benchmark.runs import RunScore

#: The only status with which a structure goes on.
_CONVERGED = "converged"

#: Name of the control that scores the validation set against the training set.
VALIDATION_CONTROL = "validation"


@dataclass
class CollectStructureScoreMaker(Maker):
    """Compare analysed structures with the analysed reference.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect score"

    @dismai_job(output_schema=ScoreDoc)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        reference_name: str,
        reference_relaxed: RelaxedDoc | None,
        reference_analysed: AnalysedSet | None,
        generated: list[GeneratedSet],
        relaxed: list[RelaxedDoc | None] | None,
        analysed: list[AnalysedSet | None],
        model: str,
        controls: ControlsDoc | None = None,
        marks: list[str] | None = None,
    ) -> ScoreDoc:
        """Score.

        Parameters
        ----------
        spec, protocol
            System and protocol.
        reference : StructuresRef
            The reference set, as it was given.
        reference_name : str
            What the user called it.
        reference_relaxed : RelaxedDoc, optional
            The reference after it was relaxed again.
        reference_analysed : AnalysedSet
            Its features.
        generated : list of GeneratedSet
            The generated files.
        relaxed : list of RelaxedDoc, optional
            What became of them; none if they are taken as they are.
        analysed : list of AnalysedSet
            Their features; None where a job failed, which costs its structures but not the rest.
        model : str
            Name of the model or of the files.
        controls : ControlsDoc, optional
            Scores of the controls against the same reference.
        marks : list of str, optional
            What a reader must know before comparing the score.
        """
        jobstore = current_jobstore()
        scorer = build_structure_scorer(spec, reference, reference_relaxed, reference_analysed)
        relaxations: list[RelaxedDoc | None] = [None] * len(generated)
        if relaxed is not None:
            relaxations = relaxed
        runs: list[RunScore] = []
        sets: list[SetEnergies] = []
        features: list[StructureFeatures] = []
        for file, one in enumerate(generated):
            found = score_set(
                scorer, one, relaxations[file], relaxed is not None, analysed[file], file
            )
            runs.append(found.run)
            sets.append(found.energies)
            features.append(found.features)
        names = [one.name for one in generated]
        common = common_fields(runs, names, controls)
        card = next((doc.potential for doc in relaxations if doc is not None), None)
        every = StructureFeatures.concatenate(features)
        findings = collect_findings(
            spec,
            protocol,
            scorer,
            every,
            sets,
            reference_relaxed,
            relaxations,
            SetEnergies.of_reference(jobstore, reference_relaxed),
            first_chunk(jobstore, reference).cells[0],
        )
        findings.close_pairs = _close_pairs(jobstore, reference, generated)
        energies = [e for one in sets for e in one.per_atom.values()]
        told = [*(marks or []), *_reference_marks(reference_relaxed)]
        return ScoreDoc(
            **common,
            system=spec.name,
            protocol=protocol,
            similarity=combine_metrics([run.similarity for run in runs]),
            distribution_reasons=explain_missing(common["distribution"], common["n_scored"]),
            published=compare_with_published(
                spec.name, reference.content_hash, protocol.name, card, told
            ),
            histograms=scorer.histograms(energies),
            findings=findings,
            marks=told,
            examples=_examples(jobstore, reference, generated, relaxations, features),
            provenance=Provenance(
                model=model,
                reference=reference_name,
                reference_hash=reference.content_hash,
                relaxed_reference_hash=_relaxed_hash(reference_relaxed),
                generated_files=names,
                generated_hashes=[one.structures.content_hash for one in generated],
                bootstrap_seed=BOOTSTRAP_SEED,
                potential=card,
            ),
        )


@dataclass
class CollectStructureControlsMaker(Maker):
    """Score all controls against one reference.

    Parameters
    ----------
    name : str
        The job name.
    """

    name: str = "collect controls"

    @dismai_job(output_schema=ControlsDoc)
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        reference: StructuresRef,
        reference_relaxed: RelaxedDoc | None,
        reference_analysed: AnalysedSet | None,
        controls: dict[str, GeneratedSet | None],
        relaxed: dict[str, RelaxedDoc | None] | None,
        analysed: dict[str, AnalysedSet | None],
        n_sampled: int,
        seed: int,
        potential_hash: str = "",
        n_relaxed: int = 0,
    ) -> ControlsDoc:
        """Score; parameters as for `CollectStructureScoreMaker`, the controls by name.

        The floor, the reference drawn again, is drawn from its features: ``n_sampled`` structures
        by ``seed``. ``potential_hash`` and ``n_relaxed`` are noted, for finding the scores again.
        """
        scorer = build_structure_scorer(spec, reference, reference_relaxed, reference_analysed)
        rng = np.random.default_rng([seed, *FLOOR.encode()])
        drawn = rng.integers(0, len(scorer.reference), size=n_sampled)
        again = scorer.reference.select(drawn)
        floor = scorer.score_run(again, n_sampled, [], scorer.reference_energies)
        runs = {FLOOR: floor}
        for name, one in controls.items():
            if one is None:
                continue
            document = relaxed.get(name) if relaxed is not None else None
            was_relaxed = relaxed is not None and name in relaxed
            found = score_set(scorer, one, document, was_relaxed, analysed.get(name), 0)
            runs[name] = found.run
        validated = controls.get(VALIDATION_CONTROL)
        return ControlsDoc(
            system=spec.name,
            protocol=protocol,
            reference_hash=reference.content_hash,
            n_sampled=n_sampled,
            seed=seed,
            analysis_hash=analysis_hash(spec, protocol),
            potential_hash=potential_hash,
            potential=reference_relaxed.potential if reference_relaxed else None,
            n_relaxed=n_relaxed,
            relaxed_reference_hash=_relaxed_hash(reference_relaxed),
            validation_hash=validated.structures.content_hash if validated else None,
            sizes={name: run.n_generated for name, run in runs.items()},
            scores={
                name: {k: m.value for k, m in run.metrics.items()} | run.distribution
                for name, run in runs.items()
            },
            failures={name: count_reasons(run.failed) for name, run in runs.items()},
            missing=[name for name, one in controls.items() if one is None],
        )


def _relaxed_hash(relaxed: RelaxedDoc | None) -> str | None:
    return relaxed.structures.content_hash if relaxed is not None else None


@dataclass(frozen=True)
class ScoredSet:
    """What is known of one generated file."""

    run: RunScore
    features: StructureFeatures
    energies: SetEnergies


def build_structure_scorer(
    spec: SystemSpec,
    reference: StructuresRef,
    relaxed: RelaxedDoc | None,
    analysed: AnalysedSet | None,
) -> StructureScorer:
    """Build a scorer from the features of the reference, all of which must be there.

    Raises
    ------
    DismaiError
        If a job failed that was to relax or analyse the reference, or none of it relaxed.
    """
    jobstore = current_jobstore()
    if analysed is None:
        raise DismaiError("the job that was to analyse the reference did not finish")
    if relaxed is not None and relaxed.lost:
        raise DismaiError(f"the reference was not relaxed as a whole: {relaxed.lost[0]}")
    parts = []
    for number, part in enumerate(analysed.parts):
        if part is None:
            raise DismaiError(f"the job that was to analyse reference part {number} failed")
        parts.append(StructureFeatures.from_bytes(get_blob(jobstore, part.counts)))
    features = StructureFeatures.concatenate(parts)
    if features.bad:
        bad = features.bad[0]
        raise DismaiError(f"reference structure {bad.index} cannot be analysed: {bad.detail}")
    if len(features) == 0:
        ends = _why_nothing_is_left(jobstore, relaxed) if relaxed is not None else ""
        raise DismaiError(f"no structure of the reference is left to compare with{ends}")
    # Features of a set that was scored before bear its places in a file; energies do not.
    features = replace(features, indices=np.arange(len(features)))
    first = first_chunk(jobstore, reference).select(np.array([0]))
    composition = Expectation.of_reference(first, "reference").plain()["composition"]
    energies = SetEnergies.of_reference(jobstore, relaxed)
    return StructureScorer(
        AnalysisPlan.from_spec(spec), spec.metrics, composition, features, energies.per_atom
    )


def _why_nothing_is_left(jobstore: Any, relaxed: RelaxedDoc) -> str:
    table = RelaxationTable.from_bytes(get_blob(jobstore, relaxed.table))
    first = f"; structure {table.numbers['index'][0]}: {table.details[0]}" if len(table) else ""
    return f" ({_words(relaxed.by_status)}{first})"


def score_set(
    scorer: StructureScorer,
    generated: GeneratedSet,
    relaxed: RelaxedDoc | None,
    was_relaxed: bool,
    analysed: AnalysedSet | None,
    file: int,
) -> ScoredSet:
    """Score one set, with everything in it that was not scored."""
    jobstore = current_jobstore()
    unrelaxed: list[BadFrame] = []
    if was_relaxed and relaxed is not None:
        table = RelaxationTable.from_bytes(get_blob(jobstore, relaxed.table))
        rows = zip(table.numbers["index"].tolist(), table.statuses, table.details, strict=True)
        unrelaxed = [BadFrame(i, reason, text) for i, reason, text in rows if reason != _CONVERGED]
    parts = analysed.parts if analysed is not None else None
    features, failed = collect_results(
        jobstore,
        generated,
        parts,
        file,
        scorer.reference.emptied(),
        unrelaxed,
        relaxed.lost if relaxed is not None else (),
    )
    energies = SetEnergies.of_generated(jobstore, relaxed).of(features.indices.tolist())
    run = scorer.score_run(features, generated.n_frames, failed, energies.per_atom)
    return ScoredSet(run, features, energies)


def _close_pairs(
    jobstore: Any, reference: StructuresRef, generated: list[GeneratedSet]
) -> ClosePairs | None:
    """Count the atoms that are too close in what was generated."""
    first = first_chunk(jobstore, reference).select(np.array([0]))
    # Chunks that are gone are among the failures.
    sets = (read_chunks(jobstore, one.structures.chunks)[0] for one in generated)
    return mean_close_pairs(sets, Expectation.of_reference(first, "reference"))


def _reference_marks(relaxed: RelaxedDoc | None) -> list[str]:
    """Say what became of a reference that was relaxed again, where some of it was lost."""
    if relaxed is None:
        return []
    n_lost = relaxed.n_structures - relaxed.structures.n_structures
    if n_lost == 0:
        return []
    return [
        f"{n_lost} of {relaxed.n_structures} reference structures did not relax with "
        f"{relaxed.potential.name} and are left out ({_words(relaxed.by_status)})"
    ]


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {n}" for name, n in counts.items())


def _examples(
    jobstore: Any,
    reference: StructuresRef,
    generated: list[GeneratedSet],
    relaxed: list[RelaxedDoc | None],
    features: list[StructureFeatures],
) -> dict[str, Any]:
    """Pick the first scored structure, before and after relaxation, and one of the reference."""
    examples = {"reference": example(first_chunk(jobstore, reference), 0)}
    for one, document, found in zip(generated, relaxed, features, strict=True):
        index = int(found.indices[0]) if len(found) else None
        before = find_example(jobstore, one.structures, index)
        if before is None:
            continue
        examples["generated"] = before
        after = find_example(jobstore, document.structures, index) if document else None
        if after is not None:
            examples["relaxed"] = after
        break
    return examples
