"""Datasets in a store, and as folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from dismaiflow.store.structures import StructuresRef, get_structures
from dismaiflow.structures.dataset import Dataset, DatasetCard, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import JobStore


class DatasetDoc(BaseModel):
    """A dataset as a job leaves it.

    Parameters
    ----------
    system : str
        Name of its system.
    card : DatasetCard
        What it is.
    sets : dict of str to StructuresRef
        ``train``, ``val`` and further sets.
    """

    kind: str = "dataset"
    system: str
    card: DatasetCard
    sets: dict[str, StructuresRef]


def export_dataset(jobstore: JobStore, document: DatasetDoc, folder: Path) -> Dataset:
    """Write a dataset of a store into a folder.

    Raises
    ------
    DismaiError
        If a set is missing from the store, or the folder cannot be written.
    """
    sets = {name: get_structures(jobstore, ref) for name, ref in document.sets.items()}
    return write_dataset(folder, sets, document.card)
