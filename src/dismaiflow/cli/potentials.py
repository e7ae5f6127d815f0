"""Potentials that a command names, opened and tried before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from jobflow import JobStore

    from dismaiflow.potentials.base import Potential
    from dismaiflow.potentials.store import PotentialRef
    from dismaiflow.systems import SystemSpec

#: Å between the atoms of a structure on which a potential is tried.
_SPACING = 2.6


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises
    ------
    DismaiError
        If it is neither the CPU nor a GPU that PyTorch finds.
    """
    if device == "cpu":
        return
    try:
        import torch

        torch.empty(0, device=device)
    except ImportError:
        raise DismaiError(
            f"--device {device} needs PyTorch: pip install 'dismaiflow[potentials]'"
        ) from None
    except (RuntimeError, AssertionError) as error:
        raise DismaiError(f"--device {device}: {one_line(error)}") from None


def check_scratch() -> None:
    """Refuse a SCRATCH_DIR in which relaxations could not note what is finished.

    Raises
    ------
    DismaiError
        If nothing can be written there.
    """
    import tempfile

    from dismaiflow.structures.files import explain_os_error

    folder = load_settings().SCRATCH_DIR
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise DismaiError(f"{explain_os_error(error, folder)} (DISMAI_SCRATCH_DIR)") from None


def open_potentials(
    specs: Sequence[SystemSpec], name: str, device: str, here: bool
) -> dict[str, Potential]:
    """Open a potential for every system that is not an alloy, and let it compute something.

    Parameters
    ----------
    specs : sequence of SystemSpec
        The systems.
    name : str
        The potential.
    device : str
        On which it is to compute.
    here : bool
        Whether this machine does the work; a worker may have what this one lacks.

    Raises
    ------
    DismaiError
        If it does not know the elements of a system, does not answer, or cannot work here.
    """
    from dismaiflow.potentials.names import check_answers, open_potential

    if here:
        check_device(device)
        check_scratch()
    opened = {}
    for spec in specs:
        if spec.kind == "alloy":
            continue
        opened[spec.name] = open_potential(name, spec.species)
        check_answers(opened[spec.name], _something(spec))
    return opened


def put_potentials(
    store: JobStore, name: str | None, opened: Mapping[str, Potential]
) -> dict[str, PotentialRef]:
    """Put the files of opened potentials into a store."""
    from dismaiflow.potentials.store import put_potential

    return {
        system: put_potential(store, name, potential)
        for system, potential in opened.items()
        if name is not None
    }


def _something(spec: SystemSpec) -> Atoms:
    """Return the species of a system on a small grid, which any potential for it can compute."""
    import numpy as np
    from ase import Atoms

    species = list(spec.species)
    edge = 2 if len(species) <= 8 else 3
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3), axis=-1).reshape(-1, 3)
    symbols = [species[i % len(species)] for i in range(len(grid))]
    return Atoms(symbols, positions=grid * _SPACING, cell=[edge * _SPACING] * 3, pbc=True)
