"""A store, and flows that run in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from jobflow import run_locally
from jobflow.core.reference import find_and_resolve_references

from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import PotentialRef, put_potential
from dismaiflow.store.embedded import embedded_jobstore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from jobflow import Flow, JobStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[JobStore]:
    """Return an empty store; relaxations are done in this process."""
    monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / "scratch"))
    monkeypatch.setenv("DISMAI_PROCESSES", "1")
    opened = embedded_jobstore(tmp_path / "store.sqlite")
    opened.connect()
    yield opened
    opened.close()


@pytest.fixture
def run(store: JobStore, tmp_path: Path) -> Callable[..., Any]:
    """Return a function that runs a flow and returns its output."""

    def runner(flow: Flow, success: bool = True) -> Any:
        run_locally(
            flow, store=store, root_dir=tmp_path, log=False, ensure_success=success,
            create_folders=True,
        )  # fmt: skip
        return find_and_resolve_references(flow.output, store)

    return runner


@pytest.fixture
def potential(store: JobStore) -> Callable[[str], PotentialRef]:
    """Return a function that puts a potential into the store."""

    def putter(name: str) -> PotentialRef:
        return put_potential(store, name, open_potential(name))

    return putter
