"""Whole documents of the store: found by run or uuid, shown, written."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from bson import ObjectId

from dismaiflow.cli.results_kinds import OF_RUNS, SCHEMAS, Documents, schema_of, tables_of
from dismaiflow.errors import DismaiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
    from dismaiflow.cli.stores import OpenStore
    from dismaiflow.store.datasets import DatasetDoc
    from dismaiflow.store.results import ResultsStore

#: Digits of a uuid or a run id that are enough to look for one.
_FEWEST = 4

#: Kinds of documents that can be shown.
_SHOWN = ("score", "dataset", "controls", *OF_RUNS)

#: Collections in which single documents are found by their uuid, with the kind of these.
_BY_UUID = (
    ("score", "scores"),
    ("dataset", "datasets"),
    ("frames", "frames"),
    ("trained_potential", "potentials"),
    ("dft_run", "relaxations"),
)


class NoSuchNameError(DismaiError):
    """The store holds nothing of this name."""


@dataclass
class Found:
    """Documents of a run, or one document.

    Parameters
    ----------
    title : str
        What they are, in a line.
    scores, datasets, controls : list
        The documents.
    others : dict of str to list
        Those of `SCHEMAS`, by kind.
    uuids : dict
        Their uuids, by kind and in the same order.
    run_id : str
        The run, if they are all of one.
    """

    title: str
    scores: list[ScoreDoc] = field(default_factory=list)
    datasets: list[DatasetDoc] = field(default_factory=list)
    controls: list[ControlsDoc] = field(default_factory=list)
    others: Documents = field(default_factory=dict)
    uuids: dict[str, list[str]] = field(default_factory=dict)
    run_id: str = ""

    def as_json(self) -> list[dict[str, Any]]:
        """Return the documents with their uuids, for JSON."""
        documents: dict[str, list[Any]] = {
            "score": self.scores,
            "dataset": self.datasets,
            "controls": self.controls,
            **self.others,
        }
        return [
            {"uuid": uuid, "kind": kind, "document": document.model_dump(mode="json")}
            for kind, of_kind in documents.items()
            for uuid, document in zip(self.uuids.get(kind, []), of_kind, strict=True)
        ]

    def tables(self) -> Iterator[RenderableType]:
        """Yield the tables to print."""
        from dismaiflow.report.tables import controls_table, dataset_table, score_table

        if self.datasets:
            yield dataset_table([one.card for one in self.datasets])
        if self.controls:
            by_system: dict[str, dict[str, ControlsDoc]] = {}
            for one in self.controls:
                by_system.setdefault(one.system, {})[one.protocol.key] = one
            yield controls_table(by_system)
        for score in self.scores:
            yield score_table(score)
        yield from tables_of(self.others)


def find_run(results: ResultsStore, name: str) -> str:
    """Return the id of a run from its beginning.

    Raises
    ------
    DismaiError
        If no run or several begin like this.
    """
    runs = _beginning(results, "runs", "run_id", name)
    if not runs:
        raise DismaiError(f"run {name}: the store has no such run (`dismai results list runs`)")
    return _only(name, [row["run_id"] for row in runs])


def find_documents(results: ResultsStore, name: str | None) -> Found:
    """Find what can be shown of a run or by a uuid.

    Parameters
    ----------
    results : ResultsStore
        Where to look.
    name : str or None
        The beginning of a run's id or of a uuid; None or ``last`` for the newest run that has
        results.

    Raises
    ------
    DismaiError
        If there is none, or several begin like this.
    """
    if name in (None, "last"):
        newest = (row.run_id for row in results.runs() if not row.kinds.keys().isdisjoint(_SHOWN))
        run_id = next(newest, None)
        if run_id is None:
            raise DismaiError("the store holds no results that can be shown yet")
        return _of_run(results, run_id)
    runs = [row["run_id"] for row in _beginning(results, "runs", "run_id", name)]
    if name in runs or runs:
        return _of_run(results, name if name in runs else _only(name, runs))
    for kind, collection in _BY_UUID:
        rows = _beginning(results, collection, "uuid", name)
        if rows:
            uuid = _only(name, [row["uuid"] for row in rows])
            return _read(results, f"{kind} {uuid}", {kind: [uuid]})
    raise NoSuchNameError(
        f"{name}: the store has no run, score or dataset of this name "
        "(`dismai results list runs` lists the runs)"
    )


@contextmanager
def not_yet_explained(store: OpenStore, name: str | None) -> Iterator[None]:
    """Say so if the LaunchPad knows a run that the block did not find in the store.

    Parameters
    ----------
    store : OpenStore
        The store; asked is the LaunchPad that is configured beside it.
    name : str or None
        The beginning of the run's id.

    Raises
    ------
    DismaiError
        That the run has left nothing yet.
    """
    try:
        yield
    except NoSuchNameError:
        run_id = _waiting_run(store, name)
        if run_id is None:
            raise
        raise DismaiError(
            f"run {run_id} is on the LaunchPad and has left no documents yet: `dismai launchpad "
            f"status {run_id}` tells how far it is"
        ) from None


def _waiting_run(store: OpenStore, name: str | None) -> str | None:
    """Return the run of the LaunchPad that begins like this, if there is one and one only."""
    from dismaiflow.launch import runs
    from dismaiflow.launch.config import LaunchConfig

    if name is None or store.folder is None or not (store.folder / "my_launchpad.yaml").is_file():
        return None
    try:
        return runs.find_run(LaunchConfig(store.folder).launchpad(), name)
    except DismaiError:
        return None  # then what the store said is all that can be said


def _beginning(
    results: ResultsStore, collection: str, field_: str, name: str
) -> list[dict[str, Any]]:
    """Return the rows whose name begins like this."""
    import re

    if len(name) < _FEWEST:
        raise DismaiError(f"{name}: give at least {_FEWEST} digits of a run or a uuid")
    return results.query(collection, {field_: {"$regex": f"^{re.escape(name)}"}}, [field_])


def _only(name: str, found: list[str]) -> str:
    if name in found:
        return name
    if len(found) > 1:
        raise DismaiError(f"{name}: {len(found)} names begin like this; give more digits")
    return found[0]


def _of_run(results: ResultsStore, run_id: str) -> Found:
    """Collect what can be shown of a run."""
    row = results.runs(run_id=run_id)[0]
    uuids = {
        "dataset": [one.uuid for one in reversed(results.datasets(run_id=run_id))],
        "score": [one.uuid for one in reversed(results.scores(run_id=run_id))],
        "controls": [],
    }
    for kind in ("controls", *OF_RUNS):
        if kind in row.kinds:
            criteria = {"metadata.run_id": run_id, "output.kind": kind}
            documents = results.jobstore.query(criteria, properties=["uuid"])
            uuids[kind] = list(dict.fromkeys(document["uuid"] for document in documents))
    when = f"{row.last:%Y-%m-%d %H:%M} UTC" if row.last else "no date"
    told = [f"{n} {kind}" for kind, n in row.kinds.items()]
    words = [f"run {run_id}", when, *row.systems, *(f"tag {tag}" for tag in row.tags)]
    found = _read(results, ", ".join([*words, f"{row.n_documents} jobs", *told]), uuids)
    return replace(found, run_id=run_id)


def _read(results: ResultsStore, title: str, uuids: dict[str, list[str]]) -> Found:
    """Read whole documents.

    Raises
    ------
    DismaiError
        If this version cannot read one.
    """
    from pydantic import ValidationError

    from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
    from dismaiflow.errors import first_problem
    from dismaiflow.store.datasets import DatasetDoc

    found = Found(title, uuids=uuids)
    kinds: tuple[tuple[str, Any, list[Any]], ...] = (
        ("score", ScoreDoc, found.scores),
        ("dataset", DatasetDoc, found.datasets),
        ("controls", ControlsDoc, found.controls),
    )
    others = [kind for kind in SCHEMAS if uuids.get(kind)]
    found.others = {kind: [] for kind in others}
    kinds += tuple((kind, schema_of(kind), found.others[kind]) for kind in others)
    for kind, model, into in kinds:
        for uuid in uuids.get(kind, []):
            try:
                into.append(model.model_validate(results.document(uuid, kind)))
            except ValidationError as error:
                raise DismaiError(
                    f"{kind} {uuid}: this version cannot read it ({first_problem(error)})"
                ) from error
    return found


def plain(value: Any) -> Any:
    """Return a document of a store as JSON can hold it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, ObjectId | bytes):
        return str(value)
    return value
