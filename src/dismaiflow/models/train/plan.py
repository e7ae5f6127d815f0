"""How long a training goes on, and what it leaves on the way."""

from __future__ import annotations

from dataclasses import dataclass

from dismaiflow.errors import DismaiError

#: Weights that a training may keep.
SMALLEST = "smallest-validation-loss"
KEPT_WEIGHTS = ("last", SMALLEST)


@dataclass(frozen=True)
class TrainPlan:
    """How long a training goes on, and what it leaves on the way.

    Parameters
    ----------
    n_items : int
        Items to learn from.
    batch_size : int
        Items of a batch.
    epochs : int
        Epochs from the very beginning.
    drop_last : bool
        Whether a last batch that is not full is left out.
    max_steps : int, optional
        Steps from the very beginning; the training is complete when epochs or steps are.
    max_train_seconds : float, optional
        Time spent, in all parts together, after which the training is complete, s.
    validate_every : int
        Epochs between validations; 0 for none.
    validate_steps : int, optional
        Steps between validations, instead of epochs.
    kept_weights : str
        One of `KEPT_WEIGHTS`: the last ones, or those of the smallest validation loss, as far as
        there are validations.
    log_every : int
        Steps between the rows of the log within an epoch; each epoch has one row of its own.
    checkpoint_seconds : float
        Time between checkpoints, s.
    checkpoint_steps : int, optional
        Steps between checkpoints, besides.
    snapshot_epochs : tuple of int
        Epochs after which the weights are kept; 0 is before the first step.
    snapshot_seconds : tuple of float
        Times spent after which the weights are kept, s; the time of all parts of the training.
    deterministic : bool
        Whether a GPU shall repeat itself as far as it can, which makes it slower.

    Raises
    ------
    DismaiError
        If a number is out of range, or no batch is full and such are left out.
    """

    n_items: int
    batch_size: int
    epochs: int
    drop_last: bool = False
    max_steps: int | None = None
    max_train_seconds: float | None = None
    validate_every: int = 1
    validate_steps: int | None = None
    kept_weights: str = "last"
    log_every: int = 1000
    checkpoint_seconds: float = 300.0
    checkpoint_steps: int | None = None
    snapshot_epochs: tuple[int, ...] = ()
    snapshot_seconds: tuple[float, ...] = ()
    deterministic: bool = False

    def __post_init__(self) -> None:
        for name in ("n_items", "batch_size", "epochs", "log_every"):
            if getattr(self, name) < 1:
                raise DismaiError(f"{name} {getattr(self, name)}: must be at least 1")
        for name in ("max_steps", "checkpoint_steps", "validate_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise DismaiError(f"{name} {value}: must be at least 1, or left out")
        if self.max_train_seconds is not None and self.max_train_seconds <= 0:
            raise DismaiError(f"max_train_seconds {self.max_train_seconds}: must be above 0")
        if self.kept_weights not in KEPT_WEIGHTS:
            raise DismaiError(f"kept_weights {self.kept_weights}: use {' or '.join(KEPT_WEIGHTS)}")
        if self.validate_every < 0 or self.checkpoint_seconds < 0:
            raise DismaiError("validate_every and checkpoint_seconds: must not be negative")
        if not self.n_batches:
            raise DismaiError(
                f"batch_size {self.batch_size}: there are only {self.n_items} items, and batches "
                "that are not full are left out; choose a smaller one"
            )

    @property
    def n_batches(self) -> int:
        """Batches of an epoch."""
        if self.drop_last:
            return self.n_items // self.batch_size
        return -(-self.n_items // self.batch_size)

    def complete(self, epoch: int, step: int, seconds: float) -> bool:
        """Whether nothing is left to do after so many epochs and steps, and so much time."""
        return (
            epoch >= self.epochs
            or (self.max_steps is not None and step >= self.max_steps)
            or (self.max_train_seconds is not None and seconds >= self.max_train_seconds)
        )

    def validates_epoch(self, epoch: int) -> bool:
        """Whether the validation follows on an epoch, counted from 1."""
        every = 0 if self.validate_steps else self.validate_every
        return every > 0 and epoch % every == 0

    def validates_step(self, step: int) -> bool:
        """Whether the validation follows on a step, counted from 1."""
        return self.validate_steps is not None and step % self.validate_steps == 0
