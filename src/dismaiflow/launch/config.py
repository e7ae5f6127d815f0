"""The folder with the configuration of a LaunchPad, and the connections that it gives."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from dismaiflow.errors import DismaiError
from dismaiflow.launch.files import read_yaml, refuse_unknown
from dismaiflow.launch.mongo import check_ca_file, explained
from dismaiflow.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fireworks import LaunchPad
    from jobflow import JobStore
    from maggma.core import Store

#: What fireworks needs to be told by, and what asks for it.
MISSING_FIREWORKS = "fireworks is not installed: run `pip install 'dismaiflow[launchpad]'`"

#: Keys of my_launchpad.yaml. FireWorks ignores all others, so that a misspelt ``username`` would
#: mean no login at all.
LAUNCHPAD_KEYS = (
    "host",
    "port",
    "name",
    "username",
    "password",
    "authsource",
    "logdir",
    "strm_lvl",
    "user_indices",
    "wf_user_indices",
    "uri_mode",
    "mongoclient_kwargs",
)

#: Settings of jobflow.
JOBFLOW_KEYS = ("CONFIG_FILE", "JOB_STORE", "DIRECTORY_FORMAT", "LOG_FORMAT", "UID_TYPE")

#: The additional store in which this package keeps structure sets and other large things.
DATA_STORE = "data"

#: How long a command waits for a server that went away while it was at work [ms].
_WAIT_MS = 10_000

#: A connection string whose login, if any, is escaped as it must be.
_URI = re.compile(
    r"mongodb(\+srv)?://"
    r"((?:[^\s:/?#\[\]@%]|%[0-9A-Fa-f]{2})+(:(?:[^\s:/?#\[\]@%]|%[0-9A-Fa-f]{2})*)?@)?"
    r"[^\s/?#@]+(/[^\s/?#@]*)?(\?[^\s#@]*)?"
)

#: Settings that every store of maggma takes.
_BASE_STORE_KEYS = ("key", "last_updated_field", "last_updated_type", "validator")


@dataclass(frozen=True)
class LaunchConfig:
    """A configuration: what submits, what works and where results go.

    Parameters
    ----------
    folder : Path
        Absolute; holds what `dismai launchpad init` wrote.
    """

    folder: Path

    def file(self, name: str) -> Path:
        """Return a file of the folder.

        Raises
        ------
        DismaiError
            If it is not there.
        """
        path = self.folder / name
        if not path.is_file():
            raise DismaiError(f"{path}: no such file: run `dismai launchpad init`")
        return path

    def worker_file(self, category: str) -> Path:
        """Return the FireWorks worker file of a category: ``rlaunch -w`` takes it."""
        return self.file(f"my_fworker{_suffix(category)}.yaml")

    def queue_file(self, category: str) -> Path:
        """Return the queue adapter file of a category: ``qlaunch -q`` takes it."""
        return self.file(f"my_qadapter{_suffix(category)}.yaml")

    def environment(self) -> dict[str, str]:
        """Return the variables with which FireWorks, jobflow and atomate2 find the folder."""
        return {
            "FW_CONFIG_FILE": str(self.folder / "FW_config.yaml"),
            "JOBFLOW_CONFIG_FILE": str(self.folder / "jobflow.yaml"),
            "ATOMATE2_CONFIG_FILE": str(self.folder / "atomate2.yaml"),
            "DISMAI_LAUNCHPAD_DIR": str(self.folder),
        }

    def launchpad_settings(self) -> dict[str, Any]:
        """Return the content of my_launchpad.yaml, the password with it.

        Raises
        ------
        DismaiError
            If the file is missing or has unknown or incomplete settings.
        """
        path = self.file("my_launchpad.yaml")
        content = read_yaml(path)
        refuse_unknown(path, "", content, LAUNCHPAD_KEYS)
        for key in ("host", "name"):
            if not content.get(key):
                raise DismaiError(f"{path}: {key} is missing")
        port = content.get("port")
        if not content.get("uri_mode") and not (isinstance(port, int) and 0 < port < 65536):
            raise DismaiError(f"{path}: port must be a number from 1 to 65535")
        if content.get("uri_mode"):
            _check_uri(path, "host", content["host"])
        _check_encryption(path, "mongoclient_kwargs", content)
        return content

    def launchpad(self) -> LaunchPad:
        """Return the LaunchPad, reachable and with a login that works.

        Raises
        ------
        DismaiError
            One line, within 5 s: no file, no server, a wrong login, an empty database.
        """
        settings = self.launchpad_settings()
        path = self.folder / "my_launchpad.yaml"
        launchpad_class = import_launchpad(self)
        with explained(path, place_of(settings), user_of(settings)):
            launchpad = launchpad_class.from_dict(impatient(settings))
            initialised = launchpad.fw_id_assigner.find_one() is not None
        if not initialised:
            raise DismaiError(
                f"the LaunchPad {settings['name']!r} at {place_of(settings)} is not set up yet: "
                "run `dismai launchpad init`"
            )
        return launchpad

    def store_spec(self) -> dict[str, Any]:
        """Return ``JOB_STORE`` of jobflow.yaml, checked but not connected.

        Raises
        ------
        DismaiError
            If the file is missing, has a misspelt key, or lacks the additional store ``data``.
        """
        return store_spec(self.file("jobflow.yaml"))

    def jobstore(self) -> JobStore:
        """Return the JobStore, connected.

        Raises
        ------
        DismaiError
            One line, within 5 s: no file, a misspelt key, no store ``data``, no server, a wrong
            login.
        """
        spec = self.store_spec()
        path = self.folder / "jobflow.yaml"
        from dismaiflow.store.blobs import data_store

        spec = spec | {"docs_store": impatient(spec["docs_store"])}
        additional = spec["additional_stores"].items()
        spec["additional_stores"] = {name: impatient(given) for name, given in additional}
        jobstore = build_jobstore(path, spec)
        for store in (jobstore.docs_store, data_store(jobstore)):
            with explained(path, place_of(vars(store)), user_of(vars(store))):
                store.connect()
                store.count({jobstore.key: "no such document"})
        with explained(path, "the additional stores"):
            jobstore.connect()
        return jobstore


def load_config(folder: Path | None = None) -> LaunchConfig:
    """Return the configuration of a folder.

    Parameters
    ----------
    folder : Path, optional
        By default that of the settings (DISMAI_LAUNCHPAD_DIR).

    Raises
    ------
    DismaiError
        If none was written there.
    """
    folder = (folder or load_settings().LAUNCHPAD_DIR).expanduser().absolute()
    if not is_configured(folder):
        raise DismaiError(
            f"{folder}: no LaunchPad is configured there: run `dismai launchpad init`, or name "
            "its folder with DISMAI_LAUNCHPAD_DIR"
        )
    return LaunchConfig(folder)


def is_configured(folder: Path | None = None) -> bool:
    """Say whether a folder holds a configuration, working or not.

    Parameters
    ----------
    folder : Path, optional
        By default that of the settings (DISMAI_LAUNCHPAD_DIR).
    """
    folder = folder or load_settings().LAUNCHPAD_DIR
    return any((folder / name).is_file() for name in ("my_launchpad.yaml", "jobflow.yaml"))


def import_launchpad(config: LaunchConfig) -> type[LaunchPad]:
    """Import FireWorks with this configuration and without its talk.

    FireWorks reads its settings once, as it is imported, and prints to the standard output which
    of several files it takes.

    Raises
    ------
    DismaiError
        If it is not installed, or a settings file of it is wrong.
    """
    try:
        with (
            _variable("FW_CONFIG_FILE", config.environment()["FW_CONFIG_FILE"]),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            from fireworks import LaunchPad
    except ImportError as error:
        raise DismaiError(MISSING_FIREWORKS) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DismaiError(f"FireWorks cannot read its FW_config.yaml: {reason}") from error
    launchpad_class: type[LaunchPad] = LaunchPad
    return launchpad_class


def impatient(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a LaunchPad or a store for somebody who waits for an answer.

    Workers sit out a server that is away for minutes, which is for the files to say.

    Parameters
    ----------
    settings : dict
        As in a file; returned as it is where it says nothing of waiting.
    """
    given = settings.get("mongoclient_kwargs")
    if not isinstance(given, dict) or "serverSelectionTimeoutMS" not in given:
        return settings
    shorter = min(given["serverSelectionTimeoutMS"], _WAIT_MS)
    return settings | {"mongoclient_kwargs": given | {"serverSelectionTimeoutMS": shorter}}


def place_of(settings: dict[str, Any]) -> str:
    """Return ``host:port`` of a LaunchPad or store, without the login that a URI may hold."""
    uri = _uri_of(settings)
    if uri:
        hosts = uri.partition("://")[2].rpartition("@")[2]
        return re.split("[/?]", hosts)[0] or "its URI"
    if "host" not in settings:
        return str(settings.get("path", "its place"))
    return f"{settings['host']}:{settings.get('port', 27017)}"


def user_of(settings: dict[str, Any]) -> str | None:
    """Return who logs in to a LaunchPad or store, None for nobody."""
    login, at, _ = _uri_of(settings).partition("://")[2].rpartition("@")
    if at:
        return unquote_plus(login.partition(":")[0])
    return settings.get("username") or None


def _uri_of(settings: dict[str, Any]) -> str:
    """Return the URI of a LaunchPad or store; empty where it has host and port."""
    uri = settings.get("uri") or (settings.get("host") if settings.get("uri_mode") else None)
    return str(uri or "")


def _check_uri(path: Path, where: str, uri: object) -> None:
    """Refuse a URI with a login that pymongo would take apart in a wrong place.

    It would warn or complain with a part of the password.
    """
    if not _URI.fullmatch(str(uri)):
        raise DismaiError(
            f"{path}: {where}: write mongodb://USER:PASSWORD@HOST:PORT/?authSource=admin, or "
            "mongodb+srv://..., with every sign but letters, digits, - . _ in user and password "
            "as % and its code (urllib.parse.quote_plus does it)"
        )


def _check_encryption(path: Path, where: str, given: dict[str, Any]) -> None:
    """Refuse a file of certificates that cannot be used."""
    options = given.get("mongoclient_kwargs")
    file = options.get("tlsCAFile") if isinstance(options, dict) else None
    if file is not None:
        check_ca_file(f"{path}: {where}.tlsCAFile", str(file))


def store_spec(path: Path) -> dict[str, Any]:
    """Return ``JOB_STORE`` of a jobflow.yaml after a strict look at it.

    jobflow itself takes a file without ``JOB_STORE`` for a store in memory, and ignores most
    misspelt words below it: jobs would complete and their results vanish.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    DismaiError
        Names the key that is wrong or missing.
    """
    content = read_yaml(path)
    refuse_unknown(path, "", content, JOBFLOW_KEYS)
    spec = content.get("JOB_STORE")
    if isinstance(spec, str):
        other = Path(spec).expanduser()
        if not other.is_absolute():
            raise DismaiError(f"{path}: JOB_STORE: give the file {spec} as an absolute path")
        path, spec = other, read_yaml(other)
    if not isinstance(spec, dict):
        raise DismaiError(f"{path}: JOB_STORE is missing: results would be kept in memory only")
    serialised = spec.get("@class") == "JobStore"
    known = ["docs_store", "additional_stores"]
    if serialised:
        known += ["@module", "@class", "@version", "save", "load"]
    refuse_unknown(path, "JOB_STORE", spec, known)
    stores = {"docs_store": spec.get("docs_store")}
    additional = spec.get("additional_stores") or {}
    if not isinstance(additional, dict):
        raise DismaiError(f"{path}: additional_stores: name each store on a line of its own")
    if DATA_STORE not in additional:
        raise DismaiError(
            f"{path}: the JobStore lacks the additional store `data`: structure sets are kept in "
            "it; add it under additional_stores (the template jobflow.yaml shows how)"
        )
    stores |= {f"additional_stores.{name}": given for name, given in additional.items()}
    for where, given in stores.items():
        if not isinstance(given, dict) or not ({"type", "@class"} & set(given)):
            raise DismaiError(f"{path}: JOB_STORE.{where}: name the type of the store")
        if "type" in given:
            _check_store(path, f"JOB_STORE.{where}", given)
    return spec


def _check_store(path: Path, where: str, given: dict[str, Any]) -> None:
    """Refuse unknown types of stores and unknown settings of known types."""
    import maggma.stores
    from maggma.core import Store

    classes = {
        name: item
        for name, item in vars(maggma.stores).items()
        if inspect.isclass(item) and issubclass(item, Store)
    }
    refuse_unknown(path, where, [str(given["type"])], list(classes))
    known: set[str] = {"type", *_BASE_STORE_KEYS}
    for parent in classes[given["type"]].__mro__:
        if "__init__" in vars(parent) and issubclass(parent, Store):
            known |= set(inspect.signature(parent.__init__).parameters)
    refuse_unknown(path, where, given, known - {"self", "kwargs"})
    port = given.get("port", 1)
    if not (isinstance(port, int) and 0 < port < 65536):
        raise DismaiError(f"{path}: {where}.port must be a number from 1 to 65535")
    if given.get("uri") is not None:
        _check_uri(path, f"{where}.uri", given["uri"])
    _check_encryption(path, f"{where}.mongoclient_kwargs", given)


def import_jobflow() -> None:
    """Import jobflow, which reads its settings as it is imported: those of whoever runs this.

    Raises
    ------
    DismaiError
        If these are wrong; jobflow has no clear words for it.
    """
    try:
        import jobflow  # noqa: F401
    except ImportError:
        raise
    except Exception as error:
        named = os.environ.get("JOBFLOW_CONFIG_FILE", "~/.jobflow.yaml")
        reason = " ".join(str(error).split())[:200]
        raise DismaiError(
            f"{named}: jobflow cannot read its settings there ({reason}): mend or remove the file"
        ) from error


def build_jobstore(path: Path, spec: dict[str, Any]) -> JobStore:
    """Make a JobStore of a checked ``JOB_STORE``, not connected.

    Parameters
    ----------
    path : Path
        Its file, for messages.
    spec : dict
        What `store_spec` returned.

    Raises
    ------
    DismaiError
        If maggma cannot make it.
    """
    import_jobflow()
    from jobflow import JobStore

    try:
        if spec.get("@class") == "JobStore":
            jobstore: JobStore = JobStore.from_dict(spec)  # type: ignore[assignment]
        else:
            jobstore = JobStore.from_dict_spec(spec)
    except Exception as error:  # noqa: BLE001 - every class of store fails in its own way
        first: Store | str = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DismaiError(f"{path}: JOB_STORE cannot be used: {first}") from None
    return jobstore


def _suffix(category: str) -> str:
    """Return what the files of a category end with: those of ``cpu`` are FireWorks' defaults."""
    if not category.isidentifier():
        raise DismaiError(f"{category!r} is no category of jobs")
    return "" if category == "cpu" else f"_{category}"


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable for the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
