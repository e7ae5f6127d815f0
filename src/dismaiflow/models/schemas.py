"""Documents of trained models."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from dismaiflow.models.registry import ModelChoice
from dismaiflow.structures.dataset import package_versions


class TrainedModelDoc(BaseModel):
    """A trained model in a store.

    Parameters
    ----------
    system : str
        Name of the system that it learned.
    model : str
        Name under which it is listed.
    choice : ModelChoice
        By which any worker makes the model again.
    card : dict
        What the model says of itself (`ModelCard`).
    seed : int
        Seed of the training.
    training_hash : str
        Content hash of the training structures.
    files : dict of str to list of str
        Blobs of each file of its folder.
    step, epoch : int
        How long it was trained.
    seconds : float
        Time spent on that.
    n_launches : int
        Jobs that it took.
    losses : dict of str to float
        The last ones.
    device : str
        What it was trained on.
    """

    kind: str = "trained_model"
    system: str
    model: str
    choice: ModelChoice
    card: dict[str, Any]
    seed: int
    training_hash: str
    files: dict[str, list[str]]
    step: int = 0
    epoch: int = 0
    seconds: float = 0.0
    n_launches: int = 1
    losses: dict[str, float] = Field(default_factory=dict)
    device: str = ""
    versions: dict[str, str] = Field(default_factory=package_versions)
