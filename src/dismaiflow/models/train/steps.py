"""What the steps and validations of several models have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dismaiflow.models.torch_model import PlateauSettings


def adam_on_plateaus(
    parameters: Iterable[torch.nn.Parameter], settings: PlateauSettings
) -> tuple[dict[str, torch.optim.Optimizer], dict[str, Any]]:
    """Return Adam, and the schedule that lowers its rate where a loss falls no more.

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        What is learned.
    settings : PlateauSettings
        Rate, and when it falls.

    Returns
    -------
    optimizers, schedulers : dict
        As `Learner` names them: ``adam`` and ``plateau``.
    """
    adam = torch.optim.Adam(parameters, settings.learning_rate, settings.betas)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        adam,
        factor=settings.scheduler_factor,
        patience=settings.scheduler_patience,
        min_lr=settings.scheduler_min_lr,
    )
    return {"adam": adam}, {"plateau": plateau}


def descend(loss: torch.Tensor, optimizer: torch.optim.Optimizer, clip: float = 0.0) -> None:
    """Take one step down a loss.

    Parameters
    ----------
    loss : torch.Tensor, shape ()
        The loss.
    optimizer : torch.optim.Optimizer
        Of the parameters that it teaches.
    clip : float
        Largest entry of a gradient; 0 for no limit.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if clip:
        for group in optimizer.param_groups:
            torch.nn.utils.clip_grad_value_(group["params"], clip)
    optimizer.step()


def mean_losses(
    n: int, batch_size: int, losses: Callable[[torch.Tensor], dict[str, torch.Tensor]]
) -> dict[str, float]:
    """Return the means of losses over all items, without gradients.

    Parameters
    ----------
    n, batch_size : int
        Items, and how many at once.
    losses : callable
        Returns the mean losses, by name, of the items whose indices it is given.
    """
    sums: dict[str, float] = {}
    with torch.no_grad():
        for part in torch.arange(n).split(batch_size):
            for name, loss in losses(part).items():
                sums[name] = sums.get(name, 0.0) + loss.item() * len(part) / n
    return sums
