"""UniMat from training to structures; refusals; what it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dismaiflow.errors import DismaiError  # noqa: E402
from dismaiflow.models.base import Budget, ModelData  # noqa: E402
from dismaiflow.models.checks import validate_generated  # noqa: E402
from dismaiflow.models.presets import preset  # noqa: E402
from dismaiflow.models.unimat import generation  # noqa: E402
from dismaiflow.models.unimat.model import UniMat, sorted_out  # noqa: E402
from dismaiflow.structures.checks import Expectation  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402
from dismaiflow.systems import get_system  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

TOY: dict[str, Any] = {
    "dim": 8, "dim_mults": [1, 2], "num_resnet_blocks": 1, "layer_attns": [False, True],
    "layer_cross_attns": [False, True], "attn_heads": 2, "attn_dim_head": 8, "frame_size": [2, 2],
    "batch_size": 4, "max_steps": 3, "validation_interval": 2, "sampling_timesteps": 3,
    "device": "cpu",
}  # fmt: skip

NUMBERS = [17, 3, 3, 17, 3, 17, 3, 17]


def salts(n: int, seed: int, numbers: Any = NUMBERS, edge: float = 5.1) -> StructureSet:
    """Return rock salt of eight atoms, rattled by 0.1 Å, species in mixed order."""
    rng = np.random.default_rng(seed)
    sites = [[x, y, z] for x in (0, 0.5) for y in (0, 0.5) for z in (0, 0.5)]
    positions = edge * (np.array(sites) + 0.25) + rng.normal(0, 0.1, (n, 8, 3))
    return StructureSet.uniform(np.tile(numbers, (n, 1)), positions, edge * np.eye(3))


def test_from_training_to_structures(tmp_path: Path) -> None:
    """The same seed gives the same structures, good and bad."""
    model = UniMat(**TOY)
    given = ModelData(salts(6, 0), salts(3, 1))
    result = model.fit(given, tmp_path, seed=1, budget=Budget())
    assert (result.finished, result.step, result.device) == (True, 3, "cpu")
    made = [model.sample(tmp_path, 5, seed=seed) for seed in (3, 3, 4)]
    assert all(one.n_frames == 5 for one in made)
    assert made[0].structures.content_hash == made[1].structures.content_hash
    assert made[0].bad == made[1].bad
    assert "val_loss" in (tmp_path / "log.csv").read_text().splitlines()[0]


def test_atoms_come_in_the_order_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames are grouped by species; structures list atoms and have the cell as the first one."""
    model, given = UniMat(**TOY), salts(4, 0)
    model.fit(ModelData(given), tmp_path, seed=1, budget=Budget())
    chlorine_first = [0, 3, 5, 7, 1, 2, 4, 6]
    grouped = given.positions.reshape(4, 8, 3)[:, chlorine_first] / 5.1
    wrong = np.zeros((4, 8), dtype=bool)
    wrong[2, 1] = True
    monkeypatch.setattr(generation, "generate", lambda *_: (grouped, wrong))
    found = model.sample(tmp_path, 4, seed=0)
    kept = given.select(np.array([0, 1, 3]))
    np.testing.assert_array_equal(found.structures.numbers, kept.numbers)
    np.testing.assert_allclose(found.structures.positions, kept.positions, atol=1e-12)
    np.testing.assert_allclose(found.structures.cells, kept.cells)
    assert [bad.index for bad in found.bad] == [2]
    lenient = UniMat(**(TOY | {"reject_wrong_species": False})).sample(tmp_path, 4, seed=0)
    np.testing.assert_allclose(lenient.structures.positions, given.positions, atol=1e-12)
    assert lenient.bad == []


def test_wrong_species_are_counted_and_never_dropped() -> None:
    """Of four structures, the second and the last have atoms that are none of theirs."""
    wrong = np.zeros((4, 8), dtype=bool)
    wrong[1, 3] = wrong[3, :2] = True
    positions = np.arange(4 * 8 * 3).reshape(4, 8, 3) / 100
    found = sorted_out(positions, np.array(NUMBERS), 5.1 * np.eye(3), wrong)
    assert found.indices.tolist() == [0, 2]
    np.testing.assert_array_equal(found.structures.positions[8:], positions[2])
    assert [(bad.index, bad.reason) for bad in found.bad] == [
        (1, "wrong_composition"),
        (3, "wrong_composition"),
    ]
    assert "2 of 8 atoms" in found.bad[1].detail
    check = validate_generated(found, 4, Expectation({3: 4, 17: 4}, 5.1 * np.eye(3)))
    assert (check.n_asked, check.n_sound) == (4, 2)
    assert check.reasons == {"wrong_composition": 2}


def test_all_may_be_wrong() -> None:
    found = sorted_out(np.zeros((2, 8, 3)), np.array(NUMBERS), np.eye(3), np.ones((2, 8), bool))
    assert (len(found.structures), found.n_frames) == (0, 2)


def with_nan(structures: StructureSet) -> StructureSet:
    positions = structures.positions.reshape(len(structures), -1, 3).copy()
    positions[1, 2, 0] = np.nan
    numbers = structures.numbers.reshape(len(structures), -1)
    return StructureSet.uniform(numbers, positions, structures.cells[0])


@pytest.mark.parametrize(
    ("train", "val", "said"),
    [
        (with_nan(salts(3, 0)), None, "unimat: training structure 1 holds a coordinate"),
        (salts(3, 0), with_nan(salts(3, 1)), "unimat: validation structure 1 holds a coordinate"),
        (
            StructureSet.concatenate([salts(2, 0), salts(1, 1, [3] * 5 + [17] * 3)]),
            None,
            "unimat: training structure 2 is Cl3Li5, structure 0 is Cl4Li4",
        ),
        (
            salts(2, 0),
            salts(1, 1, [3] * 5 + [17] * 3),
            "unimat: validation structure 0 is Cl3Li5, those of training are Cl4Li4",
        ),
        (salts(2, 0), salts(1, 1, edge=5.2), "cell of validation structure 0 differs .* by 0.1 Å"),
        (salts(0, 0), None, "unimat: there are no training structures"),
    ],
)
def test_datasets_that_cannot_be_learned(
    tmp_path: Path, train: StructureSet, val: StructureSet | None, said: str
) -> None:
    with pytest.raises(DismaiError, match=said) as told:
        UniMat(**TOY).fit(ModelData(train, val), tmp_path, seed=0, budget=Budget())
    assert "\n" not in str(told.value)


def test_validation_structures_may_list_species_in_another_order() -> None:
    """They are grouped as those of training."""
    from dismaiflow.models.ddpm.structures import known_structures

    other = salts(2, 1, [3, 17, 17, 3, 17, 3, 17, 3])
    known, watched = known_structures(ModelData(salts(2, 0), other), "unimat")
    assert watched is not None
    chlorine = other.positions.reshape(2, 8, 3)[:, [1, 2, 4, 6]] / 5.1
    assert known.numbers[known.order].tolist() == [17] * 4 + [3] * 4
    np.testing.assert_allclose(watched[:, :4], chlorine, atol=1e-12)


def test_shuffling_needs_a_system(tmp_path: Path) -> None:
    model = UniMat(**(TOY | {"augmentation": "shuffle-region"}))
    with pytest.raises(DismaiError, match="unimat: augmentation shuffle-region is for interfaces"):
        model.fit(ModelData(salts(2, 0)), tmp_path, seed=0, budget=Budget())


def test_all_atoms_in_any_order(tmp_path: Path) -> None:
    """The control of Fig. S20 trains and samples."""
    changes = {"augmentation": "shuffle-all", "augmentation_copies": 2, "max_steps": 2}
    model = UniMat(**(TOY | changes))
    model.fit(ModelData(salts(2, 0), salts(2, 1)), tmp_path, seed=0, budget=Budget())
    assert model.sample(tmp_path, 2, seed=0).n_frames == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"frame_size": [3, 4]}, "multiples of 4"),
        ({"dim_mults": [1, 2]}, "layer_attns must have 2 entries"),
        ({"num_resnet_blocks": [1, 2]}, "num_resnet_blocks must be one number, or 3"),
        ({"absent_value": 0.5}, "absent_value"),
        ({"channels": 4}, "channels"),
        ({"lattice": "all"}, "lattice"),
        ({"framesize": [4, 4]}, "framesize"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DismaiError, match=said) as told:
        UniMat(**settings)
    assert "\n" not in str(told.value)


def test_the_card_tells_deviations() -> None:
    card = UniMat().card()
    assert card.category == "gpu"
    assert card.deviations
    assert card.settings["frame_size"] == [4, 4]


@pytest.mark.parametrize("system", ["alloy-300K-narrow", "amorphous-si", "lsc-lco"])
def test_the_defaults_are_the_preset(system: str) -> None:
    """But for the augmentation, which only the interface has."""
    found = preset("unimat", get_system(system)).settings
    ours = UniMat().settings.model_dump(mode="json")
    changed = {key for key, value in found.items() if ours[key] != value}
    expected = {"augmentation", "augmentation_copies"} if system == "lsc-lco" else set()
    assert changed == expected
