"""Training: the loss, exact resume, the choice of the epoch, fine-tuning."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.names import open_potential
from dismaiflow.potentials.training import loop as loop_module
from dismaiflow.potentials.training.checkpoint import CHECKPOINT_NAME, TrainingState
from dismaiflow.potentials.training.data import GraphFrames, check_sets
from dismaiflow.potentials.training.evaluation import GPA, Predictions, predict
from dismaiflow.potentials.training.loop import epoch_order, train
from dismaiflow.potentials.training.network import force_scale, new_network
from dismaiflow.potentials.training.run import train_to_folder

from .toys import crystal, frames, tiny

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def plain(state):
    """A state without what the clock says, tensors as bytes."""

    def flat(value):
        if isinstance(value, torch.Tensor):
            return value.numpy().tobytes()
        if isinstance(value, dict):
            return {key: flat(one) for key, one in value.items() if key != "seconds"}
        return [flat(one) for one in value] if isinstance(value, list | tuple) else value

    return flat({key: value for key, value in vars(state).items() if key != "seconds"})


@pytest.mark.parametrize("schedule", ["constant", pytest.param("cosine", marks=pytest.mark.slow)])
def test_a_training_in_parts_is_that_in_one(tmp_path, data, schedule):
    """Bit for bit: weights, moments of the optimiser, history, choice of the epoch."""
    settings = tiny(epochs=3, schedule=schedule)
    for name in ("one", "parts"):
        (tmp_path / name).mkdir()
    whole = train(data, settings, tmp_path / "one", device="cpu")
    first = tiny(epochs=2) if schedule == "constant" else settings
    # No second is left after the first epoch.
    run = train(data, first, tmp_path / "parts", device="cpu", max_seconds=0)
    assert (run.finished, run.state.epoch) == (False, 1)
    run = train(data, first, tmp_path / "parts", device="cpu", max_seconds=0)
    assert run.state.epoch == 2
    run = train(data, settings, tmp_path / "parts", device="cpu")
    assert whole.finished
    assert run.finished
    assert whole.state.epoch == 3
    assert plain(run.state) == plain(whole.state)
    read = [TrainingState.read(tmp_path / name / CHECKPOINT_NAME) for name in ("one", "parts")]
    assert plain(read[0]) == plain(read[1]) == plain(whole.state)
    ours, theirs = (one.potential.state_dict() for one in (run, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_killed_epoch_begins_again(tmp_path, data, monkeypatch):
    """A kill before a checkpoint is whole leaves the one before."""
    settings = tiny(epochs=2)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train(data, settings, tmp_path / "a", device="cpu")
    train(data, settings, tmp_path / "b", device="cpu", max_seconds=0)
    steps = loop_module._Loop._step

    def killed(self, batch):
        steps(self, batch)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop_module._Loop, "_step", killed)
        train(data, settings, tmp_path / "b", device="cpu")
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [CHECKPOINT_NAME]
    run = train(data, settings, tmp_path / "b", device="cpu")
    assert plain(run.state) == plain(whole.state)


def test_another_training_is_not_gone_on_with(tmp_path, data, trained):
    for settings, sets in (
        (tiny(epochs=4, lr=0.01), data),
        (tiny(epochs=4, seed=1), data),
        (tiny(epochs=4), check_sets(frames(7).split())),
    ):
        with pytest.raises(DismaiError, match="belongs to a training with other frames") as caught:
            train(sets, settings, trained.folder, device="cpu")
        assert "\n" not in str(caught.value)


def test_a_damaged_checkpoint(tmp_path, data):
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"PK nothing")
    with pytest.raises(DismaiError, match=r"is no checkpoint .*: remove it") as caught:
        train(data, tiny(), tmp_path, device="cpu")
    assert str(caught.value).count(". ") == 0


def test_a_checkpoint_is_not_unpickled(tmp_path):
    torch.save({"format": 1, "identity": print}, tmp_path / "x.pt")
    with pytest.raises(DismaiError, match="is no checkpoint"):
        TrainingState.read(tmp_path / "x.pt")


def test_the_order_of_an_epoch():
    assert sorted(epoch_order(1, 2, 9)) == list(range(9))
    assert epoch_order(1, 2, 9).tolist() == epoch_order(1, 2, 9).tolist()
    assert len({tuple(epoch_order(seed, epoch, 9)) for seed in (0, 1) for epoch in (1, 2)}) == 4


def test_the_loss_is_equation_7(data):
    """Against numbers of the calculator, one frame at a time, in numpy; one frame lacks stress."""
    batch_of = data.sets["train"].select([0, 1, 2])
    stresses = batch_of.stresses.copy()
    stresses[1] = np.nan
    batch_of = replace(batch_of, stresses=stresses)
    lone = check_sets({"train": batch_of, "val": data.sets["val"]})
    network = new_network(lone, tiny())
    for parameter in network.parameters():
        parameter.data *= 1.5
    from matgl.ext.ase import PESCalculator

    calculator = PESCalculator(copy.deepcopy(network).eval(), stress_unit="eV/A3", use_voigt=False)
    energy, force, stress = [], [], []
    for index, atoms in enumerate(batch_of.structures):
        atoms.calc = calculator
        energy.append((atoms.get_potential_energy() - batch_of.energies[index]) / len(atoms))
        force.append(atoms.get_forces() - batch_of.forces_of(index))
        if index != 1:
            stress.append((calculator.results["stress"] - batch_of.stresses[index]) * GPA)
    expected = (
        np.mean(np.square(energy))
        + np.mean(np.square(np.concatenate(force)))
        + 0.1 * np.mean(np.square(stress))
    )

    loop = object.__new__(loop_module._Loop)
    loop._settings, loop._potential = tiny(), network.train()
    loop._optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    found, sizes = loop._step(GraphFrames(batch_of, network.model).batch(range(3)))
    assert found[0] == pytest.approx(expected, rel=1e-4)
    assert found[1] == pytest.approx(np.abs(energy).mean(), rel=1e-4)
    assert found[3] == pytest.approx(np.abs(stress).mean(), rel=1e-4)
    assert sizes.tolist() == [3, 3, 36, 18]


def test_labels_are_what_finite_differences_say(data):
    """The network's own forces and stresses, as training sees them, in sign and unit.

    A strain of 1e-3 along x changes the energy by V s_xx 1e-3; forces likewise.
    """
    network = new_network(data, tiny()).double()
    atoms = crystal(3)
    from matgl.ext.ase import Atoms2Graph

    convert = Atoms2Graph(tuple(network.model.element_types), 4.0)

    def energy(structure):
        graph, cell, _ = convert.get_graph(structure)
        return network.eval()(graph, cell.reshape(1, 3, 3).double(), torch.zeros(2))[0].item()

    whole = frames(1, 1)
    graphs = GraphFrames(whole, network.model)
    found = predict(network, graphs, 1)
    atoms = whole.structures.atoms(0)
    moved = [atoms.copy(), atoms.copy()]
    for sign, one in zip((1, -1), moved, strict=True):
        one.positions[1, 0] += sign * 2e-3
    slope = (energy(moved[0]) - energy(moved[1])) / 4e-3
    assert found.forces[1, 0] == pytest.approx(-slope, rel=2e-2, abs=1e-4)
    strained = [atoms.copy(), atoms.copy()]
    for sign, one in zip((1, -1), strained, strict=True):
        one.set_cell(atoms.cell.array @ np.diag([1 + sign * 1e-3, 1, 1]), scale_atoms=True)
    slope = (energy(strained[0]) - energy(strained[1])) / 2e-3 / atoms.get_volume()
    assert found.stresses[0, 0, 0] == pytest.approx(slope * GPA, rel=2e-2, abs=1e-3)


def test_a_new_network(data):
    """The energies of its elements and its scale are those of the training set; a seed decides."""
    first, again = (new_network(data, tiny(seed=3)) for _ in range(2))
    other = new_network(data, tiny(seed=4))
    name = "model.embedding.layer_node_embedding.weight"
    weights = [one.state_dict()[name] for one in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    train_set = data.sets["train"]
    assert float(first.data_std) == pytest.approx(np.sqrt(np.mean(train_set.forces**2)))
    mean = (train_set.energies / 4).mean()
    assert first.element_refs.property_offset.tolist() == pytest.approx([mean, mean])
    assert force_scale(replace(train_set, forces=np.zeros_like(train_set.forces))) == 1.0


def test_the_best_epoch_is_kept(trained):
    """By the smallest sum of mean absolute errors on the validation set."""
    history = trained.run.state.history
    assert [row["epoch"] for row in history] == [0, 1, 2, 3, 4]
    losses = [row["val_loss"] for row in history]
    assert trained.card.best_epoch == int(np.argmin(losses))
    assert trained.card.best_loss == min(losses)
    best = history[trained.card.best_epoch]
    found = trained.card.errors["val"]
    assert found.energy == pytest.approx(best["val_energy"], abs=1e-6)
    assert found.force == pytest.approx(best["val_force"], abs=1e-6)
    assert found.stress == pytest.approx(best["val_stress"], abs=1e-5)
    assert best["val_loss"] == pytest.approx(
        best["val_energy"] + best["val_force"] + 0.1 * best["val_stress"]
    )


def test_it_learns(tmp_path, data):
    """Six epochs at a large rate halve the loss of the steps."""
    run = train(data, tiny(epochs=6, lr=0.02), tmp_path, device="cpu")
    losses = [row["train_loss"] for row in run.state.history[1:]]
    assert losses[-1] < 0.5 * losses[0]


def test_fine_tuning_begins_at_the_error_of_the_saved_model(tmp_path, data, trained):
    """As ASE's calculator computes it; and the error is that of the new validation set."""
    other = check_sets(frames(9, 1).split(seed=2))
    made = train_to_folder(
        tmp_path / "tuned", other, tiny(epochs=1, lr=1e-4), trained.folder, device="cpu"
    )
    start = made.run.state.history[0]
    val = other.sets["val"]
    calculator = open_potential(f"matgl:{trained.folder}").calculator()
    errors = []
    for index, atoms in enumerate(val.structures):
        atoms.calc = calculator
        errors.append(abs(atoms.get_potential_energy() - val.energies[index]) / len(atoms))
    assert start["val_energy"] == pytest.approx(np.mean(errors), abs=1e-6)
    assert start["epoch"] == 0
    assert made.card.start == trained.card.weights_hash
    # A small step from there, not from random weights.
    end = made.run.state.history[1]
    assert end["val_force"] == pytest.approx(start["val_force"], rel=0.05)


def test_refitted_references(tmp_path, data, trained):
    """Labels that differ by 10 eV/atom cost nothing then."""
    whole = frames(6, 1)
    shifted = replace(whole, energies=whole.energies + 10 * whole.structures.n_atoms)
    other = check_sets(shifted.split(seed=2))
    starts = []
    for refit in (False, True):
        settings = tiny(epochs=1, refit_references=refit)
        folder = tmp_path / str(refit)
        folder.mkdir()
        run = train(other, settings, folder, trained.folder, device="cpu")
        starts.append(run.state.history[0]["val_energy"])
    assert starts[0] > 5
    assert starts[1] < 0.5


def test_starts_that_cannot_be_used(tmp_path, data, trained):
    foreign = check_sets(frames(3, salts=("NaCl",)).split())
    with pytest.raises(DismaiError, match=r"does not know Na \(it knows Li, Cl\)"):
        train_to_folder(tmp_path / "a" / "b", foreign, tiny(), trained.folder, device="cpu")
    assert not (tmp_path / "a").exists()  # nothing was written, so no folder is left
    with pytest.raises(DismaiError, match="choose another folder"):
        train_to_folder(trained.folder, data, tiny(), trained.folder, device="cpu")
    with pytest.raises(DismaiError, match=r"model\.json is missing"):
        train(data, tiny(), tmp_path, tmp_path, device="cpu")


def test_a_loss_that_is_lost(tmp_path, data, monkeypatch):
    """The best weights before it are kept, and the card says so."""
    steps = loop_module._Loop._step

    def lost(self, batch):
        found, n = steps(self, batch)
        return (found if self.state.epoch < 2 else found * np.nan), n

    monkeypatch.setattr(loop_module._Loop, "_step", lost)
    made = train_to_folder(tmp_path / "a", data, tiny(epochs=9), device="cpu")
    assert made.run.finished
    assert made.run.state.diverged
    assert made.card.epochs == 3
    assert any("no longer finite after epoch 2" in text for text in made.card.warnings)
    again = train_to_folder(tmp_path / "a", data, tiny(epochs=9), device="cpu")
    assert again.card.epochs == 3


def test_time_in_all(tmp_path, data):
    """Hours end a training, which a smaller budget of a command only interrupts."""
    run = train(data, tiny(epochs=50, hours=1e-9), tmp_path, device="cpu")
    assert run.finished
    assert run.state.epoch == 1


def test_frames_without_stresses(tmp_path):
    silent = frames(4, 1)
    silent.stresses[:] = np.nan
    made = train_to_folder(tmp_path / "a", check_sets(silent.split()), tiny(), device="cpu")
    assert made.card.errors["val"].stress is None
    assert any("without stresses" in text for text in made.card.warnings)


def test_predictions_do_not_depend_on_the_batch(data, trained):
    graphs = GraphFrames(data.sets["train"], trained.run.potential.model)
    one, many = (predict(trained.run.potential, graphs, size) for size in (1, 5))
    assert many.energies == pytest.approx(one.energies, abs=1e-6)
    assert many.forces == pytest.approx(one.forces, abs=1e-5)
    assert many.stresses == pytest.approx(one.stresses, abs=1e-4)
    truth = Predictions.labelled(data.sets["train"])
    assert truth.errors(truth).loss == 0


def test_a_device_that_is_not_there(tmp_path, data):
    with pytest.raises(DismaiError, match="device 'tpu': use cpu or cuda"):
        train(data, tiny(), tmp_path, device="tpu")
