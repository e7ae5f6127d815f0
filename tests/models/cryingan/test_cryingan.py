"""Training and sampling of CryinGAN."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.cryingan.conftest import SMALL

from dismaiflow.errors import DismaiError
from dismaiflow.models.base import Budget, GenerativeModel, ModelData
from dismaiflow.models.cryingan.augmentation import lattice_translations, translate
from dismaiflow.models.cryingan.learner import CryinGANLearner
from dismaiflow.models.cryingan.model import CryinGAN
from dismaiflow.models.cryingan.settings import CryinGANSettings, cryingan_settings
from dismaiflow.models.data.fixed_cell import FixedCellData
from dismaiflow.models.train.learner import Place
from dismaiflow.models.train.randomness import generator
from dismaiflow.structures.structure_set import StructureSet
from dismaiflow.systems import get_system


def make_learner(structures, dtype=torch.float32, **settings):
    data = FixedCellData.from_structures(structures, "cryingan")
    return CryinGANLearner(cryingan_settings(SMALL | settings), data, 0, dtype=dtype)


def test_atoms_are_grouped_by_species_as_they_first_appear(skew_cell):
    fractions = np.array([[0.1, 0, 0], [0.2, 0, 0], [0.3, 0, 0], [0.4, 0, 0]])
    numbers = [[8, 3, 8, 27], [27, 8, 3, 8]]
    both = StructureSet.uniform(
        numbers, np.stack([fractions, 1 + fractions]) @ skew_cell, skew_cell
    )
    data = FixedCellData.from_structures(both, "cryingan")
    assert data.counts == (2, 1, 1)  # O, Li, Co
    np.testing.assert_array_equal(data.order, [0, 2, 1, 3])
    expected = [[0.1, 0.3, 0.2, 0.4], [0.2, 0.4, 0.3, 0.1]]
    np.testing.assert_allclose(data.fractions[:, :, 0], expected, atol=1e-12)


def test_other_compositions_and_cells_are_refused(structures, skew_cell):
    other = structures.numbers.copy()
    other[9:18] = [26] * 9
    with pytest.raises(DismaiError, match="training structure 1 is Fe9, structure 0 is"):
        FixedCellData.from_structures(replace(structures, numbers=other), "cryingan")
    cells = structures.cells.copy()
    cells[4, 2, 2] += 0.01
    with pytest.raises(DismaiError, match=r"cell of training structure 4 differs .* by 0\.01"):
        FixedCellData.from_structures(replace(structures, cells=cells), "cryingan")
    open_ends = structures.pbc.copy()
    open_ends[2, 2] = False
    with pytest.raises(DismaiError, match="structure 2 is not periodic"):
        FixedCellData.from_structures(replace(structures, pbc=open_ends), "cryingan")
    with pytest.raises(DismaiError, match="no training structures"):
        FixedCellData.from_structures(structures.select([]), "cryingan")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epocs": 3}, "setting epocs is not known: did you mean epochs"),
        ({"variant": "mix"}, "setting variant should be 'cryingan' or 'comb', got 'mix'"),
        ({"critic": "cgcnn", "variant": "comb"}, "use critic pointnet"),
        ({"betas": [0.5, 1.0]}, r"setting betas\.1 should be less than 1, got 1\.0"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(DismaiError, match=message):
        CryinGAN(**settings)


def test_defaults_are_the_papers():
    found = CryinGANSettings()
    assert (found.batch_size, found.epochs, found.learning_rate) == (32, 100_000, 5e-5)
    assert (found.generator_interval, found.gradient_penalty_weight) == (5, 10)
    assert (found.bond_loss_weight, found.n_neighbors) == (0.05, 6)
    assert isinstance(CryinGAN(), GenerativeModel)
    assert json.loads(json.dumps(CryinGAN().card().settings))["latent_dim"] == 64


def test_translations_are_all_different_and_wrap():
    moves = lattice_translations((4, 4, 4))
    assert len(moves) == len({tuple(move) for move in moves.tolist()}) == 64
    # Sites of a lattice with four cells along each axis, as a file of eight decimals has them.
    sites = torch.tensor([[[0.0, 0.125, 0.99999999], [0.875, 0.75000001, 0.5]]]).double()
    moved = translate(sites.expand(64, -1, -1), moves)
    assert moved.min() >= 0
    assert moved.max() < 0.876
    expected = (sites + moves[:, None]) % 1
    apart = (moved - expected + 0.5) % 1 - 0.5
    assert apart.abs().max() < 2e-8


def test_translations_must_be_those_of_the_alloy(structures, tmp_path):
    spec = get_system("alloy-300K-narrow")
    model = CryinGAN(augmentation="lattice-translations", translations=[3, 4, 4], device="cpu")
    with pytest.raises(DismaiError, match=r"set translations to its supercell, \[4, 4, 4\]"):
        model.fit(ModelData(structures, spec=spec), tmp_path, seed=0, budget=Budget())


def test_each_item_is_a_structure_in_one_of_its_translations(structures):
    options = {"augmentation": "lattice-translations", "translations": (2, 3, 1)}
    learner = make_learner(structures, torch.float64, **options)
    assert learner.n_items == 12 * 6
    real = learner.real(torch.arange(72), torch.Generator())
    fractions = real["coordinates"].view(12, 6, 9, 3).numpy()
    data = FixedCellData.from_structures(structures, "cryingan")
    expected = [[x / 2, y / 3, 0] for x in range(2) for y in range(3)]
    apart = fractions - data.fractions[:, None] - np.array(expected)[:, None]
    np.testing.assert_allclose(apart, np.rint(apart), atol=1e-5)
    # Bond distances do not change by translation: those of the moved structures are the same.
    moved = learner._neighbors.distances(real["coordinates"])
    np.testing.assert_allclose(real["bonds"].numpy(), moved.numpy(), atol=1e-9)
    once = make_learner(structures, epoch_counts_translations=False, **options)
    assert once.n_items == 12
    first, second = (once.real(torch.arange(12), generator(i)) for i in range(2))
    assert not torch.equal(first["coordinates"], second["coordinates"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bond_loss_weight": 0.0},
        {"bond_loss_weight": 0.0, "coordinate_pooling": "max"},
        {"coordinate_pooling": "mix", "bond_loss_weight": 0.0},
        {"bond_pooling": "max"},
        {"bond_pooling": "mix"},
        {"variant": "comb"},
        {"penalty_of": "mean"},
        {"critic": "cgcnn", "cgcnn_features": 8, "cgcnn_hidden": 8, "cgcnn_neighbors": 4},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "cryingan",
)
def test_variants_train(structures, settings):
    # Copies of one structure, which a critic can tell from noise.
    rng = np.random.default_rng(1)
    places = np.tile(structures.positions[:9], (12, 1)) + rng.normal(0, 0.05, (108, 3))
    numbers = np.tile(structures.numbers[:9], 12)
    structures = replace(structures, positions=places, numbers=numbers)
    learner = make_learner(structures, learning_rate=2e-3, **settings)
    rows = [
        learner.step(torch.arange(i % 2, 12, 2), generator(0, i), Place(i, 0, i)) for i in range(80)
    ]
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert [i for i, row in enumerate(rows) if "generator_loss" in row] == list(range(0, 80, 5))
    penalties = [sum(v for k, v in row.items() if k.startswith("penalty")) for row in rows]
    assert np.mean(penalties[-10:]) < 0.5 * np.mean(penalties[:10])
    if settings.get("critic") != "cgcnn":  # which the paper found to diverge
        distances = [row["wasserstein"] for row in rows]
        assert np.mean(distances[-10:]) > max(0.0, np.mean(distances[:10]))


@pytest.mark.parametrize("critic", ["pointnet", "cgcnn"])
def test_pieces_of_a_batch_add_up(structures, monkeypatch, critic):
    sizes = {"cgcnn_features": 8, "cgcnn_hidden": 8, "cgcnn_neighbors": 4}
    found = []
    for rows in (4 * 9, 10**6):  # pieces of four structures and two; the whole batch
        for module in ("shared_layers", "normed_layers"):
            monkeypatch.setattr(f"dismaiflow.models.cryingan.{module}.CACHED_ROWS", rows)
        learner = make_learner(structures, torch.float64, critic=critic, **sizes)
        losses = learner.step(torch.arange(6), generator(0), Place())
        gradients = [p.grad for module in learner.modules.values() for p in module.parameters()]
        found.append((losses, gradients))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    for parts, whole in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-8, atol=1e-12)


def test_generator_learns_at_every_fifth_batch_of_an_epoch(structures):
    learner = make_learner(structures)
    before = [p.detach().clone() for p in learner.generator.parameters()]
    learner.step(torch.arange(6), generator(0), Place(5, 1, 1))
    now = list(learner.generator.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
    learner.step(torch.arange(6), generator(0), Place(6, 1, 5))
    assert not torch.equal(before[0], now[0])


def test_samples(structures, skew_cell, tmp_path):
    model = CryinGAN(**SMALL, epochs=1)
    model.fit(ModelData(structures), tmp_path, seed=0, budget=Budget())
    made = model.sample(tmp_path, 7, seed=2)
    assert len(made) == 7
    np.testing.assert_array_equal(made.numbers.reshape(7, 9), [structures.numbers[:9]] * 7)
    np.testing.assert_array_equal(made.cells, [skew_cell] * 7)
    assert made.pbc.all()
    fractions = made.positions @ np.linalg.inv(skew_cell)
    assert fractions.min() > 0
    assert fractions.max() < 1
    again = CryinGAN(device="cpu", sample_batch_size=2).sample(tmp_path, 7, seed=2)
    np.testing.assert_allclose(again.positions, made.positions, atol=1e-5)
    other = model.sample(tmp_path, 7, seed=3)
    assert np.abs(other.positions - made.positions).max() > 1e-3
    # Normalised by the averages of the training, a structure does not depend on its batch.
    np.testing.assert_allclose(
        model.sample(tmp_path, 17, seed=2).positions[:9],
        model.sample(tmp_path, 20, seed=2).positions[:9],
        atol=1e-5,
    )
    assert len(model.sample(tmp_path, 0, seed=2)) == 0


def test_atoms_come_back_in_the_order_of_the_first_structure(structures, tmp_path):
    # A generator whose last layer ignores all but a number of each grouped atom tells its place.
    model = CryinGAN(**SMALL, max_steps=1)
    model.fit(ModelData(structures), tmp_path, seed=0, budget=Budget())
    described = json.loads((tmp_path / "model.json").read_text())
    numbers, order = np.array(described["numbers"]), np.array(described["order"])
    np.testing.assert_array_equal(numbers, structures.numbers[:9])
    grouped = numbers[order]
    assert (np.diff(grouped) != 0).sum() == 2  # three species, one after the other
    from dismaiflow.models.cryingan.sampling import generate

    fractions = generate(tmp_path, model.settings, 9, 3, 5, "cpu")
    made = model.sample(tmp_path, 3, seed=5)
    places = made.positions.reshape(3, 9, 3)[:, order] @ np.linalg.inv(np.array(described["cell"]))
    np.testing.assert_allclose(places, fractions, atol=1e-6)


def test_folders_without_a_trained_model_are_refused(tmp_path):
    with pytest.raises(DismaiError, match=r"model\.json: cannot be read"):
        CryinGAN().sample(tmp_path, 1, seed=0)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(DismaiError, match="does not describe a trained cryingan"):
        CryinGAN().sample(tmp_path, 1, seed=0)


def rmsd(structures, ideal, cell):
    """Root mean square distance of atoms to their sites, Å."""
    apart = structures - ideal
    return float(np.sqrt((((apart - np.rint(apart)) @ cell) ** 2).sum(-1).mean()))


@pytest.mark.slow
def test_learns_a_rattled_structure():
    """Generated atoms come much nearer to their sites than the untrained generator's."""
    cell, sites = 3.6 * np.eye(3), np.array([[0.2, 0.3, 0.7], [0.7, 0.8, 0.2]])
    fractions = sites + np.random.default_rng(0).normal(0, 0.1 / 3.6, (64, 2, 3))
    structures = StructureSet.uniform(np.tile([26, 28], (64, 1)), fractions @ cell, cell)
    sizes = {
        "generator_channels": 32,
        "generator_widths": [64, 64, 64],
        "critic_widths": [64, 64, 64],
        "critic_head": [64, 32],
        "generator_interval": 2,
        "batch_size": 32,
        "learning_rate": 1e-3,
    }
    learner = make_learner(structures, **(SMALL | sizes))

    def distance():
        learner.generator.eval()
        with torch.no_grad():
            made = learner.generator(torch.randn(100, 8, generator=generator(1))).numpy()
        learner.generator.train()
        return rmsd(made, sites, cell)

    untrained = distance()
    made = []
    for i in range(1401):
        if i >= 1300 and i % 20 == 0:  # losses of two players jump
            made.append(distance())
        batch = torch.randperm(64, generator=generator(2, i))[:32]
        learner.step(batch, generator(0, i), Place(i, 0, i))
    assert np.median(made) < 0.5 * untrained
