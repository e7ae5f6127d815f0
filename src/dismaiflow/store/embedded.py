"""A document store in one file, for runs without a MongoDB server.

It stands where maggma's MongoStore stands and answers as a MongoDB server does. The file is a
neosqlite database (SQLite, one table a collection, documents as JSON), so it can be looked into
with neosqlite, the sqlite3 shell, or any tool that reads SQLite.

neosqlite (1.17) brings the connection and the layout. Its own writes are not atomic between
processes (find, then insert: two writers of one key leave two documents) and its queries differ
from MongoDB's on nulls, nested fields, arrays and dates, so reading and writing are done here:
every update is one ``BEGIN IMMEDIATE`` transaction, and queries are evaluated by
`dismaiflow.store.queries` on the rows that an index narrows them to.

Limits
------
- The file must be on a local disk: SQLite's write-ahead log needs memory shared between the
  processes that use it, which network disks (NFS, Lustre, SMB) do not give. One machine, any
  number of processes and threads; writers take turns, readers never wait.
- A killed process loses nothing that `update` had returned from. A power cut or a crash of the
  whole machine may undo the last transactions, but never leaves half of one
  (``synchronous=NORMAL``).
- As on a server, a document is at most 16 MiB of BSON and integers at most 64 bits. Dates are
  naive UTC in milliseconds.
- A query that no index serves reads every document (20,000 of 3 kB a second). ``uuid`` (or the
  store's key) is indexed; `EmbeddedStore.ensure_index` adds others.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import neosqlite
from maggma.core import Sort
from maggma.stores import MongoStore

from dismaiflow.errors import DismaiError
from dismaiflow.store import queries
from dismaiflow.store.collection import BUSY_SECONDS, Collection, explained

if TYPE_CHECKING:
    from jobflow.core.store import JobStore

# connections that a forked child got from its parent: not to be used, and not to be closed
_INHERITED: list[Any] = []


class EmbeddedStore(MongoStore):
    """A maggma store in a local file, with the behaviour of a MongoStore.

    Parameters
    ----------
    path : str or Path
        The file; it is made when first connected to, its folder must exist. Several stores
        (collections) may share a file. Kept as an absolute path, because jobs change folders.
    collection_name : str
        Letters, digits and underscores.
    safe_update : bool
        Log and leave out documents that are too large, instead of raising.
    default_sort : dict, optional
        Sort of queries that name none.
    **kwargs
        `key`, `last_updated_field`, `last_updated_type`, `validator` of maggma's Store.

    Raises
    ------
    DismaiError
        From any method, where the file cannot be used: a folder, not a store, not writable, a
        full disk.

    Notes
    -----
    Making, copying or pickling the object does not touch the file; `connect` does. It may be
    used from several threads, and after a fork the child opens the file anew. In a jobflow.yaml
    it is named by module and class::

        docs_store:
          "@module": dismaiflow.store.embedded
          "@class": EmbeddedStore
          path: /folder/run.db
          collection_name: outputs
    """

    def __init__(
        self,
        path: str | Path,
        collection_name: str = "docs",
        safe_update: bool = False,
        default_sort: dict[str, Sort | int] | None = None,
        **kwargs: Any,
    ) -> None:
        if not re.fullmatch(r"[A-Za-z]\w*", collection_name, re.ASCII):
            msg = f"collection {collection_name!r}: use letters, digits and underscores only"
            raise DismaiError(msg)
        self.path = str(Path(path).expanduser().absolute())
        self.collection_name = collection_name
        self.safe_update = safe_update
        self.default_sort = default_sort
        self.kwargs = kwargs
        self.ssh_tunnel = None  # a MongoStore looks for it
        self._coll: Any = None
        self._owner = 0
        super(MongoStore, self).__init__(**kwargs)

    @property
    def name(self) -> str:
        """The file and the collection."""
        return f"embedded://{self.path}/{self.collection_name}"

    def connect(self, force_reset: bool = False) -> None:
        """Open the file; make it, its table and the index of the key where they are missing.

        Parameters
        ----------
        force_reset : bool
            Whether to open it anew when it is open.
        """
        if self._coll is not None and self._owner == os.getpid() and not force_reset:
            return
        self.close()
        path = Path(self.path)
        if path.is_dir():
            raise DismaiError(f"embedded store {path}: it is a folder: name a file in it")
        if not path.parent.is_dir():
            raise DismaiError(f"embedded store {path}: its folder does not exist: make it first")
        deadline = time.monotonic() + BUSY_SECONDS
        while self._coll is None:
            try:
                with explained(self.path):
                    self._coll = self._open()
            except DismaiError as error:
                # processes that make one file together can lock each other out for a moment,
                # and SQLite does not wait in every such case
                if "locked" not in str(error.__cause__) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.01, 0.1))
        self._owner = os.getpid()
        self.ensure_index(self.key)

    def _open(self) -> Collection:
        """Open the file and return the collection."""
        connection = neosqlite.Connection(
            self.path, timeout=BUSY_SECONDS, check_same_thread=False, auto_vacuum=0
        )
        raw = connection.get_collection(self.collection_name)  # which touches nothing
        collection = Collection(raw, self.path)
        try:
            collection.create()
        except BaseException:
            collection.close()
            raise
        return collection

    def close(self) -> None:
        """Close the file; nothing happens where it is not open."""
        if self._coll is not None:
            if self._owner == os.getpid():
                self._coll.close()
            else:
                # a forked child must neither use nor close what its parent has open
                _INHERITED.append(self._coll)
        self._coll = None

    @property
    def _collection(self) -> Collection:
        """The collection; StoreError before `connect`."""
        if self._coll is not None and self._owner != os.getpid():
            self.connect()
        collection: Collection = super()._collection
        return collection

    def groupby(
        self,
        keys: list[str] | str,
        criteria: dict[str, Any] | None = None,
        properties: dict[str, Any] | list[str] | None = None,
        sort: dict[str, Sort | int] | None = None,
        skip: int = 0,
        limit: int = 0,
    ) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        """Group documents by the values of fields.

        Parameters
        ----------
        keys : list of str or str
            Fields to group by. Documents that lack one form a group whose key lacks it.
        criteria, properties, sort
            As in `query`; documents keep the order of `sort` in their group.
        skip, limit : int
            Not used, as in MongoStore.

        Yields
        ------
        (dict, list of dict)
            The values of the keys, and the documents that have them.
        """
        keys = [keys] if isinstance(keys, str) else list(keys)
        fields = [*properties, *keys] if properties else None
        yield from queries.group(self.query(criteria, fields, sort=sort), keys)

    def __hash__(self) -> int:
        return hash((self.name, self.last_updated_field))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EmbeddedStore):
            return False
        return (self.name, self.last_updated_field) == (other.name, other.last_updated_field)


def embedded_jobstore(path: str | Path) -> JobStore:
    """Return a jobflow JobStore in one file.

    Parameters
    ----------
    path : str or Path
        The file. Outputs go to the collection ``outputs``, what jobs send to the additional
        store ``data``, and blobs, to ``blobs``: one file to copy, back up or delete, whose
        writers wait for each other at most as long as one blob takes (some 0.1 s for 16 MB).

    Returns
    -------
    JobStore
        Not yet connected.
    """
    # not above: jobflow's settings may name EmbeddedStore, and load it while jobflow loads
    from jobflow.core.store import JobStore

    blobs = EmbeddedStore(path, "blobs")
    return JobStore(EmbeddedStore(path, "outputs"), additional_stores={"data": blobs})
