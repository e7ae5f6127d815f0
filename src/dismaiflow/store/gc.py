"""Garbage collection: blobs of the ``data`` store that nothing refers to.

A blob is in use if a document speaks of it, or a manifest that is itself in use (a document speaks
of its content hash, or it is young) or whatever the caller names: the specs of Fireworks that
have not finished, say. Documents are searched for anything that looks like a hash or a uuid, which
may keep a blob too many, never one too few.

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
from dismaiflow.store.inventory import BlobEntry, list_entries, remove_entry
from dismaiflow.store.reading import raw_documents, references_in, references_in_texts
from dismaiflow.store.structures import MANIFEST_KIND, MANIFEST_PREFIX, read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobflow import JobStore

#: Blobs younger than this are left alone, in hours.
DEFAULT_HOURS = 24.0

#: States of Fireworks that need nothing any more.
_FINISHED = ["COMPLETED", "ARCHIVED"]


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


def references_of_fireworks(fireworks: Any) -> set[str]:
    """Return what unfinished Fireworks may refer to.

    Parameters
    ----------
    fireworks : pymongo.collection.Collection
        The ``fireworks`` collection of a LaunchPad.

    Returns
    -------
    set of str
        Hashes and uuids in their specs.
    """
    return references_in_texts(raw_documents(fireworks, {"state": {"$nin": _FINISHED}}))


def collect_garbage(
    jobstore: JobStore,
    older_than: float = DEFAULT_HOURS,
    remove: bool = False,
    in_use: Iterable[str] = (),
    fireworks: Any = None,
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
    fireworks : pymongo.collection.Collection, optional
        The Fireworks of a LaunchPad whose jobs use this store.

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
    before = datetime.now(UTC) - timedelta(hours=older_than)
    used = set(in_use) | references_in(jobstore.docs_store)
    if fireworks is not None:
        used |= references_of_fireworks(fireworks)
    used |= _held_by_manifests(jobstore, entries, used, before)
    found = Garbage()
    for entry in entries:
        if entry.blob_uuid in used or not _is_ours(entry.blob_uuid):
            found.n_kept += 1
        elif entry.stored_at is None or entry.stored_at > before:
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
    """Return manifests in use and the chunks that they hold."""
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
            held.update(manifest.chunks if manifest else [])
    return held


def _is_ours(blob_uuid: str) -> bool:
    """Say whether a blob bears a name of a kind that references are searched for."""
    return blob_uuid.startswith(MANIFEST_PREFIX) or blob_uuid in references_in_texts([blob_uuid])
