"""What is known of each structure of a set once it was analysed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.structures.arrays import pack_arrays, unpack_arrays
from dismaiflow.structures.read import BadFrame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

_MAGIC = b"DISMAI-FEATURES-1"
_INDICES = "indices"


@dataclass(frozen=True)
class StructureFeatures:
    """Features of the structures of a set.

    Parameters
    ----------
    indices : ndarray of int64, shape (n,)
        Place of each analysed structure in its source.
    arrays : dict of str to ndarray, shape (n, ...)
        Features by name; `dismaiflow.benchmark.structure_analysis` says which there are.
    bad : list of BadFrame
        Structures that could not be analysed.
    """

    indices: NDArray[np.int64]
    arrays: Mapping[str, NDArray[Any]]
    bad: list[BadFrame]

    def __len__(self) -> int:
        return len(self.indices)

    @classmethod
    def from_rows(
        cls, rows: Sequence[tuple[int, Mapping[str, NDArray[Any]]]], bad: list[BadFrame]
    ) -> StructureFeatures:
        """Collect the features of single structures, by their places."""
        names = rows[0][1] if rows else ()
        arrays = {name: np.stack([features[name] for _, features in rows]) for name in names}
        return cls(np.array([place for place, _ in rows], dtype=np.int64), arrays, bad)

    @classmethod
    def concatenate(cls, parts: Sequence[StructureFeatures]) -> StructureFeatures:
        """Join the features of parts and sort them by the place in the source."""
        bad = sorted((b for part in parts for b in part.bad), key=lambda b: b.index)
        # An empty part does not know its features.
        filled = [part for part in parts if len(part)]
        if not filled:
            return cls(np.empty(0, dtype=np.int64), parts[0].arrays if parts else {}, bad)
        indices = np.concatenate([part.indices for part in filled])
        order = np.argsort(indices, kind="stable")
        arrays = {
            name: np.concatenate([part.arrays[name] for part in filled])[order]
            for name in filled[0].arrays
        }
        return cls(indices[order], arrays, bad)

    def select(self, chosen: NDArray[np.int64]) -> StructureFeatures:
        """Return the features of some structures, in this order, repeats allowed."""
        arrays = {name: values[chosen] for name, values in self.arrays.items()}
        return StructureFeatures(self.indices[chosen], arrays, [])

    def emptied(self) -> StructureFeatures:
        """Return features of no structure, of the same shapes otherwise."""
        return self.select(np.empty(0, dtype=np.int64))

    def to_bytes(self) -> bytes:
        """Write into bytes."""
        arrays = {_INDICES: self.indices, **self.arrays}
        return pack_arrays(
            _MAGIC, arrays, {"bad": [[b.index, b.reason, b.detail] for b in self.bad]}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> StructureFeatures:
        """Read what `to_bytes` wrote."""
        arrays, header = unpack_arrays(_MAGIC, data)
        indices = arrays.pop(_INDICES)
        return cls(indices, arrays, [BadFrame(*entry) for entry in header["bad"]])
