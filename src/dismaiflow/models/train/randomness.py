"""Randomness of a training, so that it can stop anywhere and go on as if it had not."""

from __future__ import annotations

import hashlib
import random
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def derived_seed(seed: int, *purpose: str | int) -> int:
    """Return a seed for one purpose, below 2^63.

    Parameters
    ----------
    seed : int
        Seed of the training.
    purpose : str or int
        What it is for, such as ``"order", 3``; different purposes give unrelated numbers.
    """
    text = "|".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a generator on the processor for one purpose; see `derived_seed`."""
    return torch.Generator().manual_seed(derived_seed(seed, *purpose))


def epoch_order(seed: int, epoch: int, n_items: int) -> torch.Tensor:
    """Return the order of the items in an epoch, a function of seed and epoch alone.

    Returns
    -------
    torch.Tensor
        Shape (n_items,), int64.
    """
    order = np.random.default_rng(derived_seed(seed, "order", epoch)).permutation(n_items)
    return torch.from_numpy(order.astype(np.int64))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the generators that libraries draw from behind our back; afterwards they are as before.

    Networks are made within it, so that their first weights follow from the seed.

    Parameters
    ----------
    seed : int
        Of torch (all devices), numpy and python.
    """
    before = random_states()
    torch.manual_seed(derived_seed(seed, "torch"))
    np.random.seed(derived_seed(seed, "numpy") % 2**32)
    random.seed(derived_seed(seed, "python"))
    try:
        yield
    finally:
        set_random_states(before)


def random_states() -> dict[str, Any]:
    """Return the states of those generators, as tensors, numbers and text."""
    name, keys, *rest = np.random.get_state(legacy=True)
    # A device that was not used yet has no state, and asking would start it.
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned; devices that are not here are left out."""
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, inner, gauss = states["python"]
    random.setstate((version, tuple(inner), gauss))
