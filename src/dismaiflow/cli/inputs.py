"""What users name on the command line, turned into objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.errors import DismaiError
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobflow import JobStore

    from dismaiflow.store.generated import GeneratedSet
    from dismaiflow.store.structures import StructuresRef
    from dismaiflow.structures.dataset import Dataset
    from dismaiflow.structures.structure_set import StructureSet
    from dismaiflow.systems import SystemSpec

_STORE_PREFIX = "store:"


def find_system(name: str) -> SystemSpec:
    """Return a system by name or YAML file, the user's own folder included."""
    from dismaiflow.systems import get_system

    return get_system(name, system_dirs())


def system_dirs() -> list[Path]:
    """Return the folders of the user's specs that are there."""
    folder = load_settings().SYSTEMS_DIR
    return [folder] if folder.is_dir() else []


def read_parents(
    specs: Sequence[SystemSpec], given: Path | None, store: JobStore
) -> dict[str, StructuresRef]:
    """Put the large structures that amorphous systems are cut from into the store.

    Parameters
    ----------
    specs : sequence of SystemSpec
        Systems of any kind.
    given : Path, optional
        A file, or ``store:HASH``, that stands above what the spec names; for a single amorphous
        system.
    store : JobStore
        Where they go.

    Returns
    -------
    dict of str to StructuresRef
        By system; those that are to be melted and quenched are left out.

    Raises
    ------
    DismaiError
        If a file is missing, cannot be read, or holds something else than one structure.
    """
    from dismaiflow.amorphous.parent import ParentBox, parent_path, read_parent
    from dismaiflow.store.structures import find_structures, get_structures, put_structures

    amorphous = [spec for spec in specs if spec.kind == "amorphous"]
    if given is not None and len(amorphous) > 1:
        raise DismaiError("--parent is for one system; give the others a parent.file in their YAML")
    found = {}
    for spec in amorphous:
        path = given or parent_path(spec)
        if path is not None and str(path).startswith(_STORE_PREFIX):
            stored = find_structures(store, str(path).removeprefix(_STORE_PREFIX))
            ParentBox.of(get_structures(store, stored), str(path), spec.composition)
            found[spec.name] = stored
        elif path is not None:
            found[spec.name] = put_structures(store, read_parent(path, spec), chunk_size=1)
    return found


def read_reference(
    name: str, store: JobStore, spec: SystemSpec
) -> tuple[StructuresRef, Dataset | None]:
    """Read a reference set and put it into the store.

    Parameters
    ----------
    name : str
        An extxyz file, a dataset folder (of which the training set is taken), or ``store:HASH``.
    store : JobStore
        Where it goes, or is.
    spec : SystemSpec
        The system; a dataset folder must be of this system, and every structure fit it.

    Returns
    -------
    ref : StructuresRef
        The set in the store.
    dataset : Dataset or None
        The dataset folder it came from.

    Raises
    ------
    DismaiError
        If it cannot be read, or its structures are unlike each other or no such system.
    """
    from dismaiflow.store.structures import find_structures, get_structures, put_structures

    if not name:
        raise DismaiError("--reference is empty; name a dataset folder, a file or store:HASH")
    if name.startswith(_STORE_PREFIX):
        ref = find_structures(store, name.removeprefix(_STORE_PREFIX))
        _check_reference(name, get_structures(store, ref), spec)
        return ref, None
    structures, dataset = _read_reference_path(Path(name), spec.name)
    _check_reference(name, structures, spec)
    return put_structures(store, structures), dataset


def _read_reference_path(path: Path, system: str) -> tuple[StructureSet, Dataset | None]:
    """Read a dataset folder or a file of structures."""
    from dismaiflow.structures.dataset import CARD_NAME, open_dataset
    from dismaiflow.structures.read import read_structures

    if (path / CARD_NAME).is_file():
        dataset = open_dataset(path)
        if dataset.card.system != system:
            raise DismaiError(
                f"{path}: is a dataset of {dataset.card.system}, not of {system}; score against a "
                "dataset of the same system"
            )
        return dataset.read("train"), dataset
    below = sorted(path.glob(f"*/{CARD_NAME}"))
    if below:
        raise DismaiError(f"{path}: holds datasets, but is none; name one, e.g. {below[0].parent}")
    found = read_structures(path)
    if found.bad:
        raise DismaiError(
            f"{path}: reference frame {found.bad[0].index} cannot be read: {found.bad[0].detail}"
        )
    return found.structures, None


def _check_reference(name: str, structures: StructureSet, spec: SystemSpec) -> None:
    """Refuse a reference that the jobs would refuse, before any runs."""
    from dismaiflow.structures.checks import Expectation

    found = Expectation.of_reference(structures, name).plain()["composition"]
    if spec.kind != "alloy":
        if set(found) != set(spec.species):
            raise DismaiError(
                f"{name}: holds {', '.join(found)}, but {spec.name} is made of "
                f"{', '.join(spec.species)}"
            )
        return
    from dismaiflow.benchmark.count_jobs import alloy_in_cell

    try:
        alloy_in_cell(spec, structures.select([0]))
    except DismaiError as error:
        raise DismaiError(f"{name}: {error}") from error


def reference_name(given: str) -> str:
    """Return what a document calls a reference: without the folders of this machine."""
    return given if given.startswith(_STORE_PREFIX) else Path(given).resolve().name


def read_generated(paths: list[Path], store: JobStore, chunk_size: int) -> list[GeneratedSet]:
    """Read generated files and put their structures into the store.

    Raises
    ------
    DismaiError
        If a file cannot be split into frames.
    """
    from dismaiflow.store.generated import store_generated
    from dismaiflow.structures.read import read_structures

    sets = []
    # Files of the same name, one in each model's folder, are told apart by their paths.
    told = len({path.name for path in paths}) == len(paths)
    for path in paths:
        found = read_structures(path)
        name = path.name if told else path.as_posix()
        sets.append(
            store_generated(store, name, found.structures, chunk_size, found.indices, found.bad)
        )
    return sets
