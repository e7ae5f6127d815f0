"""Devices: which one, how exactly it repeats itself, and with what precision it computes."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.devices import choose_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["choose_device", "device_of", "device_title", "mixed_precision", "repeatable"]


def device_of(modules: Mapping[str, torch.nn.Module]) -> torch.device:
    """Return the device of the first parameter; the processor if there is none."""
    parameters = (one for module in modules.values() for one in module.parameters())
    return next((one.device for one in parameters), torch.device("cpu"))


def device_title(device: torch.device) -> str:
    """Return ``cpu``, or the name of a GPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def mixed_precision(device: str, precision: str = "none") -> AbstractContextManager[None]:
    """Return the context of a forward pass.

    Parameters
    ----------
    device : str
        ``cpu`` or ``cuda``.
    precision : str
        ``none`` for single precision throughout, ``bf16`` for torch's automatic bfloat16, which
        needs no scaling of the losses.

    Raises
    ------
    DismaiError
        If the precision is neither.
    """
    if precision == "none":
        return nullcontext()
    if precision != "bf16":
        raise DismaiError(f"mixed_precision {precision!r}: use none or bf16")
    return torch.autocast(device.partition(":")[0], dtype=torch.bfloat16)


@contextmanager
def repeatable(device: torch.device, on_gpu: bool = False) -> Iterator[None]:
    """Compute with algorithms that repeat themselves bit for bit; warn once where that is not so.

    Parameters
    ----------
    device : torch.device
        A processor always repeats itself.
    on_gpu : bool
        Whether a GPU shall as well, which makes it slower.
    """
    if device.type != "cpu":
        extent = "where torch has no such algorithm" if on_gpu else "as it was not asked to"
        warnings.warn(
            f"on {device.type} a training does not repeat bit for bit {extent}", stacklevel=2
        )
    memory: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = torch.backends.cudnn.deterministic
    filled = memory.fill_uninitialized_memory
    if device.type == "cpu" or on_gpu:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.deterministic = True
        # Nothing reads what it did not write; filling it costs time.
        memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=only_warn)
        torch.backends.cudnn.deterministic = cudnn
        memory.fill_uninitialized_memory = filled
