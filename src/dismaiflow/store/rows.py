"""The rows of the results store: flat, documented, one collection of each kind.

Rows are made from the plain dictionaries of job documents, so that this room needs to know no
other room's classes, and documents of older and newer versions are read as far as they go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId
from pydantic import BaseModel, ConfigDict, Field

#: Fields of a document that every row is made from.
COMMON_FIELDS = ("_id", "uuid", "index", "completed_at", "name", "metadata")

#: What each kind of row is made from, besides: paths in the document.
FIELDS: dict[str, tuple[str, ...]] = {
    "score": (
        "output.system",
        "output.protocol",
        "output.n_generated",
        "output.n_scored",
        "output.failures",
        "output.metrics",
        "output.distribution",
        "output.floor",
        "output.published.comparable",
        "output.published.why_not",
        "output.provenance",
    ),
    "dataset": (
        "output.system",
        "output.card.kind",
        "output.card.composition",
        "output.card.counts",
        "output.card.content_hashes",
        "output.card.protocol",
        "output.card.seeds",
        "output.card.statistics.sampling.agreement",
        "output.card.statistics.sampling.n_effective",
        "output.card.statistics.search.yield_percent",
        "output.card.warnings",
        "output.card.created",
        "output.card.versions",
    ),
    "model": (
        "output.name",
        "output.system",
        "output.checkpoint",
        "output.hash",
        "output.created",
        "output.versions",
    ),
    "potential": (
        "output.name",
        "output.calculator",
        "output.hash",
        "output.weights",
        "output.systems",
        "output.metrics",
        "output.created",
        "output.versions",
    ),
    "trained_potential": (
        "output.system",
        "output.potential.name",
        "output.potential.card.engine",
        "output.potential.card.hash",
        "output.card.errors",
        "output.card.frames",
        "output.card.labels",
        "output.card.data_hash",
        "output.card.start",
        "output.card.epochs",
        "output.card.seconds",
        "output.card.device",
        "output.card.warnings",
        "output.card.created",
        "output.card.versions",
    ),
    "frames": (
        "output.system",
        "output.card.counts",
        "output.card.parents",
        "output.card.content_hashes",
        "output.card.labels",
        "output.card.split",
        "output.card.runs",
        "output.card.seeds",
        "output.card.statistics.restarts",
        "output.card.warnings",
        "output.card.created",
        "output.card.versions",
    ),
    "dft_run": (
        "output.parent",
        "output.stage",
        "output.status",
        "output.reason",
        "output.n_steps",
        "output.n_restarts",
        "output.corrections",
        "output.energy",
        "output.max_force",
        "output.n_frames",
        "output.dir_name",
        "output.label",
        "output.versions",
    ),
}

#: Sets on which the errors of a potential are told, the first that it has.
_ERRORS_ON = ("test", "val", "train")


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


def make_row(kind: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Make the row of a document.

    Parameters
    ----------
    kind : str
        Its ``output.kind``, one of `FIELDS`.
    values : mapping
        What lies at the paths of `COMMON_FIELDS` and `FIELDS`, None where there is nothing.

    Returns
    -------
    dict
        The row as it is stored, dates as texts.

    Raises
    ------
    pydantic.ValidationError, TypeError, AttributeError, KeyError, ValueError
        If the document is not what its kind says.
    """
    metadata = values["metadata"] or {}
    common = {
        "uuid": values["uuid"],
        "run_id": metadata.get("run_id"),
        "tags": list(metadata.get("tags") or []),
        "dismaiflow": metadata.get("dismaiflow"),
    }
    made = _MAKERS[kind](values)
    versions = made.pop("versions", None) or {}
    common |= {
        "date": utc_text(made.pop("created", None)) or stored_text(values["_id"]),
        "versions": versions,
        "dismaiflow": common["dismaiflow"] or versions.get("dismaiflow"),
    }
    if "system" in _MODELS[kind].model_fields:
        made.setdefault("system", metadata.get("system"))
    row = _MODELS[kind].model_validate(common | made)
    return row.model_dump(mode="json", exclude={"date"}) | {"date": common["date"]}


def _score(values: Mapping[str, Any]) -> dict[str, Any]:
    protocol, said = values["output.protocol"], values["output.provenance"] or {}
    alignment = protocol.get("alignment")
    words = (protocol["name"], protocol.get("version"), alignment if alignment != "none" else None)
    metrics = {name: metric or {} for name, metric in values["output.metrics"].items()}
    of_all: dict[str, Any] = {
        key: {name: metric.get(key) for name, metric in metrics.items()}
        for key in ("value", "ci95", "min", "max")
    }
    return {
        "system": values["output.system"],
        "model": said.get("model") or "unnamed",
        "protocol": "-".join(str(word) for word in words if word is not None),
        "protocol_name": protocol["name"],
        "n_generated": values["output.n_generated"],
        "n_scored": values["output.n_scored"],
        "failures": values["output.failures"] or {},
        "metrics": of_all["value"],
        "ci95": of_all["ci95"],
        "min": _given(of_all["min"]),
        "max": _given(of_all["max"]),
        "distribution": values["output.distribution"] or {},
        "floor": values["output.floor"] or {},
        "comparable": bool(values["output.published.comparable"]),
        "why_not": values["output.published.why_not"],
        "reference": said.get("reference") or "",
        "reference_hash": said.get("reference_hash") or "",
        "generated_hashes": said.get("generated_hashes") or [],
        "versions": said.get("versions"),
        "created": said.get("created"),
    }


def _dataset(values: Mapping[str, Any]) -> dict[str, Any]:
    seeds = values["output.card.seeds"] or {}
    protocol = values["output.card.protocol"] or {}
    potential = (protocol.get("relaxation") or {}).get("potential") or {}
    sampling = "output.card.statistics.sampling"
    return {
        "system": values["output.system"],
        "kind": values["output.card.kind"] or "",
        "composition": values["output.card.composition"] or {},
        "counts": values["output.card.counts"],
        "content_hashes": values["output.card.content_hashes"] or {},
        "protocol": protocol.get("name"),
        "seed": seeds.get("seed"),
        "agreement": values[f"{sampling}.agreement"],
        "n_effective": values[f"{sampling}.n_effective"],
        "potential": potential.get("name"),
        "yield_percent": values["output.card.statistics.search.yield_percent"],
        "n_warnings": len(values["output.card.warnings"] or []),
        "versions": values["output.card.versions"],
        "created": values["output.card.created"],
    }


def _trained(values: Mapping[str, Any]) -> dict[str, Any]:
    errors = values["output.card.errors"]
    measured = next(name for name in _ERRORS_ON if name in errors)
    return {
        "name": values["output.potential.name"],
        "calculator": values["output.potential.card.engine"],
        "hash": values["output.potential.card.hash"],
        "systems": [values["output.system"]],
        "metrics": errors[measured],
        "errors_on": measured,
        "frames": values["output.card.frames"] or {},
        **_origin(values["output.card.labels"]),
        "n_warnings": len(values["output.card.warnings"] or []),
        "created": values["output.card.created"],
        **_given(
            {
                name: values[f"output.card.{name}"]
                for name in ("data_hash", "start", "epochs", "seconds", "device", "versions")
            }
        ),
    }


def _frames(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "system": values["output.system"],
        "counts": values["output.card.counts"],
        "parents": values["output.card.parents"] or {},
        "content_hashes": values["output.card.content_hashes"] or {},
        **_origin(values["output.card.labels"]),
        "split": (values["output.card.split"] or {}).get("by"),
        "relaxations": values["output.card.runs"] or {},
        "restarts": values["output.card.statistics.restarts"],
        "seed": (values["output.card.seeds"] or {}).get("seed"),
        "n_warnings": len(values["output.card.warnings"] or []),
        "versions": values["output.card.versions"],
        "created": values["output.card.created"],
    }


def _relaxation(values: Mapping[str, Any]) -> dict[str, Any]:
    made = _plain(values)
    origin = _origin([made["label"]] if "label" in made else [])
    made["label"] = origin["labels"][0] if origin["labels"] else None
    return made | {"folder": made.pop("dir_name", ""), "rehearsal": origin["rehearsal"]}


def _origin(labels: list[dict[str, Any]] | None) -> dict[str, Any]:
    """Say where the numbers of frames come from."""
    said = [f"{label['engine']} {label['functional']}" for label in labels or []]
    return {
        "labels": list(dict.fromkeys(said)),
        "rehearsal": any(label.get("rehearsal") for label in labels or []),
    }


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Make what a row takes over from a document as it is."""
    prefix = "output."
    given = {key.removeprefix(prefix): v for key, v in values.items() if key.startswith(prefix)}
    return _given(given)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class _TrainedModel(Row):
    """What the builder of models takes from a document of kind ``model``."""

    name: str
    system: str
    checkpoint: str | None = None
    hash: str | None = None


_MAKERS = {
    "score": _score,
    "dataset": _dataset,
    "model": _plain,
    "potential": _plain,
    "trained_potential": _trained,
    "frames": _frames,
    "dft_run": _relaxation,
}
_MODELS: dict[str, type[Row]] = {
    "score": ScoreRow,
    "dataset": DatasetRow,
    "model": _TrainedModel,
    "potential": PotentialRow,
    "trained_potential": PotentialRow,
    "frames": FramesRow,
    "dft_run": RelaxationRow,
}


def utc_text(moment: Any) -> str | None:
    """Return a moment as rows hold it: ISO 8601, UTC, to the second, such as 2026-01-31T09:00:00Z.

    Texts of this form sort by time. None for what is no moment, or one without a time zone.
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stored_text(place: Any) -> str | None:
    """Return when a document was first stored, read from its ``_id``; None if it does not tell."""
    return utc_text(place.generation_time) if isinstance(place, ObjectId) else None
