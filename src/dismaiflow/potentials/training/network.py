"""Networks before training: new ones, and those that are fine-tuned."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.potentials import devices
from dismaiflow.potentials.cards import need_modules
from dismaiflow.potentials.matgl_folder import load_matgl
from dismaiflow.potentials.model_card import start_hash
from dismaiflow.potentials.training.data import GraphFrames
from dismaiflow.potentials.training.element_references import (
    composition_fractions,
    fit_references,
)
from dismaiflow.potentials.training.evaluation import Predictions, predict

if TYPE_CHECKING:
    from pathlib import Path

    from dismaiflow.potentials.training.data import TrainingData
    from dismaiflow.potentials.training.settings import TrainingSettings
    from dismaiflow.structures.frames import LabelledFrames


def choose_device(device: str) -> str:
    """Return ``cpu`` or ``cuda`` for ``auto``; check what else is asked for.

    Raises
    ------
    DismaiError
        If PyTorch or the device is not there.
    """
    need_modules("m3gnet", "potentials", "torch", "matgl")
    return devices.choose_device(device)


def new_network(data: TrainingData, settings: TrainingSettings) -> Any:
    """Return an M3GNet with random weights.

    Its energies and forces are those of the network times the root mean square of the forces of
    the training set, plus the energies of the elements: what it has to learn is of order 1.
    """
    import torch
    from matgl.apps.pes import Potential
    from matgl.models import M3GNet

    train, size = data.sets["train"], settings.model
    references = fit_references(
        composition_fractions(train.structures, data.elements),
        Predictions.labelled(train).energies,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(settings.seed)
        model = M3GNet(
            element_types=tuple(data.elements),
            is_intensive=False,
            dim_node_embedding=size.units,
            dim_edge_embedding=size.units,
            units=size.units,
            nblocks=size.blocks,
            cutoff=size.cutoff,
            threebody_cutoff=size.threebody_cutoff,
        )
        return Potential(model, data_std=force_scale(train), element_refs=references)


def force_scale(frames: LabelledFrames) -> float:
    """Return the root mean square of the components of the forces, eV/Å; 1 where there are none."""
    return float(np.sqrt(np.mean(frames.forces**2))) or 1.0


def saved_network(folder: Path, data: TrainingData, settings: TrainingSettings) -> Any:
    """Return a saved potential that is to be fine-tuned, its references fitted anew if asked for.

    Parameters
    ----------
    folder : Path
        Where it lies, with its card.
    data : TrainingData
        What it is trained on.
    settings : TrainingSettings
        How.

    Raises
    ------
    DismaiError
        If it has no card, differs from it, or does not know an element of the frames.
    """
    start_hash(folder)
    potential = load_matgl({name: folder / name for name in ("model.json", "model.pt", "state.pt")})
    if potential.calc_charge:
        raise DismaiError(f"matgl:{folder}: models with charges cannot be fine-tuned here")
    known = tuple(potential.model.element_types)
    unknown = sorted(set(data.elements) - set(known))
    if unknown:
        raise DismaiError(
            f"matgl:{folder}: does not know {', '.join(unknown)} (it knows {', '.join(known)}): "
            "train from scratch, or fine-tune one that does"
        )
    potential.calc_stresses = True
    if settings.refit_references:
        _refit(potential, data.sets["train"], settings.batch_size)
    return potential.requires_grad_(True)


def _refit(potential: Any, train: LabelledFrames, batch_size: int) -> None:
    """Add to the energies of the elements what the potential is off, as far as they can tell."""
    import torch

    elements = tuple(potential.model.element_types)
    found = predict(potential, GraphFrames(train, potential.model), batch_size)
    missing = Predictions.labelled(train).energies - found.energies
    shift = fit_references(composition_fractions(train.structures, elements), missing)
    if potential.element_refs is None:
        raise DismaiError("the potential has no energies of the elements that could be refitted")
    offsets = potential.element_refs.property_offset
    offsets += torch.as_tensor(shift, dtype=offsets.dtype)
