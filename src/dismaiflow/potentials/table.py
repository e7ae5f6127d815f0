"""What became of every structure of a set that was relaxed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.structures.arrays import pack_arrays, unpack_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MAGIC = b"DISMAI-RELAXATIONS-1"

#: Columns of a `RelaxationTable`.
_COLUMNS = ("index", "n_steps", "n_force_calls", "initial_energy", "final_energy", "max_force")

#: What can become of a structure. The first is the only one that goes on.
STATUSES = (
    "converged",
    "not_converged",
    "exploded",
    "errored",
    "too_close",
)


class RelaxationTable:
    """What became of every structure of a set.

    Parameters
    ----------
    numbers : dict of str to ndarray
        One entry per structure: ``index``, ``n_steps``, ``n_force_calls``, ``initial_energy``,
        ``final_energy`` (eV, NaN where there is none), ``max_force`` (eV/Å).
    statuses : list of str
        One of `STATUSES`, or the reason for which a structure could not be tried.
    details : list of str
        One line for a person; empty for what converged.
    """

    def __init__(
        self, numbers: dict[str, NDArray[Any]], statuses: list[str], details: list[str]
    ) -> None:
        self.numbers = numbers
        self.statuses = statuses
        self.details = details

    def __len__(self) -> int:
        return len(self.statuses)

    @classmethod
    def from_rows(cls, rows: list[tuple[str, str, tuple[float, ...]]]) -> RelaxationTable:
        """Collect rows of status, detail, and the numbers in the order of the columns."""
        columns = list(zip(*(row[2] for row in rows), strict=True)) or [()] * len(_COLUMNS)
        kinds = (np.int64, np.int64, np.int64, float, float, float)
        numbers = {
            name: np.array(values, dtype=kind)
            for name, values, kind in zip(_COLUMNS, columns, kinds, strict=True)
        }
        return cls(numbers, [row[0] for row in rows], [row[1] for row in rows])

    @classmethod
    def concatenate(cls, parts: list[RelaxationTable]) -> RelaxationTable:
        """Join the tables of parts, sorted by the place in the source."""
        if not parts:
            return cls.from_rows([])
        numbers = {k: np.concatenate([p.numbers[k] for p in parts]) for k in _COLUMNS}
        statuses = [s for p in parts for s in p.statuses]
        details = [d for p in parts for d in p.details]
        order = np.argsort(numbers["index"], kind="stable")
        return cls(
            {k: v[order] for k, v in numbers.items()},
            [statuses[i] for i in order],
            [details[i] for i in order],
        )

    def counts(self) -> dict[str, int]:
        """Count the structures by status, the most frequent first."""
        return dict(Counter(self.statuses).most_common())

    def to_bytes(self) -> bytes:
        """Write into bytes."""
        header = {"statuses": self.statuses, "details": self.details}
        return pack_arrays(_MAGIC, self.numbers, header)

    @classmethod
    def from_bytes(cls, data: bytes) -> RelaxationTable:
        """Read what `to_bytes` wrote."""
        numbers, header = unpack_arrays(_MAGIC, data)
        return cls(numbers, header["statuses"], header["details"])
