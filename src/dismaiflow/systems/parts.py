"""The blocks of a kind of system, those that must be there being there.

`InterfaceParts` stands beside its many blocks in `interface_blocks`.
"""

from __future__ import annotations

from typing import NamedTuple

from dismaiflow.systems.blocks import (
    ExpansionData,
    Lattice,
    OrderFilter,
    Parent,
    Sampling,
    Slice,
)


class AlloyParts(NamedTuple):
    """The blocks of an alloy spec."""

    lattice: Lattice
    cluster_expansion: str | ExpansionData
    temperature: float
    order_filter: OrderFilter | None
    sampling: Sampling


class AmorphousParts(NamedTuple):
    """The blocks of an amorphous spec."""

    parent: Parent
    block: Slice
