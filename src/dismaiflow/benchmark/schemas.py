"""Documents of the benchmark."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.benchmark.findings import Findings, Histogram
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.published import PublishedComparison
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.structures.dataset import package_versions

#: Failed structures listed one by one; all are counted.
MAX_LISTED_FAILURES = 1000


class Failure(BaseModel):
    """A structure that was not scored."""

    file: int = Field(description="which of the generated files, from 0")
    index: int = Field(description="place in that file, from 0")
    reason: str
    detail: str = ""


class CountedChunk(BaseModel):
    """Cluster counts of a chunk, in the store."""

    counts: str = Field(description="blob of an AlloyCounts")
    n_counted: int
    n_failed: int
    lost: list[str] = Field(
        default_factory=list, description="why chunks of generated structures cannot be read"
    )


class AnalysedSet(BaseModel):
    """Features of the structures of a set, in the store.

    Parameters
    ----------
    input_hash : str
        Content hash of the set.
    analysis_hash : str
        Of all that decides the features beside the structures; the key for finding them again.
    n_structures : int
        Structures of the set.
    parts : list of CountedChunk or None
        Blobs of `StructureFeatures`; None where a job failed.
    """

    kind: str = "features"
    system: str
    input_hash: str
    analysis_hash: str
    n_structures: int
    parts: list[CountedChunk | None]

    @property
    def complete(self) -> bool:
        """Whether nothing was lost; others are not kept for later scores."""
        return all(part is not None and not part.lost for part in self.parts)


class Metric(BaseModel):
    """One number of a score; null with a reason if it cannot be had."""

    value: float | None
    ci95: tuple[float, float] | None = None
    min: float | None = None
    max: float | None = None
    reason: str | None = None


class Provenance(BaseModel):
    """Where a score comes from."""

    model: str = Field(description="name of the model or of the files")
    reference: str = Field(description="what was given as the reference")
    reference_hash: str
    generated_files: list[str]
    generated_hashes: list[str]
    bootstrap_seed: int
    potential: PotentialCard | None = Field(None, description="what relaxed the structures")
    relaxed_reference_hash: str | None = Field(
        None, description="of the reference after it was relaxed again"
    )
    versions: dict[str, str] = Field(default_factory=package_versions)
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


class ScoreDoc(BaseModel):
    """The score of a model on a system: what ``score.json`` holds."""

    kind: str = "score"
    system: str
    protocol: ScoringProtocol
    n_generated: int
    n_scored: int
    failures: dict[str, int] = Field(description="structures not scored, by reason")
    failed: list[Failure] = Field(description=f"at most {MAX_LISTED_FAILURES} of them")
    metrics: dict[str, Metric]
    distribution: dict[str, float | None] = Field(
        description="comparisons of whole distributions, beyond the paper"
    )
    distribution_reasons: dict[str, str] = Field(
        default_factory=dict, description="why a comparison is null"
    )
    controls: dict[str, dict[str, float | None]] = Field(default_factory=dict)
    floor: dict[str, float | None] = Field(
        default_factory=dict, description="what the training set drawn again scores"
    )
    floor_n: int | None = Field(None, description="structures that were drawn for the floor")
    published: PublishedComparison
    per_run: list[dict[str, Any]] = Field(default_factory=list)
    similarity: dict[str, Metric] = Field(
        default_factory=dict, description="cosine similarity of the mean fingerprints"
    )
    histograms: dict[str, Histogram] = Field(default_factory=dict)
    findings: Findings = Field(
        default_factory=Findings,
        description="curves, motifs, bonds, energies and relaxations, of all files together",
    )
    marks: list[str] = Field(
        default_factory=list, description="what a reader must know before comparing this score"
    )
    examples: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="one generated and one reference structure"
    )
    provenance: Provenance


class ControlsDoc(BaseModel):
    """Scores of the controls against one reference by one protocol."""

    kind: str = "controls"
    system: str
    protocol: ScoringProtocol
    reference_hash: str
    n_sampled: int = Field(description="structures drawn of each control")
    seed: int
    expansion_hash: str = Field("", description="of the cluster expansion behind the energies")
    analysis_hash: str = Field("", description="of what decides the features of free atoms")
    potential_hash: str = Field("", description="of the potential and settings that relaxed them")
    potential: PotentialCard | None = Field(None, description="what relaxed them")
    n_relaxed: int = Field(0, description="structures drawn of each control that was relaxed")
    relaxed_reference_hash: str | None = Field(
        None, description="content hash of the reference after it was relaxed again"
    )
    validation_hash: str | None = Field(None, description="content hash of the validation set")
    sizes: dict[str, int] = Field(default_factory=dict, description="structures of each control")
    scores: dict[str, dict[str, float | None]]
    failures: dict[str, dict[str, int]]
    missing: list[str] = Field(
        default_factory=list, description="controls that could not be sampled"
    )
    versions: dict[str, str] = Field(default_factory=package_versions)

    @property
    def complete(self) -> bool:
        """Whether every control was sampled and scored; others are not kept for later scores."""
        accidents = {"job_failed", "errored"}
        lost = any(accidents & set(reasons) for reasons in self.failures.values())
        return bool(self.scores) and not self.missing and not lost
