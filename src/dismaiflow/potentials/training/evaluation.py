"""Errors of a potential on labelled frames, and those of predicting nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from dismaiflow.structures.frames import LabelledFrames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dismaiflow.potentials.training.data import GraphFrames

#: Weight of stresses where epochs and models are compared.
STRESS_SHARE = 0.1

#: GPa of 1 eV/Å^3 (CODATA 2018: the elementary charge times 1e21).
GPA = 160.2176634


def selection_loss(energy: float, force: float, stress: float | None) -> float:
    """Return the sum of mean absolute errors by which epochs and models are chosen.

    It is the L of Table S6 of the paper's SI: MAE_E + MAE_F + 0.1 MAE_S.

    Parameters
    ----------
    energy, force : float
        eV/atom, eV/Å.
    stress : float or None
        GPa; None where there are no stresses.
    """
    return energy + force + STRESS_SHARE * (stress or 0.0)


class Errors(BaseModel):
    """Mean absolute errors of a potential.

    Parameters
    ----------
    energy : float
        eV/atom.
    force : float
        Of the components, eV/Å.
    stress : float or None
        Of the components, GPa; None if no frame has stresses.
    """

    energy: float
    force: float
    stress: float | None = None

    @property
    def loss(self) -> float:
        """`selection_loss`."""
        return selection_loss(self.energy, self.force, self.stress)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What frames are labelled with, or what a potential says of them.

    Parameters
    ----------
    energies : ndarray, shape (n_frames,)
        eV/atom.
    forces : ndarray, shape (n_atoms_total, 3)
        eV/Å.
    stresses : ndarray, shape (n_frames, 3, 3)
        GPa, negative under compression; NaN where there are none.
    """

    energies: NDArray[np.float64]
    forces: NDArray[np.float64]
    stresses: NDArray[np.float64]

    @classmethod
    def labelled(cls, frames: LabelledFrames) -> Predictions:
        """Return the labels of frames."""
        return cls(
            frames.energies / frames.structures.n_atoms, frames.forces, frames.stresses * GPA
        )

    def errors(self, other: Predictions) -> Errors:
        """Return the mean absolute differences."""
        stress = np.abs(self.stresses - other.stresses)
        stress = stress[np.isfinite(stress)]
        return Errors(
            energy=float(np.abs(self.energies - other.energies).mean()),
            force=float(np.abs(self.forces - other.forces).mean()),
            stress=float(stress.mean()) if stress.size else None,
        )


def predict(potential: Any, frames: GraphFrames, batch_size: int) -> Predictions:
    """Compute frames.

    Parameters
    ----------
    potential : matgl.apps.pes.Potential
        The potential, on the device of the frames.
    frames : GraphFrames
        The frames.
    batch_size : int
        Frames that are computed at once.
    """
    potential.eval()
    energies, forces, stresses = [], [], []
    for start in range(0, len(frames), batch_size):
        batch = frames.batch(range(start, min(start + batch_size, len(frames))))
        found = [part.detach().cpu().double().numpy() for part in batch.predict(potential)]
        energies.append(found[0])
        forces.append(found[1])
        stresses.append(found[2])
    return Predictions(np.concatenate(energies), np.concatenate(forces), np.concatenate(stresses))


def baselines(train: LabelledFrames, frames: LabelledFrames) -> Errors:
    """Return the errors of a model that knows the mean energy per atom and predicts no forces.

    Parameters
    ----------
    train : LabelledFrames
        Frames of which it knows the mean energy per atom.
    frames : LabelledFrames
        Frames on which it is judged.
    """
    truth = Predictions.labelled(frames)
    mean = Predictions.labelled(train).energies.mean()
    nothing = Predictions(
        np.full(len(frames), mean), np.zeros_like(truth.forces), np.zeros_like(truth.stresses)
    )
    return nothing.errors(truth)
