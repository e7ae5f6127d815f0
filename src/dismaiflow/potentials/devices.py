"""Devices that torch computes on."""

from __future__ import annotations

from dismaiflow.errors import DismaiError

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
