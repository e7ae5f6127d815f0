"""What the models that `models.train` trains have in common; torch is imported when needed."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from dismaiflow.errors import DismaiError, wrong_setting
from dismaiflow.potentials.cards import installed_versions, need_modules
from dismaiflow.potentials.devices import choose_device, threads
from dismaiflow.structures.files import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dismaiflow.models.base import Budget, FitResult, ModelCard, ModelData
    from dismaiflow.models.train.learner import Learner
    from dismaiflow.structures.read import ReadStructures
    from dismaiflow.structures.structure_set import StructureSet

#: What sampling needs besides weights.
MODEL_NAME = "model.json"

#: Decay of a moment of Adam.
Beta = Annotated[float, Field(ge=0, lt=1)]

_VERSIONED = ("dismaiflow", "torch", "numpy")


class TorchSettings(BaseModel):
    """Settings of every model on torch.

    Parameters
    ----------
    batch_size : int
        Structures of a step.
    epochs : int
        Passes through the training items.
    max_steps : int, optional
        Steps after which training ends, if the epochs are not over before.
    max_train_seconds : float, optional
        Time spent, in all launches together, after which training ends, s.
    validation_interval : int, optional
        Steps between validations; each epoch by default.
    kept_weights : {"last", "smallest-validation-loss"}
        Which weights sample: the last ones, or those of the smallest validation loss, as far as
        there is a validation set.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    snapshot_epochs, snapshot_seconds : tuple
        Epochs, and seconds of training, after which the weights are kept.
    sample_batch_size : int
        Structures that are generated at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    #: What only sampling reads; models add their own.
    sampling: ClassVar[frozenset[str]] = frozenset({"sample_batch_size"})

    #: What may change while a training goes on.
    free: ClassVar[frozenset[str]] = frozenset(
        {
            "epochs",
            "max_steps",
            "max_train_seconds",
            "device",
            "snapshot_epochs",
            "snapshot_seconds",
        }
    )

    batch_size: PositiveInt
    epochs: PositiveInt
    max_steps: PositiveInt | None = None
    max_train_seconds: PositiveFloat | None = None
    validation_interval: PositiveInt | None = None
    kept_weights: Literal["last", "smallest-validation-loss"] = "last"
    device: str = "auto"
    snapshot_epochs: tuple[PositiveInt, ...] = ()
    snapshot_seconds: tuple[float, ...] = ()
    sample_batch_size: PositiveInt = 256

    @property
    def category(self) -> str:
        """Kind of worker that trains and samples the model."""
        return "cpu" if self.device == "cpu" else "gpu"

    def identity(self) -> dict[str, Any]:
        """Return what decides the weights after a step, JSON-able."""
        return self.model_dump(mode="json", exclude={*self.free, *self.sampling})

    def sampled_by(self, other: Self) -> Self:
        """Return these settings, of a training, with those of sampling from others."""
        return self.model_copy(update=other.model_dump(include=set(self.sampling)))


class PlateauSettings(TorchSettings):
    """Settings of a training by Adam whose rate falls where a loss falls no more.

    Those of `TorchSettings`, and:

    Parameters
    ----------
    learning_rate, betas : float, tuple of float
        Of Adam.
    scheduler_factor, scheduler_patience, scheduler_min_lr : float, int, float
        The rate is multiplied by the factor when the validation loss has not fallen for so many
        epochs.
    gradient_clip : float
        Largest entry of a gradient; 0 for no limit.
    """

    learning_rate: float = Field(1e-3, gt=0, lt=1)
    betas: tuple[Beta, Beta] = (0.9, 0.999)
    scheduler_factor: float = Field(0.6, gt=0, lt=1)
    scheduler_patience: PositiveInt = 30
    scheduler_min_lr: float = Field(1e-4, ge=0)
    gradient_clip: float = Field(0.5, ge=0)


Settings = TypeVar("Settings", bound=TorchSettings)


def checked_settings(kind: type[Settings], model: str, values: Mapping[str, Any]) -> Settings:
    """Check the settings of a model.

    Parameters
    ----------
    kind : type
        Class of the settings.
    model : str
        Name of the model, for the message.
    values : mapping
        Settings that differ from the defaults.

    Raises
    ------
    DismaiError
        If one is unknown or wrong; names it.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        raise DismaiError(f"{model}: {wrong_setting(error, kind.model_fields)}") from None


class TorchModel(ABC, Generic[Settings]):
    """A generative model on torch, which is imported when it works.

    Parameters
    ----------
    settings : Any
        Fields of its settings that differ from their defaults.

    Attributes
    ----------
    name : str
        Its name.
    kind : type of TorchSettings
        Class of its settings.
    described : tuple of str
        What a folder must hold in `MODEL_NAME` besides the settings.

    Raises
    ------
    DismaiError
        If a setting is unknown or wrong.
    """

    name: ClassVar[str]
    kind: type[Settings]
    described: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **settings: Any) -> None:
        self.settings: Settings = checked_settings(self.kind, self.name, settings)

    @property
    def sampling_settings(self) -> frozenset[str]:
        """Settings that only sampling reads."""
        return self.settings.sampling

    def check_here(self) -> None:
        """Refuse to work where torch or the device is missing.

        Raises
        ------
        DismaiError
            Which of them, and the mend.
        """
        self._device()

    def fit(self, data: ModelData, folder: Path, *, seed: int, budget: Budget) -> FitResult:
        """Train, or go on with a training; see `GenerativeModel.fit`.

        Raises
        ------
        DismaiError
            If torch is missing, the structures cannot be learned, or the folder belongs to another
            training.
        """
        device = self._device()
        with threads(device):
            return self._train(data, folder, seed, budget, device)

    def sample(self, folder: Path, n: int, *, seed: int) -> StructureSet | ReadStructures:
        """Generate structures, with this instance's settings of sampling.

        Parameters
        ----------
        folder : Path
            A folder that `fit` has finished.
        n : int
            How many.
        seed : int
            Seed of all randomness; the same seed gives the same structures.

        Raises
        ------
        DismaiError
            If torch is missing, or the folder holds no such trained model.
        """
        device = self._device()
        described = read_described(folder, self.name, self.described)
        trained = checked_settings(self.kind, self.name, described["settings"])
        settings = trained.sampled_by(self.settings)
        with threads(device):
            return self._generate(folder, n, seed, settings, described, device)

    @abstractmethod
    def card(self) -> ModelCard:
        """Describe the model."""

    @abstractmethod
    def _train(
        self, data: ModelData, folder: Path, seed: int, budget: Budget, device: str
    ) -> FitResult:
        """Do what `fit` does, on a device."""

    @abstractmethod
    def _generate(
        self,
        folder: Path,
        n: int,
        seed: int,
        settings: Settings,
        described: Mapping[str, Any],
        device: str,
    ) -> StructureSet | ReadStructures:
        """Do what `sample` does, with settings of training and sampling."""

    def _device(self) -> str:
        """Return where to compute, if torch is there."""
        need_modules(self.name, "models", "torch", kind="model")
        return choose_device(self.settings.device)


def data_facts(model: str, data: ModelData) -> dict[str, Any]:
    """Return what a training is besides its settings, for `train_and_describe`."""
    val = None if data.val is None or not len(data.val) else data.val
    return {
        "model": model,
        "training_hash": data.train.content_hash,
        "validation_hash": None if val is None else val.content_hash,
    }


def train_and_describe(
    learner: Learner,
    n_items: int,
    settings: TorchSettings,
    folder: Path,
    seed: int,
    budget: Budget,
    facts: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> FitResult:
    """Train, or go on with a training, and leave beside the weights what sampling needs.

    Parameters
    ----------
    learner : Learner
        The model while it is trained.
    n_items : int
        Items of an epoch.
    settings : TorchSettings
        How long, and how.
    folder, seed, budget
        See `GenerativeModel.fit`.
    facts : mapping
        What a training is besides its settings: ``model``, hashes of the data; a checkpoint of
        others is refused. JSON-able.
    more : mapping, optional
        What else sampling needs, JSON-able.
    """
    from dismaiflow.models.train.loop import TrainPlan, train

    plan = TrainPlan(
        n_items=n_items,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        max_steps=settings.max_steps,
        max_train_seconds=settings.max_train_seconds,
        validate_steps=settings.validation_interval,
        kept_weights=settings.kept_weights,
        snapshot_epochs=settings.snapshot_epochs,
        snapshot_seconds=settings.snapshot_seconds,
    )
    identity = dict(facts) | {"settings": settings.identity()}
    described = identity | {
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "versions": installed_versions(_VERSIONED),
    }
    result = train(learner, plan, folder, seed, budget, identity)
    # After the loop, which refuses a folder of another training.
    write_text(folder / MODEL_NAME, json.dumps(described | dict(more or {}), indent=1))
    return result


def read_described(folder: Path, model: str, keys: Sequence[str] = ()) -> dict[str, Any]:
    """Read what a training has left beside its weights.

    Parameters
    ----------
    folder : Path
        Of the trained model.
    model : str
        Its name.
    keys : sequence of str
        What must be there besides the settings.

    Raises
    ------
    DismaiError
        If it cannot be read, or describes something else.
    """
    path = folder / MODEL_NAME
    try:
        described = json.loads(path.read_text("utf-8"))
        known = described["model"] == model and {"settings", *keys} <= set(described)
    except OSError:
        raise DismaiError(
            f"{path}: cannot be read: give the folder of a trained {model}, or train one"
        ) from None
    except (ValueError, TypeError, KeyError):
        known = False
    if not known:
        raise DismaiError(f"{path}: does not describe a trained {model}: train it anew")
    return dict(described)
