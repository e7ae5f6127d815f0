"""Garbage collection: blobs of the ``data`` store that nothing refers to.

A blob is in use if a document speaks of it, or a manifest that is itself in use (a document speaks
of its content hash, or it is young), or a workflow that is not done, or whatever the caller names.
Documents are searched for anything that looks like a hash or a uuid, which may keep a blob too
many, never one too few.

Of a workflow that is not done *every* Firework counts, the completed ones too: `dismai launchpad
retry` may let them run again. Fireworks are read before the documents and once more after them,
so that a job that ends in between is seen as the one or as the other.

A removal that was interrupted can leave parts of a blob in GridFS; the next one finds them.

What is younger than a given age is left alone, because a job stores its blobs before its document.
A blob that a job puts again while it is there already counts as young again (`put_blob`), and is
removed only if that has not happened since it was listed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from dismaiflow.errors import DismaiError
from dismaiflow.store.blobs import data_store
from dismaiflow.store.inventory import BlobEntry, list_entries, list_remains, remove_entry
from dismaiflow.store.reading import (
    batches,
    raw_documents,
    references_in,
    references_in_texts,
)
from dismaiflow.store.structures import MANIFEST_KIND, MANIFEST_PREFIX, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobflow import JobStore
    from pymongo.database import Database

#: Blobs younger than this are left alone, in hours.
DEFAULT_HOURS = 24.0

#: States of Fireworks that need nothing any more.
_FINISHED = ["COMPLETED", "ARCHIVED"]

#: Workflows that changed in this time count as not done, whatever their states.
_TOUCHED = timedelta(days=1)


@dataclass
class Garbage:
    """What a collection of garbage found.

    Parameters
    ----------
    orphans : list of BlobEntry
        Blobs that nothing refers to and that are old enough.
    n_kept : int
        Blobs in use.
    n_young : int
        Blobs that nothing refers to but that are too young to go.
    removed : list of BlobEntry
        Orphans that were removed.
    """

    orphans: list[BlobEntry] = field(default_factory=list)
    n_kept: int = 0
    n_young: int = 0
    removed: list[BlobEntry] = field(default_factory=list)

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Return the number and the bytes of the orphans of each kind."""
        kinds: dict[str, dict[str, int]] = {}
        for orphan in self.orphans:
            kind = kinds.setdefault(orphan.kind, {"n": 0, "n_bytes": 0})
            kind["n"] += 1
            kind["n_bytes"] += orphan.n_bytes
        return dict(sorted(kinds.items()))


def references_of_launchpad(database: Database[Any], since: datetime) -> set[str]:
    """Return what the workflows of a LaunchPad that are not done may refer to.

    Parameters
    ----------
    database : pymongo.database.Database
        The database of the LaunchPad.
    since : datetime
        Workflows that have changed since then count as not done, whatever their states.

    Returns
    -------
    set of str
        Hashes and uuids in the specs of all their Fireworks, and in what their launches have told.
    """
    found: set[str] = set()
    for fw_ids in batches(sorted(_needed_fireworks(database, since))):
        for name in ("fireworks", "launches"):
            found |= references_in_texts(raw_documents(database[name], {"fw_id": {"$in": fw_ids}}))
    return found


def _needed_fireworks(database: Database[Any], since: datetime) -> set[int]:
    """Return the ids of all Fireworks of the workflows that are not done."""
    unfinished = {"state": {"$nin": _FINISHED}}
    waiting = [one["fw_id"] for one in database["fireworks"].find(unfinished, {"fw_id": 1})]
    moment = since.astimezone(UTC).replace(tzinfo=None)
    # FireWorks writes most dates as dates, and some as texts
    touched = [{"updated_on": {"$gte": moment}}, {"updated_on": {"$gte": moment.isoformat()}}]
    questions: list[dict[str, Any]] = [{"$or": [unfinished, *touched]}]
    questions += [{"nodes": {"$in": fw_ids}} for fw_ids in batches(waiting)]
    needed = set(waiting)
    for question in questions:
        for workflow in database["workflows"].find(question, {"nodes": 1}):
            needed.update(workflow.get("nodes", []))
    return needed


def collect_garbage(
    jobstore: JobStore,
    older_than: float = DEFAULT_HOURS,
    remove: bool = False,
    in_use: Iterable[str] = (),
    launchpads: Sequence[Database[Any]] = (),
) -> Garbage:
    """Find blobs that nothing refers to; remove them if asked.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    older_than : float
        Age in hours from which they count. Below about two hours a running job may lose a blob
        that it found and has not yet told of.
    remove : bool
        Whether to remove them.
    in_use : iterable of str
        Further hashes (of blobs, or of the content of structure sets) that are in use.
    launchpads : sequence of pymongo.database.Database
        The databases of all LaunchPads whose jobs use this store.

    Returns
    -------
    Garbage
        What was found, and what was removed.

    Raises
    ------
    DismaiError
        If the age is negative, or the store is of a kind that cannot be searched.
    """
    if older_than < 0:
        raise DismaiError(f"--older-than {older_than}: give an age in hours")
    store = data_store(jobstore)
    # first the blobs, then what refers to them: whoever stores in between is seen
    entries = list(list_entries(store))
    now = datetime.now(UTC)
    before = now - timedelta(hours=older_than)
    used = set(in_use)
    for database in launchpads:
        used |= references_of_launchpad(database, min(before, now - _TOUCHED))
    used |= references_in(jobstore.docs_store)
    # again: a job may have made others while the documents were read
    for database in launchpads:
        used |= references_of_launchpad(database, min(before, now - _TOUCHED))
    used |= _held_by_manifests(jobstore, entries, used, before)
    found = Garbage()
    for entry in entries:
        if entry.blob_uuid in used or not _is_ours(entry.blob_uuid):
            found.n_kept += 1
        elif entry.stored_at is None or entry.stored_at > before:
            found.n_young += 1
        else:
            found.orphans.append(entry)
    for entry in list_remains(store):
        if entry.stored_at is None or entry.stored_at > before:
            found.n_young += 1
        else:
            found.orphans.append(entry)
    if remove:
        # manifests first, so that no set is found whose chunks have gone
        found.orphans.sort(key=lambda entry: entry.kind != MANIFEST_KIND)
        found.removed = [entry for entry in found.orphans if remove_entry(store, entry)]
    return found


def _held_by_manifests(
    jobstore: JobStore, entries: Iterable[BlobEntry], used: set[str], before: datetime
) -> set[str]:
    """Return manifests in use and the blobs that they hold."""
    held: set[str] = set()
    for entry in entries:
        name = entry.blob_uuid
        if not name.startswith(MANIFEST_PREFIX):
            continue
        young = entry.stored_at is None or entry.stored_at > before
        content_hash = name.removeprefix(MANIFEST_PREFIX).partition("-")[0]
        if young or content_hash in used or name in used:
            manifest = read_manifest(jobstore, name)
            held.add(name)
            held.update(manifest.blobs if manifest else [])
    return held


def _is_ours(blob_uuid: str) -> bool:
    """Say whether a blob bears a name of a kind that references are searched for."""
    return blob_uuid.startswith(MANIFEST_PREFIX) or blob_uuid in references_in_texts([blob_uuid])
