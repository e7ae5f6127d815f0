"""Which LaunchPads submit to a JobStore: a note in the store for each, so that none is overlooked.

Several LaunchPads may share a store: two databases, two servers, two folders with configurations.
The runs that wait on any of them need blobs that no document speaks of yet. Every submission
therefore notes its LaunchPad in the collection ``launchpads`` beside the documents::

    {"_id": "host:port/name", "host": ..., "port": ..., "name": ...,
     "machine": (of a LaunchPad that only one machine can reach) its name, or null,
     "registered": when, UTC}

No login is ever written there.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.store.builders import sibling_store
from dismaiflow.store.embedded import EmbeddedStore
from dismaiflow.store.inventory import now_stamp
from dismaiflow.store.reading import is_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import JobStore
    from maggma.core import Store

#: Name of the collection.
_COLLECTION = "launchpads"

#: Names by which a machine calls itself.
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class KnownLaunchPad:
    """Where a LaunchPad is.

    Parameters
    ----------
    host : str
        Its server; of a connection string the servers, without login and options.
    port : int or None
        Its port; None where ``host`` came from a connection string.
    name : str
        Its database.
    machine : str or None
        The machine that alone can reach it: where ``host`` is a loopback address while the store is
        elsewhere. Without this, two machines would take each other's LaunchPads for their own.
    """

    host: str
    port: int | None
    name: str
    machine: str | None = None

    @property
    def server(self) -> str:
        """The server as ``host:port``."""
        return f"{self.host}:{self.port}" if self.port else self.host

    @property
    def place(self) -> str:
        """Server and database as ``host:port/name``, with a name of the machine that all know."""
        server = f"{self.machine}:{self.port}" if self.machine else self.server
        return f"{server}/{self.name}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether only another machine can reach it."""
        return self.machine is not None and self.machine != socket.gethostname()


def launchpad_at(jobstore: JobStore, host: str, port: int | None, name: str) -> KnownLaunchPad:
    """Return how a LaunchPad is called in a store.

    Parameters
    ----------
    jobstore : JobStore
        The store that its jobs use.
    host : str
        Its server, or a connection string, of which only the servers are kept.
    port : int or None
        Its port; it does not count beside a connection string.
    name : str
        Its database.
    """
    if "://" in host:
        # all before the last @ is the login, whatever signs it has
        host = host.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]
        port = None
    host = host.rpartition("@")[2]
    is_local = host in _LOOPBACK and not _is_local(jobstore.docs_store)
    return KnownLaunchPad(host, port, name, socket.gethostname() if is_local else None)


def register_launchpad(jobstore: JobStore, host: str, port: int | None, name: str) -> None:
    """Note that a LaunchPad submits to a store; once however often it does.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    host : str
        The server of the LaunchPad, or the connection string that leads to it.
    port : int or None
        Its port; None beside a connection string.
    name : str
        Its database.

    Raises
    ------
    DismaiError
        If the store is of a kind that has no collections beside its documents.
    """
    known = launchpad_at(jobstore, host, port, name)
    with _registry(jobstore) as registry:
        if registry.query_one({"_id": known.place}, properties=["_id"]) is None:
            document = {"host": known.host, "port": known.port, "name": known.name}
            document |= {"machine": known.machine, "registered": now_stamp()}
            registry.update({"_id": known.place} | document, key="_id")


def registered_launchpads(jobstore: JobStore) -> list[KnownLaunchPad]:
    """Return the LaunchPads that have submitted to a store, by their places.

    Parameters
    ----------
    jobstore : JobStore
        Connected.

    Raises
    ------
    DismaiError
        If the store is of a kind that has no collections beside its documents.
    """
    fields = ("host", "port", "name", "machine")
    try:
        with _registry(jobstore) as registry:
            found = list(registry.query({}, properties=list(fields), sort={"_id": 1}))
    except DismaiError:
        docs_store = jobstore.docs_store
        if isinstance(docs_store, EmbeddedStore) and not os.access(docs_store.path, os.W_OK):
            return []  # from a file that may not be written nothing can be removed either
        raise
    return [KnownLaunchPad(*(document.get(name) for name in fields)) for document in found]  # type: ignore[arg-type]


def forget_launchpad(jobstore: JobStore, known: KnownLaunchPad) -> None:
    """Take back that a LaunchPad submits to a store; its next submission notes it again."""
    with _registry(jobstore) as registry:
        registry.remove_docs({"_id": known.place})


@contextmanager
def _registry(jobstore: JobStore) -> Iterator[Store]:
    """Open the collection for the block."""
    docs_store = jobstore.docs_store
    registry: Any = sibling_store(docs_store, _COLLECTION)
    if is_server(registry):
        # on the connection that is open already, which is not ours to close
        registry._coll = docs_store._collection.database[registry.collection_name]
        yield registry
        return
    registry.connect()
    try:
        yield registry
    finally:
        registry.close()


def _is_local(docs_store: Store) -> bool:
    """Say whether a store is a file or a server of this machine."""
    if not is_server(docs_store):
        return True
    uri = getattr(docs_store, "uri", None)
    if uri:
        return any(f"{edge}{host}" in uri for host in _LOOPBACK for edge in ("//", "@"))
    return getattr(docs_store, "host", None) in _LOOPBACK
