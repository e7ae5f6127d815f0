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


class OrderCurveDoc(BaseModel):
    """Short-range order against temperature; see `dismaiflow.alloy.diagnostics.OrderCurve`."""

    kind: str = "order_curve"
    system: str
    seed: int
    temperatures: list[float]
    labels: list[str]
    mean: list[list[float | None]]
    standard_error: list[list[float | None]]
    energy: list[float]
    energy_error: list[float | None]
    r_hat: list[float | None]
    warnings: list[str]
