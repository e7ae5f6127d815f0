"""Which store a command reads: the file of this machine, the LaunchPad's, or one that is named."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dismaiflow.cli.console import err
from dismaiflow.errors import DismaiError
from dismaiflow.settings import DismaiSettings, load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobflow import JobStore

_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class OpenStore:
    """A store that is open.

    Parameters
    ----------
    jobstore : JobStore
        Connected.
    place : str
        Where it is, without any password.
    folder : Path or None
        The folder with its jobflow.yaml; None for an embedded store that was named by its file.
    """

    jobstore: JobStore
    place: str
    folder: Path | None = None


@contextmanager
def opened(choice: str | None, make: bool = False, quiet: bool = False) -> Iterator[OpenStore]:
    """Open a store; close it after the block.

    Parameters
    ----------
    choice : str or None
        ``local``, ``launchpad``, or the path of an embedded store or of a jobflow.yaml. By default
        the LaunchPad's store where a LaunchPad is configured, else the local one.
    make : bool
        Whether to make an embedded store that is not there.
    quiet : bool
        Do not say which store it is.

    Raises
    ------
    DismaiError
        If there is none, it cannot be reached, the server refuses something in the block, or a
        LaunchPad is named by the settings and not there.
    """
    from pymongo.errors import PyMongoError

    from dismaiflow.launch.config import place_of, user_of
    from dismaiflow.launch.mongo import explanation

    file = _file_of(choice)
    if file.suffix in _YAML:
        jobstore = _from_yaml(file)
        settings = vars(jobstore.docs_store)
        where = f"{place_of(settings)}, as {file} says"
        found = OpenStore(jobstore, where, file.absolute().parent)
    else:
        jobstore = _embedded(file, make)
        settings = {"path": str(file)}
        found = OpenStore(jobstore, str(file))
    if not quiet:
        err.print(f"store: {found.place}", style="dim", markup=False, soft_wrap=True)
    try:
        yield found
    except PyMongoError as error:
        # from None: the cause may quote a connection string
        place, user = place_of(settings), user_of(settings)
        raise DismaiError(explanation(error, file, place, user)) from None
    finally:
        jobstore.close()


def is_made(choice: str | None) -> bool:
    """Say whether a store can be opened; one that nobody named may not have been made yet."""
    return choice is not None or _file_of(None).is_file()


def _file_of(choice: str | None) -> Path:
    """Return the file that leads to a store."""
    from dismaiflow.launch.config import is_configured, load_config

    if choice == "launchpad" or (choice is None and is_configured()):
        return load_config().file("jobflow.yaml")
    if choice in (None, "local"):
        settings = load_settings()
        if choice is None and _is_named(settings.LAUNCHPAD_DIR):
            raise DismaiError(
                f"{settings.LAUNCHPAD_DIR}: the setting LAUNCHPAD_DIR (DISMAI_LAUNCHPAD_DIR) leads "
                "there, but no LaunchPad is configured there: mend it, run `dismai launchpad "
                "init`, or say --store local"
            )
        return settings.STORE_PATH
    if not choice:
        raise DismaiError("--store is empty: give local, launchpad, or the path of a store")
    return Path(choice).expanduser()


def _is_named(folder: Path) -> bool:
    """Say whether somebody named the folder of the LaunchPad: it is then not to be passed over."""
    default = Path(DismaiSettings.model_fields["LAUNCHPAD_DIR"].default).expanduser()
    variables = (name.upper() for name in os.environ)
    return folder != default or "DISMAI_LAUNCHPAD_DIR" in variables


def _from_yaml(path: Path) -> JobStore:
    """Open the store that a jobflow.yaml names."""
    from dismaiflow.launch.config import LaunchConfig

    if not path.is_file():
        raise DismaiError(f"{path}: no such file; --store takes a jobflow.yaml or a store's file")
    if path.name != "jobflow.yaml":
        raise DismaiError(f"{path}: --store takes a file that is called jobflow.yaml")
    return LaunchConfig(path.absolute().parent).jobstore()


def _embedded(path: Path, make: bool) -> JobStore:
    """Open an embedded store."""
    from dismaiflow.store.embedded import embedded_jobstore

    if not path.is_file() and not make:
        raise DismaiError(
            f"{path}: there is no store yet; every command that runs something makes it, or name "
            "another with --store"
        )
    jobstore = embedded_jobstore(path)
    jobstore.connect()
    return jobstore
