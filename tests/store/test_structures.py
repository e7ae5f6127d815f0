"""Structure sets come back by reference and by the beginning of their hash."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.store import has_blob, inventory, put_blob
from dismaiflow.store.inventory import find_entry, list_entries, now_stamp, remove_entry, renew
from dismaiflow.store.results import ResultsStore
from dismaiflow.store.structures import (
    MANIFEST_KIND,
    Manifest,
    StructuresRef,
    find_structures,
    get_structures,
    manifest_name,
    put_structures,
    read_manifest,
)
from dismaiflow.structures.structure_set import StructureSet
from store.documents import dataset_output, job_document, put

if TYPE_CHECKING:
    from jobflow import JobStore


def make_set(seed: int, n: int = 7) -> StructureSet:
    """Return a few structures."""
    rng = np.random.default_rng(seed)
    return StructureSet.uniform(rng.integers(1, 90, (n, 4)), rng.random((n, 4, 3)), np.eye(3) * 4)


def test_found_by_beginning(jobstore: JobStore) -> None:
    """Every set is found by as few digits as tell it from the others."""
    sets = [make_set(seed) for seed in range(20)]
    references = [put_structures(jobstore, one, 3) for one in sets]
    for one, reference in zip(sets, references, strict=True):
        assert find_structures(jobstore, one.content_hash) == reference
        assert find_structures(jobstore, one.content_hash[:10].upper()) == reference
        found = get_structures(jobstore, find_structures(jobstore, one.content_hash[:10]))
        np.testing.assert_array_equal(found.positions, one.positions)
    first = [one.content_hash[0] for one in sets]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(DismaiError, match=r"sets begin like this; give more digits"):
        find_structures(jobstore, twice)
    results = ResultsStore(jobstore)
    assert len(results.structures(sets[3].content_hash[:12])) == 7


@pytest.mark.parametrize("wrong", ["", "xyz", "0" * 65, "0" * 64, "../", ".*"])
def test_not_found(jobstore: JobStore, wrong: str) -> None:
    """What is no hash, or that of no set, is said so."""
    put_structures(jobstore, make_set(0))
    with pytest.raises(
        DismaiError, match=f"^store:{wrong.replace('.', '[.]').replace('*', '[*]')}: "
    ):
        find_structures(jobstore, wrong)


def test_manifest(jobstore: JobStore) -> None:
    """The same set cut alike has one manifest, cut otherwise another; both lead to it."""
    one = make_set(1)
    first = put_structures(jobstore, one, 3)
    assert put_structures(jobstore, one, 3) == first
    data = jobstore.additional_stores["data"]
    n_before = data.count()
    second = put_structures(jobstore, one, 7)
    assert data.count() == n_before + 2  # a chunk and a manifest
    name = manifest_name(first)
    assert name.startswith(f"set-{one.content_hash}-")
    assert read_manifest(jobstore, name) == Manifest(first, [])
    assert {entry.blob_uuid for entry in list_entries(data, "set-")} == {
        name,
        manifest_name(second),
    }
    assert find_entry(data, name).kind == MANIFEST_KIND
    # a set that lost a chunk is not the one that is taken
    broken, whole = sorted([first, second], key=manifest_name)
    remove_entry(data, find_entry(data, broken.chunks[0]))
    assert find_structures(jobstore, one.content_hash) == whole
    remove_entry(data, find_entry(data, whole.chunks[0]))
    with pytest.raises(DismaiError, match="is not in"):
        ResultsStore(jobstore).structures(one.content_hash)


def test_empty_set(jobstore: JobStore) -> None:
    """A set without structures is a set."""
    empty = StructureSet.from_atoms([])
    reference = put_structures(jobstore, empty)
    assert find_structures(jobstore, empty.content_hash) == reference
    assert len(get_structures(jobstore, reference)) == 0


def test_older_datasets(jobstore: JobStore) -> None:
    """Sets of datasets that were stored without manifests are found too."""
    reference = put_structures(jobstore, make_set(2), 4)
    data = jobstore.additional_stores["data"]
    assert remove_entry(data, find_entry(data, manifest_name(reference)))
    with pytest.raises(DismaiError, match="no structure set"):
        find_structures(jobstore, reference.content_hash)
    put(jobstore, job_document("d", dataset_output(sets={"train": reference.model_dump()})))
    assert find_structures(jobstore, reference.content_hash[:8]) == reference


def test_time_stamp(jobstore: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that is put again counts as young again, after an hour and not before."""
    data = jobstore.additional_stores["data"]
    digest = put_blob(jobstore, b"payload", "test")
    first = find_entry(data, digest)
    assert datetime.now(UTC) - first.stored_at < timedelta(minutes=1)
    assert put_blob(jobstore, b"payload", "test") == digest
    assert find_entry(data, digest) == first
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="seconds")
    assert inventory._stamp(data, digest, old)
    assert find_entry(data, digest).stamp == old
    assert put_blob(jobstore, b"payload", "test") == digest
    assert datetime.now(UTC) - find_entry(data, digest).stored_at < timedelta(minutes=1)
    # what was listed before it was renewed is not removed
    listed = find_entry(data, digest)
    inventory._stamp(data, digest, old)
    assert not remove_entry(data, listed)
    assert has_blob(jobstore, digest)
    assert remove_entry(data, find_entry(data, digest))
    assert not has_blob(jobstore, digest)
    assert not renew(data, digest)
    assert data.count() == 0
    assert now_stamp() >= old


def test_blobs_without_stamp(jobstore: JobStore) -> None:
    """Blobs of versions that wrote no time stamp have the age that their store tells."""
    data = jobstore.additional_stores["data"]
    digest = put_blob(jobstore, b"payload", "test")
    document = data.query_one({"blob_uuid": digest})
    document.pop("stored_at")
    data.update(document, key="blob_uuid")
    entry = find_entry(data, digest)
    assert entry.stamp is None
    assert datetime.now(UTC) - entry.stored_at < timedelta(minutes=1)
    assert put_blob(jobstore, b"payload", "test") == digest
    assert [one.blob_uuid for one in list_entries(data)] == [digest]
    assert remove_entry(data, entry)


def test_large_blob_is_seen_without_reading(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whether a large blob is there is known without its 11 MB."""
    import random
    import tracemalloc

    from dismaiflow.store import embedded_jobstore

    path = tmp_path_factory.mktemp("large") / "run.db"
    with embedded_jobstore(path) as jobstore:
        digest = put_blob(jobstore, random.Random(1).randbytes(11_000_000), "random")
        tracemalloc.start()
        try:
            assert has_blob(jobstore, digest)
            assert not has_blob(jobstore, "0" * 64)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 1_000_000
        data = jobstore.additional_stores["data"]
        data.update({"blob_uuid": ["a", "b"], "data": 1}, key="data")
        assert data.count({"blob_uuid": "a"}) == 1
        assert data.count({"blob_uuid": digest}) == 1


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=6))
def test_any_sets(tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, int]]) -> None:
    """However sets are cut and put, each is found whole."""
    from dismaiflow.store import embedded_jobstore

    with embedded_jobstore(tmp_path_factory.mktemp("sets") / "run.db") as jobstore:
        for seed, size in puts:
            put_structures(jobstore, make_set(seed), size)
        for seed, _ in puts:
            wanted = make_set(seed)
            reference = find_structures(jobstore, wanted.content_hash[:16])
            assert isinstance(reference, StructuresRef)
            assert get_structures(jobstore, reference).content_hash == wanted.content_hash
