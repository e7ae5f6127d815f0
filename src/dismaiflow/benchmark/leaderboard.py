"""maggma builders of the leaderboard: published rows, controls and own scores by system.

The builders are two. `LeaderboardScoresBuilder` takes from every score document, once, what a row
needs; `LeaderboardBuilder` makes the rows of that, and of the published tables.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from dismaiflow.benchmark.findings import RelaxationSummary
from dismaiflow.benchmark.learning import (
    BLIND_CONTROLS,
    LATTICE_CONTROL,
    ControlScores,
    learning_verdict,
)
from dismaiflow.benchmark.published import MODELS, PAPER, published_systems, published_table
from dismaiflow.benchmark.schemas import Metric
from dismaiflow.models.random_structures import CONTROL_MODELS
from dismaiflow.store.builders import DocumentRowBuilder, RowBuilder, row_digests, sibling_store
from dismaiflow.store.reading import batches, read_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jobflow import JobStore
    from maggma.core import Store

    from dismaiflow.store.results import ResultsStore

#: The collection of rows, and that of what they need of each score.
LEADERBOARD, LEADERBOARD_SCORES = "leaderboard", "leaderboard_scores"

#: The protocol of the published rows. They have no alignment: each model's script has another.
PUBLISHED = "published"

#: Where a score says how its structures relaxed.
_RELAXATION = "output.findings.relaxations.generated"

#: Where it says how many atoms were too close before.
_CLOSE_PAIRS = "output.findings.close_pairs"

Kind = Literal["published", "control", "own"]

_CONTROLS = TypeAdapter(ControlScores)

#: What of a row of `LEADERBOARD_SCORES` a row of the leaderboard is made from.
_FIELDS = (
    "uuid",
    "made_from",
    "state",
    "system",
    "protocol",
    "protocol_name",
    "model",
    "reference_hash",
    "date",
    "metrics",
    "ci95",
    "min",
    "max",
    "comparable",
    "why_not",
    "n_generated",
    "n_scored",
    "generated_hashes",
    "controls",
    "potential",
    "potential_hash",
    "relaxation",
    "close_pairs",
)


class Learning(BaseModel):
    """Whether a model is shown to have learned."""

    shown: bool = Field(description="whether it beats every control that has seen no positions")
    text: str = Field(description="which controls it beats, and which not")


class LeaderboardRow(BaseModel):
    """A row of the collection ``leaderboard``: a model or a control on a system."""

    model_config = ConfigDict(extra="ignore")

    system: str = Field(description="name of the system")
    protocol: str = Field(
        description="name, version and alignment, e.g. published-1-fixed; of published rows the "
        "name alone"
    )
    protocol_name: str = Field(description="published or corrected")
    kind: Kind = Field(description="published, control, or own: a score of the user's")
    model: str = Field(description="name of the model, the control or the files")
    reference_hash: str = Field("", description="content hash of the reference set")
    potential: str | None = Field(None, description="potential that relaxed the structures")
    potential_hash: str | None = Field(None, description="its hash")
    metrics: dict[str, Metric] = Field(
        default_factory=dict,
        description="value, and min and max over trained models or the interval ci95; a published "
        "model without any could not generate the structures",
    )
    comparable: bool = Field(False, description="may stand in rank beside the published rows")
    why_not: str | None = Field(None, description="why it may not")
    n_generated: int | None = Field(None, description="structures given")
    n_scored: int | None = Field(None, description="structures scored")
    n_runs: int | None = Field(None, description="files of them, one for each trained model")
    date: str | None = Field(None, description="of the score, UTC")
    score: str | None = Field(None, description="uuid of the score, or of that beside which")
    source: str | None = Field(None, description="published table")
    relaxation: RelaxationSummary | None = Field(
        None, description="of own models: steps and energies of Tables S2 and S3"
    )
    learning: Learning | None = Field(None, description="of own models: `shown`, `text`")

    def values(self) -> dict[str, float | None]:
        """Return the value of each metric."""
        return {name: metric.value for name, metric in self.metrics.items()}


class LeaderboardScoresBuilder(DocumentRowBuilder):
    """Takes what the leaderboard needs from the documents of kind ``score``.

    Parameters
    ----------
    source, target
        See `RowBuilder`.
    """

    def __init__(self, source: Store, target: Store) -> None:
        super().__init__(source, target, ["score"])

    def fields(self, kind: str) -> tuple[str, ...]:
        """Return the paths that these rows are made from."""
        return (*super().fields(kind), "output.controls", _RELAXATION, _CLOSE_PAIRS)

    def make(self, kind: str, values: dict[str, Any]) -> dict[str, Any]:
        """Make the row of a score, with its potential and the scores of its controls."""
        controls = _CONTROLS.validate_python(values["output.controls"] or {})
        potential = (values["output.provenance"] or {}).get("potential") or {}
        return super().make(kind, values) | {
            "controls": controls,
            "potential": potential.get("name"),
            "potential_hash": potential.get("hash"),
            "relaxation": values[_RELAXATION],
            "close_pairs": values[_CLOSE_PAIRS],
        }


class LeaderboardBuilder(RowBuilder):
    """Makes the rows of the leaderboard.

    Of several scores of one model on one system by one protocol against one reference, relaxed
    with one potential, the newest stands: to take the best would reward trying often. Likewise of
    a control, of which a score of its own goes before what stands beside the scores of models.

    Parameters
    ----------
    source : Store
        The docs store.
    target : Store
        The collection `LEADERBOARD`.
    scores : Store
        The collection `LEADERBOARD_SCORES`, which is to be built first.
    """

    def __init__(self, source: Store, target: Store, scores: Store) -> None:
        self.scores = scores
        super().__init__(source, target)
        self.sources = [scores]
        self._rows: dict[str, dict[str, Any]] = {}

    def attach(self, source: Store, collection: Callable[[str], Store]) -> None:
        """Work on stores that are open."""
        super().attach(source, collection)
        self.scores = collection(LEADERBOARD_SCORES)

    def wanted(self) -> dict[str, Any]:
        """Return a digest of each row: they are few, and soon made."""
        rows = _named_rows(self._scores())
        self._rows = {name: row.model_dump(mode="json") for name, row in rows.items()}
        return row_digests(self._rows)

    def read(self, names: list[str], wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield these rows."""
        for name in names:
            yield {"_id": name, "made_from": wanted[name], "state": "successful"} | self._rows[name]

    def _scores(self) -> Iterator[dict[str, Any]]:
        for values in read_fields(self.scores, _FIELDS, "", None):
            score = dict(zip(_FIELDS, values, strict=True))
            if score["state"] == "successful":
                yield score


def leaderboard_builders(jobstore: JobStore) -> dict[str, RowBuilder]:
    """Return the builders by the names of their collections, in the order to run them.

    Parameters
    ----------
    jobstore : JobStore
        Connected or not.
    """
    source = jobstore.docs_store
    scores = sibling_store(source, LEADERBOARD_SCORES)
    return {
        LEADERBOARD_SCORES: LeaderboardScoresBuilder(source, scores),
        LEADERBOARD: LeaderboardBuilder(source, sibling_store(source, LEADERBOARD), scores),
    }


def leaderboard_rows(results: ResultsStore) -> list[LeaderboardRow]:
    """Return all rows of the leaderboard, after bringing it up to date.

    Parameters
    ----------
    results : ResultsStore
        The store. For whoever may only read it, the rows are made without being kept.
    """
    builders = leaderboard_builders(results.jobstore)
    found = results.rows_kept_by(builders)
    if results.stale & set(builders):
        return list(_named_rows(_unkept_scores(results.jobstore.docs_store)).values())
    return TypeAdapter(list[LeaderboardRow]).validate_python(found)


def _unkept_scores(source: Store) -> Iterator[dict[str, Any]]:
    """Yield the rows of `LEADERBOARD_SCORES` without keeping them."""
    builder = LeaderboardScoresBuilder(source, source)
    keys = builder.wanted()
    for names in batches(keys):
        for found in builder.read(names, keys):
            row = builder.process_item(found)
            if row["state"] == "successful":
                yield row


def _named_rows(scores: Iterable[dict[str, Any]]) -> dict[str, LeaderboardRow]:
    """Return the rows that these scores and the published tables make, by ``_id``."""
    # each overwrites those before it under its name: the oldest come first
    scores = sorted(scores, key=lambda score: (score["date"] or "", score["uuid"]))
    rows = [*published_rows(), *(row for score in scores for row in _control_rows(score))]
    blind = _blind_controls(scores)
    rows += [_score_row(score, blind.get(_against(score), {})) for score in scores]
    return {_name(row): row for row in rows}


def _name(row: LeaderboardRow) -> str:
    against = (row.reference_hash, row.potential_hash)
    return json.dumps([row.system, row.protocol, row.kind, row.model, *against])


def published_rows() -> Iterator[LeaderboardRow]:
    """Yield the rows of Tables 1 to 3, and empty ones of the models that these lack."""
    for system in published_systems():
        table = published_table(system)
        if table is None:
            continue
        known = {row.model: row.metrics for row in table.rows}
        for model in MODELS:
            metrics = {name: Metric(**numbers) for name, numbers in known.get(model, {}).items()}
            yield LeaderboardRow(
                system=system,
                protocol=PUBLISHED,
                protocol_name=PUBLISHED,
                kind="published",
                model=model,
                metrics=metrics,
                comparable=True,
                source=f"{PAPER}, {table.source}",
            )


def _against(score: dict[str, Any]) -> tuple[Any, ...]:
    same = ("system", "protocol", "reference_hash", "potential_hash")
    return tuple(score[key] for key in same)


def _blind_controls(
    scores: Iterable[dict[str, Any]],
) -> dict[tuple[Any, ...], ControlScores]:
    """Return what those have scored that have seen no positions, by what they are compared with.

    Beside structures that are relaxed stands no other such control.
    """
    found: dict[tuple[Any, ...], ControlScores] = {}
    for score in scores:
        if score["model"] in BLIND_CONTROLS:
            found.setdefault(_against(score), {})[score["model"]] = score["metrics"] or {}
    return found


def _score_row(score: dict[str, Any], blind: ControlScores) -> LeaderboardRow:
    """Make the row of a model, or of a control that was scored as models are."""
    is_control = score["model"] in CONTROL_MODELS
    metrics = {
        name: Metric(
            value=value,
            ci95=(score["ci95"] or {}).get(name),
            min=(score["min"] or {}).get(name),
            max=(score["max"] or {}).get(name),
        )
        for name, value in (score["metrics"] or {}).items()
    }
    return LeaderboardRow(
        **_common(score),
        kind="control" if is_control else "own",
        model=score["model"],
        metrics=metrics,
        comparable=score["comparable"],
        why_not=score["why_not"],
        n_generated=score["n_generated"],
        n_scored=score["n_scored"],
        n_runs=max(1, len(score["generated_hashes"] or [])),
        relaxation=score["relaxation"],
        learning=None if is_control else _learning(score, metrics, blind),
    )


def _control_rows(score: dict[str, Any]) -> Iterator[LeaderboardRow]:
    """Yield the controls beside a score."""
    shown = set(score["metrics"] or {})
    for name, values in (score["controls"] or {}).items():
        yield LeaderboardRow(
            **_common(score),
            kind="control",
            model=name,
            # the comparisons of distributions, which controls have too, are no metrics
            metrics={key: Metric(value=value) for key, value in values.items() if key in shown},
            comparable=score["comparable"],
            why_not=score["why_not"],
        )


def _common(score: dict[str, Any]) -> dict[str, Any]:
    same = ("system", "protocol", "protocol_name", "date", "potential", "potential_hash")
    return {key: score[key] for key in same} | {
        "reference_hash": score["reference_hash"] or "",
        "score": score["uuid"],
    }


def _learning(
    score: dict[str, Any],
    metrics: dict[str, Metric],
    blind: ControlScores,
) -> Learning:
    controls = (score["controls"] or {}) | blind
    # the documents of scores do not say the kind of their system
    kind = "alloy" if "d_cluster" in metrics or LATTICE_CONTROL in controls else ""
    pairs = score["close_pairs"] or {}
    known = pairs.get("random") is not None
    verdict = learning_verdict(
        metrics,
        controls,
        kind,
        (pairs["mean"], pairs["random"]) if known else None,
        as_generated=not kind and not score["potential"],
    )
    return Learning(shown=verdict.shown, text=verdict.text)
