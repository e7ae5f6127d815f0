"""Labelled frames: files, bytes, hashes, and how they are divided."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from hypothesis import given
from hypothesis import strategies as st

from dismaiflow.errors import DismaiError
from dismaiflow.store import embedded_jobstore
from dismaiflow.store.frames import FramesDoc, export_frames, get_frames, put_frames
from dismaiflow.structures.frame_files import (
    FramesCard,
    counts_of,
    open_frames_folder,
    read_frames,
    write_frames,
    write_frames_folder,
)
from dismaiflow.structures.frames import FrameLabel, LabelledFrames
from dismaiflow.structures.structure_set import StructureSet

LABEL = FrameLabel(engine="lj 1", functional="none", settings={"epsilon": 1.0})
OTHER = FrameLabel(engine="lj 1", functional="none", settings={"epsilon": 2.0}, rehearsal=True)


def frames_of(n_parents=4, n_steps=3, label=LABEL, seed=0) -> LabelledFrames:
    """Rattled argon cells of several sizes, labelled by ASE's Lennard-Jones."""
    rng = np.random.default_rng(seed)
    images, parents, steps = [], [], []
    for parent in range(n_parents):
        for step in range(1, n_steps + 1):
            atoms = bulk("Ar", "fcc", a=5.2 + 0.1 * parent, cubic=True).repeat(
                (1, 1, 1 + parent % 2)
            )
            atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
            atoms.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=8.0)
            images.append(atoms)
            parents.append(f"p{parent}")
            steps.append(step)
    return LabelledFrames.build(
        StructureSet.from_atoms(images),
        [a.get_potential_energy() for a in images],
        [a.get_forces() for a in images],
        [a.get_stress(voigt=False) for a in images],
        label,
        parents,
        steps,
        [step == n_steps for step in steps],
    )


def same(a: LabelledFrames, b: LabelledFrames) -> bool:
    return (
        np.allclose(a.energies, b.energies, atol=1e-8)
        and np.allclose(a.forces, b.forces, atol=1e-8)
        and np.allclose(a.stresses, b.stresses, atol=1e-8, equal_nan=True)
        and a.parents == b.parents
        and (a.steps == b.steps).all()
        and (a.final == b.final).all()
        and a.content_hash == b.content_hash
    )


def test_bytes_keep_every_bit():
    frames = frames_of()
    back = LabelledFrames.from_bytes(frames.to_bytes())
    assert back.to_bytes() == frames.to_bytes()
    assert same(back, frames)


def test_a_file_is_what_ase_reads(tmp_path):
    frames = frames_of()
    write_frames(tmp_path / "a.extxyz", frames)
    images = ase.io.read(tmp_path / "a.extxyz", ":")
    assert len(images) == 12
    fresh = images[5].copy()
    fresh.calc = LennardJones(sigma=3.4, epsilon=0.01, rc=8.0)
    assert images[5].get_potential_energy() == pytest.approx(fresh.get_potential_energy(), abs=1e-6)
    assert images[5].get_forces() == pytest.approx(fresh.get_forces(), abs=1e-6)
    assert images[5].get_stress() == pytest.approx(fresh.get_stress(), abs=1e-8)
    assert images[5].info["parent"] == "p1"
    assert images[5].info["step"] == 3


def test_a_file_gives_back_the_frames(tmp_path):
    frames = LabelledFrames.concatenate([frames_of(), frames_of(2, 2, OTHER, 1)])
    write_frames(tmp_path / "a.extxyz", frames)
    back = read_frames(tmp_path / "a.extxyz", list(frames.labels))
    assert same(back, frames)
    assert [back.label(i) for i in (0, 12)] == [LABEL, OTHER]
    # Without the card the settings are not known, but the mark of a rehearsal is.
    alone = read_frames(tmp_path / "a.extxyz")
    assert [alone.label(i).rehearsal for i in (0, 12)] == [False, True]


def test_a_frame_without_stress_has_none(tmp_path):
    frames = frames_of(1, 2)
    without = LabelledFrames(**{**frames.__dict__, "stresses": np.full((2, 3, 3), np.nan)})
    write_frames(tmp_path / "a.extxyz", without)
    assert np.isnan(read_frames(tmp_path / "a.extxyz").stresses).all()


@pytest.mark.parametrize("missing", ["energy", "forces"])
def test_a_frame_that_lacks_something_is_named(tmp_path, missing):
    path = tmp_path / "a.extxyz"
    atoms = bulk("Ar")
    line = 'Lattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3'
    numbers = "Ar 0 0 0"
    if missing == "energy":
        line, numbers = f"{line}:forces:R:3", f"{numbers} 0 0 0"
    else:
        line = f"{line} energy=1.0"
    path.write_text(f"1\n{line}\n{numbers}\n")
    assert len(atoms) == 1
    with pytest.raises(DismaiError, match=f"a.extxyz: frame 0 has no {missing}"):
        read_frames(path)


def test_a_cut_file_is_refused(tmp_path):
    path = tmp_path / "a.extxyz"
    write_frames(path, frames_of(1, 2))
    path.write_text("\n".join(path.read_text().splitlines()[:-2]))
    with pytest.raises(DismaiError, match="cut off"):
        read_frames(path)


def test_a_file_that_is_cut_within_a_line_is_refused(tmp_path):
    path = tmp_path / "a.extxyz"
    write_frames(path, frames_of(1, 2))
    whole = path.read_text()
    path.write_text(whole.rstrip().rsplit(maxsplit=2)[0])
    with pytest.raises(DismaiError, match="cut off: the last line of frame 1 has 5 of 7 columns"):
        read_frames(path)
    path.write_text(whole.replace(whole.splitlines()[2], "Li 0 0", 1))
    with pytest.raises(DismaiError, match="frame 0 cannot be read"):
        read_frames(path)


@given(n_parents=st.integers(3, 25), n_steps=st.integers(1, 4), seed=st.integers(0, 99))
def test_no_parent_is_in_two_sets(n_parents, n_steps, seed):
    frames = _blank(n_parents, n_steps)
    sets = frames.split("parent", seed=seed)
    parents = {name: set(part.parents) for name, part in sets.items()}
    assert sum(len(p) for p in parents.values()) == n_parents
    assert set.union(*parents.values()) == set(frames.parents)
    assert sum(len(part) for part in sets.values()) == len(frames)
    assert min(len(part) for part in sets.values()) > 0


def test_the_paper_divides_frames():
    # Section 4.6: 15,484 frames of 950 relaxations, 80/10/10.
    sets = _blank(950, 16).split("frame")
    assert [len(sets[name]) for name in ("train", "val", "test")] == [12160, 1520, 1520]
    by_parent = _blank(950, 16).split("parent")
    assert [len(set(by_parent[n].parents)) for n in ("train", "val", "test")] == [760, 95, 95]


def test_a_split_depends_on_its_seed_alone():
    frames = _blank(20, 2)
    first, again, other = (frames.split(seed=s)["test"].parents for s in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize(("by", "n"), [("parent", 2), ("frame", 1)])
def test_too_few_for_three_sets(by, n):
    frames = _blank(n, 1)
    with pytest.raises(DismaiError, match="cannot be split"):
        frames.split(by)


def _blank(n_parents: int, n_steps: int) -> LabelledFrames:
    n = n_parents * n_steps
    return LabelledFrames(
        StructureSet.uniform(np.full((n, 1), 18), np.zeros((n, 1, 3)), np.eye(3)),
        np.zeros(n),
        np.zeros((n, 3)),
        np.zeros((n, 3, 3)),
        tuple(f"p{i // n_steps}" for i in range(n)),
        np.arange(n) % n_steps,
        np.zeros(n, dtype=bool),
        (LABEL,),
        np.zeros(n, dtype=np.int64),
    )


def test_a_store_keeps_frames_in_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("dismaiflow.store.frames._CHUNK_BYTES", 2000)
    store = embedded_jobstore(tmp_path / "s.sqlite")
    store.connect()
    frames = LabelledFrames.concatenate([frames_of(), frames_of(2, 2, OTHER, 1)])
    reference = put_frames(store, frames)
    assert len(reference.chunks) > 1
    assert same(get_frames(store, reference), frames)
    assert [label.rehearsal for label in reference.labels] == [False, True]


def test_a_folder_of_frames(tmp_path):
    frames = frames_of(6)
    sets = frames.split()
    store = embedded_jobstore(tmp_path / "s.sqlite")
    store.connect()
    card = FramesCard(system="argon", runs={"converged": 6}, **counts_of(sets))
    document = FramesDoc(
        system="argon", card=card, sets={n: put_frames(store, part) for n, part in sets.items()}
    )
    written = export_frames(store, document, tmp_path / "f")
    opened = open_frames_folder(tmp_path / "f")
    assert opened.card.parents == {"train": 4, "val": 1, "test": 1}
    assert opened.card == written.card
    back = opened.read()
    assert all(same(back[name], sets[name]) for name in sets)
    assert not opened.card.rehearsal
    (tmp_path / "f" / "val.extxyz").write_text("1\n")
    with pytest.raises(DismaiError, match="SHA-256 differs"):
        opened.read()


def test_a_folder_marks_a_rehearsal(tmp_path):
    sets = {"train": frames_of(1, 1, OTHER)}
    folder = write_frames_folder(
        tmp_path / "f", sets, FramesCard(system="argon", **counts_of(sets))
    )
    assert folder.card.rehearsal
    with pytest.raises(DismaiError, match="already holds files"):
        write_frames_folder(tmp_path / "f", sets, folder.card)
    with pytest.raises(DismaiError, match="no folder of labelled frames"):
        open_frames_folder(tmp_path)
