"""CrysTens from training to structures: resume, kept weights, failures, refusals."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from dismaiflow.errors import DismaiError  # noqa: E402
from dismaiflow.models.base import Budget, ModelData  # noqa: E402
from dismaiflow.models.crystens.generation import as_structures  # noqa: E402
from dismaiflow.models.crystens.learner import BASE, SUPER, make_network, resized  # noqa: E402
from dismaiflow.models.crystens.model import CrysTens  # noqa: E402
from dismaiflow.models.crystens.reconstruction import reconstruct  # noqa: E402
from dismaiflow.models.crystens.representation import Layout  # noqa: E402
from dismaiflow.models.crystens.settings import crystens_settings  # noqa: E402
from dismaiflow.models.data.fixed_cell import FixedCellData  # noqa: E402
from dismaiflow.models.train.learner import Learner, Place  # noqa: E402
from dismaiflow.models.train.loop import TrainPlan, train  # noqa: E402
from dismaiflow.models.train.weights import read_weights  # noqa: E402
from dismaiflow.structures.structure_set import StructureSet  # noqa: E402
from dismaiflow.systems import get_system  # noqa: E402

from .conftest import CELL, SMALL, interfaces, silicon  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path


def fit(folder: Path, data: ModelData, budget: Budget | None = None, **changes: Any) -> CrysTens:
    model = CrysTens(**(SMALL | changes))
    folder.mkdir(exist_ok=True)
    model.fit(data, folder, seed=1, budget=budget or Budget())
    return model


def test_from_training_to_structures(tmp_path: Path) -> None:
    """In the cell of training; the same seed gives the same, whatever is made at once."""
    fit(tmp_path, ModelData(silicon(6), silicon(2, 1)))
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    assert {"val_loss", "val_base_loss", "val_super_loss"} < set(header.split(","))
    assert rows[-1].split(",")[1] == "3"
    made = [CrysTens(**SMALL).sample(tmp_path, 3, seed=seed).structures for seed in (3, 3, 4)]
    assert made[0].content_hash == made[1].content_hash != made[2].content_hash
    parts = CrysTens(**SMALL, sample_batch_size=2).sample(tmp_path, 3, seed=3).structures
    np.testing.assert_allclose(parts.positions, made[0].positions, atol=1e-4)
    assert set(made[0].numbers.tolist()) == {14}
    np.testing.assert_array_equal(made[0].cells, [CELL] * 3)
    assert made[0].labels["coordinate_mae"].shape == (3,)


class Two(Learner):
    """Two networks of one weight, which grows; best where they are 1 and 3."""

    def __init__(self) -> None:
        self.modules = {name: torch.nn.Linear(1, 1, bias=False) for name in (BASE, SUPER)}
        for module in self.modules.values():
            torch.nn.init.zeros_(module.weight)
        self.optimizers, self.schedulers = {}, {}

    def step(self, batch: torch.Tensor, rng: torch.Generator, at: Place) -> dict[str, float]:
        with torch.no_grad():
            for module in self.modules.values():
                module.weight += 1
        return {"loss": 0.0}

    def validate(self, rng: torch.Generator) -> dict[str, float]:
        base, large = (module.weight.item() for module in self.modules.values())
        found = {"base_loss": abs(base - 1), "super_loss": abs(large - 3)}
        return found | {"loss": sum(found.values())}


def test_each_network_keeps_its_own_best_weights(tmp_path: Path) -> None:
    plan = TrainPlan(1, 1, epochs=5, kept_weights="smallest-validation-loss")
    train(Two(), plan, tmp_path, 0, Budget(), {})
    found = read_weights(tmp_path / "weights.pt")["weights"]
    assert [found[name]["weight"].item() for name in (BASE, SUPER)] == [1, 3]


def test_small_images_have_the_nearest_pixels() -> None:
    """Of 288 pixels every fourth or fifth: the one at 4.5 times its place, rounded down."""
    images = torch.linspace(-1, 1, 288 * 288).reshape(1, 1, 288, 288)
    small = resized(images, 64)
    rows = [int(4.5 * i) for i in range(64)]
    assert torch.equal(small, images[:, :, rows][:, :, :, rows])
    large = resized(small, 288)
    assert torch.equal(large[0, 0, 287], small[0, 0, 63].repeat_interleave(9)[::2])
    assert resized(3 * images, 64).abs().max() == 1


def test_weights_at_the_size_of_the_paper() -> None:
    """Those of imagen-pytorch 1.26.2 that are of use without text, counted with that program."""
    settings = crystens_settings({})
    for name, published in ((BASE, 18_952_607), (SUPER, 47_100_354)):
        with torch.device("meta"):
            network = make_network(settings, name)
        n = sum(one.numel() for one in network.parameters())
        assert n == pytest.approx(published, rel=1e-5)


def read_back(known: FixedCellData, spoiled: Any = None) -> Any:
    """Encode structures, change the images, and read them."""
    layout = Layout.of(known)
    images = layout.encode(torch.from_numpy(known.fractions))
    if spoiled is not None:
        spoiled(images, layout.first)
    return as_structures([reconstruct(layout, images)], layout, known.cell, known.order)


def test_structures_have_the_order_of_the_first_one() -> None:
    given = interfaces(4)
    found = read_back(FixedCellData.from_structures(given, "crystens"))
    assert found.bad == []
    np.testing.assert_array_equal(found.structures.numbers.reshape(4, 8), [given.numbers[:8]] * 4)
    between = (found.structures.positions[:8] - given.positions[:8]) @ np.linalg.inv(CELL)
    np.testing.assert_allclose(between, np.rint(between), atol=1e-9)
    assert set(found.structures.labels["species_accuracy"]) == {1}


def test_wrong_compositions_and_lost_images_are_counted() -> None:
    """Elements are what the pixels tell; two that changed places are a composition as right."""

    def spoiled(images: torch.Tensor, first: int) -> None:
        for image, pixel in ((images[0], 1.0), (images[1], 0.1)):  # a fifth Cl; 10.7, sodium
            image[:, 0, first] = image[:, first, 0] = pixel
        for row, pixel in ((first, 1.0), (first + 7, -1.0)):
            images[2, :, 0, row] = images[2, :, row, 0] = pixel
        images[3, 2, first, first] = torch.nan

    given = interfaces(5)
    found = read_back(FixedCellData.from_structures(given, "crystens"), spoiled)
    assert found.indices.tolist() == [2, 4]
    assert [(bad.index, bad.reason) for bad in found.bad] == [
        (0, "wrong_composition"),
        (1, "wrong_composition"),
        (3, "not_finite"),
    ]
    assert found.bad[0].detail == "1 of 8 atoms are read as another element"
    numbers = found.structures.numbers.reshape(2, 8)
    assert [Counter(row.tolist()) for row in numbers] == [{3: 4, 17: 4}] * 2
    assert (numbers[0] != numbers[1]).sum() == 2
    assert found.structures.labels["species_accuracy"].tolist() == [6 / 8, 1]


def test_epochs_count_shuffled_copies(tmp_path: Path) -> None:
    """Two structures, each and three copies of it: two steps of four."""
    changes = {"augmentation": "shuffle-all", "augmentation_copies": 3, "max_steps": 2}
    fit(tmp_path, ModelData(silicon(2)), **changes)
    rows = (tmp_path / "log.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:2] for row in rows] == [["epoch", "2"]]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"k_means": True}, r"^crystens: setting k_means.*leave it false"),
        ({"num_resnet_blocks": [[1], [1, 1]]}, "num_resnet_blocks must name each of the 2 levels"),
        ({"channels": 3}, "channels"),
        ({"chanels": 4}, r"setting chanels is not known: did you mean channels\?"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(DismaiError, match=said):
        CrysTens(**(SMALL | settings))


@pytest.mark.parametrize(
    ("data", "settings", "said"),
    [
        (ModelData(silicon(3)), {"base_image_size": 32}, "must be smaller than the images of 8"),
        (ModelData(silicon(3)), {"base_image_size": 9}, "base_image_size makes images of 9 a side"),
        (ModelData(silicon(3)), {"padding": 0}, "padding makes images of 19 a side, which 4 must"),
        (
            ModelData(StructureSet.concatenate([silicon(1), interfaces(1)])),
            {},
            r"^crystens: training structure 1 is Cl4Li4, structure 0 is Si8",
        ),
        (ModelData(silicon(3), interfaces(1)), {}, "validation structure 0 is Cl4Li4"),
        (
            ModelData(StructureSet.uniform([[14] * 2], [[[0, 0, np.nan], [1, 1, 1]]], CELL)),
            {},
            "training structure 0 holds a coordinate",
        ),
        (
            ModelData(silicon(3), spec=get_system("amorphous-si")),
            {"augmentation": "shuffle-region"},
            "shuffle-region is for interfaces",
        ),
    ],
)
def test_what_cannot_be_learned_is_told(
    tmp_path: Path, data: ModelData, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(DismaiError, match=said) as told:
        fit(tmp_path, data, **settings)
    assert "\n" not in str(told.value)


def test_the_card_tells_deviations() -> None:
    card = CrysTens().card()
    assert card.shown_to_learn == ""
    assert any("padding" in line for line in card.deviations)
    assert CrysTens().sampling_settings >= {"sampling_timesteps", "species_reading"}
