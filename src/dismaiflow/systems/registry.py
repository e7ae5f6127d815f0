"""The systems that commands know by name: the package's, plug-ins' and the user's own."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from dismaiflow.errors import DismaiError, suggestion
from dismaiflow.systems.checks import KINDS
from dismaiflow.systems.data_files import LIBRARY
from dismaiflow.systems.spec import SystemSpec

#: Installed packages offer systems in this group. An entry point gives a `SystemSpec`, the path
#: of a YAML file, several of these, or a callable that returns any of them.
ENTRY_POINT_GROUP = "dismaiflow.systems"
TEMPLATES = Path(__file__).parent / "templates"
_SUFFIXES = (".yaml", ".yml")


@dataclass
class Catalogue:
    """All systems that were found.

    Parameters
    ----------
    specs : dict
        By name.
    broken : dict
        By file or entry point: why it could not be read. They stop nothing but themselves.
    """

    specs: dict[str, SystemSpec] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def add(self, spec: SystemSpec) -> None:
        """Add a system.

        Raises
        ------
        DismaiError
            If another one has its name.
        """
        known = self.specs.get(spec.name)
        # One file may be met twice, by an entry point and in a folder of the user.
        same_file = known is not None and known.path is not None and known.path == spec.path
        if known is not None and not (same_file and known == spec):
            raise DismaiError(
                f"two systems are named {spec.name!r}: {known.origin} and {spec.origin}: rename one"
            )
        self.specs[spec.name] = spec


def load_catalogue(extra_dirs: Iterable[str | Path] = ()) -> Catalogue:
    """Find the systems of the package, of installed plug-ins and of the user's folders.

    Parameters
    ----------
    extra_dirs : iterable of path-like
        Folders of YAML files.

    Returns
    -------
    Catalogue
        The systems, and what could not be read with the reason.

    Raises
    ------
    DismaiError
        If two systems have one name, or a folder is not there.
    """
    packaged = _packaged()
    catalogue = Catalogue(dict(packaged.specs), dict(packaged.broken))
    for point in entry_points(group=ENTRY_POINT_GROUP):
        origin = f"entry point {point.name!r}"
        if point.dist is not None:
            origin += f" of {point.dist.name}"
        try:
            specs = list(_specs_of(point.load(), origin))
        except Exception as error:  # noqa: BLE001
            # Code of another package: whatever it raises must not take the others with it.
            text = str(error) if isinstance(error, DismaiError) else f"{origin}: {error!r}"
            catalogue.broken[origin] = text
            continue
        for spec in specs:
            catalogue.add(spec)
    for folder in extra_dirs:
        if not Path(folder).is_dir():
            raise DismaiError(f"{folder}: no such folder of system specs")
        _add_folder(catalogue, Path(folder))
    return catalogue


@cache
def _packaged() -> Catalogue:
    """Read the systems of the package, once in a process."""
    catalogue = Catalogue()
    _add_folder(catalogue, LIBRARY)
    return catalogue


def _add_folder(catalogue: Catalogue, folder: Path) -> None:
    for path in sorted(folder.resolve().iterdir()):
        if path.suffix not in _SUFFIXES:
            continue
        try:
            spec = SystemSpec.from_file(path)
        except DismaiError as error:
            catalogue.broken[str(path)] = str(error)
            continue
        catalogue.add(spec)


def _specs_of(given: Any, origin: str) -> Iterable[SystemSpec]:
    """Yield the specs that an entry point stands for."""
    if isinstance(given, SystemSpec):
        named = given.model_copy()
        named._origin = origin
        yield named
    elif isinstance(given, str | os.PathLike):
        yield SystemSpec.from_file(Path(given))
    elif callable(given):
        yield from _specs_of(given(), origin)
    elif isinstance(given, Iterable):
        for member in given:
            yield from _specs_of(member, origin)
    else:
        raise DismaiError(
            f"{origin} gives {type(given).__name__}: it must give a SystemSpec, the path of a YAML "
            "file, several of them, or a callable that returns them"
        )


def list_systems(extra_dirs: Iterable[str | Path] = ()) -> list[SystemSpec]:
    """Return all known systems, sorted by name.

    Parameters
    ----------
    extra_dirs : iterable of path-like
        Folders of the user's YAML files.

    Returns
    -------
    list of SystemSpec
        `SystemSpec.origin` says where each comes from. What could not be read is left out with
        a warning; `load_catalogue` gives the reasons as data.

    Raises
    ------
    DismaiError
        If two systems have one name, or a folder is not there.
    """
    catalogue = load_catalogue(extra_dirs)
    for reason in catalogue.broken.values():
        warnings.warn(f"system left out: {reason}", UserWarning, stacklevel=2)
    return [catalogue.specs[name] for name in sorted(catalogue.specs)]


def get_system(name_or_path: str | Path, extra_dirs: Iterable[str | Path] = ()) -> SystemSpec:
    """Return a system by its name, or from a YAML file.

    Parameters
    ----------
    name_or_path : str or path-like
        A registered name; anything that ends in ``.yaml`` or ``.yml`` or holds a path separator
        is a file.
    extra_dirs : iterable of path-like
        Folders of the user's YAML files.

    Raises
    ------
    DismaiError
        If there is no such system (the line names the nearest known ones), or its spec does not
        fit.
    """
    text = str(name_or_path)
    is_path = text.endswith(_SUFFIXES) or os.sep in text or "/" in text
    if is_path or isinstance(name_or_path, Path):
        return SystemSpec.from_file(name_or_path)
    catalogue = load_catalogue(extra_dirs)
    spec = catalogue.specs.get(text)
    if spec is not None:
        return spec
    for origin, reason in catalogue.broken.items():
        if Path(origin).stem == text:
            raise DismaiError(reason)
    mend = suggestion(text, sorted(catalogue.specs))
    raise DismaiError(f"unknown system {text!r}: {mend} (`dismai systems list` shows all)")


def new_system_yaml(kind: str, name: str) -> str:
    """Return a commented YAML file to start a new system from.

    Parameters
    ----------
    kind : {"alloy", "amorphous", "interface"}
        The kind of system.
    name : str
        Its name.

    Returns
    -------
    str
        A small example that is complete and valid.

    Raises
    ------
    DismaiError
        If the kind is unknown or the name cannot be one.
    """
    if kind not in KINDS:
        raise DismaiError(f"unknown kind of system {kind!r}: {suggestion(kind, KINDS)}")
    text = (TEMPLATES / f"{kind}.yaml").read_text(encoding="utf-8").replace("NAME", name, 1)
    SystemSpec.from_yaml(text, f"new system {name!r}")
    return text
