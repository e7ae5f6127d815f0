"""What users name on the command line, turned into objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dismaiflow.errors import DismaiError
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from jobflow import JobStore

    from dismaiflow.benchmark.schemas import GeneratedSet
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems import SystemSpec

_STORE_PREFIX = "store:"


def find_system(name: str) -> SystemSpec:
    """Return a system by name or YAML file, the user's own folder included."""
    from dismaiflow.systems import get_system

    return get_system(name, _system_dirs())


def _system_dirs() -> list[Path]:
    folder = load_settings().SYSTEMS_DIR
    return [folder] if folder.is_dir() else []


def find_alloy(name: str) -> SystemSpec:
    """Return a system that must be an alloy, the kind that can be made and scored so far."""
    spec = find_system(name)
    if spec.kind != "alloy":
        raise DismaiError(
            f"{spec.name} is of kind {spec.kind}; this version makes and scores alloys only"
        )
    return spec


def read_reference(
    name: str, store: JobStore, system: str
) -> tuple[StructuresRef, StructureSet, Dataset | None]:
    """Read a reference set and put it into the store.

    Parameters
    ----------
    name : str
        An extxyz file, a dataset folder (of which the training set is taken), or ``store:HASH``.
    store : JobStore
        Where it goes, or is.
    system : str
        Name of the system, which a dataset folder must have too.

    Returns
    -------
    ref : StructuresRef
        The set in the store.
    structures : StructureSet
        The set itself.
    dataset : Dataset or None
        The dataset folder it came from.

    Raises
    ------
    DismaiError
        If it cannot be read, or one of its structures cannot.
    """
    from dismaiflow.store.structures import put_structures
    from dismaiflow.structures.dataset import CARD_NAME, open_dataset
    from dismaiflow.structures.read import read_structures

    if name.startswith(_STORE_PREFIX):
        ref, structures = _from_store(name.removeprefix(_STORE_PREFIX), store)
        return ref, structures, None
    path = Path(name)
    dataset = None
    if (path / CARD_NAME).is_file():
        dataset = open_dataset(path)
        if dataset.card.system != system:
            raise DismaiError(
                f"{path}: is a dataset of {dataset.card.system}, not of {system}; score against a "
                "dataset of the same system"
            )
        structures = dataset.read("train")
    else:
        found = read_structures(path)
        if found.bad:
            raise DismaiError(
                f"{path}: reference frame {found.bad[0].index} cannot be read: "
                f"{found.bad[0].detail}"
            )
        structures = found.structures
    return put_structures(store, structures), structures, dataset


def _from_store(digest: str, store: JobStore) -> tuple[StructuresRef, StructureSet]:
    """Find a structure set of the store by the beginning of its content hash."""
    from dismaiflow.store.structures import StructuresRef, get_structures

    for document in store.query({"output.kind": "dataset"}, properties=["output.sets"]):
        for ref in document["output"]["sets"].values():
            if digest and ref["content_hash"].startswith(digest):
                found = StructuresRef.model_validate(ref)
                return found, get_structures(store, found)
    raise DismaiError(f"store:{digest}: no structure set of a dataset in the store has this hash")


def read_generated(paths: list[Path], store: JobStore, chunk_size: int) -> list[GeneratedSet]:
    """Read generated files and put their structures into the store.

    Raises
    ------
    DismaiError
        If a file cannot be split into frames.
    """
    from dismaiflow.benchmark.jobs import INDEX_LABEL
    from dismaiflow.benchmark.schemas import Failure, GeneratedSet
    from dismaiflow.store.structures import put_structures
    from dismaiflow.structures.read import read_structures

    sets = []
    for number, path in enumerate(paths):
        found = read_structures(path)
        placed = found.structures.with_labels({INDEX_LABEL: np.asarray(found.indices)})
        sets.append(
            GeneratedSet(
                name=path.name,
                structures=put_structures(store, placed, chunk_size),
                n_frames=found.n_frames,
                unreadable=[
                    Failure(file=number, index=b.index, reason=b.reason, detail=b.detail)
                    for b in found.bad
                ],
            )
        )
    return sets
