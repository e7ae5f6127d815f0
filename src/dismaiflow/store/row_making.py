"""Making rows from the plain dictionaries of job documents.

This room needs to know no other room's classes for it, and documents of older and newer versions
are read as far as they go.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from dismaiflow.store.rows import (
    DatasetRow,
    FramesRow,
    PotentialRow,
    RelaxationRow,
    Row,
    ScoreRow,
)

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
    made["folder"] = made.pop("dir_name", "")
    made["system"] = (values["metadata"] or {}).get("system")
    return made | {"rehearsal": origin["rehearsal"]}


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
