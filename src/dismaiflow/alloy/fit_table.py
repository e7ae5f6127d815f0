"""Formation energies of configurations with their features: the data of a cluster expansion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.alloy.fit_features import FeatureSpace
from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_MAGIC = b"DISMAI-EXPANSION-DATA-1"


@dataclass(frozen=True, eq=False)
class ExpansionTable:
    """Configurations that were calculated.

    Parameters
    ----------
    space : FeatureSpace
        What the columns are.
    names, parents : tuple of str
        Name and parent of each configuration.
    features : ndarray, shape (n, n_columns)
        See `FeatureSpace.row`; spin columns are NaN where moments are not known.
    energies : ndarray, shape (n,)
        Formation energies, eV/atom.
    """

    space: FeatureSpace
    names: tuple[str, ...]
    parents: tuple[str, ...]
    features: NDArray[np.float64]
    energies: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.names)

    def select(self, rows: ArrayLike) -> ExpansionTable:
        """Return some of the configurations."""
        chosen = np.arange(len(self))[np.asarray(rows)]
        return ExpansionTable(
            self.space,
            tuple(self.names[i] for i in chosen),
            tuple(self.parents[i] for i in chosen),
            self.features[chosen],
            self.energies[chosen],
        )

    def with_known_moments(self) -> tuple[ExpansionTable, tuple[str, ...]]:
        """Leave out what spin terms cannot be had for.

        Returns
        -------
        table : ExpansionTable
            Without spin columns if no moments are known at all; else without the configurations
            whose moments are not known.
        without : tuple of str
            Names of these configurations.
        """
        unknown = np.isnan(self.features[:, self.space.spins]).any(axis=1)
        if unknown.all():
            chemical = self.space.without_spin()
            columns = self.features[:, : len(chemical.names)]
            return replace(self, space=chemical, features=columns), ()
        return self.select(~unknown), tuple(np.array(self.names)[unknown].tolist())

    def to_bytes(self) -> bytes:
        """Write all into bytes."""
        arrays: dict[str, NDArray[Any]] = {"features": self.features, "energies": self.energies}
        header = {"space": self.space.as_dict(), "names": self.names, "parents": self.parents}
        return pack_arrays(_MAGIC, arrays, header)

    @classmethod
    def from_bytes(cls, data: bytes) -> ExpansionTable:
        """Read what `to_bytes` wrote; a DismaiError if it is something else or cut off."""
        arrays, header = unpack_arrays(_MAGIC, data)
        return cls(
            FeatureSpace(**header["space"]),
            tuple(header["names"]),
            tuple(header["parents"]),
            arrays["features"],
            arrays["energies"],
        )
