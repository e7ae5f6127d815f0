"""Settings, their identity, and the loss of Table S6."""

from __future__ import annotations

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.training.evaluation import Errors, selection_loss
from dismaiflow.potentials.training.settings import TrainingSettings, training_settings
from dismaiflow.potentials.training.sweep import (
    TABLE_S6,
    SweepRow,
    best_row,
    sweep_settings,
)

#: Table S6 of the paper's SI: learning rate, batch size; MAEs in meV/atom, meV/Å, GPa; L.
PRINTED = [
    (0.001, 4, 2.75, 20.9, 0.0151, 0.0251),
    (0.0005, 4, 2.82, 22.2, 0.0179, 0.0268),
    (0.001, 2, 3.45, 21.9, 0.0203, 0.0273),
    (0.001, 6, 2.88, 21.3, 0.0156, 0.0257),
]


@pytest.mark.parametrize("row", PRINTED)
def test_the_loss_of_table_s6(row):
    """To what rounding of the printed errors and of L itself can move it."""
    *_, energy, force, stress, loss = row
    rounding = 0.005e-3 + 0.05e-3 + 0.1 * 0.00005 + 0.00005
    assert selection_loss(energy * 1e-3, force * 1e-3, stress) == pytest.approx(loss, abs=rounding)


def test_the_sweep_is_that_of_table_s6_and_chooses_its_bold_row():
    assert list(TABLE_S6) == [row[:2] for row in PRINTED]
    rows = []
    for lr, batch, energy, force, stress, _ in PRINTED:
        errors = Errors(energy=energy * 1e-3, force=force * 1e-3, stress=stress)
        rows.append(
            SweepRow(
                lr=lr,
                batch_size=batch,
                name=f"{lr}/{batch}",
                errors=errors,
                loss=errors.loss,
                best_epoch=1,
                epochs=1,
                seconds=1,
            )
        )
    assert best_row(rows).name == "0.001/4"


def test_the_models_of_a_sweep_have_equal_time():
    made = sweep_settings(TrainingSettings(seed=3))
    assert list(made) == ["lr0.001-batch4", "lr0.0005-batch4", "lr0.001-batch2", "lr0.001-batch6"]
    assert {(s.lr, s.batch_size) for s in made.values()} == set(TABLE_S6)
    assert {(s.hours, s.seed) for s in made.values()} == {(24.0, 3)}
    with pytest.raises(DismaiError, match="each once"):
        sweep_settings(TrainingSettings(), [(0.1, 2), (0.1, 2)])
    for hours in (0, -1, float("nan")):
        with pytest.raises(DismaiError, match="give hours above 0"):
            sweep_settings(TrainingSettings(), hours=hours)


def test_the_defaults_are_those_of_the_paper():
    """Section 4.6 and eq. 7; the size is that of matgl."""
    found = TrainingSettings()
    assert (found.lr, found.batch_size, found.optimizer) == (0.001, 4, "adam")
    assert (found.energy_weight, found.force_weight, found.stress_weight) == (1, 1, 0.1)
    assert (found.schedule, found.model.units, found.model.blocks) == ("constant", 64, 3)
    assert (found.model.cutoff, found.model.threebody_cutoff) == (5.0, 4.0)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"optimizer": "sgd"}, r"setting optimizer should be 'adam' or 'adamw', got 'sgd'"),
        ({"lr": -1}, "setting lr should be greater than 0, got -1"),
        ({"epoch": 3}, "setting epoch is not known: did you mean epochs"),
        ({"model": {"units": 0}}, r"setting model\.units"),
        ({"model": {"width": 1}}, r"model\.width is not known: did you mean model\.units"),
        ({"schedule": "step"}, "setting schedule"),
        ({"batch_size": 0}, "setting batch_size"),
    ],
)
def test_wrong_settings(values, match):
    with pytest.raises(DismaiError, match=match) as caught:
        training_settings(values)
    assert "\n" not in str(caught.value)


def test_what_may_change_when_a_training_goes_on():
    first = TrainingSettings().identity("data", None)
    assert TrainingSettings(epochs=7, hours=3).identity("data", None) == first
    for other in (TrainingSettings(seed=1), TrainingSettings(lr=0.01)):
        assert other.identity("data", None) != first
    assert TrainingSettings().identity("more", None) != first
    assert TrainingSettings().identity("data", "start") != first
    falling = TrainingSettings(schedule="cosine", epochs=5)
    assert falling.identity("d", None) != falling.model_copy(update={"epochs": 6}).identity(
        "d", None
    )


def test_a_falling_rate():
    """It begins at its value, is in the middle halfway, and ends at a hundredth."""
    falling = TrainingSettings(schedule="cosine", epochs=11, lr=0.02)
    assert [falling.lr_at(epoch) for epoch in (1, 6, 11)] == pytest.approx([0.02, 0.0101, 0.0002])
    assert TrainingSettings(lr=0.02).lr_at(50) == 0.02
    assert TrainingSettings(schedule="cosine", epochs=1).lr_at(1) == 0.001
