"""Jobs of a study: look at what was generated, score it, put the rows together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jobflow import Maker, Response
from pydantic import BaseModel

from dismaiflow.benchmark.close_pairs import (
    CLOSE_DISTANCE,
    each_close_pairs,
    random_close_pairs,
)
from dismaiflow.benchmark.maker import BenchmarkMaker
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.question import (
    ControlSizes,
    Question,
    build_flow,
    plan_treatment,
)
from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
from dismaiflow.campaigns.study_schemas import (
    SampleCheck,
    StudyDoc,
    StudyRow,
    Variant,
    blind_controls,
)
from dismaiflow.errors import DismaiError
from dismaiflow.jobs import dismai_job, replaced_by
from dismaiflow.models.checks import validate_generated
from dismaiflow.models.schemas import TrainedModelDoc
from dismaiflow.potentials.store import PotentialRef
from dismaiflow.progress import report
from dismaiflow.store.blobs import current_jobstore
from dismaiflow.store.datasets import DatasetDoc, StoredDataset
from dismaiflow.store.generated import GeneratedSet, fetch_generated
from dismaiflow.store.structures import get_chunk
from dismaiflow.structures.checks import Expectation
from dismaiflow.systems import SystemSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

_Document = TypeVar("_Document", bound=BaseModel)


@dataclass
class CheckSampleMaker(Maker):
    """Look at what a model has generated, before anything is moved.

    Parameters
    ----------
    name : str
        The job name.
    close_distance : float
        Atoms at most so far apart are too close, Å.
    """

    name: str = "check sample"
    close_distance: float = CLOSE_DISTANCE

    @dismai_job(output_schema=SampleCheck)
    def make(
        self, generated: GeneratedSet, dataset: DatasetDoc, own_cells: bool = False
    ) -> SampleCheck:
        """Check.

        Parameters
        ----------
        generated : GeneratedSet
            What was generated.
        dataset : DatasetDoc
            Its training set says what structures must be like.
        own_cells : bool
            Whether each structure may keep a cell of its own.
        """
        jobstore = current_jobstore()
        found = fetch_generated(jobstore, GeneratedSet.model_validate(generated))
        training = DatasetDoc.model_validate(dataset).sets["train"]
        like = Expectation.of_reference(get_chunk(jobstore, training.chunks[0]), "training set")
        expected = Expectation(like.composition, None if own_cells else like.cell)
        checked = validate_generated(found, found.n_frames, expected)
        pairs = []
        for number in each_close_pairs(found.structures, expected, self.close_distance):
            report(self.name, 1, len(found.structures), "structures")
            pairs.append(number)
        counts = np.array([number for number in pairs if number is not None], dtype=float)
        return SampleCheck(
            n_asked=found.n_frames,
            n_readable=len(found.structures),
            reasons=checked.reasons,
            close_pairs=float(counts.mean()) if len(counts) else None,
            percent_with_close_pairs=100.0 * float((counts > 0).mean()) if len(counts) else None,
            random_close_pairs=random_close_pairs(like, self.close_distance),
            close_distance=self.close_distance,
        )


@dataclass
class ScoreStudyMaker(Maker):
    """Score what the trained instances of one model have generated.

    Parameters
    ----------
    name : str
        The job name.
    benchmark_maker : BenchmarkMaker
        Scores.
    n_control, n_control_relaxed : int
        Structures drawn of each control, and of one that is relaxed.
    with_controls : bool
        Whether controls stand beside the score.
    device : str
        On which a potential computes.
    """

    name: str = "score study"
    benchmark_maker: BenchmarkMaker = field(default_factory=BenchmarkMaker)
    n_control: int = 1000
    n_control_relaxed: int = 10
    with_controls: bool = True
    device: str = "cpu"

    @dismai_job()
    def make(
        self,
        spec: SystemSpec,
        protocol: ScoringProtocol,
        dataset: DatasetDoc,
        generated: list[GeneratedSet | None],
        model: str,
        controls: dict[str, ControlsDoc] | None = None,
        potential: PotentialRef | None = None,
        relaxed: bool = False,
        own_cells: bool = False,
        is_control: bool = False,
    ) -> Response[Any]:
        """Score; the output has ``score``, so that no second document is one by itself.

        Parameters
        ----------
        spec : SystemSpec
            The system.
        protocol : ScoringProtocol
            By which.
        dataset : DatasetDoc
            Its training set is the reference.
        generated : list of GeneratedSet or None
            One per trained instance, None where it could not be trained or sampled.
        model : str
            Name under which the score is listed.
        controls : dict of str to ControlsDoc, optional
            Scores of the controls by protocol key, as far as they were made with the dataset.
        potential : PotentialRef, optional
            What relaxes the structures of other systems than alloys.
        relaxed : bool
            Whether they are taken as relaxed.
        own_cells : bool
            Whether each generated structure keeps a cell of its own (Table S1).
        is_control : bool
            Whether the model is a control, which is counted as controls are.

        Raises
        ------
        DismaiError
            If nothing was generated.
        """
        jobstore = current_jobstore()
        sets = [GeneratedSet.model_validate(one) for one in generated if one is not None]
        if not sets:
            raise DismaiError(f"{model}: not one instance was trained and sampled")
        document = DatasetDoc.model_validate(dataset)
        source = StoredDataset(jobstore, document)
        source.card.controls |= {
            key: ControlsDoc.model_validate(one).model_dump(mode="json")
            for key, one in (controls or {}).items()
            if one is not None
        }
        moved = None if potential is None else PotentialRef.model_validate(potential)
        asked = Question(
            spec,
            protocol,
            document.sets["train"],
            source,
            plan_treatment(spec, source.card, moved, relaxed),
        )
        flow = build_flow(
            asked,
            jobstore,
            sets,
            f"dataset of {spec.name}",
            model,
            sizes=ControlSizes(self.n_control, self.n_control_relaxed),
            with_controls=self.with_controls,
            own_cells=own_cells,
            device=self.device,
            maker=self.benchmark_maker,
            role="control" if is_control else "generated",
        )
        return replaced_by([flow], {"score": flow.output}, f"gather score {model}")


@dismai_job(output_schema=StudyDoc)
def collect_study(
    spec: SystemSpec,
    protocol: str,
    dataset: DatasetDoc,
    n: int,
    seeds: list[int],
    variants: list[Variant],
    trained: list[list[TrainedModelDoc | None]],
    generated: list[list[GeneratedSet | None]],
    checks: list[list[SampleCheck | None]],
    scores: list[ScoreDoc | None],
) -> StudyDoc:
    """Put the rows of a study together; None stands where a job failed."""
    made = [Variant.model_validate(variant) for variant in variants]
    found_scores = _validated(ScoreDoc, scores)
    blind = blind_controls(made, found_scores)
    rows = [
        StudyRow.from_parts(
            variant,
            seeds,
            _validated(TrainedModelDoc, models),
            _validated(GeneratedSet, sets),
            _validated(SampleCheck, found),
            score,
            spec.kind,
            blind,
        )
        for variant, models, sets, found, score in zip(
            made, trained, generated, checks, found_scores, strict=True
        )
    ]
    document = DatasetDoc.model_validate(dataset)
    return StudyDoc(
        system=spec.name,
        system_kind=spec.kind,
        protocol=protocol,
        dataset_hash=document.sets["train"].content_hash,
        n=n,
        seeds=seeds,
        rows=rows,
    )


def _validated(kind: type[_Document], found: Sequence[Any]) -> list[_Document | None]:
    """Return documents; None stays where a job failed."""
    return [None if one is None else kind.model_validate(one) for one in found]
