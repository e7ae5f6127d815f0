"""Indexes of the LaunchPad and of the results store: made, and found missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dismaiflow.store.blobs import data_store
from dismaiflow.store.reading import DOCUMENT_INDEXES

if TYPE_CHECKING:
    from fireworks import LaunchPad
    from jobflow import JobStore
    from maggma.core import Store

Keys = tuple[tuple[str, int], ...]

#: Indexes of blobs, as fields of the blob.
BLOB_KEYS = ("blob_uuid", "job_uuid")

#: What FireWorks and jobs cannot do without, as (collection, first key).
_LAUNCHPAD_INDEXES = (
    ("fireworks", "fw_id"),
    ("fireworks", "state"),
    ("fireworks", "spec._category"),
    ("fireworks", "spec.run_id"),
    ("launches", "launch_id"),
    ("launches", "fw_id"),
    ("workflows", "nodes"),
)


def make_store_indexes(jobstore: JobStore) -> None:
    """Make the indexes of a JobStore that are missing.

    Parameters
    ----------
    jobstore : JobStore
        Connected. Stores that are not on MongoDB get the index of their key.
    """
    collection = mongo_collection(jobstore.docs_store)
    if collection is None:
        jobstore.docs_store.ensure_index("uuid")
    else:
        for keys in DOCUMENT_INDEXES:
            collection.create_index(list(keys))
    data = data_store(jobstore)
    files = mongo_collection(data)
    for key in BLOB_KEYS if files is not None else BLOB_KEYS[:1]:
        if files is None:
            data.ensure_index(key)
        else:
            files.create_index(_in_files(data, key))


def missing_store_indexes(jobstore: JobStore) -> list[str]:
    """Return the fields of a JobStore on MongoDB that lack their index.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    """
    missing = []
    collection = mongo_collection(jobstore.docs_store)
    if collection is not None:
        there = _key_patterns(collection)
        missing += [
            f"{collection.name}: {', '.join(name for name, _ in keys)}"
            for keys in DOCUMENT_INDEXES
            if keys not in there
        ]
    data = data_store(jobstore)
    files = mongo_collection(data)
    if files is not None:
        there = _key_patterns(files)
        missing += [
            f"{files.name}: {_in_files(data, key)}"
            for key in BLOB_KEYS
            if ((_in_files(data, key), 1),) not in there
        ]
    return missing


def make_launchpad_indexes(launchpad: LaunchPad) -> bool:
    """Make a database a LaunchPad without touching what is in it.

    Not by FireWorks' own ``reset``, which removes all workflows.

    Parameters
    ----------
    launchpad : LaunchPad
        Connected, or what an empty database gives.

    Returns
    -------
    bool
        Whether the numbers of jobs begin now: the LaunchPad is new.
    """
    launchpad.tuneup()
    if launchpad.fw_id_assigner.find_one() is not None:
        return False
    # after a loss of the counter alone, go on behind the highest number
    firework = launchpad.fireworks.find_one(sort=[("fw_id", -1)], projection=["fw_id"])
    launch = launchpad.launches.find_one(sort=[("launch_id", -1)], projection=["launch_id"])
    first = {
        "next_fw_id": firework["fw_id"] + 1 if firework else 1,
        "next_launch_id": launch["launch_id"] + 1 if launch else 1,
    }
    # FireWorks' own _id of this document: two who do this together make one
    launchpad.fw_id_assigner.update_one({"_id": -1}, {"$setOnInsert": first}, upsert=True)
    return firework is None


def missing_launchpad_indexes(launchpad: LaunchPad) -> list[str]:
    """Return the fields of a LaunchPad that lack their index.

    Parameters
    ----------
    launchpad : LaunchPad
        Connected.
    """
    return [
        f"{name}: {key}"
        for name, key in _LAUNCHPAD_INDEXES
        if not any(keys[0][0] == key for keys in _key_patterns(launchpad.db[name]))
    ]


def mongo_collection(store: Store) -> Any:
    """Return the pymongo collection behind a connected store, None where there is none.

    Parameters
    ----------
    store : Store
        Of a GridFSStore the collection with the files is returned.
    """
    from pymongo.collection import Collection

    for name in ("_files_collection", "_coll"):
        collection = getattr(store, name, None)
        if isinstance(collection, Collection):
            return collection
    return None


def _in_files(store: Store, key: str) -> str:
    """Return how a field of a blob is called in the collection that is indexed."""
    return f"metadata.{key}" if hasattr(store, "_files_collection") else key


def _key_patterns(collection: Any) -> set[Keys]:
    """Return the indexes of a collection as tuples of (field, direction)."""
    return {
        tuple((str(name), int(way)) for name, way in index["key"] if not isinstance(way, str))
        for index in collection.index_information().values()
    }
