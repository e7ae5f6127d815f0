"""Frames that are taken, and those that are refused with one line."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.training.data import check_sets, read_sets
from dismaiflow.potentials.training.evaluation import GPA, Predictions, baselines
from dismaiflow.structures.frame_files import FramesCard, write_frames, write_frames_folder
from dismaiflow.structures.frames import FrameLabel, LabelledFrames

from .toys import LABEL, frames


def refused(match, sets, **kwargs):
    with pytest.raises(DismaiError, match=match) as caught:
        check_sets(sets, **kwargs)
    assert "\n" not in str(caught.value)


def spoilt(name, index=1):
    """Frames with one number that is none."""
    whole = frames(3)
    values = getattr(whole, name).copy()
    values[index] = np.nan
    return {**whole.split(), "train": replace(whole, **{name: values})}


@pytest.mark.parametrize(
    ("name", "word"), [("energies", "energy is no finite"), ("forces", "forces are not all finite")]
)
def test_numbers_that_are_none(name, word):
    refused(rf"frame p0/[12] of train: its {word} number", spoilt(name))


def test_a_place_that_is_none():
    whole = frames(3)
    whole.structures.positions[0, 0] = np.inf
    refused("p0/1 of train: its positions are not all finite", {"train": whole, "val": frames(1)})


def test_stresses_all_or_none():
    whole = frames(3)
    whole.stresses[1] = np.nan
    sets = {"train": whole, "val": frames(1)}
    check_sets(sets)
    whole.stresses[2, 0, 1] = np.nan
    refused("p1/1 of train: some components of its stress", sets)


def test_sets_that_are_missing():
    refused("val has none", {"train": frames(1)})
    refused("train has none", {"train": LabelledFrames.empty(), "val": frames(1)})


def test_a_single_frame(tmp_path):
    write_frames(tmp_path / "one.extxyz", frames(1, 1))
    with pytest.raises(DismaiError, match=r"1 relaxations cannot be split .*three are needed"):
        read_sets([tmp_path / "one.extxyz"])
    with pytest.raises(DismaiError, match="1 frames cannot be split"):
        read_sets([tmp_path / "one.extxyz"], "frame")


def test_mixed_labels():
    other = FrameLabel(engine="vasp 6.4.2", functional="PBE+U")
    mixed = LabelledFrames.concatenate([frames(2), frames(2, label=other)])
    sets = {"train": mixed, "val": frames(1)}
    refused(r"2 sources .*\(morse, toy, .*; vasp 6\.4\.2, PBE\+U.*--allow-mixed", sets)
    assert len(check_sets(sets, allow_mixed=True).sets["train"].labels) == 2
    refused("2 sources", {"train": frames(2), "val": frames(1, label=other)})


def test_frames_of_a_rehearsal():
    label = FrameLabel(engine="vasp", functional="PBE", rehearsal=True)
    sets = frames(3, label=label).split()
    refused("rehearsal .*trying out only; allow it with --rehearsal", sets)
    assert check_sets(sets, allow_rehearsal=True).elements == ("Li", "Cl")


def test_elements():
    sets = frames(3, salts=("LiCl", "NaCl")).split()
    refused(r"hold Na, .*\(it knows Li, Cl\)", sets, elements=["Li", "Cl"])
    assert check_sets(sets).elements == ("Li", "Na", "Cl")
    assert check_sets(sets, elements=["Na", "Cl", "Li", "O"]).elements == ("Na", "Cl", "Li", "O")


def test_molecules():
    whole = frames(2)
    whole.structures.pbc[1, 2] = False
    refused(r"frame p0/2 of train: is not periodic", {"train": whole, "val": frames(1)})
    nameless = replace(whole, parents=("unnamed-frame-7", "unnamed-frame-8", "p1", "p1"))
    refused(r"frame 8 \(counted from 0\), of train: is not", {"train": nameless, "val": frames(1)})


def test_files_are_split_by_parent_and_folders_as_they_are(tmp_path):
    whole = frames(10, 1)
    write_frames(tmp_path / "a.extxyz", whole.select(range(4)))
    write_frames(tmp_path / "b.extxyz", whole.select(range(4, 10)))
    sets, how = read_sets([tmp_path / "a.extxyz", tmp_path / "b.extxyz"], seed=4)
    assert how == {"by": "parent", "seed": 4}
    assert {name: len(one) for name, one in sets.items()} == {"train": 8, "val": 1, "test": 1}
    assert check_sets(sets).shared_parents == 0

    card = FramesCard(system="toy", counts={}, parents={}, labels=[], split={"by": "mine"})
    write_frames_folder(tmp_path / "folder", sets, card)
    again, how = read_sets([tmp_path / "folder"])
    assert how == {"by": "mine"}
    assert check_sets(again).hash == check_sets(sets).hash
    for name in ("folder", "a.extxyz"):
        with pytest.raises(DismaiError, match=f"{name}: is given twice"):
            read_sets([tmp_path / name, tmp_path / "folder" / ".." / name])
    with pytest.raises(DismaiError, match="not both"):
        read_sets([tmp_path / "folder", tmp_path / "a.extxyz"])
    with pytest.raises(DismaiError, match="is split already"):
        read_sets([tmp_path / "folder"], "frame")


def test_frames_that_name_no_relaxation(tmp_path):
    """Each is alone, also those of two files; the split is called what it is."""
    for name in ("a", "b"):
        write_frames(tmp_path / f"{name}.extxyz", frames(2, 2))
        text = (tmp_path / f"{name}.extxyz").read_text()
        (tmp_path / f"{name}.extxyz").write_text(re.sub(r"parent=\S+ ", "", text))
    sets, how = read_sets([tmp_path / "a.extxyz", tmp_path / "b.extxyz"], seed=1)
    assert how == {"by": "frame", "seed": 1}
    data = check_sets(sets)
    assert len({parent for one in sets.values() for parent in one.parents}) == 8
    assert data.shared_parents == 0
    assert data.nameless.startswith("the frames do not name the relaxation they come from: the")
    write_frames(tmp_path / "named.extxyz", frames(3, 2))
    sets, how = read_sets([tmp_path / "a.extxyz", tmp_path / "named.extxyz"])
    assert how["by"] == "parent"
    assert check_sets(sets).nameless.startswith("4 of 10 frames do not name")
    assert check_sets(frames(3).split()).nameless is None


def test_a_split_by_frame_is_seen():
    whole = frames(6, 2)
    data = check_sets(whole.split("frame", seed=1))
    assert data.shared_parents > 0


def test_baselines_by_hand():
    """Energies per atom 1, 3 | 7: the mean 2 is off by 1, 1 | 5; of the rest, the mean size."""
    train, other = frames(1, 2), frames(1, 1)
    train = replace(train, energies=np.array([4.0, 12.0]))  # of four atoms
    forces = np.zeros_like(other.forces)
    forces[0] = [3, 0, -3]
    stress = np.diag([0.09, 0, 0])[None] / GPA
    other = replace(other, energies=np.array([28.0]), forces=forces, stresses=stress)
    assert baselines(train, train).energy == 1
    found = baselines(train, other)
    assert (found.energy, found.force, found.stress) == pytest.approx((5, 6 / 12, 0.01))
    assert found.loss == pytest.approx(5 + 0.5 + 0.001)
    silent = replace(other, stresses=np.full((1, 3, 3), np.nan))
    assert baselines(train, silent).stress is None


def test_units_of_stresses():
    """1 eV/Å^3 = 160.21766208 GPa (CODATA 2014, as ASE has it), to 1e-7."""
    from ase.units import GPa

    assert 1 / GPa == pytest.approx(GPA, rel=1e-7)
    whole = frames(1, 1)
    assert Predictions.labelled(whole).stresses == pytest.approx(whole.stresses / GPa, rel=1e-6)
    assert LABEL.rehearsal is False
