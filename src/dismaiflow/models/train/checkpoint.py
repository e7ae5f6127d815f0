"""Where a training stands, in one file that is written whole or not at all."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.torch_files import pack, read_bytes, unpack
from dismaiflow.structures.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dismaiflow.models.train.learner import Learner

CHECKPOINT_NAME = "checkpoint.pt"

#: Changes when what a checkpoint holds changes.
_FORMAT = 2

#: Differences that a message lists at most.
_LISTED = 5


@dataclass
class Means:
    """Running means of losses by name, each over the steps at which it was known.

    Parameters
    ----------
    sums : dict of str to float
        Sums.
    counts : dict of str to int
        Terms of each.
    """

    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, losses: Mapping[str, float]) -> None:
        """Take in the losses of one step."""
        for name, loss in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + loss
            self.counts[name] = self.counts.get(name, 0) + 1

    def values(self) -> dict[str, float]:
        """Return the means."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}


@dataclass
class State:
    """All that the rest of a training follows from, besides its data.

    Parameters
    ----------
    identity : str
        JSON of what may not change, see `identity_text`.
    step, epoch, position : int
        Steps and complete epochs from the very beginning; batches taken of the epoch under way.
    seconds : float
        Time spent, s.
    epoch_means, row_means : Means
        Of the epoch under way, and since the last row of the log.
    losses : dict of str to float
        What the last row of the log said.
    log_rows : int
        Rows of the log.
    log_columns : list of str
        Its columns.
    snapshots : list of dict
        Snapshots that were taken: ``name``, ``epoch``, ``step``, ``seconds``.
    modules, optimizers, schedulers : dict of str to dict
        States of the learner's parts.
    extra : dict
        `Learner.extra_state`.
    best : dict of str to dict
        By the name of a network: see `dismaiflow.models.train.best`.
    random : dict
        See `dismaiflow.models.train.randomness.random_states`.
    """

    identity: str
    step: int = 0
    epoch: int = 0
    position: int = 0
    seconds: float = 0.0
    epoch_means: Means = field(default_factory=Means)
    row_means: Means = field(default_factory=Means)
    losses: dict[str, float] = field(default_factory=dict)
    log_rows: int = 0
    log_columns: list[str] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    modules: dict[str, Any] = field(default_factory=dict)
    optimizers: dict[str, Any] = field(default_factory=dict)
    schedulers: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Any] = field(default_factory=dict)

    def take(self, learner: Learner) -> None:
        """Take in the states of a learner's parts."""
        for kind in ("modules", "optimizers", "schedulers"):
            parts = {name: part.state_dict() for name, part in getattr(learner, kind).items()}
            setattr(self, kind, parts)
        self.extra = learner.extra_state()

    def give(self, learner: Learner, path: Path) -> None:
        """Put them back.

        Raises
        ------
        DismaiError
            If the learner has other parts; names the file.
        """
        for kind in ("modules", "optimizers", "schedulers"):
            give_parts(getattr(learner, kind), getattr(self, kind), path)
        learner.load_extra_state(self.extra)

    def write(self, path: Path) -> None:
        """Write the file, or leave the one before.

        Raises
        ------
        DismaiError
            If the disk is full or not writable; says whether there is one before.
        """
        values = vars(self) | {name: vars(getattr(self, name)) for name in _MEANS}
        data = pack({name: plain(value, name) for name, value in values.items()}, _FORMAT)
        try:
            write_bytes(path, data, durable=True)
        except DismaiError as error:
            before = "the one before it is intact" if path.exists() else "there is none before it"
            raise DismaiError(f"{error} (checkpoint of step {self.step}; {before})") from error

    @classmethod
    def read(cls, path: Path) -> State:
        """Read a file; nothing is unpickled but numbers and tensors.

        Raises
        ------
        DismaiError
            If it is none of ours, or damaged.
        """
        texts = {"what": "checkpoint of a training", "mend": "remove it to begin again"}
        content = unpack(read_bytes(path), _FORMAT, _NAMES, source=str(path), **texts)
        return cls(**content | {name: Means(**content[name]) for name in _MEANS})


_NAMES = tuple(one.name for one in fields(State))
_MEANS = ("epoch_means", "row_means")


def give_parts(parts: Mapping[str, Any], states: Mapping[str, Any], path: Path) -> None:
    """Load the states of named parts.

    Raises
    ------
    DismaiError
        If a part is not in the file, or of another shape there.
    """
    for name, part in parts.items():
        if name not in states:
            raise DismaiError(f"{path}: holds no {name!r} (it holds {', '.join(states) or 'none'})")
        try:
            part.load_state_dict(states[name])
        except (RuntimeError, ValueError, KeyError, TypeError):
            raise DismaiError(
                f"{path}: what it holds for {name!r} does not fit the model: it was written by "
                "another version or with other settings; train anew in another folder"
            ) from None


def plain(value: Any, where: str) -> Any:
    """Return a value with nothing in it but tensors on the processor, numbers and text.

    Raises
    ------
    TypeError
        If there is something else in it, which could not be read back; says where.
    """
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        parts = [plain(one, f"{where}[{i}]") for i, one in enumerate(value)]
        return tuple(parts) if isinstance(value, tuple) else parts
    if isinstance(value, dict):
        return {key: plain(one, f"{where}.{key}") for key, one in value.items()}
    raise TypeError(f"{where}: a {type(value).__name__} cannot be kept in a checkpoint")


def identity_text(facts: dict[str, Any]) -> str:
    """Return what may not change while a training goes on, as JSON that compares."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def check_identity(found: str, wanted: str, path: Path) -> None:
    """Refuse to go on with another training.

    Parameters
    ----------
    found, wanted : str
        Identities of the file, and of this training.
    path : Path
        The file.

    Raises
    ------
    DismaiError
        If they differ; names the keys in which they do.
    """
    if found == wanted:
        return
    one, other = _flat(json.loads(found)), _flat(json.loads(wanted))
    differing = sorted(k for k in {*one, *other} if one.get(k) != other.get(k) or k not in one)
    shown = ", ".join(differing[:_LISTED]) + (" and others" if len(differing) > _LISTED else "")
    raise DismaiError(
        f"{path}: belongs to another training (it differs in {shown}): repeat that one with its "
        "data, settings and seed, or choose another folder"
    )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, one in value.items():
        flat |= _flat(one, f"{prefix}.{key}" if prefix else key)
    return flat


def remove_leftovers(folder: Path, name: str = CHECKPOINT_NAME) -> None:
    """Remove what a write that was cut off has left."""
    for partial in folder.glob(f".{name}.*"):
        with contextlib.suppress(OSError):
            partial.unlink()
