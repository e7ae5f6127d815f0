"""Documents of studies: models trained with several seeds, sampled and scored."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, Field

from dismaiflow.benchmark.findings import RelaxationSummary
from dismaiflow.benchmark.learning import BLIND_CONTROLS, ControlScores, learning_verdict
from dismaiflow.benchmark.protocol import Alignment
from dismaiflow.benchmark.schemas import Metric, ScoreDoc
from dismaiflow.models.registry import ModelChoice
from dismaiflow.models.schemas import TrainedModelDoc
from dismaiflow.store.generated import GeneratedSet
from dismaiflow.structures.dataset import package_versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: How a relaxation ends that was not finished.
_UNCONVERGED = "not_converged"


#: Verdict on a control.
CONTROL_TEXT = "a control, which learns nothing"


class Variant(BaseModel):
    """One of the models that a study compares.

    Parameters
    ----------
    label : str
        What to call it.
    choice : ModelChoice
        The model and its settings.
    snapshot : str, optional
        Weights of an earlier epoch, such as ``epoch-000100``; the last ones by default.
    name : str
        Under which its score is listed; by default the label, after the name of the model.
    alignment : str, optional
        How its structures of alloys are aligned; as the study's by default.
    """

    label: str
    choice: ModelChoice
    snapshot: str | None = None
    name: str = ""
    alignment: Alignment | None = None


class SampleCheck(BaseModel):
    """What can be said of generated structures before they are scored.

    Parameters
    ----------
    n_asked, n_readable : int
        Structures.
    reasons : dict of str to int
        Structures that cannot be scored, by reason.
    close_pairs : float or None
        Mean number of pairs of atoms at most ``close_distance`` apart (Fig. S12 of the SI).
    percent_with_close_pairs : float or None
        Structures that have any, per cent.
    random_close_pairs : float or None
        Mean number of such pairs of as many atoms anywhere in the training cell.
    close_distance : float
        Å.
    """

    n_asked: int
    n_readable: int
    reasons: dict[str, int] = Field(default_factory=dict)
    close_pairs: float | None = None
    percent_with_close_pairs: float | None = None
    random_close_pairs: float | None = None
    close_distance: float


class SeedRun(BaseModel):
    """One trained instance.

    Parameters
    ----------
    seed : int
        Its seed.
    step, epoch : int
        How long it was trained.
    seconds : float
        Time spent on that.
    n_launches : int
        Jobs that it took.
    device : str
        What it was trained on.
    losses : dict of str to float
        The last ones.
    check : SampleCheck, optional
        Of what it generated.
    generated : GeneratedSet, optional
        That, in the store.
    lost : str
        What is missing, if something is.
    """

    seed: int
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0
    n_launches: int = 0
    device: str = ""
    losses: dict[str, float] = Field(default_factory=dict)
    check: SampleCheck | None = None
    generated: GeneratedSet | None = None
    lost: str = ""

    @classmethod
    def from_parts(
        cls,
        seed: int,
        trained: TrainedModelDoc | None,
        generated: GeneratedSet | None,
        check: SampleCheck | None,
    ) -> SeedRun:
        """Put together what the jobs of one seed have left."""
        if trained is None:
            return cls(seed=seed, lost="the training failed")
        return cls(
            seed=seed,
            step=trained.step,
            epoch=trained.epoch,
            seconds=trained.seconds,
            n_launches=trained.n_launches,
            device=trained.device,
            losses=trained.losses,
            check=check,
            generated=generated,
            lost="" if generated is not None else "the sampling failed",
        )


class StudyRow(BaseModel):
    """One row: a model trained with several seeds.

    Parameters
    ----------
    label : str
        What it is called.
    model : str
        The model.
    settings : dict
        Its settings.
    snapshot : str, optional
        Weights of which epoch.
    runs : list of SeedRun
        The trained instances.
    metrics : dict of str to Metric
        Mean, minimum and maximum over them.
    n_generated, n_scored : int
        Structures of all of them.
    percent_unconverged : float or None
        Generated structures whose relaxation ran out of steps, per cent.
    interface_energy, percent_low : float or None
        Mean normalised interface energy, J/m^2, and the share at or below the cut (Figs. 7, S26).
    close_pairs : float or None
        Mean over the instances (Fig. S12).
    relaxation : RelaxationSummary or None
        How the generated structures relaxed (Tables S2 and S3).
    protocol : str
        By which it was scored; empty without a score.
    learning : dict
        `LearningVerdict` beside the controls of the score.
    comparable : bool
        Whether it stands in rank beside the published rows.
    why_not : str, optional
        Why it does not.
    seconds : float
        Time that all trainings took together.
    """

    label: str
    model: str
    settings: dict[str, Any]
    snapshot: str | None = None
    is_control: bool = False
    runs: list[SeedRun]
    metrics: dict[str, Metric] = Field(default_factory=dict)
    n_generated: int = 0
    n_scored: int = 0
    percent_unconverged: float | None = None
    interface_energy: float | None = None
    percent_low: float | None = None
    close_pairs: float | None = None
    relaxation: RelaxationSummary | None = None
    protocol: str = ""
    learning: dict[str, Any] = Field(default_factory=dict)
    comparable: bool = False
    why_not: str | None = None
    seconds: float = 0.0

    @classmethod
    def from_parts(
        cls,
        variant: Variant,
        seeds: Sequence[int],
        trained: Sequence[TrainedModelDoc | None],
        generated: Sequence[GeneratedSet | None],
        checks: Sequence[SampleCheck | None],
        score: ScoreDoc | None,
        kind: str,
        blind: Mapping[str, ControlScores] | None = None,
    ) -> StudyRow:
        """Put together what the jobs of one variant have left; None where one failed.

        Of the controls of the same study that have seen no positions, by protocol, those of its
        own join those beside its score.
        """
        runs = [
            SeedRun.from_parts(*parts)
            for parts in zip(seeds, trained, generated, checks, strict=True)
        ]
        cards = [one.card for one in trained if one is not None]
        found = [run.check.close_pairs for run in runs if run.check is not None]
        close = [value for value in found if value is not None]
        row = cls(
            label=variant.label,
            model=next((str(card["name"]) for card in cards), variant.choice.name),
            settings=variant.choice.settings,
            snapshot=variant.snapshot,
            is_control=any(card.get("is_control") for card in cards),
            runs=runs,
            close_pairs=float(np.mean(close)) if close else None,
            seconds=sum(run.seconds for run in runs),
        )
        if score is None:
            return row
        update = _of_score(score, kind, runs, (blind or {}).get(score.protocol.key, {}))
        if row.is_control:
            update["learning"] = {"shown": False, "text": CONTROL_TEXT}
        return row.model_copy(update=update)

    @property
    def is_on_gpu(self) -> bool:
        """Whether its instances were trained on something else than processors."""
        return any(run.device not in ("", "cpu") for run in self.runs)


class StudyDoc(BaseModel):
    """A study.

    Parameters
    ----------
    system, system_kind : str
        The system.
    protocol : str
        By which it was scored, but for rows with an alignment of their own.
    dataset_hash : str
        Content hash of the training set.
    n : int
        Structures generated by each trained instance.
    seeds : list of int
        Seeds of the trainings.
    rows : list of StudyRow
        The variants.
    """

    kind: str = "study"
    system: str
    system_kind: str
    protocol: str
    dataset_hash: str
    n: int
    seeds: list[int]
    rows: list[StudyRow]
    versions: dict[str, str] = Field(default_factory=package_versions)


def blind_controls(
    variants: Sequence[Variant], scores: Sequence[ScoreDoc | None]
) -> dict[str, ControlScores]:
    """Return the scores of those rows that have seen no positions, by protocol and name.

    Beside structures that are relaxed stands no other such control: it would cost as many steps as
    a model.
    """
    found: dict[str, ControlScores] = {}
    for variant, score in zip(variants, scores, strict=True):
        if score is not None and variant.choice.name in BLIND_CONTROLS:
            values = {name: metric.value for name, metric in score.metrics.items()}
            found.setdefault(score.protocol.key, {})[variant.choice.name] = values
    return found


def _of_score(
    score: ScoreDoc, kind: str, runs: Sequence[SeedRun], blind: ControlScores
) -> dict[str, Any]:
    """Return the fields of a row that its score tells."""
    pairs = [
        (run.check.close_pairs, run.check.random_close_pairs)
        for run in runs
        if run.check is not None
        and run.check.close_pairs is not None
        and run.check.random_close_pairs is not None
    ]
    found_pairs = (float(np.mean([one for one, _ in pairs])), pairs[0][1]) if pairs else None
    verdict = learning_verdict(score.metrics, score.controls | blind, kind, found_pairs)
    found: dict[str, Any] = {
        "protocol": score.protocol.key,
        "metrics": score.metrics,
        "n_generated": score.n_generated,
        "n_scored": score.n_scored,
        "learning": asdict(verdict),
        "comparable": score.published.comparable,
        "why_not": score.published.why_not,
    }
    relaxations = score.findings.relaxations
    if relaxations is not None and relaxations.generated is not None:
        summary = relaxations.generated
        unconverged = summary.by_status.get(_UNCONVERGED, 0)
        found["relaxation"] = summary
        found["percent_unconverged"] = 100.0 * unconverged / max(summary.n_structures, 1)
    energies = score.findings.interface_energies
    if energies is not None:
        found |= {"interface_energy": energies.mean, "percent_low": energies.percent_low}
    return found
