"""A small alloy, stores to run flows on, and a record of the jobs that ran."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pytest
from jobflow import Flow, Job, JobStore, run_locally
from jobflow.core.reference import find_and_resolve_references
from maggma.stores import MemoryStore
from monty.json import jsanitize

from dismaiflow.alloy.system import AlloySystem
from dismaiflow.benchmark.protocol import ScoringProtocol
from dismaiflow.benchmark.schemas import ControlsDoc, ScoreDoc
from dismaiflow.store.blobs import MAX_BLOB_BYTES
from dismaiflow.store.embedded import embedded_jobstore
from dismaiflow.store.generated import GeneratedSet, store_generated
from dismaiflow.store.structures import StructuresRef, put_structures
from dismaiflow.structures.read import BadFrame
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import SystemSpec, get_system

PUBLISHED = ScoringProtocol(name="published")
CORRECTED = ScoringProtocol(name="corrected")

#: The limit of the design on documents and job specs (bytes of BSON).
MEGABYTE = 1_000_000

#: A function that runs a flow here and returns its output.
Run = Callable[[Flow, JobStore], Any]


def small_alloy(name: str = "alloy-small", temperature: float = 1500) -> SystemSpec:
    """Return the paper's alloy in a supercell of 2x2x2: 32 atoms."""
    data = get_system("alloy-300K-wide").self_contained().model_dump(exclude={"sources"})
    data |= {
        "name": name,
        "composition": {"Fe": 19, "Ni": 7, "Cr": 6},
        "lattice": {"type": "fcc", "a": 3.6, "supercell": (2, 2, 2)},
        "temperature": temperature,
    }
    return SystemSpec.from_dict(data)


@pytest.fixture(scope="session")
def spec() -> SystemSpec:
    """Return the small alloy."""
    return small_alloy()


def random_alloys(spec: SystemSpec, n: int, seed: int, shift: float = 0.003) -> StructureSet:
    """Return random occupancies, a hair off the sites, so that no quirk loses an atom."""
    system = AlloySystem.from_spec(spec)
    codes = [system.species.index(s) for s, k in system.composition.items() for _ in range(k)]
    rng = np.random.default_rng(seed)
    found = system.structures(np.array([rng.permutation(codes) for _ in range(n)], dtype=np.int8))
    return StructureSet.uniform(
        found.numbers.reshape(n, -1), found.positions.reshape(n, -1, 3) + shift, found.cells[0]
    )


def reference_set(
    jobstore: JobStore, spec: SystemSpec, n: int, chunk_size: int = 50, seed: int = 99
) -> StructuresRef:
    """Put random occupancies, exactly on the sites, into a store."""
    return put_structures(jobstore, random_alloys(spec, n, seed, shift=0.0), chunk_size)


def generated_set(
    jobstore: JobStore,
    structures: StructureSet,
    chunk_size: int = 50,
    unreadable: tuple[int, ...] = (),
    name: str = "made.extxyz",
) -> GeneratedSet:
    """Put structures into a store as the command does, with gaps where frames were unreadable."""
    n_frames = len(structures) + len(unreadable)
    places = np.setdiff1d(np.arange(n_frames), unreadable)
    frames = [BadFrame(i, "unreadable", "no number") for i in unreadable]
    return store_generated(jobstore, name, structures, chunk_size, places, frames)


@pytest.fixture(params=["embedded", "memory"])
def jobstore(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[JobStore]:
    """Return a connected store; the test runs once on each kind."""
    if request.param == "embedded":
        made = embedded_jobstore(tmp_path / "run.db")
    else:
        made = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    made.connect()
    yield made
    made.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[JobStore]:
    """Return a connected embedded store."""
    made = embedded_jobstore(tmp_path / "run.db")
    made.connect()
    yield made
    made.close()


@dataclass
class RanJobs:
    """What ran: names, sizes of the specs, metadata."""

    names: list[str] = field(default_factory=list)
    first_names: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    metadata: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> RanJobs:
    """Record every job that runs, those of replacements included."""
    record = RanJobs()
    run = Job.run

    def recorded(self: Job, *args: Any, **kwargs: Any) -> Any:
        record.names.append(self.name)
        if self.index == 1:
            # jobflow adds a job of its own, with the next index, to each replacement
            record.first_names.append(self.name)
        document = jsanitize(self.as_dict(), strict=True, enum_values=True)
        record.sizes[self.name] = max(record.sizes.get(self.name, 0), len(bson.encode(document)))
        record.metadata.append(dict(self.metadata))
        return run(self, *args, **kwargs)

    monkeypatch.setattr(Job, "run", recorded)
    return record


@pytest.fixture
def run_flow(tmp_path: Path) -> Callable[[Flow, JobStore], Any]:
    """Return a function that runs a flow here and resolves its output."""

    def run(flow: Flow, store: JobStore) -> Any:
        run_locally(flow, store=store, root_dir=tmp_path / "jobs", log=False)
        return find_and_resolve_references(flow.output, store)

    return run


def strip(document: ScoreDoc | ControlsDoc) -> dict[str, Any]:
    """Return a document without the time it was made."""
    plain = json.loads(document.model_dump_json())
    plain.get("provenance", {}).pop("created", None)
    return plain


def check_sums(document: ScoreDoc) -> None:
    """Nothing is lost, nothing counted twice, nothing NaN."""
    assert document.n_generated == document.n_scored + sum(document.failures.values())
    assert len(document.failed) == min(sum(document.failures.values()), 1000)
    assert len({(f.file, f.index) for f in document.failed}) == len(document.failed)
    for part in document.per_run:
        assert part["n_generated"] == part["n_scored"] + sum(part["failures"].values())
    assert sum(part["n_generated"] for part in document.per_run) == document.n_generated

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in score.json")

    json.loads(document.model_dump_json(), parse_constant=refuse)


def check_sizes(store: JobStore, ran: RanJobs | None = None) -> None:
    """No document and no job spec above 1 MB, no blob above 16 MB."""
    documents = [len(bson.encode(d)) for d in store.docs_store.query({})]
    blobs = [len(bson.encode(d)) for d in store.additional_stores["data"].query({})]
    assert documents
    assert blobs
    assert max(documents) < MEGABYTE
    assert max(blobs) < MAX_BLOB_BYTES
    if ran is not None:
        assert ran.sizes
        assert max(ran.sizes.values()) < MEGABYTE, ran.sizes


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep unfinished work in a folder of the test; one process; no waiting for the disk."""
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("DISMAI_PROCESSES", "1")
    monkeypatch.setattr("dismaiflow.potentials.journal.os.fsync", lambda _: None)
