"""The published tables, and whether a score may stand in rank beside them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from pydantic import BaseModel, Field

#: Content hashes of the published reference sets. They are on Zenodo (record 12710372) and none has
#: been read here yet, so that no score is comparable until one is entered.
PUBLISHED_REFERENCES: dict[str, str] = {}


class PublishedRow(BaseModel):
    """One row of Table 1, 2 or 3."""

    model: str
    metrics: dict[str, dict[str, float]] = Field(description="value, min and max by metric")


class PublishedComparison(BaseModel):
    """The published rows beside a score."""

    comparable: bool
    why_not: str | None
    source: str | None
    rows: list[PublishedRow]


@cache
def _tables() -> dict[str, Any]:
    text = files("dismaiflow.benchmark").joinpath("tables/published.yaml").read_text("utf-8")
    tables: dict[str, Any] = yaml.safe_load(text)
    return tables


def compare_with_published(
    system: str, reference_hash: str, protocol_name: str
) -> PublishedComparison:
    """Return the published rows of a system, and whether a score is comparable with them.

    Parameters
    ----------
    system : str
        Name of the system.
    reference_hash : str
        Content hash of the reference set.
    protocol_name : str
        Name of the scoring protocol.
    """
    table = _tables().get(system)
    if table is None:
        why_not = "the paper has no table for this system"
        return PublishedComparison(comparable=False, why_not=why_not, source=None, rows=[])
    rows = [
        PublishedRow(
            model=model,
            metrics={
                name: dict(zip(("value", "min", "max"), numbers, strict=True))
                for name, numbers in zip(table["metrics"], values, strict=True)
            },
        )
        for model, values in table["rows"].items()
    ]
    reasons = []
    known = PUBLISHED_REFERENCES.get(system)
    if known is None:
        reasons.append("this version does not know the published set")
    elif known != reference_hash:
        reasons.append("the reference is not the published training set")
    if protocol_name != "published":
        reasons.append(f"the protocol is {protocol_name}, not published")
    return PublishedComparison(
        comparable=not reasons,
        why_not="; ".join(reasons) or None,
        source=f"Digital Discovery 2024, 3, 1889, {table['source']}",
        rows=rows,
    )
