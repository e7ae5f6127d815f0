"""How a potential is trained (paper, section 4.6; SI, Table S6)."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dismaiflow.errors import DismaiError, wrong_setting

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Share of its first value to which a decaying learning rate falls.
_LAST_LR = 0.01


class ModelSettings(BaseModel):
    """Size of an M3GNet; the defaults are those of matgl, 283,000 weights for five elements.

    Parameters
    ----------
    units : int
        Width of atom and bond features and of all layers.
    blocks : int
        Rounds of message passing.
    cutoff, threebody_cutoff : float
        Lengths up to which bonds, and bonds that make angles, are taken, Å.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    units: int = Field(64, ge=1)
    blocks: int = Field(3, ge=1)
    cutoff: float = Field(5.0, gt=0)
    threebody_cutoff: float = Field(4.0, gt=0)


class TrainingSettings(BaseModel):
    """How a potential is trained.

    Parameters
    ----------
    epochs : int
        Passes through the training set, all resumed parts together.
    hours : float, optional
        Training time after which no further epoch begins, all resumed parts together.
    batch_size : int
        Frames of a step; 4 in the paper.
    lr : float
        Learning rate; 0.001 in the paper.
    optimizer : {"adam", "adamw"}
        Adam is the paper's.
    schedule : {"constant", "cosine"}
        Whether the learning rate stays, or falls to a hundredth of it until the last epoch. The
        paper names none.
    energy_weight, force_weight, stress_weight : float
        Weights of the mean squared errors (eV/atom, eV/Å, GPa) in the loss; eq. 7 of the paper.
    seed : int
        Of the first weights, and of the order of the frames in each epoch.
    model : ModelSettings
        Size of a new network; a fine-tuned one keeps its own.
    refit_references : bool
        Whether the energies of the elements of a fine-tuned network are fitted anew, as for data
        of another functional. Otherwise training begins at its errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(100, ge=1)
    hours: float | None = Field(None, gt=0)
    batch_size: int = Field(4, ge=1)
    lr: float = Field(1e-3, gt=0, lt=1)
    optimizer: Literal["adam", "adamw"] = "adam"
    schedule: Literal["constant", "cosine"] = "constant"
    energy_weight: float = Field(1.0, ge=0)
    force_weight: float = Field(1.0, ge=0)
    stress_weight: float = Field(0.1, ge=0)
    seed: int = Field(0, ge=0, lt=2**63)
    model: ModelSettings = ModelSettings()
    refit_references: bool = False

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch, counted from 1."""
        if self.schedule == "constant" or self.epochs == 1:
            return self.lr
        fallen = 0.5 * (1 - math.cos(math.pi * (epoch - 1) / (self.epochs - 1)))
        return self.lr * (1 - (1 - _LAST_LR) * fallen)

    def identity(self, data_hash: str, start_hash: str | None) -> str:
        """Return the hash of all that decides the weights after an epoch.

        Parameters
        ----------
        data_hash : str
            Of the training data.
        start_hash : str or None
            Of the potential that is fine-tuned.

        Notes
        -----
        How long it lasts does not enter, so that training can go on for longer; unless the
        learning rate depends on it.
        """
        free = {"hours"} | ({"epochs"} if self.schedule == "constant" else set())
        facts = [self.model_dump(mode="json", exclude=free), data_hash, start_hash]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def training_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """Check settings.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    try:
        return TrainingSettings.model_validate(dict(values))
    except ValidationError as error:
        known = [n for n in TrainingSettings.model_fields if n != "model"]
        known += [f"model.{n}" for n in ModelSettings.model_fields]
        raise DismaiError(f"training {wrong_setting(error, known)}") from None
