"""Questions to a store: scores, datasets, models, potentials and runs as rows."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from maggma.core import Sort, Store
from pydantic import BaseModel, TypeAdapter
from pymongo.errors import OperationFailure

from dismaiflow.errors import DismaiError
from dismaiflow.progress import report
from dismaiflow.store.builders import (
    COLLECTIONS,
    DOCUMENTS,
    RowBuilder,
    results_builders,
    sibling_store,
)
from dismaiflow.store.embedded import EmbeddedStore
from dismaiflow.store.filters import Moment, between, given, is_of_protocol, of_protocol
from dismaiflow.store.reading import (
    UNAUTHORIZED,
    batches,
    ensure_document_indexes,
    is_read_only,
    is_server,
)
from dismaiflow.store.rows import (
    DatasetRow,
    FramesRow,
    ModelRow,
    PotentialRow,
    RelaxationRow,
    RunRow,
    ScoreRow,
)
from dismaiflow.store.structures import find_structures, get_structures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from jobflow import JobStore

    from dismaiflow.structures.structure_set import StructureSet

#: Which collections are to be built before one is read.
_NEEDS = {"models": ("scores", "models")}

#: Fields by which rows are looked for.
_INDEXES = {
    "scores": ("system", "model", "run_id", "date"),
    "datasets": ("system", "run_id"),
    "models": ("system", "model"),
    "potentials": ("name",),
    "frames": ("system", "run_id"),
    "relaxations": ("system", "run_id", "status"),
    "runs": ("run_id", "last"),
}

#: By what rows are sorted, newest first.
_NEWEST = {"models": "latest", "runs": "last"}

#: What builders note in rows for themselves.
_BOOKKEEPING = ("_id", "made_from", "row_version", "built_by", "state")

#: From so many new rows on a build shows its progress.
_SHOWN = 500

RowType = TypeVar("RowType", bound=BaseModel)


class StaleResultsWarning(UserWarning):
    """The rows lack what is new, because whoever asks may not write them."""


class ResultsStore:
    """Answers questions about everything in a JobStore.

    The answers come from collections beside the documents, which this class keeps up to date:
    before it answers, it adds what is new and removes what has gone. Where nothing has changed
    that costs a comparison of keys.

    Parameters
    ----------
    jobstore : JobStore
        Connected. It stays the caller's to close.
    build : bool
        Whether to bring the collections up to date before each answer.

    Attributes
    ----------
    stale : set of str
        Collections that lack something because the user may not write them. Whoever is only
        allowed to read gets the rows that are there and, if these are not all, a
        `StaleResultsWarning`.

    Notes
    -----
    The collections are called ``scores``, ``datasets``, ``models``, ``potentials``, ``frames``,
    ``relaxations`` and ``runs``, in the database (or the file) of the documents. If the documents
    are not in ``outputs`` but, say, in ``mine``, they are called ``mine_scores`` and so on, so
    that two JobStores can share a database.
    """

    def __init__(self, jobstore: JobStore, build: bool = True) -> None:
        self.jobstore = jobstore
        self.stale: set[str] = set()
        self._build = build
        self._targets: dict[str, Store] = {}
        self._indexed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close what this object has opened; not the JobStore."""
        for store in self._targets.values():
            if isinstance(store, EmbeddedStore):
                store.close()
        self._targets = {}

    def scores(
        self,
        *,
        system: str | None = None,
        model: str | None = None,
        protocol: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tag: str | None = None,
        run_id: str | None = None,
        limit: int = 0,
    ) -> list[ScoreRow]:
        """Return scores, newest first.

        Parameters
        ----------
        system, model : str, optional
            Their names.
        protocol : str, optional
            ``published``, ``corrected``, or one whole key such as ``published-1-fixed``.
        since, until : str, date or datetime, optional
            ISO 8601; without a time zone it is UTC. A day without a time means all of that day.
        tag : str, optional
            One of their tags.
        run_id : str, optional
            The run that they belong to.
        limit : int
            At most so many; 0 for all.

        Raises
        ------
        DismaiError
            If a date is none.
        """
        criteria = given(system=system, model=model, tags=tag, run_id=run_id)
        criteria |= between("date", since, until) | of_protocol("protocol", protocol)
        return self._rows("scores", ScoreRow, criteria, limit)

    def datasets(
        self,
        *,
        system: str | None = None,
        protocol: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tag: str | None = None,
        run_id: str | None = None,
        limit: int = 0,
    ) -> list[DatasetRow]:
        """Return datasets, newest first; see `scores` for the parameters."""
        criteria = given(system=system, protocol=protocol, tags=tag, run_id=run_id)
        return self._rows("datasets", DatasetRow, criteria | between("date", since, until), limit)

    def models(
        self,
        *,
        system: str | None = None,
        model: str | None = None,
        protocol: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        limit: int = 0,
    ) -> list[ModelRow]:
        """Return models, those scored last first; see `scores` for the parameters."""
        criteria = given(system=system, model=model) | between("latest", since, until)
        rows = self._rows("models", ModelRow, criteria, 0 if protocol else limit)
        if protocol:
            rows = [row for row in rows if any(is_of_protocol(key, protocol) for key in row.best)]
        return rows[:limit] if limit else rows

    def potentials(
        self,
        *,
        name: str | None = None,
        system: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tag: str | None = None,
        run_id: str | None = None,
        limit: int = 0,
    ) -> list[PotentialRow]:
        """Return potentials, newest first; see `scores` for the parameters."""
        criteria = given(name=name, systems=system, tags=tag, run_id=run_id)
        criteria |= between("date", since, until)
        return self._rows("potentials", PotentialRow, criteria, limit)

    def frames(
        self,
        *,
        system: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tag: str | None = None,
        run_id: str | None = None,
        limit: int = 0,
    ) -> list[FramesRow]:
        """Return training sets, newest first; see `scores` for the parameters."""
        criteria = given(system=system, tags=tag, run_id=run_id) | between("date", since, until)
        return self._rows("frames", FramesRow, criteria, limit)

    def relaxations(
        self,
        *,
        system: str | None = None,
        status: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tag: str | None = None,
        run_id: str | None = None,
        limit: int = 0,
    ) -> list[RelaxationRow]:
        """Return runs of VASP or another engine, newest first; see `scores` for the parameters.

        ``status`` is how they ended: converged, not_converged, walltime, exploded or failed.
        """
        criteria = given(system=system, status=status, tags=tag, run_id=run_id)
        criteria |= between("date", since, until)
        return self._rows("relaxations", RelaxationRow, criteria, limit)

    def runs(
        self,
        *,
        system: str | None = None,
        model: str | None = None,
        protocol: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
        tag: str | None = None,
        run_id: str | None = None,
        limit: int = 0,
    ) -> list[RunRow]:
        """Return runs, newest first; see `scores` for the parameters."""
        criteria = given(systems=system, models=model, tags=tag, run_id=run_id)
        criteria |= between("last", since, until) | of_protocol("protocols", protocol)
        return self._rows("runs", RunRow, criteria, limit)

    def query(
        self,
        collection: str,
        filter: Mapping[str, Any] | None = None,
        properties: list[str] | dict[str, int] | None = None,
        sort: dict[str, Sort | int] | None = None,
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        """Return what matches a MongoDB filter, as plain dictionaries.

        Parameters
        ----------
        collection : str
            One of `COLLECTIONS`, or ``outputs`` for the documents of jobs.
        filter : mapping, optional
            The filter. Dates of rows are texts like ``2026-01-31T09:00:00Z``, which compare as
            texts.
        properties : list of str or dict, optional
            Fields to return, without the ``_id`` unless it is named; by default all but the
            builders' own.
        sort : dict, optional
            1 or -1 by field.
        limit : int
            At most so many; 0 for all.

        Raises
        ------
        DismaiError
            If there is no such collection, or the store does not understand the filter.
        """
        criteria = dict(filter or {})
        if isinstance(properties, list):
            properties = {"_id": 0, **dict.fromkeys(properties, 1)}
        try:
            if collection == DOCUMENTS:
                docs_store = self.jobstore.docs_store
                found = docs_store.query(criteria, properties, sort=sort, limit=limit)
                return list(found)
            self._prepare(collection)
            criteria = {"state": "successful", **criteria}
            wanted = properties or dict.fromkeys(_BOOKKEEPING, 0)
            return self._find(collection, criteria, wanted, sort, limit)
        except OperationFailure as error:
            raise DismaiError(f"the store does not understand this query: {error}") from error

    def score(self, uuid: str) -> dict[str, Any]:
        """Return a whole score: the content of ``score.json``.

        Parameters
        ----------
        uuid : str
            Of the job that left it, as in its row.

        Raises
        ------
        DismaiError
            If there is none.
        """
        return self.document(uuid, "score")

    def document(self, uuid: str, kind: str) -> dict[str, Any]:
        """Return the whole output of a job, of which the highest index counts.

        Raises
        ------
        DismaiError
            If there is none of this kind.
        """
        found = self.jobstore.query_one(
            {"uuid": uuid}, properties=["output"], sort={"index": -1}, load=True
        )
        output = (found or {}).get("output")
        if not isinstance(output, dict) or output.get("kind") != kind:
            raise DismaiError(f"{uuid}: the store has no {kind} of this uuid")
        return output

    def structures(self, content_hash: str) -> StructureSet:
        """Fetch any structure set that was ever stored.

        Parameters
        ----------
        content_hash : str
            The beginning of its content hash, as in rows, cards and scores.

        Raises
        ------
        DismaiError
            If no set or several sets begin like this, or a chunk is missing or damaged.
        """
        return get_structures(self.jobstore, find_structures(self.jobstore, content_hash))

    def builders(self) -> dict[str, RowBuilder]:
        """Return the maggma builders that fill the collections, in the order to run them."""
        return results_builders(self.jobstore)

    def build(self, *collections: str) -> dict[str, int]:
        """Bring collections up to date.

        Parameters
        ----------
        *collections : str
            Which; all by default.

        Returns
        -------
        dict of str to int
            Rows made anew, by collection. A user who may not write leaves them as they are, and
            their names are added to `stale`.
        """
        chosen = {n: b for n, b in self.builders().items() if not collections or n in collections}
        return self.run_builders(chosen)

    def run_builders(self, builders: Mapping[str, RowBuilder]) -> dict[str, int]:
        """Run builders, also of other rooms, as `build` does; by the names of their collections."""
        made = {}
        for name, builder in builders.items():
            with self._refusals_noted(name):
                made[name] = self._run(name, builder)
        return made

    def rows_kept_by(self, builders: Mapping[str, RowBuilder]) -> list[dict[str, Any]]:
        """Return rows of the last of several collections; what could not be built is in `stale`."""
        if self._build:
            self.run_builders(builders)
        kept = dict.fromkeys(_BOOKKEEPING, 0)
        return self._find(list(builders)[-1], {"state": "successful"}, kept, {"_id": 1}, 0)

    def _prepare(self, collection: str) -> None:
        """Bring a collection up to date before it is read."""
        if collection not in COLLECTIONS:
            known = ", ".join([*COLLECTIONS, DOCUMENTS])
            raise DismaiError(f"there is no collection {collection!r}: choose from {known}")
        if not self._build:
            return
        self.build(*_NEEDS.get(collection, (collection,)))
        if collection in self.stale:
            warnings.warn(
                f"the {collection} may lack what is new: you may read this store, not write it; "
                "ask someone who may to run `dismai results build`",
                StaleResultsWarning,
                stacklevel=5,
            )

    def _run(self, name: str, builder: RowBuilder) -> int:
        """Run a builder on connected stores."""
        source = self.jobstore.docs_store
        if not self._indexed and not is_read_only(source):
            ensure_document_indexes(source)
            self._indexed = True
        builder.attach(source, self._target)
        builder.target = self._target(name)
        made = 0
        for items in batches(builder.get_items(), builder.chunk_size):
            if made == 0:
                for field in _INDEXES.get(name, ()):
                    builder.target.ensure_index(field)
            builder.update_targets([builder.process_item(item) for item in items])
            made += len(items)
            if builder.total > _SHOWN:
                report(f"updating {name}", len(items), builder.total, "rows")
        return made

    @contextmanager
    def _refusals_noted(self, name: str) -> Iterator[None]:
        """Note in `stale` that the user may not write a collection."""
        try:
            yield
        except OperationFailure as error:
            if error.code != UNAUTHORIZED:
                raise
            self.stale.add(name)
        except DismaiError:
            if not is_read_only(self.jobstore.docs_store):
                raise
            self.stale.add(name)
        else:
            self.stale.discard(name)

    def _target(self, name: str) -> Store:
        """Return a collection, connected."""
        if name not in self._targets:
            docs_store = self.jobstore.docs_store
            target: Any = sibling_store(docs_store, name)
            if is_server(target):
                # on the connection that is open already
                target._coll = docs_store._collection.database[target.collection_name]
            target.connect()
            self._targets[name] = target
        return self._targets[name]

    def _find(
        self,
        collection: str,
        criteria: dict[str, Any],
        properties: Any,
        sort: dict[str, Sort | int] | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Query a collection; one that a reader cannot open is empty."""
        try:
            target = self._target(collection)
        except DismaiError:
            if collection in self.stale:
                return []
            raise
        return list(target.query(criteria, properties, sort=sort, limit=limit))

    def _rows(
        self, collection: str, model: type[RowType], criteria: dict[str, Any], limit: int
    ) -> list[RowType]:
        """Return rows of a collection, newest first."""
        if limit < 0:
            raise DismaiError(f"limit {limit}: give 0 for all, or a number of rows")
        newest: dict[str, Sort | int] = {_NEWEST.get(collection, "date"): -1, "_id": 1}
        wanted = {"state": "successful", **criteria}
        kept = dict.fromkeys(_BOOKKEEPING, 0)
        with _no_garbage():
            self._prepare(collection)
            found = self._find(collection, wanted, kept, newest, limit)
            return TypeAdapter(list[model]).validate_python(found)  # type: ignore[valid-type]


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Keep Python from searching thousands of new rows for cycles, which takes a third of it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
