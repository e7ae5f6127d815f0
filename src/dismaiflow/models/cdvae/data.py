"""Bonds that the encoder of CDVAE sees, found once for each training structure."""

from __future__ import annotations

import hashlib
import io
import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dismaiflow.errors import DismaiError
from dismaiflow.models.cdvae.graph import PaddedGraph, find_graph
from dismaiflow.parallel import LostTask, available_cores, run_parallel
from dismaiflow.progress import report
from dismaiflow.structures.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from dismaiflow.models.base import Budget
    from dismaiflow.models.data.crystals import CrystalData

#: Atoms that are worth a further process, which takes some seconds to begin.
_ATOMS_PER_PROCESS = 5000

#: Seconds between writes of what was found so far.
_WRITE_EVERY = 120.0

#: Structures whose neighbours are searched at once.
_CHUNK = 32


@dataclass(frozen=True, eq=False)
class Bonds:
    """Neighbours of the atoms of structures, in little memory.

    Parameters
    ----------
    atoms : ndarray of int16, shape (n, n_atoms, k)
        Which atom each neighbour is; 0 where there is none.
    shifts : ndarray of int8, shape (n, n_atoms, k, 3)
        In which periodic image.
    mask : ndarray of bool, shape (n, n_atoms, k)
        Whether there is one.
    """

    atoms: NDArray[np.int16]
    shifts: NDArray[np.int8]
    mask: NDArray[np.bool_]

    def batch(self, places: torch.Tensor, device: str) -> PaddedGraph:
        """Return those of some structures, on a device."""
        rows = places.numpy()
        return PaddedGraph(
            torch.from_numpy(self.atoms[rows].astype(np.int64)).to(device),
            torch.from_numpy(self.shifts[rows].astype(np.int32)).to(device),
            torch.from_numpy(self.mask[rows]).to(device),
        )

    @classmethod
    def from_lists(cls, lists: Sequence[NDArray[np.int16]], n_atoms: int) -> Bonds:
        """Pad lists of bonds, see `crystalnn_bonds`, one for each structure."""
        degrees = np.array([np.bincount(each[:, 0], minlength=n_atoms) for each in lists])
        k = max(int(degrees.max()), 1)
        atoms = np.zeros((len(lists), n_atoms, k), dtype=np.int16)
        shifts = np.zeros((*atoms.shape, 3), dtype=np.int8)
        for index, each in enumerate(lists):
            # Bonds are sorted by atom: the place in a row is the number since its first bond.
            rows = each[:, 0].astype(np.int64)
            first = np.concatenate([[0], np.cumsum(degrees[index])[:-1]])
            columns = np.arange(len(each)) - first[rows]
            atoms[index, rows, columns] = each[:, 1]
            shifts[index, rows, columns] = each[:, 2:]
        return cls(atoms, shifts, np.arange(k) < degrees[:, :, None])

    @classmethod
    def nearest(cls, data: CrystalData, cutoff: float, k: int) -> Bonds:
        """Find the neighbours within a cutoff (Å), at most k of each atom."""
        fractions = torch.tensor(data.fractions, dtype=torch.float32)
        cells = torch.tensor(data.cells, dtype=torch.float32)
        parts = [
            find_graph(*each, cutoff, k)
            for each in zip(fractions.split(_CHUNK), cells.split(_CHUNK), strict=True)
        ]
        return cls(
            torch.cat([part.atoms for part in parts]).to(torch.int16).numpy(),
            torch.cat([part.shifts for part in parts]).to(torch.int8).numpy(),
            torch.cat([part.mask for part in parts]).numpy(),
        )


def crystalnn_bonds(
    structure: tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]],
) -> NDArray[np.int16] | str:
    """Find bonds with CrystalNN, with the options of the published code.

    Pan et al., Inorg. Chem. 2021, 60, 1590 (10.1021/acs.inorgchem.0c02996); pymatgen.

    Parameters
    ----------
    structure : tuple of ndarray
        Fractional coordinates, atomic numbers and cell vectors as rows, Å.

    Returns
    -------
    ndarray of int16, shape (n_bonds, 5)
        Atom, neighbour and its periodic image, each bond in both directions, sorted; or why there
        are none.
    """
    from pymatgen.analysis.local_env import CrystalNN
    from pymatgen.core import Lattice, Structure

    fractions, numbers, cell = structure
    # Weights by electronegativity are off, so that radii alone decide; the pores too.
    finder = CrystalNN(distance_cutoffs=None, x_diff_weight=-1, porous_adjustment=False)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are no oxidation states
            sites = finder.get_all_nn_info(Structure(Lattice(cell), numbers.tolist(), fractions))
    except (ValueError, RuntimeError, IndexError) as error:
        return str(error)
    bonds = set()
    for atom, neighbors in enumerate(sites):
        for each in neighbors:
            image = tuple(int(shift) for shift in each["image"])
            bonds.add((atom, each["site_index"], *image))
            bonds.add((each["site_index"], atom, *(-shift for shift in image)))
    return np.array(sorted(bonds), dtype=np.int16).reshape(-1, 5)


def find_crystalnn(data: CrystalData, path: Path, budget: Budget, what: str) -> Bonds | None:
    """Find the bonds of structures with CrystalNN, in several processes.

    It takes seconds for a structure of hundreds of atoms; what was found is kept in a file.

    Parameters
    ----------
    data : CrystalData
        The structures.
    path : Path
        The file; one of other structures is replaced.
    budget : Budget
        When it is over, what was found is kept for another time.
    what : str
        What they are, for messages.

    Returns
    -------
    Bonds, optional
        None if the budget is over before all are found.

    Raises
    ------
    DismaiError
        If there are structures in which it finds no bonds.
    """
    key = _key(data)
    found = _read(path, key)
    missing = [index for index in range(len(data)) if index not in found]
    n_atoms = data.fractions.shape[1]
    work = len(missing) * n_atoms // _ATOMS_PER_PROCESS
    tasks = ((data.fractions[i], data.numbers[i], data.cells[i]) for i in missing)
    results = run_parallel(crystalnn_bonds, tasks, max(1, min(available_cores(), work)))
    written = time.monotonic()
    with budget.listening():
        for place, result in results:
            reason = result.reason if isinstance(result, LostTask) else result
            if isinstance(reason, str):
                raise DismaiError(
                    f"cdvae: CrystalNN finds no bonds in structure {missing[place]} of the {what} "
                    f"({reason}): mend it, or set encoder_graph to nearest"
                )
            found[missing[place]] = reason
            report(f"bonds of the {what}", 1, len(missing), "structures")
            if time.monotonic() - written > _WRITE_EVERY:
                _write(path, key, found)
                written = time.monotonic()
            if budget.over and len(found) < len(data):
                results.close()
                _write(path, key, found)
                return None
    if missing:
        _write(path, key, found)
    return Bonds.from_lists([found[index] for index in range(len(data))], n_atoms)


def _key(data: CrystalData) -> str:
    """Return what names the structures that bonds belong to."""
    parts = (data.fractions, data.numbers, data.cells)
    return hashlib.sha256(
        b"".join(np.ascontiguousarray(each).tobytes() for each in parts)
    ).hexdigest()


def _write(path: Path, key: str, found: dict[int, NDArray[np.int16]]) -> None:
    indices = sorted(found)
    content = io.BytesIO()
    np.savez_compressed(
        content,
        key=np.array(key),
        indices=np.array(indices),
        counts=np.array([len(found[index]) for index in indices]),
        bonds=np.concatenate([found[index] for index in indices]),
    )
    write_bytes(path, content.getvalue())


def _read(path: Path, key: str) -> dict[int, NDArray[np.int16]]:
    """Return what was found before; nothing if the file is of others, or damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return {}
            parts: list[Any] = np.split(kept["bonds"], np.cumsum(kept["counts"])[:-1])
            return dict(zip(kept["indices"].tolist(), parts, strict=True))
    except Exception:  # noqa: BLE001  # a zip file can be damaged in many ways; it is found anew
        return {}
