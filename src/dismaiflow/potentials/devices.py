"""Devices that torch computes on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from dismaiflow.errors import DismaiError
from dismaiflow.parallel import one_thread

_KINDS = ("cpu", "cuda")


def check_device(device: str) -> str:
    """Return the kind of a device.

    Raises
    ------
    DismaiError
        If there is no such device here.
    """
    import torch

    kind = device.partition(":")[0]
    if kind not in _KINDS:
        raise DismaiError(f"device {device!r}: use cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DismaiError(f"device {device!r}: torch finds no CUDA device here; use cpu")
    return kind


def choose_device(device: str) -> str:
    """Return ``cuda`` or else ``cpu`` for ``auto``; check what else is asked for.

    Raises
    ------
    DismaiError
        If the device is not there.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_device(device)
    return device


def threads(device: str) -> AbstractContextManager[None]:
    """Compute in one thread on a CPU, unless ``OMP_NUM_THREADS`` is set.

    A training or sampling has the same last bits on any machine then, and several on one machine
    do not wait for each other's threads.
    """
    return one_thread(unless_told=True) if device == "cpu" else nullcontext()
