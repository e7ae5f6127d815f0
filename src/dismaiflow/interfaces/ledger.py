"""What became of every structure that a search for low-energy interfaces has tried."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MAGIC = b"DISMAI-SEARCH-LEDGER-1"

#: Status of a structure that relaxed and is still an interface of its system.
INTACT = "intact"

#: Status of a structure whose job did not finish.
LOST = "lost"

#: Columns and what stands where nothing is known.
_COLUMNS: dict[str, tuple[type, float]] = {
    "index": (np.int64, -1),
    "parent": (np.int64, -1),
    "root": (np.int64, -1),
    "second_root": (np.int64, -1),
    "operator": (np.int64, -1),
    "thickness": (np.float64, np.nan),
    "shift_a": (np.float64, np.nan),
    "shift_b": (np.float64, np.nan),
    "distance_scale": (np.float64, np.nan),
    "initial_energy": (np.float64, np.nan),
    "energy": (np.float64, np.nan),
    "n_steps": (np.int64, 0),
    "n_force_calls": (np.int64, 0),
    "relaxed_thickness": (np.float64, np.nan),
    "potential_energy": (np.float64, np.nan),
    "first_energy": (np.float64, np.nan),
    "n_dft_steps": (np.int64, 0),
}


@dataclass(eq=False)
class SearchLedger:
    """One row for every structure that was tried, sorted by index.

    Parameters
    ----------
    columns : dict of str to ndarray, shape (n_structures,)
        ``index``; ``parent`` (-1 for a random structure), ``root`` and ``second_root`` (the random
        structures that it descends from, itself if random), ``operator`` (how it was made);
        ``thickness`` and ``relaxed_thickness`` of the region (Å), ``shift_a``, ``shift_b`` (shares
        of the vectors), ``distance_scale``; ``initial_energy``, ``energy`` (total, eV),
        ``n_steps``, ``n_force_calls``. Where DFT relaxed it after the potential, ``energy`` is that
        of DFT, ``potential_energy`` that of the potential at its own minimum, ``first_energy`` that
        of DFT there, and ``n_dft_steps`` counts the ionic steps from there.
    statuses : list of str
        `INTACT`, `LOST`, or the reason for which the structure is out.
    details : list of str
        One line on it for a person; empty for what is intact.
    """

    columns: dict[str, NDArray[Any]]
    statuses: list[str]
    details: list[str]

    def __len__(self) -> int:
        return len(self.statuses)

    @classmethod
    def of_indices(
        cls, indices: Sequence[int], status: str = LOST, detail: str = ""
    ) -> SearchLedger:
        """Open a ledger of structures of which nothing is known but that they were tried."""
        n = len(indices)
        columns: dict[str, NDArray[Any]] = {
            name: np.full(n, none, dtype=kind) for name, (kind, none) in _COLUMNS.items()
        }
        columns["index"] = np.asarray(indices, dtype=np.int64)
        for name in ("root", "second_root"):
            columns[name] = columns["index"].copy()
        return cls(columns, [status] * n, [detail] * n)

    @classmethod
    def concatenate(cls, parts: Sequence[SearchLedger]) -> SearchLedger:
        """Join ledgers and sort them by index."""
        if not parts:
            return cls.of_indices([])
        columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in _COLUMNS}
        order = np.argsort(columns["index"], kind="stable")
        statuses = [status for part in parts for status in part.statuses]
        details = [detail for part in parts for detail in part.details]
        return cls(
            {name: values[order] for name, values in columns.items()},
            [statuses[i] for i in order],
            [details[i] for i in order],
        )

    def fill(self, indices: NDArray[np.int64], values: dict[str, NDArray[Any]]) -> None:
        """Enter values of the columns of some structures, found by their index."""
        rows = np.searchsorted(self.columns["index"], indices)
        for name, entries in values.items():
            self.columns[name][rows] = entries

    def mark(self, index: int, status: str, detail: str = "") -> None:
        """Enter what became of one structure."""
        row = int(np.searchsorted(self.columns["index"], index))
        self.statuses[row], self.details[row] = status, detail

    @property
    def intact(self) -> NDArray[np.bool_]:
        """Which structures are interfaces with an energy."""
        return np.array([status == INTACT for status in self.statuses], dtype=bool)

    @property
    def n_force_calls(self) -> int:
        """Evaluations of energy and forces of all structures."""
        return int(self.columns["n_force_calls"].sum())

    def counts(self) -> dict[str, int]:
        """Count the structures by status, the most frequent first."""
        return dict(Counter(self.statuses).most_common())

    def example(self, status: str) -> str:
        """Return the detail of the first structure of a status, with its index."""
        row = self.statuses.index(status)
        return f"structure {self.columns['index'][row]}: {self.details[row]}"

    def to_bytes(self) -> bytes:
        """Write into bytes."""
        return pack_arrays(
            _MAGIC, self.columns, {"statuses": self.statuses, "details": self.details}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> SearchLedger:
        """Read what `to_bytes` wrote.

        Raises
        ------
        DismaiError
            If the bytes are something else, or are cut off.
        """
        columns, header = unpack_arrays(_MAGIC, data)
        # An earlier version knew fewer columns.
        blank = cls.of_indices(columns["index"].tolist()).columns
        return cls(blank | columns, header["statuses"], header["details"])
