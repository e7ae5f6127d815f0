"""Moving averages of weights, which sample better than the weights that learn."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch

Network = TypeVar("Network", bound=torch.nn.Module)


def averaged_copy(network: Network) -> Network:
    """Return a network that begins with the same weights and learns nothing by itself."""
    averaged = copy.deepcopy(network)
    averaged.requires_grad_(False)
    return averaged


@torch.no_grad()
def move_average(averaged: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move averaged weights towards those that learn.

    Parameters
    ----------
    averaged, network : torch.nn.Module
        Two networks of one shape.
    decay : float
        What is kept of the average; 0 takes the weights over.
    """
    for slow, quick in zip(averaged.parameters(), network.parameters(), strict=True):
        slow.lerp_(quick, 1 - decay)
