"""Datasets in a store, and as folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from dismaiflow.store.structures import StructuresRef, get_structures, put_structures
from dismaiflow.structures.dataset import Dataset, DatasetCard, write_dataset

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import JobStore

    from dismaiflow.structures.structure_set import StructureSet


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


def store_dataset(jobstore: JobStore, dataset: Dataset, chunk_size: int = 50) -> DatasetDoc:
    """Put all sets of a dataset folder into a store.

    Raises
    ------
    DismaiError
        If a file is missing or differs from the card.
    """
    sets = {
        name: put_structures(jobstore, dataset.read(name), chunk_size)
        for name in dataset.card.counts
    }
    return DatasetDoc(system=dataset.card.system, card=dataset.card, sets=sets)


class StoredDataset:
    """A dataset in a store, read as one in a folder is.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    document : DatasetDoc
        The dataset.

    Attributes
    ----------
    card : DatasetCard
        A copy of its card, with the counts of its sets.
    """

    def __init__(self, jobstore: JobStore, document: DatasetDoc) -> None:
        self._jobstore = jobstore
        self._sets = document.sets
        counts = {name: ref.n_structures for name, ref in document.sets.items()}
        self.card = document.card.model_copy(update={"counts": counts}, deep=True)

    def read(self, name: str = "train") -> StructureSet:
        """Read one of its sets."""
        return get_structures(self._jobstore, self._sets[name])
