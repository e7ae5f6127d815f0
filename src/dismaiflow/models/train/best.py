"""The weights with the smallest validation loss, which the published models sample with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from dismaiflow.models.train.checkpoint import give_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def keep_best(
    best: dict[str, Any], modules: Mapping[str, torch.nn.Module], loss: float, step: int
) -> None:
    """Keep the weights of networks whose validation loss is smaller than before.

    Parameters
    ----------
    best : dict
        What is kept: by network its ``loss``, the ``step`` and the ``state``; changed.
    modules : dict of str to torch.nn.Module
        Networks that the loss judges.
    loss : float
        Their validation loss.
    step : int
        Steps that were taken.
    """
    for name, module in modules.items():
        if name not in best or loss < best[name]["loss"]:
            state = {
                key: value.detach().cpu().clone() if isinstance(value, torch.Tensor) else value
                for key, value in module.state_dict().items()
            }
            best[name] = {"loss": loss, "step": step, "state": state}


def give_best(best: Mapping[str, Any], modules: Mapping[str, torch.nn.Module], path: Path) -> None:
    """Load what was kept into the networks; those that were never judged stay as they are.

    Raises
    ------
    DismaiError
        If it does not fit; names the file.
    """
    known = {name: modules[name] for name in best}
    give_parts(known, {name: one["state"] for name, one in best.items()}, path)
