"""Presets against what the paper says, typed from its sections 4.2.1 to 4.2.5 and its SI."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import pytest

from dismaiflow.errors import DismaiError
from dismaiflow.models.presets import has_preset, preset, preset_models
from dismaiflow.models.registry import get_model
from dismaiflow.systems import get_system

if TYPE_CHECKING:
    from dismaiflow.models.presets import Preset

ALLOYS = ["alloy-300K-narrow", "alloy-300K-wide", "alloy-1500K-narrow", "alloy-1500K-wide"]
SILICON, INTERFACE = "amorphous-si", "lsc-lco"
SYSTEMS = [*ALLOYS, SILICON, INTERFACE]

#: What holds for all systems that the paper trains a model on.
COMMON: dict[str, dict[str, Any]] = {
    "cdvae": {"batch_size": 8, "epochs": 1000, "species_denoising": False},
    "diffcsp": {
        "layers": 4,
        "hidden": 256,
        "lattice_cost": 0,
        "batch_size": 4,
        "epochs": 1000,
        "step_size": 1e-5,
        "timesteps": 1000,
    },
    "crystens": {
        "base_channels": [64, 64],
        "base_image_size": 64,
        "batch_size": 8,
        "max_steps": 150_000,
        "sampling_timesteps": 100,
        "k_means": False,
    },
    "unimat": {
        "dim": 64,
        "dim_mults": [1, 2, 4],
        "num_resnet_blocks": 3,
        "layer_attns": [False, True, True],
        "layer_cross_attns": [False, True, True],
        "frame_size": [4, 4],
        "learning_rate": 1e-4,
        "betas": [0.9, 0.99],
        "batch_size": 8,
        "max_steps": 150_000,
        "sampling_timesteps": 100,
    },
    "cryingan": {
        "batch_size": 32,
        "learning_rate": 5e-5,
        "generator_interval": 5,
        "variant": "cryingan",
        "critic": "pointnet",
        "coordinate_pooling": "mean",
        "bond_pooling": "mean",
    },
}

#: What differs: alloys, amorphous silicon, interface. The paper trains no CryinGAN on silicon.
BY_SYSTEM: dict[str, tuple[dict[str, Any], dict[str, Any] | None, dict[str, Any]]] = {
    "cdvae": ({"langevin_steps": 100}, {"langevin_steps": 6}, {"langevin_steps": 100}),
    "diffcsp": ({"sigma_end": 0.1}, {"sigma_end": 0.05}, {"sigma_end": 0.1}),
    "crystens": ({}, {}, {"augmentation": "shuffle-region", "augmentation_copies": 49}),
    "unimat": ({}, {}, {"augmentation": "shuffle-region", "augmentation_copies": 49}),
    "cryingan": (
        {
            "bond_loss_weight": 0.1,
            "epochs": 1500,
            "augmentation": "lattice-translations",
            # 4 x 4 x 4 cells: 63 translations beside the structure itself, all of one epoch.
            "translations": [4, 4, 4],
            "epoch_counts_translations": True,
        },
        None,
        {"bond_loss_weight": 0.05, "epochs": 100_000, "augmentation": "none"},
    ),
}

#: SI, above Table S1: DiffCSP with lattice denoising and teacher forcing.
FORCED_EPOCHS = {**dict.fromkeys(ALLOYS, 150), SILICON: 500, INTERFACE: 150}

#: Where a value may come from.
SOURCE = re.compile(
    r"(SI, |section \d|Fig\. |equation |published code|our choice)[^\n]*", re.IGNORECASE
)


def given(model: str, system: str, size: str = "paper") -> Preset:
    return preset(model, get_system(system), size)


def test_the_five_models_of_the_paper_have_presets() -> None:
    assert set(preset_models()) == set(COMMON)
    assert not has_preset("rattled")


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("model", sorted(COMMON))
def test_the_settings_are_those_of_the_paper(model: str, system: str) -> None:
    alloy, silicon, interface = BY_SYSTEM[model]
    own = alloy if system in ALLOYS else silicon if system == SILICON else interface
    if own is None:
        return
    found = given(model, system).settings
    expected = COMMON[model] | own
    assert {key: found.get(key) for key in expected} == expected


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_lattice_denoising_of_the_supplement(system: str) -> None:
    plain, found = (given("diffcsp", system, size).settings for size in ("paper", "lattice"))
    assert found == plain | {"lattice_cost": 1, "teacher_forcing_epochs": FORCED_EPOCHS[system]}


def test_the_model_of_the_detailed_evaluation() -> None:
    """Section 4.4: a generator interval of 2, all else as for the interface."""
    found = given("cryingan", INTERFACE, "detailed").settings
    assert found == given("cryingan", INTERFACE).settings | {"generator_interval": 2}


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("model", sorted(COMMON))
def test_every_setting_has_a_source(model: str, system: str) -> None:
    found = given(model, system)
    assert found.sources.keys() == found.settings.keys()
    for key, source in found.sources.items():
        assert SOURCE.fullmatch(source), (key, source)


def test_models_take_their_presets() -> None:
    """Those that the package has; no name of a setting is misspelt."""
    registered = {point.name for point in entry_points(group="dismaiflow.models")}
    for model in sorted(registered & set(COMMON)):
        for system in SYSTEMS:
            card = get_model(model, given(model, system).settings).card()
            assert not card.is_control
            get_model(model, given(model, system, "small").settings)


def test_what_there_is_not_is_told() -> None:
    with pytest.raises(DismaiError, match=r"^rattled: has no presets; cdvae, cryingan, crystens, "):
        given("rattled", INTERFACE)
    with pytest.raises(DismaiError, match=r"^--size large: diffcsp has paper, lattice, small$"):
        given("diffcsp", INTERFACE, "large")
