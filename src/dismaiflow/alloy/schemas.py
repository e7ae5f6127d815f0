"""Documents of the alloy room."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class AlloyRunDoc(BaseModel):
    """One Monte Carlo run; its snapshots are in the ``data`` store."""

    kind: str = "alloy_run"
    temperature: float
    run: int
    samples: str
    n_snapshots: int
    acceptance: float
    equilibration: dict[str, Any]
    seed: dict[str, Any]
