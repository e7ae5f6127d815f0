"""When a score may stand beside the published ones: by the hashes of a copy of the data."""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import ase.io
import pytest
from ase import Atoms
from tests.structures.record_server import serve, zipped

from dismaiflow.benchmark import published
from dismaiflow.benchmark.published import (
    compare_with_published,
    published_hashes,
    published_references,
)
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.recipe import SHIPPED
from dismaiflow.structures.published_data import fetch, plan_fetch
from dismaiflow.structures.published_manifest import MANIFEST
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from pathlib import Path

NO_COPY = "this machine has no verified copy of the published data (`dismai data fetch`)"


def structures(system: str, shift: float) -> Atoms:
    """One structure with the composition of a system."""
    symbols = [s for s, n in get_system(system).composition.items() for _ in range(n)]
    positions = [[shift + i % 8, i // 8 % 8, i // 64] for i in range(len(symbols))]
    return Atoms(symbols, positions, cell=[9, 9, 9], pbc=True)


#: Sets of two structures, by their paths in the record.
SETS = {
    "alloy_300K_narrow/train.extxyz": structures("alloy-300K-narrow", 0.0),
    "alloy_1500K_narrow/train.extxyz": structures("alloy-1500K-narrow", 0.1),
    "int/train.extxyz": structures("lsc-lco", 0.2),
    "a_Si/train.extxyz": structures("amorphous-si", 0.3),
}
HASHES = {p: StructureSet.from_atoms([one, one]).content_hash for p, one in SETS.items()}
GAP, M3GNET = b"<GAP/>", b"m3gnet weights"


def text(one: Atoms, n: int = 2) -> str:
    stream = io.StringIO()
    ase.io.write(stream, [one] * n, format="extxyz")
    return stream.getvalue()


@pytest.fixture(scope="module")
def record() -> dict[str, bytes]:
    """A record like the published one; its training sets have 2 structures in place of 1200."""
    sets: dict[str, Any] = {path: text(one) for path, one in SETS.items()}
    sets["a_Si/validation.extxyz"] = text(structures("amorphous-si", 0.4), 1)
    return {
        "train_val_data.zip": zipped(sets),
        "generated_data.zip": zipped({"a_Si/gen.extxyz": text(structures("amorphous-si", 0.5))}),
        "potentials.zip": zipped({"GAP_PRX_Si/gp.xml": GAP, "m3gnet_int/m3gnet.data": M3GNET}),
    }


def as_from_zenodo(folder: Path, url: str) -> None:
    """Have the copy say that it came from Zenodo, which a test cannot reach."""
    path = folder / MANIFEST
    path.write_text(path.read_text().replace(url, "https://zenodo.org"))


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, bytes]) -> Path:
    """A whole copy of the record, in the folder of the setting."""
    monkeypatch.setenv("DISMAI_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(published, "N_TRAINING", 2)
    with serve(record) as server:
        fetch(plan_fetch(tmp_path, base=server.url))
    as_from_zenodo(tmp_path, server.url)
    return tmp_path


def card(engine: Any, name: str, *weights: bytes) -> PotentialCard:
    found = {str(i): hashlib.sha256(one).hexdigest() for i, one in enumerate(weights)}
    return PotentialCard(name=name, engine=engine, hash="0" * 64, weights=found)


GAP_CARD = card("quippy", "quippy:gp.xml", GAP)
SW = card("lammps", "sw", b"Stillinger-Weber")


@pytest.mark.usefixtures("copy")
def test_the_published_set_of_an_alloy() -> None:
    """Alloys are told apart by their paths, and need no potential."""
    right = HASHES["alloy_300K_narrow/train.extxyz"]
    found = compare_with_published("alloy-300K-narrow", right, "published")
    assert (found.comparable, found.why_not) == (True, None)
    assert found.evidence == {
        "record": "12710372",
        "reference_hash": right,
        "reference_file": "train_val_data/alloy_300K_narrow/train.extxyz",
    }
    other = HASHES["alloy_1500K_narrow/train.extxyz"]
    found = compare_with_published("alloy-300K-narrow", other, "published")
    assert found.why_not == "the reference is not the published training set"
    assert found.evidence == {}
    found = compare_with_published("alloy-300K-wide", right, "published")
    assert found.why_not == f"{MANIFEST} lists no published training set of alloy-300K-wide"


@pytest.mark.usefixtures("copy")
def test_systems_that_relax_need_the_potential() -> None:
    reference = HASHES["a_Si/train.extxyz"]
    found = compare_with_published("amorphous-si", reference, "published", GAP_CARD)
    assert (found.comparable, found.why_not) == (True, None)
    assert found.evidence["potential"] == "quippy:gp.xml"
    assert found.evidence["potential_files"] == {
        "potentials/GAP_PRX_Si/gp.xml": hashlib.sha256(GAP).hexdigest()
    }
    reference = HASHES["int/train.extxyz"]
    m3gnet = card("command", "socket:m3gnet", M3GNET)
    assert compare_with_published("lsc-lco", reference, "published", m3gnet).comparable
    # The client of the recipe that the package ships is a file of its card, too; others are not.
    client = (SHIPPED / "m3gnet_client.py").read_bytes()
    shipped = card("command", "command:m3gnet-0.0.7.yaml", client, M3GNET)
    assert compare_with_published("lsc-lco", reference, "published", shipped).comparable
    changed = card("command", "command:m3gnet-0.0.7.yaml", client + b"#", M3GNET)
    found = compare_with_published("lsc-lco", reference, "published", changed)
    assert found.why_not == ("the potential is command:m3gnet-0.0.7.yaml, not the published M3GNet")
    without = card("command", "command:m3gnet-0.0.7.yaml", client)
    assert not compare_with_published("lsc-lco", reference, "published", without).comparable


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("potential", "reason"),
    [
        (None, "no potential is stated, the published one is SOAP-GAP"),
        (SW, "the potential is sw, not the published SOAP-GAP"),
        (card("chgnet", "chgnet"), "the potential is chgnet, not the published SOAP-GAP"),
        # Of one of the published files and another one; of another potential; of no files.
        (card("quippy", "mine", GAP, b"x"), "the potential is mine, not the published SOAP-GAP"),
        (card("command", "m3", M3GNET), "the potential is m3, not the published SOAP-GAP"),
        (card("callable", "f"), "nothing shows that f is the published SOAP-GAP"),
    ],
)
def test_other_potentials(potential: PotentialCard | None, reason: str) -> None:
    reference = HASHES["a_Si/train.extxyz"]
    found = compare_with_published("amorphous-si", reference, "published", potential)
    assert not found.comparable
    assert found.why_not == reason


@pytest.mark.usefixtures("copy")
def test_every_missing_condition_is_told() -> None:
    found = compare_with_published("amorphous-si", "x", "corrected", SW, ["relaxed twice"])
    assert found.why_not == (
        "the reference is not the published training set; the potential is sw, not the published "
        "SOAP-GAP; the protocol is corrected, not published; relaxed twice"
    )


def test_without_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason that holds for reference and potential is told once."""
    monkeypatch.setenv("DISMAI_DATA_DIR", str(tmp_path / "none"))
    found = compare_with_published("amorphous-si", "x", "published", GAP_CARD)
    assert found.why_not == NO_COPY
    found = compare_with_published("amorphous-si", "x", "published", SW)
    assert found.why_not == f"{NO_COPY}; the potential is sw, not the published SOAP-GAP"


def test_only_training_sets_count(copy: Path) -> None:
    """Neither validation sets nor what models generated."""
    found = published_references("amorphous-si", published_hashes(copy))
    assert list(found.values()) == ["train_val_data/a_Si/train.extxyz"]
    assert published_hashes(copy).record == "12710372"


def test_only_zenodo_and_this_record_count(copy: Path) -> None:
    """A copy from elsewhere, another record or a damaged file proves nothing."""
    whole = json.loads((copy / MANIFEST).read_text())
    elsewhere = json.loads(json.dumps(whole))
    elsewhere["files"]["potentials.zip"]["source"] = "https://example.org/api/records/12710372"
    for broken in (whole | {"record": "5"}, elsewhere, {"format": 1}):
        (copy / MANIFEST).write_text(json.dumps(broken))
        assert published_hashes(copy).references == {}
        assert published_hashes(copy).record == ""


def test_a_part_of_the_record(copy: Path) -> None:
    """What was not fetched is named; what was not unpacked does not count."""
    document = json.loads((copy / MANIFEST).read_text())
    document["files"]["potentials.zip"]["ready"] = False
    (copy / MANIFEST).write_text(json.dumps(document))
    reference = HASHES["a_Si/train.extxyz"]
    found = compare_with_published("amorphous-si", reference, "published", GAP_CARD)
    assert found.why_not == f"{MANIFEST} lists no published SOAP-GAP"
