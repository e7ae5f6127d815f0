"""The card of a folder that matgl saved: with which version, and which files belong to it.

Versions of matgl have given the same weights other numbers: up to 2.0.4 networks added messages to
the wrong atom, which 3.0.0 mended (its release notes). So weights count only with the version that
they were trained with, and with the checksums of their files.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from dismaiflow.errors import DismaiError
from dismaiflow.potentials.cards import (
    file_hashes,
    installed_versions,
    need_modules,
    potential_hash,
)
from dismaiflow.structures.files import read_card, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CARD_NAME = "card.json"

#: Files of a folder; its numbers come from the last two.
MODEL_FILES = ("model.json", "model.pt", "state.pt")

#: Packages whose versions a card names.
_PACKAGES = ("dismaiflow", "matgl", "torch", "torch-geometric", "numpy")

#: An argument that potentials of matgl have had since there was no DGL any more.
_SINCE_PYG = "compile_model"


class ModelCard(BaseModel):
    """What ``card.json`` says at least.

    Parameters
    ----------
    versions : dict of str to str
        Packages with which the potential was trained; that of matgl has to be the installed one.
    sha256 : dict of str to str
        Of each file of the model.
    elements : list of str
        Elements that it knows.
    source : str
        Where it comes from.
    """

    model_config = ConfigDict(extra="allow")

    kind: str = "matgl potential"
    versions: dict[str, str]
    sha256: dict[str, str]
    elements: list[str] = Field(default_factory=list)
    source: str = ""

    @property
    def weights_hash(self) -> str:
        """The hash by which `open_matgl` knows the potential."""
        return weights_hash(self.sha256)


def weights_hash(sha256: Mapping[str, str]) -> str:
    """Return the hash of a potential from the checksums of its files."""
    weights = {name: sha256[name] for name in MODEL_FILES[1:]}
    return potential_hash(engine="matgl", weights=weights)


def card_versions() -> dict[str, str]:
    """Return the versions of all packages that a card names."""
    return installed_versions(_PACKAGES)


def installed_matgl() -> str:
    """Return the version of matgl here; a DismaiError if there is none."""
    need_modules("matgl", "potentials", "matgl")
    return installed_versions(["matgl"])["matgl"]


def read_model_card(folder: Path) -> ModelCard | None:
    """Read the card of a folder, and compare its files with it.

    Returns
    -------
    ModelCard or None
        None if there is no card.

    Raises
    ------
    DismaiError
        If the card is damaged, a file differs from it, or matgl is of another version.
    """
    path = folder / CARD_NAME
    if not path.exists():
        return None
    card = read_card(path, ModelCard, "the card of a potential")
    try:
        found = file_hashes({name: folder / name for name in MODEL_FILES})
        changed = [name for name in MODEL_FILES if found[name] != card.sha256[name]]
        trained_with = card.versions["matgl"]
    except (OSError, KeyError) as error:
        raise DismaiError(f"{path}: not the card of a potential ({error})") from None
    if changed:
        raise DismaiError(
            f"{folder}: {', '.join(changed)} differs from the SHA-256 in {CARD_NAME}: the file was "
            "changed or damaged; copy the folder again"
        )
    here = installed_matgl()
    if trained_with != here:
        raise DismaiError(
            f"{folder}: its weights belong to matgl {trained_with}, but {here} is installed, with "
            f"which they may mean something else: install matgl=={trained_with}; or, if you know "
            f"that both agree, `dismai potential adopt {folder} --matgl-version {here}`"
        )
    return card


def start_hash(folder: Path) -> str:
    """Return the hash of a potential that is to be fine-tuned.

    Raises
    ------
    DismaiError
        If it has no card, or differs from it.
    """
    for name in MODEL_FILES:
        if not (folder / name).is_file():
            raise DismaiError(
                f"{folder}: {name} is missing; a folder that matgl saved holds "
                f"{', '.join(MODEL_FILES)}"
            )
    card = read_model_card(folder)
    if card is None:
        raise DismaiError(
            f"{folder}: has no {CARD_NAME}, which says to which version of matgl its weights "
            f"belong: if you know it, `dismai potential adopt {folder} --matgl-version VERSION`"
        )
    return card.weights_hash


def check_age(shown: str, described: Mapping[str, Any]) -> None:
    """Refuse what a matgl of the time of DGL saved; its files bear the same version numbers.

    Parameters
    ----------
    shown : str
        The potential, for the message.
    described : dict
        Content of ``model.json``.

    Raises
    ------
    DismaiError
        If it is so old.
    """
    if _SINCE_PYG in described.get("kwargs", {}):
        return
    raise DismaiError(
        f"{shown}: was saved by a matgl before 3.0, whose networks (of DGL, or of the first PyG) "
        "added messages to the wrong atom; this matgl would compute other numbers from the same "
        "weights: train it again, or run it in its own environment (potential command:FILE)"
    )


def adopt_folder(folder: Path, matgl_version: str, elements: list[str]) -> ModelCard:
    """Write a card for a folder of which somebody knows the version of matgl.

    What a card says already, but for version and checksums, is kept.

    Raises
    ------
    DismaiError
        If it is not the installed version, or the card cannot be written.
    """
    here = installed_matgl()
    if matgl_version != here:
        raise DismaiError(
            f"{folder}: weights of matgl {matgl_version} cannot be used with the installed matgl "
            f"{here}: install matgl=={matgl_version}, or train again"
        )
    path = folder / CARD_NAME
    try:
        known = json.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, ValueError):
        raise DismaiError(f"{path}: cannot be read; remove it to write a new one") from None
    known |= {
        "versions": {**known.get("versions", {}), "matgl": here},
        "sha256": file_hashes({name: folder / name for name in MODEL_FILES}),
        "elements": elements,
        "source": known.get("source") or "adopted; its user stated the version of matgl",
    }
    card = ModelCard.model_validate(known)
    write_text(path, card.model_dump_json(indent=1) + "\n")
    return card
