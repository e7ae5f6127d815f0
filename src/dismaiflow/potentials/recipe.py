"""Recipes of calculators that run in another environment: one YAML file each.

::

    name: m3gnet-0.0.7            # for documents
    command: [..., "{socket}", "{init}"]
    files: [m3gnet_client.py, "${M3GNET_MODEL}"]
    elements: [Li, Co, Sc, O, Cl] # optional: those that it knows
    env: {M3GNET_MODEL: /path/to/m3gnet_int}
    timeout: 600                  # seconds for one structure
    start_timeout: 300            # seconds until the client answers at all

``command`` is started as it stands, by no shell, in an empty folder. In its words, ``{folder}`` is
the folder of the recipe, ``{init}`` an extended XYZ file of a structure, which tells the species,
and ``{socket}`` the name of a Unix socket (in the file ``/tmp/ipi_NAME``, as clients of i-PI expect
it) or, instead, ``{host}`` and ``{port}`` the address of one of the network. ``${NAME}`` is a
variable of ``env``, which the client gets too, or else of the environment.

``files`` decide the numbers, with ``name`` and the words of the command after the first, and make
the hash of the potential: whoever changes the client or its weights has another potential. Those
with a relative path lie beside the recipe and travel with it to workers that have another disk; an
absolute path has to be there on every machine, with the same contents. A folder stands for all
files in it.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat, ValidationError

from dismaiflow.errors import DismaiError
from dismaiflow.structures.files import explain_os_error
from dismaiflow.systems.fields import Block, Symbol, describe, load_yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Recipes that ship with the package.
SHIPPED = Path(__file__).parent / "recipes"

_VARIABLE = re.compile(r"\$\{(\w+)\}")

#: Files of weights that nobody has; a wrong folder would be read for hours.
_MOST_FILES = 1000


class Recipe(Block):
    """The keys of a recipe; see the module.

    Parameters
    ----------
    name : str
        For documents.
    command : list of str
        Program and arguments.
    files : list of str
        Files that decide the numbers.
    elements : list of str, optional
        Elements that it knows.
    env : dict of str to str
        Variables for the client.
    timeout, start_timeout : float
        Seconds.
    """

    name: Annotated[str, Field(min_length=1)]
    command: Annotated[list[str], Field(min_length=1)]
    files: list[str] = Field(default_factory=list)
    elements: list[Symbol] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    timeout: PositiveFloat = 600.0
    start_timeout: PositiveFloat = 300.0


@dataclass(frozen=True)
class FoundRecipe:
    """A recipe whose program and files are there.

    Parameters
    ----------
    recipe : Recipe
        Its keys.
    path : Path
        Where it was read.
    command : tuple of str
        Program and arguments; only what changes from start to start is not filled in.
    travelling : dict of str to Path
        The files beside it, by their paths relative to its folder, and itself.
    staying : dict of str to Path
        The other files, by names without the folders of this machine.
    """

    recipe: Recipe
    path: Path
    command: tuple[str, ...]
    travelling: Mapping[str, Path]
    staying: Mapping[str, Path]

    @property
    def words(self) -> list[str]:
        """Words of the command after the program, as on any machine."""
        return [
            PurePosixPath(word).name if word.startswith(("/", "~")) else word
            for word in self.recipe.command[1:]
        ]

    @property
    def network(self) -> bool:
        """Whether the client comes over the network, not through a Unix socket."""
        return any("{port}" in word for word in self.command)


def read_recipe(path: Path) -> FoundRecipe:
    """Read a recipe and find all that it names.

    Parameters
    ----------
    path : Path
        The YAML file.

    Raises
    ------
    DismaiError
        If it is missing or does not fit, or its program, a file or a variable is not there.
    """
    try:
        data = load_yaml(path.read_text("utf-8"))
        if not isinstance(data, dict):
            raise DismaiError(f"{path}: holds no keys; a recipe needs at least name and command")
        recipe = Recipe.model_validate(data)
    except OSError as error:
        raise DismaiError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValidationError as error:
        raise DismaiError(f"{path}: {describe(error)}") from None
    except ValueError as error:
        raise DismaiError(f"{path}: {error}") from None
    whole = " ".join(recipe.command)
    if ("{socket}" in whole) == ("{port}" in whole):
        raise DismaiError(
            f"{path}: key 'command' needs either '{{socket}}' or '{{host}}' and '{{port}}', which "
            "tell the client where to connect"
        )
    folder = path.resolve().parent
    words = [_filled(word, recipe, path) for word in recipe.command]
    words = [word.replace("{folder}", str(folder)) for word in words]
    words[0] = _program(words[0], path)
    travelling: dict[str, Path] = {path.name: path}
    staying: dict[str, Path] = {}
    for entry in recipe.files:
        for name, found, beside in _found(_filled(entry, recipe, path), folder, path):
            (travelling if beside else staying)[name] = found
    return FoundRecipe(recipe, path, tuple(words), travelling, staying)


def write_recipe(folder: Path, name: str = "m3gnet-0.0.7") -> list[Path]:
    """Copy a recipe of the package, with its client, for the user to edit.

    Parameters
    ----------
    folder : Path
        Where to; it is made if need be.
    name : str
        Name of the recipe.

    Returns
    -------
    list of Path
        The files written, the recipe first.

    Raises
    ------
    DismaiError
        If there is no such recipe, or a file of its name stands there.
    """
    source = SHIPPED / f"{name}.yaml"
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in SHIPPED.glob("*.yaml")))
        raise DismaiError(f"no recipe {name!r} in the package: it has {known}")
    data = load_yaml(source.read_text("utf-8"))
    sources = [source, *(SHIPPED / entry for entry in data["files"] if "$" not in entry)]
    targets = [folder / path.name for path in sources]
    for target in targets:
        if target.exists():
            raise DismaiError(f"{target}: is there already; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, target in zip(sources, targets, strict=True):
            shutil.copyfile(path, target)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    return targets


def _filled(word: str, recipe: Recipe, path: Path) -> str:
    """Put the values of variables into a word."""

    def value(match: re.Match[str]) -> str:
        found = recipe.env.get(match[1], os.environ.get(match[1], ""))
        if not found:
            raise DismaiError(
                f"{path}: the variable {match[1]} is not set: give it under 'env' in this file, or "
                "in the environment"
            )
        return found

    return _VARIABLE.sub(value, word)


def _program(word: str, path: Path) -> str:
    found = shutil.which(Path(word).expanduser() if word.startswith("~") else word)
    if found is None:
        raise DismaiError(
            f"{path}: key 'command': no program {word!r} here; give its full path, or put it on "
            "PATH"
        )
    # The client starts in a folder of its own.
    return str(Path(found).absolute())


def _found(entry: str, folder: Path, path: Path) -> Iterator[tuple[str, Path, bool]]:
    """Yield the name of each file of an entry, where it is, and whether it lies beside."""
    given = Path(entry).expanduser()
    beside = not given.is_absolute()
    place = folder / given
    if beside and not place.resolve().is_relative_to(folder):
        raise DismaiError(
            f"{path}: key 'files': {entry!r} leads out of the folder of the recipe; give its full "
            "path"
        )
    if place.is_file():
        yield (given.as_posix() if beside else place.name), place, beside
        return
    if not place.is_dir():
        raise DismaiError(f"{path}: key 'files': no file {str(place)!r} here")
    count = 0
    for inner in sorted(place.rglob("*")):
        parts = inner.relative_to(place).parts
        if not inner.is_file() or any(part[0] == "." or part == "__pycache__" for part in parts):
            continue
        count += 1
        if count > _MOST_FILES:
            raise DismaiError(
                f"{path}: key 'files': {str(place)!r} holds more than {_MOST_FILES} files; name "
                "the folder of the weights"
            )
        start = given if beside else Path(place.name)
        yield start.joinpath(*parts).as_posix(), inner, beside
