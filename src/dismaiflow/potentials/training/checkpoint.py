"""Where a training stands, in one file that is written whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from dismaiflow.potentials.torch_files import pack, read_bytes, unpack
from dismaiflow.structures.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT_NAME = "checkpoint.pt"

#: Changes when what a checkpoint holds changes.
_FORMAT = 1

#: One epoch of a history.
Row = dict[str, float | int | None]


@dataclass
class TrainingState:
    """Where a training stands at the end of an epoch.

    The order of the frames follows from the seed and the number of the epoch, and nothing else is
    drawn while it trains, so that no state of a random generator has to be kept.

    Parameters
    ----------
    identity : str
        `TrainingSettings.identity`.
    epoch : int
        Epochs that are done.
    seconds : float
        Time that they took, validation included.
    weights, best_weights : dict of str to torch.Tensor
        Of the last epoch, and of the best one.
    optimizer : dict
        State of the optimiser.
    best_epoch : int
        Epoch with the smallest `Errors.loss` on the validation set; 0 is before the first step.
    best_loss : float
        That loss.
    history : list of dict
        One row for each epoch, the first before any step.
    diverged : bool
        Whether the loss ceased to be finite; nothing more is to be learned then.
    """

    identity: str
    epoch: int = 0
    seconds: float = 0.0
    weights: dict[str, Any] = field(default_factory=dict)
    best_weights: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[Row] = field(default_factory=list)
    diverged: bool = False

    def to_bytes(self) -> bytes:
        """Write it into bytes."""
        return pack({name: getattr(self, name) for name in _names(type(self))}, _FORMAT)

    @classmethod
    def from_bytes(cls, data: bytes, source: str) -> TrainingState:
        """Read what `to_bytes` wrote; nothing is unpickled but numbers and tensors.

        Raises
        ------
        DismaiError
            If it is something else; names the source.
        """
        texts = {"what": "checkpoint of a training", "mend": "remove it to begin again"}
        return cls(**unpack(data, _FORMAT, _names(cls), source=source, **texts))

    def write(self, path: Path) -> None:
        """Write the file, then rename it into place; a DismaiError if the disk is full."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def read(cls, path: Path) -> TrainingState:
        """Read a file; a DismaiError if it is none of ours."""
        return cls.from_bytes(read_bytes(path), str(path))


def _names(state: type[TrainingState]) -> list[str]:
    return [one.name for one in fields(state)]
