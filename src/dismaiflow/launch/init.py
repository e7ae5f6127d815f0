"""Writing the configuration of a LaunchPad: templates filled in, databases made ready."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dismaiflow.errors import DismaiError
from dismaiflow.launch.config import (
    MISSING_FIREWORKS,
    LaunchConfig,
    build_jobstore,
    import_launchpad,
    place_of,
    user_of,
)
from dismaiflow.launch.files import (
    PRIVATE_FILE,
    make_private_folder,
    write_private,
    yaml_quoted,
)
from dismaiflow.launch.indexes import make_launchpad_indexes, make_store_indexes
from dismaiflow.launch.mongo import check_ca_file, explained

#: The files of a configuration.
NAMES = (
    "FW_config.yaml",
    "my_launchpad.yaml",
    "my_fworker.yaml",
    "my_fworker_gpu.yaml",
    "my_fworker_vasp.yaml",
    "my_qadapter.yaml",
    "my_qadapter_gpu.yaml",
    "my_qadapter_vasp.yaml",
    "jobflow.yaml",
    "atomate2.yaml",
    "env.sh",
)

#: Where FireWorks and jobflow look by themselves, and what should be there.
LINKS = {".fireworks/FW_config.yaml": "FW_config.yaml", ".jobflow.yaml": "jobflow.yaml"}

#: Remembers what was written, to tell files that the user has edited since.
_MANIFEST = ".written.json"

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Login:
    """A MongoDB server, two of its databases and who uses them.

    Parameters
    ----------
    host : str
        Name or address.
    port : int
        Its port.
    database, launchpad_database : str
        For results, and for the LaunchPad; they may be the same.
    user, password : str, optional
        None for a server that asks nobody.
    auth_database : str
        The database in which the server keeps the user.
    tls : bool
        Whether the connection is encrypted.
    tls_ca_file : Path, optional
        PEM file with the authority that signed the certificate of the server, absolute. None for
        those that the system knows.

    Raises
    ------
    DismaiError
        One line: what cannot be.
    """

    host: str
    port: int = 27017
    database: str = "dismai"
    launchpad_database: str = "dismai_launchpad"
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    auth_database: str = "admin"
    tls: bool = False
    tls_ca_file: Path | None = None

    def __post_init__(self) -> None:
        for name in (self.database, self.launchpad_database):
            if not re.fullmatch(r"[^/\\. \"$*<>:|?\0]{1,63}", name):
                raise DismaiError(f"{name!r} cannot be the name of a database of MongoDB")
        if not self.host or re.search(r"[/@\s]", self.host):
            raise DismaiError(
                "--host: give the name or address of a machine; user and password have options "
                "of their own"
            )
        if (self.user is None) != (self.password is None):
            raise DismaiError("give both, a user and a password, or neither")
        if self.password == "" or "\n" in (self.password or "") or "\0" in (self.password or ""):
            raise DismaiError("the password is empty or has several lines")
        if self.tls_ca_file is not None:
            if not self.tls:
                raise DismaiError("--tls-ca-file: say --tls too")
            check_ca_file("--tls-ca-file", self.tls_ca_file)

    @property
    def place(self) -> str:
        """The server as ``host:port``."""
        return f"{self.host}:{self.port}"


@dataclass
class Initialised:
    """What `initialise` did.

    Parameters
    ----------
    folder : Path
        Where the configuration is.
    written, unchanged, kept : list of str
        Files: written now; as they should be; edited by the user and left alone.
    backups : list of Path
        Copies of edited files that were replaced.
    launchpad_is_new : bool
        Whether the LaunchPad was empty.
    may_write : bool
        False for a user with reading rights only, who cannot make indexes.
    links : list of Path
        Links that were made in the home.
    warnings : list of str
        One line each.
    """

    folder: Path
    written: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    backups: list[Path] = field(default_factory=list)
    launchpad_is_new: bool = False
    may_write: bool = True
    links: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def initialise(folder: Path, login: Login, force: bool = False, link: bool = True) -> Initialised:
    """Write the configuration and make the databases ready; nothing that is there is lost.

    Parameters
    ----------
    folder : Path
        Where to; made 0700, its files 0600.
    login : Login
        The server.
    force : bool
        Replace files that were edited, and keep copies of them.
    link : bool
        Link the configuration to where FireWorks and jobflow look by themselves, if nothing is
        there.

    Raises
    ------
    DismaiError
        One line. Nothing is written if the server cannot be used.
    """
    if find_spec("fireworks") is None:
        raise DismaiError(MISSING_FIREWORKS)
    folder = folder.expanduser().absolute()
    _try_login(login)
    make_private_folder(folder)
    done = Initialised(folder)
    _write_files(folder, login, force, done)
    _prepare_databases(LaunchConfig(folder), done)
    home_links(folder, link, done)
    return done


def template(name: str) -> str:
    """Return the text of a template."""
    return resources.files("dismaiflow.launch").joinpath("templates", name).read_text("utf-8")


def filled(name: str, folder: Path, login: Login) -> str:
    """Return a file of a configuration.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    folder : Path
        Where it will be, absolute.
    login : Login
        The server.
    """
    quoted = yaml_quoted
    none: Callable[[str | None], str] = lambda text: "null" if text is None else quoted(text)  # noqa: E731
    binaries = Path(sys.executable).absolute().parent
    values = {
        "folder": quoted(str(folder)),
        "plain_folder": str(folder),
        "host": quoted(login.host),
        "port": str(login.port),
        "store_database": quoted(login.database),
        "launchpad_database": quoted(login.launchpad_database),
        "user": quoted(login.user or ""),
        "password": quoted(login.password or ""),
        "user_or_null": none(login.user),
        "password_or_null": none(login.password),
        "auth_database": quoted(login.auth_database),
        "unless_tls": "" if login.tls else "# ",
        "unless_ca_file": "" if login.tls_ca_file else "# ",
        "ca_file": quoted(str(login.tls_ca_file)) if login.tls_ca_file else "/path/to/ca.pem",
        "source_env": quoted(f"source {shlex.quote(str(folder / 'env.sh'))}"),
    }
    for category, ending in (("cpu", ""), ("gpu", "_gpu"), ("vasp", "_vasp")):
        worker = shlex.quote(str(folder / f"my_fworker{ending}.yaml"))
        command = f"rlaunch -c {shlex.quote(str(folder))} -w {worker} singleshot"
        values[f"rlaunch_{category}"] = quoted(command)
    if name.endswith(".sh"):
        values |= {"folder": shlex.quote(str(folder)), "bin": shlex.quote(str(binaries))}
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template(name))


def _try_login(login: Login) -> None:
    """Refuse a server that cannot be reached, or does not let the user in."""
    from pymongo import MongoClient

    given: dict[str, Any] = {"tls": True} if login.tls else {}
    if login.tls_ca_file is not None:
        given["tlsCAFile"] = str(login.tls_ca_file)
    if login.user is not None:
        given |= {
            "username": login.user,
            "password": login.password,
            "authSource": login.auth_database,
        }
    with explained("the options", login.place, login.user):
        client = MongoClient[dict[str, Any]](login.host, login.port, **given)
        with client:
            client[login.database].list_collection_names()
            client[login.launchpad_database].list_collection_names()


def _write_files(folder: Path, login: Login, force: bool, done: Initialised) -> None:
    """Write what is missing or not edited; what is edited only by force, with a copy kept."""
    known: dict[str, str] = {}
    with suppress(OSError, ValueError):
        known = dict(json.loads((folder / _MANIFEST).read_text("utf-8")))
    for name in NAMES:
        path, text = folder / name, filled(name, folder, login)
        there: bytes | None = None
        if path.exists() or path.is_symlink():
            try:
                there = path.read_bytes()
                if there == text.encode():
                    path.chmod(PRIVATE_FILE)
                    done.unchanged.append(name)
                    known[name] = _digest(there)
                    continue
            except OSError as error:
                raise DismaiError(f"{path}: cannot be read ({error.strerror})") from error
        if there is not None and known.get(name) != _digest(there):
            if not force:
                done.kept.append(name)
                with suppress(OSError):
                    path.chmod(PRIVATE_FILE)
                continue
            backup = _free_name(path)
            write_private(backup, there.decode("utf-8", "surrogateescape"))
            done.backups.append(backup)
        write_private(path, text)
        done.written.append(name)
        known[name] = _digest(text.encode())
    write_private(folder / _MANIFEST, json.dumps(known, indent=1) + "\n")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _free_name(path: Path) -> Path:
    """Return a name for a copy of a file that nothing has yet."""
    stem = f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}"
    names = [stem, *(f"{stem}-{number}" for number in range(1, 1000))]
    return next(
        path.with_name(f"{n}.bak") for n in names if not path.with_name(f"{n}.bak").exists()
    )


def _prepare_databases(config: LaunchConfig, done: Initialised) -> None:
    """Make the indexes, by what the files say now: some may be the user's own."""
    from pymongo.errors import OperationFailure

    settings = config.launchpad_settings()
    spec = config.store_spec()
    launchpad_class = import_launchpad(config)
    path = config.folder / "my_launchpad.yaml"
    place, user = place_of(settings), user_of(settings)
    try:
        # indexes of a large collection take their time: only what is silent is given up
        with explained(path, place, user, patience=None):
            done.launchpad_is_new = make_launchpad_indexes(launchpad_class.from_dict(settings))
        path = config.folder / "jobflow.yaml"
        jobstore = build_jobstore(path, spec)
        store = vars(jobstore.docs_store)
        with explained(path, place_of(store), user_of(store), patience=None):
            jobstore.connect()
            make_store_indexes(jobstore)
            jobstore.close()
    except DismaiError as error:
        if not isinstance(error.__context__, OperationFailure) or error.__context__.code != 13:
            raise
        done.may_write = False


def home_links(folder: Path, link: bool, done: Initialised) -> None:
    """See to it that a plain ``rlaunch`` finds the configuration, or say why it will not.

    Parameters
    ----------
    folder : Path
        The configuration.
    link : bool
        Whether links may be made. They are made only if nothing is where they would be.
    done : Initialised
        Gets the links and the warnings.
    """
    home = Path.home()
    there = [name for name in LINKS if (home / name).exists() or (home / name).is_symlink()]
    foreign = [name for name in there if not _same(home / name, folder / LINKS[name])]
    source = f"`source {folder / 'env.sh'}`"
    if ".fireworks/FW_config.yaml" in foreign:
        done.warnings.append(
            f"{home / '.fireworks/FW_config.yaml'} is another one and wins over FW_CONFIG_FILE: "
            f"write `CONFIG_FILE_DIR: {folder}` into it, or move it away and run init again"
        )
    if ".jobflow.yaml" in foreign:
        done.warnings.append(
            f"{home / '.jobflow.yaml'} leads elsewhere: workers use it unless you {source} first"
        )
    if foreign or len(there) == len(LINKS):
        return
    if not link:
        done.warnings.append(f"{source} before rlaunch, lpad and qlaunch")
        return
    for name, target in LINKS.items():
        path = home / name
        if name in there:
            continue
        try:
            path.parent.mkdir(exist_ok=True)
            path.symlink_to(folder / target)
        except OSError as error:
            done.warnings.append(f"{path}: no link could be made ({error.strerror}): {source}")
            continue
        done.links.append(path)


def _same(link: Path, target: Path) -> bool:
    """Say whether two paths are one file."""
    try:
        return link.samefile(target)
    except OSError:
        return False
