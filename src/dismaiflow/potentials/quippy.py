"""SOAP-GAP and other potentials of QUIP, from their XML files through quippy.

The published potential of amorphous silicon is one: A. P. Bartók et al., Phys. Rev. X 8, 041048
(2018), doi:10.1103/PhysRevX.8.041048.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from ase.data import chemical_symbols

from dismaiflow.errors import DismaiError, one_line
from dismaiflow.potentials.base import PotentialCard
from dismaiflow.potentials.cards import (
    check_known,
    file_hashes,
    installed_versions,
    need_modules,
    potential_hash,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: Atomic numbers in the words of a descriptor: Z=14, Z1=14, species_Z={14 8}.
_NUMBERS = re.compile(r"\b(?:species_)?Z\d?\s*=\s*\{*([\d ]+)\}*")


@dataclass(frozen=True)
class QuippyPotential:
    """A potential of QUIP.

    Parameters
    ----------
    card : PotentialCard
        What documents say of it.
    files : dict of str to Path
        Its XML file and the files of sparse points beside it.
    xml : str
        Which of them is the XML file.
    init_args : str
        How QUIP is to read it; empty if the file says so itself.
    """

    card: PotentialCard
    files: Mapping[str, Path]
    xml: str
    init_args: str = ""

    def calculator(self) -> Any:
        """Return an ASE calculator.

        Raises
        ------
        DismaiError
            If QUIP does not understand the file.
        """
        quippy: Any = import_module("quippy.potential")
        path = self.files[self.xml]
        try:
            return quippy.Potential(self.init_args, param_filename=str(path))
        except Exception as error:
            raise DismaiError(f"{path}: QUIP does not accept it ({one_line(error)})") from error

    def evaluator(self, device: str = "cpu") -> None:
        """There is none; QUIP computes one structure at a time."""


@dataclass
class _Contents:
    """What is in an XML file of QUIP: how to read it, its elements, the files beside it."""

    init_args: str
    numbers: set[int]
    companions: dict[str, str | None]


def open_quippy(path: Path, elements: Sequence[str] = (), name: str = "") -> QuippyPotential:
    """Check an XML file of QUIP and the files that belong to it.

    Parameters
    ----------
    path : Path
        The XML file.
    elements : sequence of str, optional
        Elements that it must know.
    name : str, optional
        Name for documents; by default that of the file.

    Raises
    ------
    DismaiError
        If quippy or a file is missing, the file is none of a potential, a file of sparse points
        is another's, or an element is not known.
    """
    shown = f"quippy:{path}"
    if not path.is_file():
        raise DismaiError(f"potential {shown!r}: no such file")
    contents = _read(shown, path)
    need_modules(shown, "gap", "quippy")
    files = {path.name: path}
    for companion, digest in contents.companions.items():
        files[companion] = path.parent / companion
        _check_companion(shown, files[companion], digest)
    known = [chemical_symbols[number] for number in sorted(contents.numbers)] or None
    if known:
        check_known(shown, known, elements)
    hashes = file_hashes(files)
    card = PotentialCard(
        name=name or f"quippy:{path.name}",
        engine="quippy",
        hash=potential_hash(engine="quippy", weights=sorted(hashes.values())),
        weights=hashes,
        elements=known,
        versions=installed_versions(["quippy-ase"]),
    )
    return QuippyPotential(card, files, path.name, contents.init_args)


def _check_companion(shown: str, path: Path, digest: str | None) -> None:
    """Check that sparse points are there, and the ones that were fitted with the file."""
    if not path.is_file():
        raise DismaiError(
            f"potential {shown!r}: {path.name} is missing; it has to lie beside the XML file"
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "md5").hexdigest()
    if digest and found != digest:
        raise DismaiError(f"potential {shown!r}: {path.name} does not belong to this XML file")


def _read(shown: str, path: Path) -> _Contents:
    contents = _Contents("", set(), {})
    root, complete = "", False
    try:
        for event, element in ElementTree.iterparse(path, events=("start", "end")):
            root = root or element.tag
            if event == "end":
                complete |= element.tag == "Potential" and "init_args" in element.attrib
                _note(contents, element)
                element.clear()  # files hold millions of numbers
    except (ElementTree.ParseError, OSError) as error:
        raise DismaiError(f"potential {shown!r}: not an XML file ({error})") from None
    form = re.fullmatch(r"(\w+)_params", root)
    if not complete:
        if form is None:
            raise DismaiError(
                f"potential {shown!r}: holds no potential of QUIP, which has a tag <Potential>"
            )
        contents.init_args = f"IP {form[1]}"
    return contents


def _note(contents: _Contents, element: ElementTree.Element) -> None:
    if element.tag == "gpCoordinates" and "sparseX_filename" in element.attrib:
        name = element.attrib["sparseX_filename"].strip()
        # QUIP looks beside the file only.
        contents.companions[name.rpartition("/")[2]] = element.attrib.get("sparseX_md5sum")
    elif element.tag == "descriptor":
        for match in _NUMBERS.finditer(element.text or ""):
            contents.numbers.update(int(word) for word in match[1].split())
    elif element.tag == "per_type_data" and element.get("atomic_num", "").strip().isdigit():
        contents.numbers.add(int(element.attrib["atomic_num"]))
