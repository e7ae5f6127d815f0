"""The rows of the results store: flat, documented, one collection of each kind."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Row(BaseModel):
    """What all rows of single documents have."""

    model_config = ConfigDict(extra="ignore")

    uuid: str = Field(description="of the job that left the document")
    run_id: str | None = Field(None, description="the same for all jobs of one command")
    date: datetime | None = Field(None, description="when it was made, UTC")
    tags: list[str] = Field(default_factory=list, description="labels given by the user")
    dismaiflow: str | None = Field(None, description="version of the package that made it")
    versions: dict[str, str] = Field(
        default_factory=dict, description="versions of the packages that can change numbers"
    )


class ScoreRow(Row):
    """A row of the collection ``scores``."""

    system: str = Field(description="name of the system")
    model: str = Field(description="name of the model or of the files")
    protocol: str = Field(description="name, version and alignment, e.g. published-1-fixed")
    protocol_name: str = Field(description="published or corrected")
    n_generated: int = Field(description="structures given")
    n_scored: int = Field(description="structures scored")
    failures: dict[str, int] = Field(description="structures not scored, by reason")
    metrics: dict[str, float | None] = Field(description="the paper's metrics, by name")
    ci95: dict[str, tuple[float, float] | None] = Field(
        default_factory=dict, description="their 95 % intervals, where there is one file"
    )
    min: dict[str, float] = Field(
        default_factory=dict, description="their minima over several files"
    )
    max: dict[str, float] = Field(
        default_factory=dict, description="their maxima over several files"
    )
    distribution: dict[str, float | None] = Field(
        default_factory=dict, description="comparisons of whole distributions"
    )
    floor: dict[str, float | None] = Field(
        default_factory=dict, description="what the training set drawn again scores"
    )
    comparable: bool = Field(False, description="may stand in rank beside the published rows")
    why_not: str | None = Field(None, description="why it may not")
    reference: str = Field("", description="what was given as the reference")
    reference_hash: str = Field("", description="content hash of the reference set")
    generated_hashes: list[str] = Field(
        default_factory=list, description="content hashes of the generated sets"
    )


class DatasetRow(Row):
    """A row of the collection ``datasets``."""

    system: str = Field(description="name of the system")
    kind: str = Field("", description="alloy, amorphous or interface")
    composition: dict[str, int] = Field(default_factory=dict, description="atoms by element")
    counts: dict[str, int] = Field(description="structures in each set")
    content_hashes: dict[str, str] = Field(
        default_factory=dict, description="of each set; its beginning serves as store:HASH"
    )
    protocol: str | None = Field(None, description="of the sampling")
    seed: int | None = Field(None, description="of the whole dataset")
    agreement: str | None = Field(None, description="whether the runs agree")
    n_effective: float | None = Field(None, description="independent snapshots in all runs")
    potential: str | None = Field(None, description="with which its structures were relaxed")
    yield_percent: float | None = Field(
        None, description="structures of low energy among those that a search tried, %"
    )
    n_warnings: int = Field(0, description="warnings on the card")


class PotentialRow(Row):
    """A row of the collection ``potentials``."""

    name: str = Field(description="of the potential")
    calculator: str | None = Field(None, description="kind of calculator, e.g. matgl")
    hash: str | None = Field(None, description="SHA-256 of its weights or parameters")
    weights: str | None = Field(None, description="blob of the weights, if they are stored")
    systems: list[str] = Field(default_factory=list, description="what it was trained on")
    metrics: dict[str, float | None] = Field(
        default_factory=dict,
        description="its errors; of one that was trained here the mean absolute errors `energy` "
        "(eV/atom), `force` (eV/Å) and `stress` (GPa)",
    )
    errors_on: str | None = Field(None, description="set of the errors: test, or val without one")
    frames: dict[str, int] = Field(default_factory=dict, description="frames of each set")
    labels: list[str] = Field(default_factory=list, description="engine and functional of these")
    rehearsal: bool = Field(False, description="a stand-in for VASP made its frames up")
    data_hash: str | None = Field(None, description="SHA-256 of its frames and elements")
    start: str | None = Field(None, description="hash of the potential that was fine-tuned")
    epochs: int | None = Field(None, description="epochs of the training")
    seconds: float | None = Field(None, description="time of all epochs, s")
    device: str | None = Field(None, description="on which it was trained")
    n_warnings: int = Field(0, description="warnings on the card")


class FramesRow(Row):
    """A row of the collection ``frames``: a training set."""

    system: str = Field(description="name of the system")
    counts: dict[str, int] = Field(description="frames in each set")
    parents: dict[str, int] = Field(default_factory=dict, description="relaxations in each set")
    content_hashes: dict[str, str] = Field(default_factory=dict, description="of each set")
    labels: list[str] = Field(default_factory=list, description="engine and functional of these")
    rehearsal: bool = Field(False, description="a stand-in for VASP made some of them up")
    split: str | None = Field(None, description="what was divided: parent or frame")
    relaxations: dict[str, int] = Field(
        default_factory=dict, description="how the relaxations ended, by status"
    )
    restarts: int | None = Field(None, description="restarts of them by custodian")
    seed: int | None = Field(None, description="of the division")
    n_warnings: int = Field(0, description="warnings on the card")


class RelaxationRow(Row):
    """A row of the collection ``relaxations``: a run of VASP, or of another engine."""

    system: str | None = Field(None, description="name of the system")
    parent: str = Field(description="name of the structure")
    stage: str = Field("", description="which calculation, such as region or all")
    status: str = Field(description="converged, not_converged, walltime, exploded or failed")
    reason: str = Field("", description="why it ended so")
    n_steps: int = Field(0, description="ionic steps, through all restarts")
    n_restarts: int = Field(0, description="restarts by custodian")
    corrections: list[str] = Field(default_factory=list, description="custodian's handlers")
    energy: float | None = Field(None, description="of the last step, eV")
    max_force: float | None = Field(None, description="on an atom that may move, eV/Å")
    n_frames: int = Field(0, description="frames that were taken")
    folder: str = Field("", description="where it ran")
    label: str | None = Field(None, description="engine and functional")
    rehearsal: bool = Field(False, description="a stand-in for VASP made its numbers up")


class ModelRow(BaseModel):
    """A row of the collection ``models``: a model on a system."""

    model_config = ConfigDict(extra="ignore")

    system: str = Field(description="name of the system")
    model: str = Field(description="name of the model or of the files")
    n_scores: int = Field(0, description="scores of it")
    latest: datetime | None = Field(None, description="date of the last of them, UTC")
    latest_score: str | None = Field(None, description="uuid of the last of them")
    best: dict[str, dict[str, float]] = Field(
        default_factory=dict, description="lowest value by protocol and metric"
    )
    n_trained: int = Field(0, description="documents of trained models")
    checkpoints: list[str] = Field(default_factory=list, description="their hashes, newest last")
    documents: list[str] = Field(default_factory=list, description="their uuids, newest last")


class RunRow(BaseModel):
    """A row of the collection ``runs``: all documents of one command or submission."""

    model_config = ConfigDict(extra="ignore")

    run_id: str = Field(description="the same for all jobs of one command")
    first: datetime | None = Field(None, description="when its first document was stored, UTC")
    last: datetime | None = Field(None, description="when its last document was stored, UTC")
    systems: list[str] = Field(default_factory=list, description="systems of its jobs")
    models: list[str] = Field(default_factory=list, description="models of its jobs")
    protocols: list[str] = Field(default_factory=list, description="protocols of its jobs")
    tags: list[str] = Field(default_factory=list, description="labels given by the user")
    n_documents: int = Field(0, description="documents of its jobs")
    kinds: dict[str, int] = Field(
        default_factory=dict, description="documents by output.kind; those without are not in it"
    )
    dismaiflow: list[str] = Field(default_factory=list, description="versions of the package")


def flat(row: BaseModel) -> dict[str, Any]:
    """Return a row as columns of a table: nested keys become ``key.inner``, lists one text.

    Intervals become two columns, ``ci95.NAME.low`` and ``ci95.NAME.high``.
    """
    columns: dict[str, Any] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                add(f"{name}.{key}", inner)
        elif name.startswith("ci95."):
            columns[f"{name}.low"], columns[f"{name}.high"] = value or (None, None)
        elif isinstance(value, list):
            columns[name] = " ".join(map(str, value))
        else:
            columns[name] = value

    for key, value in row.model_dump(mode="json").items():
        add(key, value)
    return columns
