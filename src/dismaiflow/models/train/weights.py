"""Weights of networks in files: those of the end, and snapshots on the way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from dismaiflow.errors import DismaiError
from dismaiflow.models.train.checkpoint import give_parts, plain
from dismaiflow.potentials.torch_files import pack, read_bytes, unpack
from dismaiflow.structures.files import explain_os_error, write_bytes, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

WEIGHTS_NAME = "weights.pt"

#: List of the snapshots, within the folder of a training.
INDEX_NAME = "snapshots/index.json"

#: Changes when what a file of weights holds changes.
_FORMAT = 1

_KEYS = ("identity", "epoch", "step", "seconds", "losses", "weights")


@dataclass(frozen=True)
class Snapshot:
    """Weights that were kept on the way.

    Parameters
    ----------
    name : str
        The file within the folder of the training; `load_weights` takes it.
    epoch, step : int
        Complete epochs and steps at that time.
    seconds : float
        Time spent until then, s.
    """

    name: str
    epoch: int
    step: int
    seconds: float


def epoch_name(epoch: int) -> str:
    """Return the name of the snapshot of an epoch."""
    return f"snapshots/epoch-{epoch:06d}.pt"


def seconds_name(seconds: float) -> str:
    """Return the name of the snapshot of a time."""
    return f"snapshots/seconds-{f'{seconds:.2f}'.removesuffix('.00').zfill(6)}.pt"


def check_finite(modules: Mapping[str, torch.nn.Module], step: int) -> None:
    """Refuse weights that are lost.

    Raises
    ------
    DismaiError
        If there is a number among them that is not finite.
    """
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            if isinstance(value, torch.Tensor) and not bool(torch.isfinite(value).all()):
                raise DismaiError(
                    f"training: the weights {key!r} of {name!r} are not finite after {step} steps: "
                    "the training has diverged; lower the learning rate and train anew in another "
                    "folder"
                )


def write_weights(
    path: Path,
    modules: Mapping[str, torch.nn.Module],
    *,
    identity: str,
    place: Snapshot,
    losses: Mapping[str, float],
) -> None:
    """Write the weights of networks, or leave the file before.

    Raises
    ------
    DismaiError
        If the disk is full or not writable.
    """
    weights = {name: module.state_dict() for name, module in modules.items()}
    content = {**asdict(place), "identity": identity, "losses": dict(losses), "weights": weights}
    del content["name"]
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, path.parent) from error
    write_bytes(path, pack(plain(content, path.name), _FORMAT), durable=True)


def read_weights(path: Path) -> dict[str, Any]:
    """Read a file of weights; nothing is unpickled but numbers and tensors.

    Returns
    -------
    dict
        ``identity``, ``epoch``, ``step``, ``seconds``, ``losses``, and ``weights`` by the names of
        the networks.

    Raises
    ------
    DismaiError
        If it is not there, none of ours, or damaged.
    """
    if not path.exists():
        raise DismaiError(
            f"{path}: there are no such weights: train the model into this folder, to its end"
        )
    texts = {"what": "file of weights", "mend": "train the model anew"}
    return unpack(read_bytes(path), _FORMAT, _KEYS, source=str(path), **texts)


def load_weights(
    folder: Path,
    modules: Mapping[str, torch.nn.Module],
    name: str = WEIGHTS_NAME,
    device: str = "cpu",
) -> None:
    """Load the weights of a training into networks.

    Parameters
    ----------
    folder : Path
        Of the training.
    modules : dict of str to torch.nn.Module
        Networks by the names under which the learner had them; those that are not needed may be
        left out.
    name : str
        File within the folder: ``weights.pt``, or a snapshot by `Snapshot.name`.
    device : str
        Where the networks are put.

    Raises
    ------
    DismaiError
        If there is no such file, or it does not fit.
    """
    path = folder / name
    give_parts(modules, read_weights(path)["weights"], path)
    for module in modules.values():
        module.to(device)


def write_index(folder: Path, snapshots: list[Snapshot]) -> None:
    """Write the list of the snapshots.

    Raises
    ------
    DismaiError
        If it cannot be written.
    """
    write_text(folder / INDEX_NAME, json.dumps([asdict(one) for one in snapshots], indent=1) + "\n")


def read_snapshots(folder: Path) -> list[Snapshot]:
    """Return the snapshots in the folder of a training, in the order of time.

    Raises
    ------
    DismaiError
        If their list is damaged.
    """
    path = folder / INDEX_NAME
    if not path.exists():
        return []
    try:
        return [Snapshot(**one) for one in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, TypeError):
        raise DismaiError(f"{path}: is no list of snapshots: train the model anew") from None
